"""A full disk during flush, put_many, growth and close; reads work, and the store flushes once there is space."""

from __future__ import annotations

import logging
import os
import pickle
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import lmdb
import pytest
from harness import Figures, budget, mounted
from journal import (
    Journal,
    Model,
    Operation,
    State,
    Store,
    compare,
    found_at,
    in_file,
    random_operation,
    stamp_of,
    value_of,
)

from lmdb_object_store import FlushError, LmdbObjectStore

KINDS = ["flush", "put_many", "transaction", "grow", "close"]


class Disk(Protocol):
    """A place for a store where space can be taken away and given back."""

    path: str

    def fill(self, left: int) -> None:
        """Leave at most `left` bytes."""

    def free(self) -> None:
        """Give the space back."""


class SmallDisk:
    """A file system of 16 MiB in memory, which a file beside the store fills."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "db")
        self.filler = folder / "filler"

    def fill(self, left: int) -> None:
        """Write zeros until there is no space, and give back whole pages of it."""
        with self.filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        os.truncate(self.filler, max(0, self.filler.stat().st_size - left // 4096 * 4096))

    def free(self) -> None:
        """Delete the filler."""
        self.filler.unlink(missing_ok=True)


class Quota:
    """Any file system, on which this process may not write beyond a place in a file."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "db")

    def fill(self, left: int) -> None:
        """Let the data file grow by `left` bytes."""
        size = os.stat(os.path.join(self.path, "data.mdb")).st_size
        _limit(size + left)

    def free(self) -> None:
        """Remove the limit."""
        _limit(resource.getrlimit(resource.RLIMIT_FSIZE)[1])


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@contextmanager
def disks(folder: Path) -> Iterator[list[Disk]]:
    """Yield a quota, and a small file system if this user may mount one."""
    small = folder / "small"
    small.mkdir()
    is_mounted = mounted(small)
    try:
        yield [Quota(folder), *([SmallDisk(small)] if is_mounted else [])]
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(small)], check=True)


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Fill the disk before one kind of write, which fails; then make room, and do it again."""
    source, figures = random.Random(seed), Figures("full disk")
    logging.disable()  # the flushes that reads set off fail too, and are logged
    with disks(folder) as places:
        figures.remarks["on"] = "quota and tmpfs" if len(places) > 1 else "quota (this user may not mount)"
        for number in budget(seconds, len(places) * len(KINDS)):
            disk = places[number % len(places)]
            kind = KINDS[number // len(places) % len(KINDS)]
            shutil.rmtree(disk.path, ignore_errors=True)
            try:
                _round(disk, kind, source, folder, figures)
            finally:
                disk.free()
            figures.rounds += 1
    return figures


def _round(disk: Disk, kind: str, source: random.Random, folder: Path, figures: Figures) -> None:
    store = _open(disk, source)
    journal = Journal(folder / "journal")
    for _ in range(source.randrange(1, 30)):
        operation = random_operation(source, "k", without="close")
        if operation[0] != "grow":
            journal.run(store, operation)
    journal.run(store, ("flush", {}))
    model = Model(store.batch_size or 0)
    acknowledged, (state,) = model.replay(journal.read())
    large: Operation = ("put_many", {f"large{i}": source.choice([1000, 100_000, 1 << 20]) for i in range(10)})
    large[1]["large"] = 3 << 20  # more than is left in any case
    disk.fill(source.randrange(100_000))
    expected = _fail(store, kind, large, journal, state)
    failed = journal.number
    if kind == "close":
        assert found_at(disk.path) == state
        disk.free()
        store = _open(disk, source)
        journal.run(store, large)
    else:
        _still_works(store, expected, source)
        figures.add(compare(0, [state], in_file(store)))
        disk.free()
        journal.run(store, ("flush", {}) if kind == "flush" else large)
    written = failed if kind == "flush" else journal.number
    journal.run(store, ("close", {}))
    journal.close()
    wanted = {**state, **{key: (written, size or 0) for key, size in large[1].items()}}
    figures.add(compare(acknowledged + len(large[1]), [wanted], found_at(disk.path)))


def _open(disk: Disk, source: random.Random) -> Store:
    return LmdbObjectStore(
        disk.path,
        source.choice([50, 1000]),
        key_encoding="utf-8",
        map_size=source.choice([1 << 20, 1 << 26]),
        autoflush_on_read=source.random() < 0.5,
    )


def _fail(store: Store, kind: str, large: Operation, journal: Journal, state: State) -> State:
    # Changes that stay pending are expected beside the file's contents.
    journal.number += 1
    values = {key: value_of((journal.number, size or 0)) for key, size in large[1].items()}
    with pytest.raises((lmdb.Error, FlushError)) as caught:  # noqa: PT012
        if kind in ("put_many", "grow"):
            store.put_many(values)
        if kind == "transaction":
            with store.transaction():
                store.update(values)
        store.update(values)
        store.flush() if kind == "flush" else store.close(strict=True)
    if isinstance(caught.value, FlushError):
        assert {key.decode(): pickle.loads(data or b"") for key, data in caught.value.pending.items()} == values
    assert kind != "close" or isinstance(caught.value, FlushError)
    pending = {key: stamp_of(value) for key, value in values.items()} if kind == "flush" else {}
    return {**state, **pending}


def _still_works(store: Store, expected: State, source: random.Random) -> None:
    assert {key: stamp_of(value) for key, value in store.items()} == expected
    assert len(store) == len(expected)
    for key in source.sample(sorted(expected), min(10, len(expected))):
        assert stamp_of(store[key]) == expected[key]
        assert key in store
    assert store.get("none") is None
