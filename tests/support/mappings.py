"""A dict and stores with every set of options, for tests of what holds for any mutable mapping."""

from __future__ import annotations

import marshal
from collections.abc import Callable
from typing import Any

import pytest
from conftest import OpenStore

from lmdb_object_store import OrderedKeys
from lmdb_object_store._shelve.writeback import WritebackStore

# Sorted, so that a dict's order of insertion is the store's order of keys.
DATA = {"a": 1, "b": 2, "c": 3}
Make = Callable[[dict[str, Any]], Any]

STORES: list[dict[str, Any]] = [
    {"autoflush_on_read": autoflush, "batch_size": batch_size}
    for autoflush in (True, False)
    for batch_size in (1, 1000)
]
STORES.append({"autoflush_on_read": True, "batch_size": 1000, "key_encoding": OrderedKeys()})
# Stores that keep their values, some or all, and one that does not pickle: as mappings they are the same.
OTHER_STORES: list[dict[str, Any]] = [
    {"kind": WritebackStore, **STORES[0], "max_cached": None},
    {"kind": WritebackStore, **STORES[3], "max_cached": None},
    {"kind": WritebackStore, **STORES[3], "max_cached": 1},
    {"serializer": marshal, **STORES[3]},
]


def option_names(options: dict[str, Any] | None) -> str:
    """Return the name of a case with these options."""
    return (
        "dict" if options is None else "-".join(getattr(option, "__name__", str(option)) for option in options.values())
    )


@pytest.fixture(params=[None, *STORES, *OTHER_STORES], ids=option_names)
def make(request: pytest.FixtureRequest, open_store: OpenStore, path: str) -> Make:
    """Return a function that makes a mapping of given items: a dict, or a store with each set of options."""
    made = 0

    def mapping(items: dict[str, Any]) -> Any:
        nonlocal made
        made += 1
        if request.param is None:
            return dict(items)
        store = open_store(path=f"{path}{made}", **request.param)
        for key, value in items.items():
            store[key] = value
        return store

    return mapping


@pytest.fixture
def m(make: Make) -> Any:
    """Return a mapping of `DATA`."""
    return make(DATA)


@pytest.fixture
def empty(make: Make) -> Any:
    """Return a mapping of nothing."""
    return make({})
