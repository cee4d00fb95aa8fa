"""Attributes of a store: what a program may set on an open one, and what happens if it is opened twice."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.files import contents

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore, OrderedKeys, StoreClosedError
from lmdb_object_store._shelve.writeback import WritebackStore

KINDS = [LmdbObjectStore, WritebackStore]


# -- options that are fixed


@pytest.mark.parametrize("flag", ["c", "r"])
def test_set_writeback_on_plain_store_raises_and_names_open(path: str, flag: str) -> None:
    """A shelf takes the attribute, and writes back. A store that only took the attribute would lose the changes."""
    lmdb_object_store.open(path).close()
    with lmdb_object_store.open(path, flag) as store:
        with pytest.raises(AttributeError, match=r"writeback is fixed.*open\(path, writeback=True\)"):
            store.writeback = True
        assert store.writeback is False
        store.writeback = False
    with lmdb_object_store.open(path, writeback=True) as store:
        assert store.writeback is True
        store.writeback = True
        with pytest.raises(AttributeError, match="writeback is fixed"):
            store.writeback = False


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("db_path", "other"),
        ("key_encoding", "latin-1"),
        ("key_encoding", OrderedKeys()),
        ("key_errors", "ignore"),
        ("str_normalize", "NFC"),
        ("serializer", __import__("json")),
        ("write_buffer", {}),
        ("env", None),
    ],
)
def test_set_option_of_open_store_raises_and_changes_nothing(
    open_store: OpenStore, kind: type[Any], name: str, value: Any
) -> None:
    """The option would be ignored, so the error says so before the user counts on it. Closed stores raise too."""
    store = open_store(kind=kind)
    store["k"] = 1
    before = getattr(store, name)
    with pytest.raises(AttributeError, match=name):
        setattr(store, name, value)
    assert getattr(store, name) is before
    assert store["k"] == 1
    store.close()
    with pytest.raises(AttributeError, match=name):
        setattr(store, name, value)
    assert contents(store.db_path) == {"k": 1}


def test_set_option_of_unpickled_store_raises(open_store: OpenStore) -> None:
    """A handle that opens its file later has its options already."""
    with pickle.loads(pickle.dumps(open_store())) as store:
        with pytest.raises(AttributeError, match="open the store again with key_encoding='ascii'"):
            store.key_encoding = "ascii"
        store["k"] = 1
        assert store.key_encoding == "utf-8"


def test_set_option_to_its_own_value_does_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass may keep the arguments of its constructor under their names, before or after it calls the base's."""

    class Own(LmdbObjectStore[str, Any]):
        def __init__(self, path: str, encoding: str) -> None:
            self.db_path = path
            self.key_encoding = encoding
            assert (self.db_path, self.key_encoding) == (path, encoding)
            super().__init__(path, key_encoding=encoding)
            self.db_path = path
            self.key_encoding = encoding

    with Own(path, "utf-8") as store:
        store["k"] = 1
        with pytest.raises(AttributeError, match="db_path"):
            store.db_path = "elsewhere"
    monkeypatch.chdir(os.path.dirname(path))
    with Own("db", "utf-8") as store:
        assert (store.db_path, store["k"]) == ("db", 1)


def test_option_before_init_is_no_attribute() -> None:
    """The error is AttributeError, not an internal one."""
    for name in ("db_path", "serializer", "writeback"):
        assert not hasattr(LmdbObjectStore.__new__(LmdbObjectStore), name)


# -- limits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["batch_size", "batch_bytes", "max_map_size", "max_cached"])
def test_set_limit_that_is_none_raises_and_changes_nothing(open_store: OpenStore, kind: type[Any], name: str) -> None:
    """A limit is checked when it is set, with the constructor's words, and not by the write that meets it."""
    if name == "max_cached" and kind is LmdbObjectStore:
        pytest.skip("a plain store keeps nothing")
    store = open_store(kind=kind)
    before = getattr(store, name)
    wrong: list[tuple[Any, type[Exception]]] = [("x", TypeError), (1.5, TypeError), (0, ValueError), (-1, ValueError)]
    for value, error in wrong:
        with pytest.raises(error, match=name):
            setattr(store, name, value)
        assert getattr(store, name) == before
    store["k"] = 1
    store.flush()


