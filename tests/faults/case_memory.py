"""Memory: small puts, large values, an iteration, one huge value, each under a limit that the system enforces."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness import Figures
from journal import Store, Verdict, stamp_of, value_of
from support.programs import Child

from lmdb_object_store import LmdbObjectStore

MIB = 1 << 20
START = 64 * MIB  # of private memory: the interpreter with this program, and what its allocator holds back


def limited(allowed: int, body: Callable[[], object]) -> None:
    """Run `body` in a child that may have `allowed` bytes of private memory: a MemoryError, and a failure, past it.

    The pages of the file that the system keeps in memory do not count.
    """

    def run() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
        body()

    Child(run).join(limit=900)


def open_store(path: str) -> Store:
    """Open a store with the default limits."""
    return LmdbObjectStore(path, key_encoding="utf-8", sync=False)


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Write as much data as `seconds` allow, read it back and compare."""
    path, figures = str(folder / "db"), Figures("memory")
    small = min(1_000_000, int(seconds * 20_000))
    large = min(1000, int(seconds * 7))
    huge = min(1024, int(seconds * 20)) * MIB
    # A transaction holds what it writes a second time, in LMDB; a value is there pickled and as itself.
    bounds = {
        f"{small:,} small puts": (START + 16 * MIB, partial(put_small, path, small, seed)),
        f"{large} values of 10 MB": (START + 2 * 64 * MIB + 3 * 10 * MIB, partial(put_large, path, large)),
        f"iteration of {large * 10} MB": (START + 5 * 10 * MIB, partial(iterate, path, large, small)),
        f"put of {huge // MIB} MiB": (START + 4 * huge, partial(put_huge, path, huge)),
        f"get of {huge // MIB} MiB": (START + 3 * huge, partial(get_huge, path, huge)),
    }
    for name, (allowed, body) in bounds.items():
        limited(allowed, body)
        figures.remarks[name] = f"in {allowed // MIB} MiB"
        figures.rounds += 1
    figures.add(Verdict(small + large + 1))
    return figures


def put_small(path: str, count: int, seed: int) -> None:
    """Put numbers under random keys."""
    with open_store(path) as store:
        for number in range(count):
            store[f"s{random.Random(seed + number).randrange(1 << 40)} {number}"] = number


def put_large(path: str, count: int) -> None:
    """Put values of 10 MB, one by one."""
    with open_store(path) as store:
        for number in range(count):
            store[f"l{number}"] = value_of((number, 10_000_000))


def iterate(path: str, large: int, small: int) -> None:
    """Read all values, large and small: each is there, and right."""
    with open_store(path) as store:
        numbers, stamps = 0, 0
        for key, value in store.items():
            if key.startswith("s"):
                assert key.endswith(f" {value}")
                numbers += 1
            else:
                assert stamp_of(value) == (int(key[1:]), 10_000_000)
                stamps += 1
        assert (numbers, stamps) == (small, large)


def put_huge(path: str, size: int) -> None:
    """Put one value."""
    with open_store(path) as store:
        store["huge"] = bytes(size)


def get_huge(path: str, size: int) -> None:
    """Get it, twice."""
    with open_store(path) as store:
        for _ in range(2):
            assert len(store["huge"]) == size
