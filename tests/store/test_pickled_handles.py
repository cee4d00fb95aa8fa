"""Pickled and copied stores, which open at their first use."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from conftest import OpenStore
from support.files import contents

from lmdb_object_store import LmdbObjectStore, StoreClosedError

MIB = 1024 * 1024

Store = LmdbObjectStore[Any, Any]


def test_pickled_handle_opens_at_its_first_use(path: str, open_store: OpenStore) -> None:
    """A handle carries the path and the options, and touches the file only when it is used."""
    store = open_store(batch_size=7, batch_bytes=1000, autoflush_on_read=False, str_normalize="NFC", max_map_size=MIB)
    store["key"] = 1
    data = pickle.dumps(store)
    store.close()
    handle: Store = pickle.loads(data)
    assert contents(path) == {"key": 1}  # which needs a file that is not open here
    assert "not opened" in repr(handle)
    assert handle["key"] == 1
    assert (handle.batch_size, handle.batch_bytes, handle.autoflush_on_read) == (7, 1000, False)
    assert (handle.str_normalize, handle.max_map_size, handle.key_encoding) == ("NFC", MIB, "utf-8")
    handle.close()


USES: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("key"),
    "[]": lambda store: store["key"],
    "in": lambda store: "key" in store,
    "put": lambda store: store.put("new", 1),
    "del": lambda store: store.__delitem__("key"),
    "pop": lambda store: store.pop("key"),
    "len": len,
    "iter": list,
    "items": lambda store: list(store.items()),
    "get_many": lambda store: store.get_many(["key"]),
    "put_many": lambda store: store.put_many({"new": 1}),
    "flush": lambda store: store.flush(),
    "clear": lambda store: store.clear(),
    "with": lambda store: store.__enter__()["key"],
    "env": lambda store: store.env.info(),
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_pickled_handle_is_opened_by_any_use(open_store: OpenStore, use: Callable[[Store], object]) -> None:
    """Any first use of a handle opens its file, and the handle works like the original."""
    store = open_store()
    store["key"] = 1
    handle: Store = pickle.loads(pickle.dumps(store))
    try:
        use(handle)
        handle["after"] = 2
        handle.flush()
        assert store["after"] == 2
    finally:
        handle.close()
    with pytest.raises(StoreClosedError):
        handle["after"]


def test_pickled_handle_that_was_never_used_closes_quietly(open_store: OpenStore) -> None:
    """Closing a handle that was not used opens nothing, and leaves it closed."""
    store = open_store()
    handle: Store = pickle.loads(pickle.dumps(store))
    handle.close()
    with pytest.raises(StoreClosedError):
        handle["key"]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copied_handle_is_a_second_store(open_store: OpenStore, copied: Callable[[Store], Store]) -> None:
    """A copied store is another store on the same file: with all the data, and a buffer and an end of its own."""
    store = open_store()
    store["key"] = 1
    with copied(store) as other:
        assert other["key"] == 1
        other["key"] = 2
        assert store["key"] == 1
    assert store["key"] == 2
