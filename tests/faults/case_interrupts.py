"""Interrupts at every point of every call, and exceptions set from another thread: afterwards the store is in order."""

from __future__ import annotations

import ctypes
import gc
import random
import shutil
import threading
import time
from pathlib import Path

from harness import Figures, budget
from journal import Model, State, Store, Verdict, found_at, perform, random_operation, stamp_of
from support.checkpoints import Interrupt, at_checkpoint, interrupt
from support.threads import in_thread

from lmdb_object_store import LmdbObjectStore

BATCH_SIZE = 5
READS = ["get", "iteration", "len", "get_many"]
EVERY = 100  # rounds between two looks at the whole store, in a thread too
FURTHEST = 120  # places in a call where it is interrupted, at most; most calls have fewer


def open_store(path: str) -> Store:
    """Open a store that grows and flushes soon, and whose few reader slots would be missed."""
    return LmdbObjectStore(path, BATCH_SIZE, key_encoding="utf-8", map_size=1 << 20, sync=False, max_readers=8)


def read(store: Store, name: str) -> None:
    """Read, in that way."""
    if name == "get":
        store.get("k7")
    elif name == "iteration":
        for _ in store.items():
            pass
    elif name == "len":
        len(store)
    else:
        store.get_many(["k1", "k2", "none"])


class Checked:
    """A store, and the contents that it may have by its operations."""

    def __init__(self, path: str, source: random.Random) -> None:
        self.path, self.source = path, source
        self.store = open_store(path)
        self.state: State = {}
        self.number = 0
        self.acknowledged = 0

    def step(self, run: object) -> Verdict:
        """Do something at random by `run(body)`, which may interrupt it; then compare."""
        assert callable(run)
        if self.source.random() < 0.4:
            name = self.source.choice(READS)
            run(lambda: read(self.store, name))
            return Verdict()
        operation = random_operation(
            self.source, "k", often=self.source.choice(["put_many", "transaction", "transaction", "flush", "close", ""])
        )
        self.number += 1
        model = Model(1, self.state)
        model.replay([(self.number, operation, True)])
        pending = {key.decode() for key in self.store.write_buffer}
        run(lambda: perform(self.store, operation, self.number))
        if operation[0] == "close" or self.store._is_closed:
            self.reopen()
        verdict = self.compare(model.state)
        if operation[0] == "clear" and verdict.partial:
            # An interrupted `clear` may leave pending changes whose rows it deleted. It deletes all rows or none.
            left = {key: stamp_of(value) for key, value in self.store.items()}
            if all(key in pending and self.state.get(key) == stamp for key, stamp in left.items()):
                self.state = left
                return Verdict()
        return verdict

    def reopen(self) -> None:
        """Close the parts that the interrupt left open, and open the store again."""
        self.store.close(strict=True)
        found = found_at(self.path)
        self.store = open_store(self.path)
        assert {key: stamp_of(value) for key, value in self.store.items()} == found

    def compare(self, after: State) -> Verdict:
        """Check that the store has its earlier or its intended contents, which are the expected ones from now on."""
        keys = {key for key in {*self.state, *after} if self.state.get(key) != after.get(key)}
        found = {key: stamp_of(value) for key in keys if (value := self.store.get(key)) is not None}
        before = [found.get(key) == self.state.get(key) for key in keys]
        then = [found.get(key) == after.get(key) for key in keys]
        if all(then):
            self.acknowledged += len(keys)
            self.state = after
            return Verdict(len(keys))
        if all(before):
            return Verdict()
        lost = sum(not (one or other) for one, other in zip(before, then))
        return Verdict(lost=lost, partial=not lost)

    def look(self) -> Verdict:
        """Check all of it, after a flush and growth in another thread: nothing is locked, no reader slot taken."""
        in_thread(self.store.flush, limit=10)
        in_thread(lambda: self.store.put_many({"grown": bytes(self.source.randrange(4) << 20)}), limit=10)
        found = {key: stamp_of(value) for key, value in self.store.items()}
        del found["grown"]
        del self.store["grown"]
        gc.collect()
        assert "no active" in self.store.env.readers(), self.store.env.readers()
        return Verdict(lost=sum(found.get(key) != self.state.get(key) for key in {*found, *self.state}))


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Interrupt a random call at a random point, in each round."""
    source, figures = random.Random(seed), Figures("interrupts")
    checked = Checked(str(folder / "db"), source)

    def interrupted(body: object) -> None:
        assert callable(body)
        try:
            at_checkpoint(source.randrange(FURTHEST), interrupt, body)
        except Interrupt:
            figures.count("interrupted")

    for number in budget(seconds, EVERY):
        figures.add(checked.step(interrupted))
        figures.rounds += 1
        if number % EVERY == EVERY - 1:
            figures.add(checked.look())
    checked.store.close(strict=True)
    return figures


def run_from_another_thread(seed: int, seconds: float, folder: Path) -> Figures:
    """Set exceptions from another thread at random moments, over and over."""
    source, figures = random.Random(seed), Figures("exceptions from another thread")
    raising = ctypes.pythonapi.PyThreadState_SetAsyncExc
    checked = Checked(str(folder / "db"), source)
    armed, done, setting = threading.Event(), threading.Event(), threading.Lock()
    target = ctypes.c_ulong(threading.get_ident())

    def raise_in_it() -> None:
        chooser = random.Random(seed)
        while not done.is_set():
            if armed.wait(0.1):
                time.sleep(chooser.uniform(0, 0.0005))  # the moment is to be a random one
                with setting:
                    if armed.is_set():
                        armed.clear()
                        raising(target, ctypes.py_object(Interrupt))

    def interrupted(body: object) -> None:
        assert callable(body)
        begun = False
        while True:
            try:
                if not begun:
                    begun = True
                    armed.set()
                    body()
                with setting:
                    armed.clear()
                raising(target, None)  # one that has not arrived yet is to go no further than this
                return
            except Interrupt:
                figures.count("interrupted")

    thread = threading.Thread(target=raise_in_it, daemon=True)
    thread.start()
    try:
        for number in budget(seconds, EVERY):
            figures.add(checked.step(interrupted))
            figures.rounds += 1
            if number % EVERY == EVERY - 1:
                figures.add(checked.look())
    finally:
        done.set()
        thread.join(10)
    checked.store.close(strict=True)
    shutil.rmtree(folder / "db")
    return figures
