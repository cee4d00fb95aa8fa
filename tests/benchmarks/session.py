"""One system in its process: its keys and values, its files, the clock."""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Any, TypeVar

from systems import Pair, System

T = TypeVar("T")
Sample = tuple[float, int]  # seconds (or bytes) in all, number of operations


def value_of(number: int) -> dict[str, Any]:
    return {"id": number, "name": f"user {number}", "score": number / 7}


def random_keys(count: int, seed: int) -> Iterator[bytes]:
    source = random.Random(seed)
    return (source.randbytes(16) for _ in range(count))


def group(number: int) -> bytes:
    return b"group:%08d:" % number


def is_same(one: object, other: object) -> bool:
    equal = one == other
    return bool(equal.all() if hasattr(equal, "all") else equal)  # an array compares element by element


class Repeated:
    """Gives `pairs` one after the other, again and again, for some seconds; counts the writes that were done."""

    def __init__(self, pairs: list[Pair], seconds: float) -> None:
        self.pairs = pairs
        self.done = 0
        self._deadline = time.perf_counter() + seconds

    def __iter__(self) -> Iterator[Pair]:
        for pair in cycle(self.pairs):
            yield pair
            self.done += 1
            if time.perf_counter() > self._deadline:
                return

    def written(self) -> list[Pair]:
        return self.pairs[: self.done]


class Session:
    """The means of a workload: `number` items; `filled()`, a store that has them all; `fresh()`, where a new one goes.

    A loop over a slow system stops early: it should take no longer than `seconds`.
    """

    def __init__(self, system: System, folder: Path, number: int, seconds: float) -> None:
        self.system = system
        self.folder = folder
        self.number = number
        self.seconds = seconds
        self.random = random.Random(2)
        self._keys = list(random_keys(number, seed=0))
        self.values = [value_of(n) for n in range(number)]
        self._kept: dict[str, tuple[Any, int | None]] = {}
        self._paths = (folder / f"store{number}" for number in range(1 << 30))

    # data, made for each use

    def pairs(self, count: int) -> list[Pair]:
        """Return the first `count` items, in the order in which they are put: their keys are in random order."""
        return [(self.system.key(key), value) for key, value in zip(self._keys[:count], self.values)]

    def sorted_pairs(self, count: int) -> list[Pair]:
        """Return `count` items in the order of their keys, with `bytes` of 500 to 1,300 bytes as values."""
        source, data = random.Random(3), bytes(range(250)) * 6
        return [(self.system.key(key), data[: source.randint(500, 1300)]) for key in self.in_order[:count]]

    def sample(self, count: int) -> list[int]:
        """Return the numbers of `count` items, in random order."""
        return self.random.sample(range(self.number), count)

    def keys(self, numbers: Iterable[int]) -> list[Any]:
        return [self.system.key(self._keys[n]) for n in numbers]

    @cached_property
    def in_order(self) -> list[bytes]:
        return sorted(self._keys)

    def span(self, count: int) -> tuple[bytes, bytes]:
        """Return bounds around `count` keys somewhere among all; the upper bound is outside."""
        keys = [*self.in_order, b"\xff" * 17]
        at = self.random.randrange(self.number - count + 1)
        return keys[at], keys[at + count]

    def absent(self, count: int) -> list[Any]:
        return [self.system.key(key) for key in random_keys(count, seed=self.random.randrange(1, 1 << 30))]

    # -- files

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """Return a path for a new store, which is removed in the end."""
        path = next(self._paths)
        try:
            yield path
        finally:
            self.system.remove(path)

    @contextmanager
    def opened(self, batch: int | None, map_size: int | None = None) -> Iterator[Any]:
        """Open a new store."""
        with self.fresh() as path:
            store = self.system.open(path, batch=batch, map_size=map_size)
            try:
                yield store
            finally:
                self.system.close(store)

    def filled(self, batch: int | None) -> Any:
        """Return the store with all items; it stays open for the workloads that follow."""
        return self.kept("filled", batch, lambda: self.pairs(self.number))

    def grouped(self) -> Any:
        """Return a store of as many items as `filled` has. Each ten of its keys share a prefix: see `group`."""
        return self.kept(
            "groups", None, lambda: [(group(n // 10) + b"%d" % (n % 10), v) for n, v in enumerate(self.values)]
        )

    def kept(self, name: str, batch: int | None, pairs: Callable[[], list[Pair]]) -> Any:
        """Return a store filled once with `pairs`, and kept until `forget`; open it again for another `batch`."""
        store, opened_with = self._kept.get(name, (None, None))
        path = self.folder / name
        if store is not None and opened_with == batch:
            return store
        if store is not None:
            self.system.close(store)
        store = self.system.open(path, batch=batch)
        if name not in self._kept:
            items = pairs()
            self.system.put_many(store, items)
            self.system.flush(store)
            self.check(store, items)
        self._kept[name] = store, batch
        return store

    def closed(self, name: str) -> Path:
        """Return the path of a kept store, which is closed."""
        store, _ = self._kept[name]
        if store is not None:
            self.system.close(store)
            self._kept[name] = None, None
        return self.folder / name

    def forget(self, name: str) -> None:
        if name in self._kept:
            path = self.closed(name)
            del self._kept[name]
            self.system.remove(path)

    # -- measure and check

    def clock(self, work: Callable[[], T], *, writes: bool = False) -> tuple[float, T]:
        """Return the seconds that `work` takes, and its result."""
        gc.collect()
        gc.freeze()  # the items of the workload are many: a collection in between would look at each
        if writes and hasattr(os, "sync"):
            os.sync()  # what others left for the disk to do
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        gc.unfreeze()
        return seconds, result

    def check(self, store: Any, pairs: list[Pair]) -> None:
        """Check that a sample of `pairs` is in the store, and nothing besides them all."""
        if "len" not in self.system.lacks:
            length = self.system.len(store, 1)
            assert length == len(pairs), f"{length} items instead of {len(pairs)}"
        for key, value in self.random.sample(pairs, min(100, len(pairs))):
            assert is_same(self.system.get(store, [key]), value), f"{key!r} has another value"


Run = Callable[[Session, int], list[Sample]]  # a workload: how many operations to do, the samples of its rows
