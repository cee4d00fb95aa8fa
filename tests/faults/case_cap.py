"""A map at its cap: values that do not fit are undone, deletions make room, and nothing else goes missing."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import lmdb
from harness import Figures, budget
from journal import State, Store, compare, in_file, value_of

from lmdb_object_store import LmdbObjectStore

SIZES: list[Callable[[random.Random], int]] = [
    lambda source: source.randrange(50),
    lambda source: source.randrange(2000),
    lambda source: source.randrange(3000, 20_000),
    lambda source: source.randrange(100_000, 200_000),
]


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Fill a map by commits of every size, delete half of it key by key, and fill it again."""
    source, figures = random.Random(seed), Figures("a map at its cap")
    path = str(folder / "db")
    for _ in budget(seconds, 2):
        shutil.rmtree(path, ignore_errors=True)
        cap, batch = source.choice([1 << 18, 1 << 20, 1 << 22]), source.choice([1, 1, 2, 3, 10, 100])
        version = source.randrange(2)  # of LMDB's file format
        store: Store = LmdbObjectStore(
            path, batch, key_encoding="utf-8", map_size=cap, max_map_size=cap, sync=False, lib_version=version
        )
        state: State = {}
        size = source.choice(SIZES)
        for _ in range(3):
            written = _fill(store, batch, state, size, source)
            deleted = source.sample(sorted(state), len(state) // 2)
            store.batch_size = source.choice([1, 1000])
            for key in deleted:
                del store[key], state[key]
            store.flush()
            figures.add(compare(written + len(deleted), [state], in_file(store)))
        store.clear()
        store.close(strict=True)
        figures.rounds += 1
    return figures


def _fill(store: Store, batch: int, state: State, size: Callable[[random.Random], int], source: random.Random) -> int:
    """Write until the map is full, and undo the pending changes. Return how many writes were committed."""
    store.batch_size = batch
    written, waiting = 0, list[str]()
    with suppress(lmdb.MapFullError):
        while True:
            key = f"k{source.randrange(10**6)}"
            state[key] = (written, size(source))
            waiting.append(key)
            store[key] = value_of(state[key])
            written += 1
            if not store.write_buffer:
                waiting.clear()
    store.batch_size = None
    for key in waiting:
        store.delete(key)
        state.pop(key, None)
    store.flush()
    return written - len(waiting) + 1
