"""Readers, writers, iterators, `clear`, growth and `close` at once, in many threads; unpickling that does the worst."""

from __future__ import annotations

import itertools
import random
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from harness import Figures, budget
from journal import State, Store, Verdict, compare, found_at, stamp_of, value_of
from support.threads import frequent_switches, looping, together

from lmdb_object_store import LmdbObjectStore, StoreClosedError

# Threads of a round, and the seconds for which each may pause: of a hundred that never do, each gets a turn in minutes.
ROUNDS = [(8, 0.0), (120, 0.5), (300, 2.0)]
MANY = 300


class Writers:
    """The journal of a store's writers: for each key the last write, and which of the clears it may have met."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.clears_begun = self.clears_done = 0
        self.acknowledged = 0
        # Number and size of the last write, clears that had begun when it returned, that were done when it was called.
        self.last: dict[str, tuple[int, int, int, int]] = {}

    def write(self, name: str, source: random.Random) -> None:
        """Write a key of the thread of that name, by one of the ways there are."""
        key, size = f"{name} {source.randrange(5)}", source.choice([0, 100, 3000])
        number, done = next(self.numbers), self.clears_done
        chance = source.random()
        if chance < 0.1:
            self.store.put_many({key: value_of((number, size))})
        elif chance < 0.2:
            with self.store.transaction():
                self.store[key] = value_of((number, size))
        else:
            self.store[key] = value_of((number, size))
        self.last[key] = (number, size, self.clears_begun, done)
        self.acknowledged += 1

    def clear(self) -> None:
        """Empty the store."""
        with self.lock:  # one at a time: they are counted
            self.clears_begun += 1
            self.store.clear()
            self.clears_done += 1

    def verdict(self, found: State) -> Verdict:
        """Check that each last write is there without a later clear, gone after one, and either if one ran then."""
        verdict = Verdict(self.acknowledged)
        for key, (number, size, begun, done) in self.last.items():
            there = found.pop(key, None)
            if done == self.clears_done:
                verdict.lost += there != (number, size)
            elif begun < self.clears_begun or begun == done:
                verdict.lost += there is not None
            else:
                verdict.lost += there not in (None, (number, size))
        verdict.lost += len(found)
        return verdict


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Run all at once, in few threads and in hundreds, until `close`. No wrong value, no error but the closed one.

    No wrong value, no error but the closed one.
    """
    source, figures = random.Random(seed), Figures("threads")
    path = str(folder / "db")
    for number in budget(seconds, len(ROUNDS)):
        shutil.rmtree(path, ignore_errors=True)
        count, pause = ROUNDS[number % len(ROUNDS)]
        store: Store = LmdbObjectStore(
            path,
            source.choice([1, 7, 1000]),
            key_encoding="utf-8",
            map_size=1 << 20,
            sync=False,
            autoflush_on_read=source.random() < 0.5,
        )
        writers = Writers(store)
        kinds: list[Callable[[str, random.Random], None]] = [writers.write, writers.write, partial(read, store)]
        kinds.append(partial(iterate, store))
        ended = threading.Event()

        def act(
            name: str,
            kind: Callable[[str, random.Random], None],
            ended: threading.Event = ended,
            pause: float = pause,
        ) -> None:
            chooser = random.Random(f"{seed} {name}")
            try:
                while True:
                    kind(name, chooser)
                    if pause:
                        ended.wait(chooser.uniform(0, pause))
            except StoreClosedError:
                assert ended.is_set()

        def end(store: Store = store, writers: Writers = writers, ended: threading.Event = ended) -> None:
            for round in range(3):
                time.sleep(source.uniform(0, 0.1))  # the others are to be anywhere
                writers.write("large", source)
                store.put_many({"large": value_of((next(writers.numbers), (round + 1) << 21))})
                if source.random() < 0.7:
                    writers.clear()
            ended.set()
            store.close(strict=True)

        with nullcontext() if pause else frequent_switches():
            together(end, *(partial(act, f"t{i}", kinds[i % len(kinds)]) for i in range(count)), limit=60)
        found = found_at(path)
        found.pop("large", None)
        figures.add(writers.verdict(found))
        figures.count("threads started", count)
        figures.rounds += 1
    return figures


def read(store: Store, _: str, source: random.Random) -> None:
    """Read some keys in each way."""
    key = f"t{source.randrange(0, MANY, 4)} {source.randrange(5)}"
    for value in (store.get(key), *store.get_many([key, "large"])[0].values()):
        assert value is None or stamp_of(value)[0] >= 0, f"{key} has a value that nobody wrote"
    assert (key in store) in (True, False)
    assert len(store) >= 0


def iterate(store: Store, _: str, source: random.Random) -> None:
    """Iterate in both directions: keys in order, values whole."""
    backwards = source.random() < 0.5
    last = None
    # A hundred threads that look at all of it would do nothing else.
    for key, value in islice(reversed(store.items()) if backwards else store.items(), 50):
        assert last is None or (key < last if backwards else key > last), "out of order"
        assert stamp_of(value)[0] >= 0, f"{key} has a value that nobody wrote"
        last = key


class Slow:
    """A value whose unpickling sleeps, or writes to the store it is read from."""

    store: Store
    source: random.Random
    numbers = itertools.count()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, ()


def _unpickle() -> Slow:
    chance = Slow.source.random()
    if chance < 0.5:
        time.sleep(Slow.source.uniform(0, 0.002))  # other threads are to move the map meanwhile
    elif chance < 0.8:
        Slow.store[f"by unpickling {next(Slow.numbers) % 50}"] = 1
    elif chance < 0.9:
        Slow.store.flush()
    else:
        Slow.store.put_many({"by unpickling": bytes(100_000)})
    return Slow()


def run_unpickling(seed: int, seconds: float, folder: Path) -> Figures:
    """Read values that sleep and write as they are unpickled, while other threads grow the map."""
    source, figures = random.Random(seed), Figures("unpickling that sleeps and writes")
    path = str(folder / "db")
    for number in budget(seconds, 2):
        shutil.rmtree(path, ignore_errors=True)
        store: Store = LmdbObjectStore(path, 20, key_encoding="utf-8", map_size=1 << 20, sync=False)
        Slow.store, Slow.source = store, source
        items = {f"k{i}": [Slow(), value_of((i, size))] for i, size in enumerate([0, 100, 5000, 70_000, 200_000] * 2)}
        store.put_many(items)

        def look(store: Store = store) -> None:
            for key, value in store.items():
                if key.startswith("k"):
                    assert stamp_of(value[1])[0] == int(key[1:])
            key = f"k{source.randrange(10)}"
            assert stamp_of(store[key][1])[0] == int(key[1:])

        def grow(store: Store = store, number: int = number) -> None:
            for size in range(1, 6):
                store.put_many({f"z{size}": value_of((number, size << 22))})

        with frequent_switches(), looping(look, look, look, limit=60):
            together(grow, limit=60)
        store.close(strict=True)
        with LmdbObjectStore[str, Any](path, key_encoding="utf-8") as again:
            Slow.store = again
            wanted = {f"z{size}": (number, size << 22) for size in range(1, 6)}
            wanted |= {key: stamp_of(value[1]) for key, value in items.items()}
            found = {key: stamp_of(again[key] if key[0] == "z" else again[key][1]) for key in wanted if key in again}
        figures.add(compare(len(wanted), [wanted], found))
        figures.rounds += 1
    return figures