def test_set_batch_bytes_to_none_raises(open_store: OpenStore) -> None:
    """The bytes in memory are always bounded."""
    with pytest.raises(TypeError, match="batch_bytes must be an int"):
        open_store().batch_bytes = None  # type: ignore[assignment]


def test_set_limit_takes_effect(open_store: OpenStore) -> None:
    """The limit applies to the next write."""
    store = open_store(map_size=1 << 20, max_map_size=1 << 20)
    store.batch_size = 2
    store["a"] = 1
    assert len(store.write_buffer) == 1
    store["b"] = 2
    assert not store.write_buffer
    store.batch_size = None
    store.batch_bytes = 1000
    store["a"] = bytes(2000)
    assert not store.write_buffer
    with pytest.raises(lmdb.MapFullError):
        store.put_many({"large": bytes(2 << 20)})
    store.max_map_size = None
    store.put_many({"large": bytes(2 << 20)})
    store.autoflush_on_read = False
    store["c"] = 3
    assert store.get("z") is None
    assert len(store.write_buffer) == 1


def test_set_max_cached_takes_effect(path: str) -> None:
    """The bound applies to the next read, until no more is kept than it allows."""
    with WritebackStore[str, Any](path, key_encoding="utf-8") as store:
        store.update({str(number): [number] for number in range(5)})
        store.max_cached = 2
        store["0"].append("changed")
        assert len(store._cache) == 2
        store.max_cached = None
        list(store.values())
        assert len(store._cache) == 5
    assert contents(path)["0"] == [0, "changed"]


@pytest.mark.parametrize("kind", KINDS)
def test_set_other_attribute_is_kept(open_store: OpenStore, kind: type[Any]) -> None:
    """Any name that the store has no use for is the user's."""
    store: Any = open_store(kind=kind)
    store.foo = 1
    assert store.foo == 1


# -- opened twice


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("again", ["__init__", "__setstate__"])
def test_second_init_of_open_store_raises_and_changes_nothing(
    open_store: OpenStore, path: str, tmp_path: Any, kind: type[Any], again: str
) -> None:
    """Pending changes stay, changes in kept objects too, and so does the path."""
    state = open_store(path=str(tmp_path / "other"), kind=kind).__getstate__()
    store: Any = open_store(kind=kind)
    store["k"] = value = [1]
    store.flush()
    value.append(2)
    store["pending"] = 1
    calls: list[Callable[[], object]] = [
        lambda: store.__init__(tmp_path / "other", key_encoding="utf-8"),
        lambda: store.__init__(""),
    ]
    for call in calls if again == "__init__" else [lambda: store.__setstate__(state)]:
        with pytest.raises(RuntimeError, match="second time"):
            call()
    assert store.db_path == path
    assert store["pending"] == 1
    store.close(strict=True)
    assert contents(path) == {"k": [1, 2] if kind is WritebackStore else [1], "pending": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_init_of_closed_store_opens_it_again(path: str, kind: type[Any]) -> None:
    """A program may open its object again by `__init__`; if that fails, the store is closed as before."""
    store: Any = kind(path, key_encoding="utf-8")
    store["k"] = 1
    store.close()
    for wrong, error in ((("",), ValueError), ((path, 0), ValueError), ((path + "\0",), Exception)):
        with pytest.raises(error):
            store.__init__(*wrong)
        for use in (lambda: store.put(b"k", 2), lambda: store.get(b"k"), store.flush, lambda: list(store)):
            with pytest.raises(StoreClosedError):
                use()
        assert "closed" in repr(store)
        store.close()
    store.__init__(path, key_encoding="utf-8")
    store["l"] = store["k"]
    store.close()
    assert contents(path) == {"k": 1, "l": 1}


def test_init_after_failed_init_opens_the_store(path: str) -> None:
    """A constructor that raised has left nothing behind."""
    store: Any = LmdbObjectStore.__new__(LmdbObjectStore)
    with pytest.raises(TypeError):
        store.__init__(path, map_size="x")
    store.__init__(path, key_encoding="utf-8")
    store["k"] = 1
    store.close()
    assert contents(path) == {"k": 1}


class _Mixin:
    """A base that has nothing to do with stores."""


def test_writeback_of_a_class_with_another_base_cannot_be_set(path: str) -> None:
    """The attribute would have no effect there either."""

    class Mixed(LmdbObjectStore[Any, Any], _Mixin):
        pass

    with Mixed(path) as store, pytest.raises(AttributeError, match="writeback=True"):
        store.writeback = True
