"""`kill -9` at random moments, during every kind of write; a writer killed while it has LMDB's lock."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import time
from functools import partial
from pathlib import Path

from harness import Figures, budget
from journal import OPERATIONS, Journal, Model, State, Store, compare, found_at, random_operation
from support import LIMIT
from support.checkpoints import in_each_commit
from support.programs import Child

from lmdb_object_store import LmdbObjectStore

BATCH_SIZES = [1, 2, 10, 100, 1000]
LONGEST = 0.03  # seconds until a kill: a few hundred operations
MOST = 1_000_000  # operations of each run
FRESH = 50  # rounds until a new file is begun


def open_store(path: str, batch_size: int, *, sync: bool = True) -> Store:
    """Open a store whose map is as small as its contents allow, so that it grows soon."""
    return LmdbObjectStore(path, batch_size, key_encoding="utf-8", map_size=1 << 20, sync=sync)


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Run one writer, and kill it after a random time during mostly one kind of write."""
    source, figures, state = random.Random(seed), Figures("kill -9"), State()
    path = folder / "db"
    for number in budget(seconds, len(OPERATIONS)):
        if number % FRESH == 0:
            shutil.rmtree(path, ignore_errors=True)
            state = {}
        often = list(OPERATIONS)[number % len(OPERATIONS)]
        batch_size = source.choice(BATCH_SIZES)
        journal = Journal(folder / "journal", number * MOST)
        child = Child(partial(write_for_ever, str(path), journal, source.random(), often, batch_size))
        time.sleep(source.uniform(0, LONGEST))  # the moment of the kill is to be a random one
        child.kill()
        journal.close()
        lines = list(journal.read())
        if lines and not lines[-1][2]:
            figures.count(f"killed in {lines[-1][1][0]}")
        acknowledged, allowed = Model(batch_size, state).replay(lines)
        state = found_at(str(path))
        figures.add(compare(acknowledged, allowed, state))
        figures.rounds += 1
    return figures


def write_for_ever(path: str, journal: Journal, seed: float, often: str, batch_size: int) -> None:
    """Write until killed."""
    source = random.Random(seed)
    sync = source.random() < 0.3
    while True:
        store = open_store(path, batch_size, sync=sync)
        while not store._is_closed:
            journal.run(store, random_operation(source, "k", often))


def run_two_writers(seed: int, seconds: float, folder: Path) -> Figures:
    """Run two writers, and kill one within its transaction; the other one's writes continue."""
    source, figures = random.Random(seed), Figures("kill -9 of one of two writers, which holds LMDB's lock")
    path = str(folder / "db")
    states: dict[str, State] = {"a": {}, "b": {}}
    open_store(path, 1).close()
    for number in budget(seconds, 3):
        journals = {name: Journal(folder / f"journal {name}", number * MOST) for name in states}
        batch_sizes = {name: source.choice(BATCH_SIZES[:4]) for name in states}
        told, tell = os.pipe()
        victim = Child(partial(hold_the_lock, path, journals["a"], source.random(), batch_sizes["a"], tell))
        assert select.select([told], [], [], LIMIT)[0], "the victim has not come to its commit"
        other = Child(partial(write_some, path, journals["b"], source.random(), batch_sizes["b"]))
        time.sleep(source.uniform(0, 0.01))  # the other is to be anywhere, waiting for the lock or on its way there
        victim.kill()
        other.join()
        os.close(told)
        os.close(tell)
        for name, journal in journals.items():
            journal.close()
            acknowledged, allowed = Model(batch_sizes[name], states[name]).replay(journal.read())
            states[name] = found_at(path, name)
            figures.add(compare(acknowledged, allowed, states[name]))
        figures.rounds += 1
    return figures


def hold_the_lock(path: str, journal: Journal, seed: float, batch_size: int, tell: int) -> None:
    """Write until a commit of a random number, and stay within that transaction until killed."""
    source = random.Random(seed)
    left = source.randrange(20)

    def stay() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.write(tell, b".")
            signal.pause()

    def write() -> None:
        while True:
            journal.run(store, random_operation(source, "a", without="clear"))
            if store._is_closed:
                return

    while True:
        store = open_store(path, batch_size, sync=False)
        in_each_commit(stay, write)


def write_some(path: str, journal: Journal, seed: float, batch_size: int) -> None:
    """Write so much that it cannot end before the victim does: it commits, for which it needs the lock."""
    source = random.Random(seed)
    store = open_store(path, batch_size, sync=False)
    for _ in range(40):
        operation = random_operation(source, "b", without="clear")
        if operation[0] != "close":
            journal.run(store, operation)
    journal.run(store, ("close", {}))
