"""A journal outside the store: what a writer began and what was acknowledged, and whether the file agrees with it."""

from __future__ import annotations

import json
import os
import pickle
import random
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
from support.files import contents

from lmdb_object_store import ConflictError, LmdbObjectStore

Store = LmdbObjectStore[Any, Any]
# A value is identified by the number of the operation that wrote it, and by its size.
Stamp = tuple[int, int]
State = dict[str, Stamp]
# The name of an operation, then its argument: keys with the size of each value in bytes, or None for a deletion.
Operation = tuple[str, dict[str, int | None]]


@dataclass
class Transaction:
    """The changes of one commit to the file."""

    changes: dict[str, Stamp | None]
    empties: bool = False

    def applied_to(self, state: State) -> State:
        """Return the file's contents after it."""
        merged = {**({} if self.empties else state), **self.changes}
        return {key: stamp for key, stamp in merged.items() if stamp is not None}


@dataclass
class Verdict:
    """Writes that were acknowledged as committed; of these, not found as they must be; transactions found in part."""

    acknowledged: int = 0
    lost: int = 0
    partial: int = 0


def value_of(stamp: Stamp) -> tuple[int, bytes]:
    """Return the value that the operation of that number writes: bytes of the given size that no other writes."""
    number, size = stamp
    return number, (number.to_bytes(8, "big") * (size // 8 + 1))[:size]


def stamp_of(value: Any) -> Stamp:
    """Return the stamp of a value that was read; (-1, -1), which is never right, for any other value."""
    try:
        stamp = (value[0], len(value[1]))
        return stamp if value_of(stamp) == value else (-1, -1)
    except (TypeError, ValueError, OverflowError, IndexError):
        return -1, -1


def found_at(path: str, prefix: str = "") -> State:
    """Return the rows of the file under keys that begin with `prefix`, by py-lmdb alone."""
    try:
        rows = contents(path)
    except lmdb.Error:
        data = os.path.join(path, "data.mdb")
        if os.path.exists(data) and os.path.getsize(data):
            raise
        return {}  # killed before there was a file, or anything in it
    return {key: stamp_of(value) for key, value in rows.items() if key.startswith(prefix)}


def in_file(store: Store) -> State:
    """Return the rows of the file of `store`, which is open, by py-lmdb alone."""
    with store.env.begin() as txn:
        return {bytes(key).decode(): stamp_of(pickle.loads(data)) for key, data in txn.cursor()}


class Journal:
    """Appends a line before each operation and one after it: what a killed writer has written stays."""

    def __init__(self, file: Path, after: int = 0) -> None:
        self.file = file
        self.number = after  # of the last operation: those of one file must all differ
        self._handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)

    def run(self, store: Store, operation: Operation) -> None:
        """Do `operation` to `store`, with a line before and another after it."""
        self.number += 1
        self.note("begun", self.number, operation)
        perform(store, operation, self.number)
        self.note("done", self.number)

    def note(self, *words: object) -> None:
        """Append a line, in one system call."""
        os.write(self._handle, (json.dumps(words) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def read(self) -> Iterator[tuple[int, Operation, bool]]:
        """Return each operation with its number, and True if it was acknowledged."""
        return self.read_file(self.file)

    @staticmethod
    def read_file(file: Path) -> Iterator[tuple[int, Operation, bool]]:
        """Return the same for the journal in `file`."""
        begun: dict[int, Operation] = {}
        done: set[int] = set()
        for line in file.read_text().splitlines():
            word, number, *rest = json.loads(line)
            if word == "begun":
                begun[number] = (rest[0][0], rest[0][1])
            else:
                done.add(number)
        return ((number, operation, number in done) for number, operation in begun.items())


def perform(store: Store, operation: Operation, number: int) -> None:
    """Do `operation`, the one of that number."""
    name, sizes = operation
    if name == "put":
        for key, size in sizes.items():
            store[key] = value_of((number, size or 0))
    elif name == "delete":
        for key in sizes:
            store.delete(key)
    elif name in ("put_many", "grow"):
        store.put_many((key, value_of((number, size or 0))) for key, size in sizes.items())
    elif name == "transaction":
        _in_transaction(store, sizes, number)
    elif name == "clear":
        store.clear()
    elif name == "flush":
        store.flush()
    else:
        store.close(strict=True)


class _Undo(Exception):
    """The exception that rolls back a savepoint."""


def _in_transaction(store: Store, sizes: dict[str, int | None], number: int) -> None:
    while True:
        try:
            with store.transaction():
                for key, size in sizes.items():
                    if size is None:
                        store.delete(key)
                    else:
                        store[key] = value_of((number, size))
                with suppress(_Undo), store.transaction():
                    store.update(dict.fromkeys(sizes, "undone"))
                    raise _Undo
            return
        except ConflictError:  # another process wrote while room was made
            pass


class Model:
    """The contents that the file must have, by the operations that were acknowledged."""

    def __init__(self, batch_size: int, state: State | None = None) -> None:
        self.batch_size = batch_size
        self.state = state or {}
        self.pending: dict[str, Stamp | None] = {}

    def transactions(self, operation: Operation, number: int) -> list[Transaction]:
        """Return the commits that `operation` makes, in order; its buffered changes are pending then."""
        name, sizes = operation
        stamps = {key: None if size is None else (number, size) for key, size in sizes.items()}
        if name in ("put", "delete"):
            self.pending.update(stamps)
            return [self._flush()] if len(self.pending) >= self.batch_size else []
        if name == "clear":
            self.pending = {}
            return [Transaction({}, empties=True)]
        return [self._flush(), *([Transaction(dict(stamps))] if stamps else [])]

    def _flush(self) -> Transaction:
        changes, self.pending = self.pending, {}
        return Transaction(changes)

    def replay(self, lines: Iterable[tuple[int, Operation, bool]]) -> tuple[int, list[State]]:
        """Return the acknowledged writes, and each possible state of the file: several if an operation was cut off."""
        acknowledged = 0
        allowed = [self.state]
        for number, operation, done in lines:
            for transaction in self.transactions(operation, number):
                allowed.append(transaction.applied_to(allowed[-1]))
                acknowledged += len(transaction.changes) if done else 0
            if done:
                allowed = allowed[-1:]
        self.state = allowed[0]
        return acknowledged, allowed


def compare(acknowledged: int, allowed: list[State], found: State) -> Verdict:
    """Return the verdict on the rows `found` in the file, which must be one of the states `allowed`."""
    verdict = Verdict(acknowledged)
    if found not in allowed:
        for key in {*found, *(key for state in allowed for key in state)}:
            verdict.lost += found.get(key) not in [state.get(key) for state in allowed]
        verdict.partial = not verdict.lost
    return verdict


OPERATIONS = {"put": 70, "delete": 8, "flush": 8, "put_many": 8, "transaction": 8, "grow": 2, "clear": 1, "close": 3}


def random_operation(source: random.Random, prefix: str, often: str = "", without: str = "") -> Operation:
    """Return any operation on keys with that prefix; `often`, if given, each second time."""
    names = [name for name in OPERATIONS if name != without]
    name = source.choices(names, [OPERATIONS[name] for name in names])[0]
    if often and source.random() < 0.5:
        name = often
    some = source.randint(1, 60)
    count = {"put": 1, "delete": 1, "put_many": some, "transaction": some, "grow": 1}.get(name, 0)
    keys = (f"{prefix}{source.randrange(300)}" for _ in range(count))
    sizes = {key: source.choice([0, 10, 200, 200, 5000]) for key in keys}
    if name == "delete":
        return name, dict.fromkeys(sizes)
    if name == "transaction":
        changes = {key: None if source.random() < 0.2 else size for key, size in sizes.items()}
        if source.random() < 0.1:
            changes[f"{prefix}large"] = source.randint(1, 4) << 20
        return name, changes
    if name == "grow":
        return name, {f"{prefix}large": source.randint(1, 4) << 20}
    return name, dict(sizes)
