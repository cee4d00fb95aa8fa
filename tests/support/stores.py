"""Stores with a full map, values that cannot be unpickled, and rows seen beside the store."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import lmdb

from lmdb_object_store import LmdbObjectStore

KIB, MIB = 1 << 10, 1 << 20
Store = LmdbObjectStore[Any, Any]

# A map in which a value of `TOO_LARGE` bytes has no room: what a flush needs to fail.
TINY: dict[str, Any] = {"map_size": 64 * KIB, "max_map_size": 64 * KIB}
TOO_LARGE = b"x" * 100 * KIB


class Unloadable:
    """Can be pickled, and never be unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return _refuse, ()


def _refuse() -> None:
    raise ArithmeticError("refused")


def stored(path: str) -> dict[bytes, Any]:
    """Return the committed rows of the file, which no store may have open."""
    with lmdb.open(path, readonly=True) as environment, environment.begin() as txn:
        return {bytes(key): pickle.loads(data) for key, data in txn.cursor()}


def committed(store: Store) -> dict[bytes, Any]:
    """Return the rows of the store that are in the file already."""
    with store.env.begin() as txn:
        return {bytes(key): pickle.loads(data) for key, data in txn.cursor()}


def assert_no_reader(store: Store) -> None:
    """Check that no reader of any process has a slot of the reader table."""
    assert "no active" in store.env.readers()
