"""A long life: overwrites without end beside readers that come and go; file, reader slots and descriptors stay few."""

from __future__ import annotations

import os
import random
import threading
import time
from functools import partial
from pathlib import Path

from harness import Figures, budget
from journal import State, Store, compare, found_at, stamp_of, value_of
from support.programs import Child
from support.threads import looping

from lmdb_object_store import LmdbObjectStore

KEYS = 2000
BATCH = 200  # of a tenth of the keys: a commit writes its changes again, beside what is there
DESCRIPTORS = "/proc/self/fd"


def open_store(path: str) -> Store:
    """Open a store that commits a tenth of its keys at a time."""
    return LmdbObjectStore(path, BATCH, key_encoding="utf-8", sync=False)


def read(path: str, seed: float) -> None:
    """Open, read for a moment, close."""
    source = random.Random(seed)
    with open_store(path) as store:
        for _ in budget(source.uniform(0, 0.2)):
            key = f"k{source.randrange(KEYS)}"
            assert stamp_of(store[key])[0] >= 0, f"{key} has a value that nobody wrote"
            next(iter(store.items()))


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Overwrite random keys while threads and processes read, and kill some of the processes."""
    source, figures = random.Random(seed), Figures("long life")
    path = str(folder / "db")
    store = open_store(path)
    state: State = {f"k{i}": (0, source.randrange(4000)) for i in range(KEYS)}
    store.put_many({key: value_of(stamp) for key, stamp in state.items()})
    descriptors = len(os.listdir(DESCRIPTORS)) if os.path.isdir(DESCRIPTORS) else 0
    largest, number = 0.0, 0

    def look() -> None:
        chooser = random.Random(threading.get_ident())
        for _ in range(100):
            assert stamp_of(store[f"k{chooser.randrange(KEYS)}"])[0] >= 0
        assert len(store) == KEYS
        time.sleep(0.01)  # a reader that comes and goes, not one that takes the processor

    with looping(look, look):
        for _ in budget(seconds, 2):
            child = Child(partial(read, path, source.random()))
            for _ in range(1000):
                number += 1
                key = f"k{source.randrange(KEYS)}"
                state[key] = (number, source.randrange(4000))
                store[key] = value_of(state[key])
            child.kill() if source.random() < 0.3 else child.join()
            store.flush()
            stat, size = store.env.stat(), os.stat(os.path.join(path, "data.mdb")).st_size
            live = (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]) * stat["psize"]
            largest = max(largest, size / live)
            figures.rounds += 1
    store.env.reader_check()
    assert "no active" in store.env.readers(), store.env.readers()
    if descriptors:
        assert len(os.listdir(DESCRIPTORS)) <= descriptors, "file descriptors have leaked"
    store.close(strict=True)
    assert largest <= 2, f"the file has grown to {largest:.1f} times its contents"
    figures.remarks["largest file / live data"] = f"{largest:.2f}"
    figures.add(compare(number + KEYS, [state], found_at(path)))
    return figures
