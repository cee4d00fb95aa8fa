"""Processes that write to one file while programs read, copy, delete and replace its lock file."""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness import Figures, budget
from journal import Journal, Model, Store, compare, found_at, random_operation, stamp_of
from support.lock_file_tools import TOOLS
from support.programs import Child

from lmdb_object_store import ConflictError, LmdbObjectStore

NAMES = ["a", "b"]
BATCH_SIZE = 20


def use(tool: str, path: Path) -> None:
    """Run `tool` on the store's folder, in this process."""
    TOOLS[tool](path, path.parent / f"scratch {os.getpid()}")


def open_store(path: str) -> Store:
    """Open a store for a writer."""
    return LmdbObjectStore(path, BATCH_SIZE, key_encoding="utf-8")


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Run two processes that put, flush and count in transactions; each runs a tool on the folder now and then."""
    source, figures = random.Random(seed), Figures("lock files read, copied, deleted, replaced")
    for number in budget(seconds, len(TOOLS)):
        tool = [*TOOLS][number % len(TOOLS)]
        path = folder / f"db{number % 2}"
        shutil.rmtree(path, ignore_errors=True)
        open_store(str(path)).close()
        journals = {name: Journal(folder / f"journal {name}") for name in NAMES}
        writers = [Child(partial(write, path, name, journals[name], source.random(), tool)) for name in NAMES]
        visitors = [Child(partial(visit, path, tool)) for _ in range(2)]
        for child in [*writers, *visitors]:
            child.join()
        for name, journal in journals.items():
            journal.close()
            acknowledged, allowed = Model(BATCH_SIZE, {}).replay(journal.read())
            figures.add(compare(acknowledged, allowed, found_at(str(path), f"{name} ")))
        with open_store(str(path)) as store:
            counted = store["counter"]
        expected = sum(len(file.read_text()) for file in folder.glob("counted *"))
        for file in folder.glob("counted *"):
            file.unlink()
        figures.acknowledged += expected
        figures.lost += abs(expected - counted)
        figures.count(tool)
        figures.rounds += 1
    return figures


def write(path: Path, name: str, journal: Journal, seed: float, tool: str) -> None:
    """Write and count for a while, with the tool at work in this process in between."""
    logging.disable()  # each loss of locks is a warning
    source = random.Random(seed)
    store = open_store(str(path))
    with open(path.parent / f"counted {name}", "a", buffering=1) as counted:
        for _ in budget(0.7, 20):
            for _ in range(source.randrange(5)):
                operation = random_operation(source, f"{name} ", without="clear")
                if operation[0] not in ("close", "grow"):
                    journal.run(store, operation)
            journal.run(store, ("flush", {}))
            count(store, within=lambda: use(tool, path) if source.random() < 0.2 else None)
            counted.write(".")
            if source.random() < 0.3:
                use(tool, path)
    journal.run(store, ("close", {}))


def visit(path: Path, tool: str) -> None:
    """Open the store again and again, and read all of it: the values are those of the writers."""
    logging.disable()
    for number in budget(0.7, 5):
        with open_store(str(path)) as store:
            for key, value in store.items():
                assert key == "counter" or stamp_of(value) != (-1, -1), f"a torn value of {key}"
            if number % 5 == 4:
                use(tool, path)
            store.get("counter")


def count(store: Store, within: Callable[[], None]) -> None:
    """Add one to the counter that both processes share."""
    while True:
        try:
            with store.transaction():
                number = store.get("counter", 0)
                within()
                store["counter"] = number + 1
            return
        except ConflictError:  # another process wrote while the file was opened again
            pass
