"""Keys, values and options of wrong kinds and sizes: a clear error, and neither the file nor the buffer changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from lmdb_object_store import LmdbObjectStore

Store = LmdbObjectStore[Any, Any]
KEYS = [None, 1, 1.5, True, (), ("a",), [b"a"], {}, object(), type, ..., float("nan"), range(3)]
TOO_LONG = ["k" * 512, "é" * 256, b"k" * 100_000, bytearray(512), memoryview(bytes(512)), "\udcff"]

WRITES: dict[str, Callable[[Store, Any], object]] = {
    "[]=": lambda store, key: store.__setitem__(key, 1),
    "put": lambda store, key: store.put(key, 1),
    "put_many": lambda store, key: store.put_many([("fine", 1), (key, 1)]),
    "setdefault": lambda store, key: store.setdefault(key, 1),
    "update": lambda store, key: store.update([(key, 1)]),
    "|=": lambda store, key: store.__ior__([(key, 1)]),
}
LOOKUPS: dict[str, Callable[[Store, Any], object]] = {
    "[]": lambda store, key: store[key],
    "get": lambda store, key: store.get(key),
    "in": lambda store, key: key in store,
    "exists": lambda store, key: store.exists(key),
    "get_many": lambda store, key: store.get_many(["a", key]),
    "del": lambda store, key: store.__delitem__(key),
    "delete": lambda store, key: store.delete(key),
    "pop": lambda store, key: store.pop(key, None),
}


@pytest.fixture
def store(path: str) -> Any:
    """Open a store with a stored and a pending item, which nothing here may change."""
    with LmdbObjectStore[Any, Any](path, key_encoding="utf-8", autoflush_on_read=False) as store:
        store.put_many({"a": 1})
        store["b"] = 2
        yield store
        assert list(store.write_buffer) == [b"b"]
        assert dict(store) == {"a": 1, "b": 2}


@pytest.mark.parametrize("call", [*WRITES.values(), *LOOKUPS.values()], ids=[*WRITES, *LOOKUPS])
def test_methods_key_of_a_wrong_type_raises_type_error(store: Store, call: Callable[[Store, Any], object]) -> None:
    """Each method raises a TypeError that names the type."""
    for key in KEYS:
        with pytest.raises(TypeError, match=r"[Kk]ey"):
            call(store, key)


@pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
def test_write_of_a_key_that_cannot_be_stored_raises_value_error(
    store: Store, call: Callable[[Store, Any], object]
) -> None:
    """The error names the key, which is too long or is text that cannot be encoded."""
    for key in TOO_LONG:
        with pytest.raises(ValueError, match="key"):
            call(store, key)


def test_write_of_a_value_that_cannot_be_pickled_changes_nothing(store: Store) -> None:
    """The pickler's own error is raised before anything is changed."""

    class Unpicklable:
        def __reduce__(self) -> str:
            raise ZeroDivisionError

    for write in (
        lambda: store.put("c", Unpicklable()),
        lambda: store.setdefault("c", Unpicklable()),
        lambda: store.update(c=Unpicklable()),
    ):
        with pytest.raises(ZeroDivisionError):
            write()


@pytest.mark.parametrize("items", [1, None, [1], [("a",)], [("a", 1, 2)], "text", [None]], ids=repr)
@pytest.mark.parametrize("method", ["put_many", "update"])
def test_update_items_of_wrong_types_are_refused(store: Store, method: str, items: Any) -> None:
    """TypeError or ValueError is raised for neither a mapping nor pairs, as by a dict's `update`."""
    with pytest.raises((TypeError, ValueError)):
        getattr(store, method)(items)


@pytest.mark.parametrize("name", ["batch_size", "batch_bytes", "max_map_size"])
@pytest.mark.parametrize("limit", [0, -1, -(1 << 70), 1.5, float("nan"), "10", b"1", [1]], ids=repr)
def test_constructor_limit_that_is_none_is_refused(path: str, name: str, limit: object) -> None:
    """A limit that is no whole number is a TypeError, one below 1 a ValueError. No file is made."""
    with pytest.raises((TypeError, ValueError), match=name):
        LmdbObjectStore(path, **{name: limit})  # type: ignore[arg-type]
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"map_size": "1 GB"}, "map_size must be an int"),
        ({"map_size": 1e9}, "map_size must be an int"),
        ({"max_readers": -1}, "max_readers must be at least 1"),
        ({"key_encodin": "utf-8"}, "did you mean key_encoding"),
        ({"read_only": True}, "did you mean readonly"),
        ({"nothing_like_it": True}, "has an option nothing_like_it$"),
        ({"writeback": True}, "lmdb_object_store.open"),
        ({"str_normalize": "nfc"}, "'NFC'.* not 'nfc'"),
    ],
    ids=str,
)
def test_constructor_option_that_is_wrong_is_refused(path: str, options: dict[str, Any], hint: str) -> None:
    """The error names the option and the remedy. No file is made."""
    with pytest.raises((TypeError, ValueError), match=hint):
        LmdbObjectStore(path, **options)
    assert not os.path.exists(path)


def test_constructor_without_a_path_raises_type_error() -> None:
    """Any function that takes a path raises the same error."""
    with pytest.raises(TypeError, match="NoneType"):
        LmdbObjectStore(None)  # type: ignore[arg-type]
