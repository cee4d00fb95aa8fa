"""Stores that write back, and values that can refuse to be pickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from conftest import OpenStore

from lmdb_object_store._shelve.writeback import WritebackStore

Store = WritebackStore[Any, Any]
Open = Callable[..., Store]


class WatchedStore(Store):
    """A store that notes which keys its commits write."""

    written: list[bytes]

    def _commit(self, changes: Mapping[bytes, bytes | None], **options: Any) -> None:
        super()._commit(changes, **options)
        self.written = [*getattr(self, "written", []), *changes]


class Person:
    """An object whose pickle differs from that of its copy: name of an attribute and value are one string before."""

    def __init__(self, role: str) -> None:
        self.role = role


class Stubborn(list[Any]):
    """A list that can be pickled as long as it is empty."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self:
            raise ArithmeticError("not to be pickled")
        return Stubborn, ()


@pytest.fixture
def open_cached(open_store: OpenStore) -> Open:
    """Return a function that opens stores that write back."""
    return partial(open_store, kind=WritebackStore)  # type: ignore[return-value]


@pytest.fixture
def lists(open_cached: Open) -> Store:
    """Open a store again, so that nothing is kept yet, with lists under `a`, `b` and `c`."""
    with open_cached() as store:
        store.update(a=[1], b=[2], c=[3])
    return open_cached()
