"""Keys: bytes-likes and text, error handlers and normal forms, the longest, the empty and the reserved key."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from conftest import OpenStore
from support.stores import Store

from lmdb_object_store._buffer import pending as _buffer
from lmdb_object_store._mapping import bulk as _bulk
from lmdb_object_store._values import serializing as _serializing

# -- deletion


def test_keys_set_operations_know_the_form_that_iteration_gives(store: Store) -> None:
    """A text key as bytes is in the store but is no element of its sets, as in `set(store)`."""
    store.update(a=1, b=2)
    keys: Any = store.keys()
    assert b"a" in store
    for other in ({b"a", "b"}, {b"a"}, {"a", b"a"}, set()):
        plain = set(store)
        assert keys & other == plain & other
        assert keys - other == plain - other
        assert other - keys == other - plain
        assert keys ^ other == plain ^ other
        assert (keys >= other, keys <= other, keys == other) == (plain >= other, plain <= other, plain == other)
        assert keys.isdisjoint(other) == plain.isdisjoint(other)


# -- keys


@pytest.mark.parametrize("key", [b"k", bytearray(b"k"), memoryview(b"k"), memoryview(b"k-")[::2]])
def test_put_bytes_like_key_is_taken_by_every_store(open_store: OpenStore, key: Any) -> None:
    """bytes, bytearray and memoryview are keys, with `key_encoding` or without, and the same one."""
    for number, encoding in enumerate((None, "utf-8")):
        store = open_store(key_encoding=encoding, path=f"{open_store().db_path}{number}")
        store[key] = 1
        assert store[b"k"] == store.get(key) == 1
        assert key in store
        assert list(store) == ["k" if encoding else b"k"]
        del store[key]
        assert not store


def test_get_str_key_without_an_encoding_is_refused(open_store: OpenStore) -> None:
    """Without `key_encoding` a str key is a TypeError whose message tells how to enable it."""
    store = open_store(key_encoding=None)
    for call in (store.get, store.exists, store.__contains__, store.delete, store.pop):
        with pytest.raises(TypeError) as caught:
            call("a")
        assert str(caught.value) == "str keys are not allowed (set key_encoding='utf-8' etc. to enable)."


def test_get_foreign_key_names_its_type_and_the_way_out(open_store: OpenStore) -> None:
    """The error for what is no key names its type and the way out."""
    raw, text = open_store(key_encoding=None), open_store()
    way_out = "or make a store with key_encoding=OrderedKeys(), which takes numbers, dates and tuples."
    for store, key, message in (
        (raw, None, "Key cannot be None."),
        (text, None, "Key cannot be None."),
        (raw, 5, f"Key must be bytes-like; got int. Convert it to bytes, {way_out}"),
        (text, 5, f"Key must be bytes-like or str; got int. Convert it to str, {way_out}"),
    ):
        with pytest.raises(TypeError) as caught:
            store.get(key)
        assert str(caught.value) == message


def test_key_errors_handle_text_that_cannot_be_encoded(open_store: OpenStore) -> None:
    """`key_errors` is the error handler of the encoding."""
    strict, ignoring = open_store(key_encoding="ascii"), open_store(key_encoding="ascii", key_errors="ignore")
    with pytest.raises(UnicodeEncodeError):
        strict["aé"] = 1
    ignoring["aé"] = 1
    assert list(ignoring) == ["a"]


def test_iter_key_that_does_not_decode_is_given_as_bytes(open_store: OpenStore) -> None:
    """A stored key that does not decode under any `key_errors` is given as bytes and finds its value."""
    for errors in ("strict", "ignore", "replace", "backslashreplace", "xmlcharrefreplace"):
        store = open_store(key_encoding="ascii", key_errors=errors)
        store[b"\xff"] = 1
        assert [(key, store[key]) for key in store] == [(b"\xff", 1)]
        assert store.popitem() == (b"\xff", 1)


def test_str_normalize_makes_all_spellings_one_key(open_store: OpenStore) -> None:
    """With `str_normalize` all spellings of one text are one key."""
    store = open_store(str_normalize="NFC")
    store["e\u0301"] = 1
    assert store["\u00e9"] == 1
    assert list(store) == [unicodedata.normalize("NFC", "e\u0301")]


@pytest.mark.parametrize(("options", "limit"), [({}, 511), ({"lib_version": 1}, 1978)])
def test_put_key_over_the_limit_is_refused(open_store: OpenStore, options: dict[str, Any], limit: int) -> None:
    """A key of the file's limit is stored; a longer one is a ValueError at the call, and no look-up finds it."""
    store = open_store(**options)
    store["k" * limit] = 1
    for write in (store.put, store.__setitem__, store.setdefault):
        with pytest.raises(ValueError, match=str(limit)):
            write("k" * (limit + 1), 1)
    with pytest.raises(ValueError, match=str(limit)):
        store.put_many({"k" * (limit + 1): 1})
    store.flush()
    for long in ("k" * (limit + 1), "k" * 5000):
        assert long not in store
        assert store.get(long, 9) == 9
        assert store.exists(long) is False
        assert store.pop(long, 9) == 9
        assert store.get_many([long]) == ({}, [long])
        assert store.keys() & {long} == set()
    assert list(store.items()) == list(store.items()) == [("k" * limit, 1)]
    assert list(reversed(store)) == ["k" * limit]


@pytest.mark.parametrize("options", [{}, {"lib_version": 1}])
def test_put_empty_key_is_kept_and_comes_first(open_store: OpenStore, options: dict[str, Any]) -> None:
    """The empty key is a key, through a flush and a reopening, and comes first."""
    store = open_store(**options)
    store.update({"": 1, "\0a": 2, "a": 3})
    store.close()
    store = open_store(**options)
    assert list(store.items()) == [("", 1), ("\0a", 2), ("a", 3)]
    assert store[b""] == 1
    assert store.popitem(last=False) == ("", 1)


def test_put_reserved_key_is_refused(store: Store) -> None:
    """511 NUL bytes cannot be written, with a message that says why, and are not there."""
    store[""] = 1
    for flush in (False, True):
        if flush:
            store.flush()
        assert "\0" * 511 not in store
        assert store.get(b"\0" * 511) is None
        with pytest.raises(ValueError, match="reserved"):
            store["\0" * 511] = 2
    assert list(store) == [""]


def test_put_value_over_the_limit_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value beyond LMDB's limit is a ValueError at the call, and changes nothing."""
    for module in (_bulk, _serializing, _buffer):
        monkeypatch.setattr(module, "MAX_VALUE_BYTES", 1000)
    for write in (store.put, store.__setitem__, store.setdefault, lambda key, value: store.update({key: value})):
        with pytest.raises(ValueError, match=r"'a'.*1000"):
            write("a", bytes(1000))
    with pytest.raises(ValueError, match="1000"):
        store.put_many({"b": 1, "a": bytes(1000)})
    assert store == {}
