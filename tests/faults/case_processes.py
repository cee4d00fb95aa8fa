"""Several processes write, read, grow the file, and are killed while they read."""

from __future__ import annotations

import os
import random
import shutil
import time
from functools import partial
from pathlib import Path

from harness import Figures, budget
from journal import Journal, Model, State, Store, compare, found_at, random_operation, stamp_of, value_of
from support.programs import Child

from lmdb_object_store import LmdbObjectStore

NAMES = ["a", "b", "c"]
BATCH_SIZE = 20
MOST = 1_000_000  # operations of each run


def open_store(path: str) -> Store:
    """Open a store with the least map, which every process must grow or adopt."""
    return LmdbObjectStore(path, BATCH_SIZE, key_encoding="utf-8", map_size=1 << 20, sync=False)


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Run writers with own keys and readers of all keys; they grow one file from 1 MiB, and some are killed."""
    source, figures = random.Random(seed), Figures("several processes")
    path = str(folder / "db")
    states: dict[str, State] = {name: {} for name in NAMES}
    for number in budget(seconds, 2):
        if number % 5 == 0:
            shutil.rmtree(path, ignore_errors=True)
            states = {name: {} for name in NAMES}
            open_store(path).close()
        journals = {name: Journal(folder / f"journal {name}", number * MOST) for name in NAMES}
        writers = [Child(partial(write, path, name, journals[name], source.random(), 0.5)) for name in NAMES]
        readers = [Child(partial(read, path, source.random(), 0.3)) for _ in range(2)]
        doomed = [Child(partial(read, path, source.random(), 60)) for _ in range(3)]
        for child in doomed:
            time.sleep(source.uniform(0, 0.2))  # they are to be killed at any moment of their reads
            child.kill()
        for child in [*readers, *writers]:
            child.join()
        for name, journal in journals.items():
            journal.close()
            acknowledged, allowed = Model(BATCH_SIZE, states[name]).replay(journal.read())
            states[name] = found_at(path, name)
            figures.add(compare(acknowledged, allowed, states[name]))
        with open_store(path) as store:
            assert "no active" in store.env.readers(), store.env.readers()
        figures.count("readers killed", len(doomed))
        figures.rounds += 1
    return figures


def write(path: str, name: str, journal: Journal, seed: float, seconds: float) -> None:
    """Write for a while, then close."""
    source = random.Random(seed)
    store = open_store(path)
    for number in budget(seconds, 20):
        if number % 50 == 49:
            journal.run(store, ("grow", {f"{name}large": source.randint(1, 8) << 20}))
        operation = random_operation(source, name, without="clear")
        if operation[0] not in ("close", "grow"):
            journal.run(store, operation)
    journal.run(store, ("close", {}))


def read(path: str, seed: float, seconds: float) -> None:
    """Read in every way: each value is one that was written, and no later read gives an older one."""
    source = random.Random(seed)
    newest: dict[str, int] = {}

    def check(key: str, value: object) -> None:
        number, size = stamp_of(value)
        assert size >= 0, f"{key} has a value that nobody wrote"
        assert number >= newest.get(key, 0), f"{key} has gone back"
        newest[key] = number

    store = open_store(path)
    for _ in budget(seconds):
        for key in [f"{source.choice(NAMES)}{source.randrange(300)}" for _ in range(50)]:
            value = store.get(key)
            if value is not None:
                check(key, value)
        for key, value in store.items():
            check(key, value)
        found, _ = store.get_many([f"{name}7" for name in NAMES], decode_keys=True)
        for key, value in found.items():
            check(key, value)
        assert len(store) >= 0
    store.close()


def run_hundredfold(seed: int, seconds: float, folder: Path) -> Figures:
    """Keep stores open, reading and idle, while another process grows the file from 1 MiB to a hundred."""
    source, figures = random.Random(seed), Figures("a file grown a hundredfold beside open readers")
    for number in budget(seconds, 1):
        path = str(folder / f"db{number % 2}")
        shutil.rmtree(path, ignore_errors=True)
        with open_store(path) as store:
            store["key"] = value_of((1, 100))
            store.flush()
            before = os.stat(os.path.join(path, "data.mdb")).st_size
            told, tell = os.pipe()
            child = Child(partial(grow, path, source.random(), told))
            iterator = iter(store.items())
            assert next(iterator)[0] == "key"
            os.write(tell, b".")
            while not os.path.exists(path + ".done"):
                assert stamp_of(store["key"]) == (1, 100)
            child.join()
            found = {key: stamp_of(value) for key, value in store.items()}
            assert found.keys() >= {key for key, _ in iterator}
            expected = {"key": (1, 100), **{f"large{i:03}": (i, 1 << 20) for i in range(100)}}
            figures.add(compare(101, [expected], found))
            store["after"] = 1
            store.flush()
        assert os.stat(os.path.join(path, "data.mdb")).st_size > 100 * before
        os.unlink(path + ".done")
        os.close(told)
        os.close(tell)
        figures.rounds += 1
    return figures


def grow(path: str, seed: float, told: int) -> None:
    """Write a hundred values of 1 MiB, some in transactions of their own."""
    source = random.Random(seed)
    os.read(told, 1)
    with open_store(path) as store:
        for i in range(100):
            store[f"large{i:03}"] = value_of((i, 1 << 20))
            if source.random() < 0.3:
                store.flush()
    Path(path + ".done").touch()
