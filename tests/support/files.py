"""A store's file, looked at from outside."""

from __future__ import annotations

import mmap
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb


def contents(path: str) -> dict[str, Any]:
    """Return the rows of the file at `path`, which this process has not open, by py-lmdb alone."""
    with lmdb.open(path, readonly=True) as environment, environment.begin() as txn:
        return {bytes(key).decode(): pickle.loads(data) for key, data in txn.cursor()}


def meta_pages(path: str) -> bytes:
    """Return the two pages of the file, one of which each commit writes."""
    with open(os.path.join(path, "data.mdb"), "rb") as file:
        return file.read(2 * mmap.PAGESIZE)  # LMDB takes the system's size for a new file


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Check that no file of `folder` but the lock files changes, appears or goes."""

    def state() -> dict[str, bytes]:
        return {
            str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file() and "lock" not in file.name
        }

    before = state()
    yield
    assert state() == before
