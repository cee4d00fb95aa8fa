"""Stores whose keys an object encodes: OrderedKeys, and others, right and wrong."""

from __future__ import annotations

import copy
import json
import pickle
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from conftest import OpenStore
from hypothesis import given
from hypothesis import strategies as st
from support.ordered_keys import begins, keys, place, same, texts, tuples

import lmdb_object_store
from lmdb_object_store import KeyEncoding, LmdbObjectStore, OrderedKeys, StoredKey
from lmdb_object_store._keys.codec import EMPTY

# In order.
KEYS: list[Any] = [
    None, b"", b"\xff", "", "a", "a\0", "日本", (), (None,), ("user", 1), ("user", 1, "name"), ("user", 10), -7, 0,
    256, 2**70, -1.5, 0.0, False, True, UUID(int=7), date(2024, 5, 1), datetime(2024, 5, 1, 12),
    datetime(2024, 5, 1, 12, tzinfo=timezone.utc),
]  # fmt: skip


class Words:
    """Keys of words, in a list or a tuple."""

    def encode(self, key: list[str]) -> bytes:
        return " ".join(key).encode()

    def decode(self, data: bytes) -> tuple[str, ...]:
        return tuple(data.decode().split(" ")) if data else ()


class Numbers:
    """Keys of 8 bytes each, by `struct`, whose errors are no ValueErrors."""

    def encode(self, key: int) -> bytes:
        return struct.pack(">Q", key)

    def decode(self, data: bytes) -> int:
        number: int = struct.unpack(">Q", data)[0]
        return number


class Wrong:
    """A `KeyEncoding` whose methods are given."""

    def __init__(self, encode: Callable[[Any], Any], decode: Callable[[bytes], Any] = bytes) -> None:
        self.encode = encode
        self.decode = decode


@pytest.fixture
def ordered(open_store: OpenStore) -> LmdbObjectStore[Any, Any]:
    """Open a store of all `KEYS`, each with its place as its value."""
    store = open_store(key_encoding=OrderedKeys())
    store.update((key, number) for number, key in enumerate(KEYS))
    return store


def equal(found: Any, expected: list[Any]) -> bool:
    """Return True if the keys are equal and of the same types."""
    return same(tuple(found), tuple(expected))


# -- every method


@pytest.mark.parametrize("flush", [False, True])
def test_methods_with_an_encoding_take_and_give_its_keys(ordered: LmdbObjectStore[Any, Any], flush: bool) -> None:
    """Every method that takes or gives keys uses the encoding, for pending and stored items."""
    if flush:
        ordered.flush()
    numbers = list(range(len(KEYS)))
    assert equal(ordered, KEYS)
    assert equal(reversed(ordered), KEYS[::-1])
    assert equal(ordered.keys(), KEYS)
    assert [ordered[key] for key in KEYS] == [ordered.get(key) for key in KEYS] == list(ordered.values()) == numbers
    assert all(key in ordered and ordered.exists(key, flush=False) for key in KEYS)
    assert same(tuple(ordered.items()), tuple(zip(KEYS, numbers)))
    assert same(ordered.peekitem(), (KEYS[-1], numbers[-1]))
    found, missing = ordered.get_many([*KEYS, 5, "x"], decode_keys=True)
    assert found == dict(zip(KEYS, numbers))
    assert missing == [5, "x"]
    assert ordered.get_many([7, ("user", 1)])[0] == {OrderedKeys().encode(("user", 1)): 9}
    assert ordered.setdefault(("new", 1), 1) == 1
    del ordered[None]
    ordered.delete(b"")
    assert same(ordered.pop("日本"), 6)
    assert same(ordered.popitem(last=False), (b"\xff", 2))
    assert equal(ordered.popitem()[:1], KEYS[-1:])


def test_reopen_with_an_encoding_finds_the_encoded_keys(
    ordered: LmdbObjectStore[Any, Any], open_store: OpenStore
) -> None:
    """The keys are in the file as the encoding gives them."""
    ordered.close()
    assert [OrderedKeys().decode(key) for key in open_store(key_encoding=None)] == KEYS
    assert equal(open_store(key_encoding=OrderedKeys()), KEYS)


def test_views_contain_keys_of_the_same_type(ordered: LmdbObjectStore[Any, Any]) -> None:
    """A key is an element of the views' sets if it is given with an equal value and the same type."""
    some = {None, ("user", 1), 256, "no", ("no",), date(2024, 5, 1)}
    assert ordered.keys() & some == {None, ("user", 1), 256, date(2024, 5, 1)}
    assert ordered.items() & {(256, KEYS.index(256)), (256, -1), ("no", 0)} == {(256, KEYS.index(256))}
    assert ordered.keys() & {256.0, object(), float("nan"), "\ud800"} == set()
    assert 256.0 not in ordered
    noon = datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert ordered.keys() & {noon} == {noon}


def test_put_equal_keys_of_different_types_gives_several_keys(open_store: OpenStore) -> None:
    """`1`, `1.0` and `True` are three keys in a store, and one in a dict made of it."""
    store = open_store(key_encoding=OrderedKeys())
    store.update([(1, "int"), (1.0, "float"), (True, "bool")])
    assert [store[key] for key in (1, 1.0, True)] == ["int", "float", "bool"]
    assert (len(store), len(dict(store.items()))) == (3, 1)
    assert store != {1: "int"}
    del store[1.0]
    assert equal(store, [1, True])


@pytest.mark.parametrize(
    "key", [[1], object(), 1j, float("nan"), "\ud800", 1 << 20_000, ("a", [1])], ids=lambda key: type(key).__name__
)
def test_methods_key_that_the_encoding_refuses_is_refused(ordered: LmdbObjectStore[Any, Any], key: Any) -> None:
    """Every method refuses the key, names it, and changes nothing."""
    before = len(ordered)
    calls: list[Callable[[], Any]] = [
        lambda: ordered.put(key, 1),
        lambda: ordered[key],
        lambda: ordered.get(key),
        lambda: key in ordered,
        lambda: ordered.exists(key),
        lambda: ordered.delete(key),
        lambda: ordered.pop(key, None),
        lambda: ordered.setdefault(key, 1),
        lambda: ordered.get_many([key]),
        lambda: ordered.put_many([("new", 1), (key, 1)]),
        lambda: ordered.irange(key),
        lambda: ordered.range(None, key),
        lambda: ordered.range("a").get(key),
    ]
    name = "<int>" if type(key) is int else re.escape(repr(key)[:48])  # of too many digits to be shown
    for call in calls:
        with pytest.raises((TypeError, ValueError), match=rf"^key {name} cannot be encoded by OrderedKeys\(\): "):
            call()
    assert len(ordered) == before


def test_put_key_whose_encoding_is_too_long_is_refused(ordered: LmdbObjectStore[Any, Any]) -> None:
    """The encoded key must fit, and the message names the key."""
    limit = ordered.env.max_key_size()
    ordered["k" * (limit - 2)] = 1
    with pytest.raises(ValueError, match=rf"key 'kkk.* is {limit + 1} bytes long; this file takes .* {limit}"):
        ordered["k" * (limit - 1)] = 1
    assert "k" * limit not in ordered
    with pytest.raises(ValueError, match=r"key \(\(\(\("):
        ordered[eval("(" * 60 + "'" + "k" * limit + "'" + ",)" * 60)] = 1


def test_put_tuple_nested_too_deeply_is_refused(ordered: LmdbObjectStore[Any, Any]) -> None:
    """A tuple nested deeper than Python's stack is a ValueError like any other wrong key."""
    key: Any = ()
    for _ in range(100_000):
        key = (key,)
    with pytest.raises(ValueError, match="key <tuple> cannot be encoded"):
        ordered[key] = 1


def test_getitem_missing_key_raises_with_the_given_key(ordered: LmdbObjectStore[Any, Any]) -> None:
    """KeyError has the key as it was given."""
    with pytest.raises(KeyError) as caught:
        ordered["user", 99]
    assert caught.value.args == (("user", 99),)
    assert str(caught.value) == "Key not found: ('user', 99)"


def test_get_value_that_cannot_be_unpickled_shows_the_decoded_key(ordered: LmdbObjectStore[Any, Any]) -> None:
    """The message shows the key, not its bytes."""
    with ordered.env.begin(write=True) as txn:
        txn.put(OrderedKeys().encode(("broken", 1)), b"no pickle")
    for read in (lambda: ordered["broken", 1], lambda: list(ordered.items())):
        with pytest.raises(RuntimeError, match=r"key \('broken', 1\)"):
            read()


# -- order


def test_range_bounds_are_keys(ordered: LmdbObjectStore[Any, Any]) -> None:
    """Each bound is a key, which need not be in the store."""
    assert equal(ordered.irange(("user",), ("user", 9)), [("user", 1), ("user", 1, "name")])
    assert equal(ordered.irange(("user", 1), ("user", 10), (False, False)), [("user", 1, "name")])
    assert equal(ordered.irange(-8, 255), [-7, 0])
    assert equal(ordered.irange(0, 0.0), [0, 256, 2**70, -1.5, 0.0])
    assert equal(ordered.irange(date(2024, 1, 1), date(2025, 1, 1)), [date(2024, 5, 1)])
    assert dict(ordered.range("a", "b")) == {"a": 4, "a\0": 5}
    assert equal(ordered.irange(maximum="", reverse=True), ["", b"\xff", b"", None])


def test_range_bound_none_is_no_bound(ordered: LmdbObjectStore[Any, Any]) -> None:
    """None as a bound is no bound. As a key None is the first, and `b""` is the next."""
    assert equal(ordered.irange(None, None), KEYS)
    assert equal(ordered.irange(None, inclusive=(False, True)), KEYS)
    assert equal(ordered.irange(b""), KEYS[1:])
    assert equal(ordered.irange(maximum=b"", inclusive=(True, False)), [None])
    ordered.range(maximum=b"", inclusive=(True, False)).clear()
    assert None not in ordered


def test_prefix_contains_tuples_text_and_bytes_that_begin_so(ordered: LmdbObjectStore[Any, Any]) -> None:
    """A prefix has the tuples, the text or the bytes that begin with it."""
    assert equal(ordered.prefix(("user", 1)), [("user", 1), ("user", 1, "name")])
    assert equal(ordered.prefix(("user",)).prefix(("user", 10)), [("user", 10)])
    assert equal(ordered.prefix(()), [(), (None,), ("user", 1), ("user", 1, "name"), ("user", 10)])
    assert equal(ordered.prefix((None,)), [(None,)])
    assert equal(ordered.prefix("a"), ["a", "a\0"])
    assert equal(ordered.prefix(""), ["", "a", "a\0", "日本"])
    assert equal(ordered.prefix(b""), [b"", b"\xff"])
    for no_prefix in (None, 1, date(2024, 5, 1)):
        with pytest.raises(TypeError, match=r"^prefix .* cannot be encoded by OrderedKeys\(\): .* ask for a range"):
            ordered.prefix(no_prefix)


def test_range_takes_keys_inside_and_names_others(ordered: LmdbObjectStore[Any, Any]) -> None:
    """A part takes the keys inside its bounds. Its errors and its `repr` show keys."""
    users = ordered.prefix(("user",))
    users["user", 2] = 2
    assert ordered["user", 2] == 2
    with pytest.raises(ValueError, match=r"key \('a',\) is outside of this part of the store"):
        users["a",] = 1
    with pytest.raises(ValueError, match=r"key 5 is outside of .* which is from the first key to below 0: write"):
        ordered.range(None, 0, (True, False))[5] = 1
    with pytest.raises(ValueError, match=r"key 5 is outside of .* which is from \('user', 1\) to below 0: write"):
        ordered.range(("user", 1)).range(None, 0, (True, False))[5] = 1
    users.clear()
    assert equal(ordered.prefix(()), [(), (None,)])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LmdbObjectStore[Any, int]]:
    """Open one store for many examples."""
    with LmdbObjectStore[Any, int](tmp_path_factory.mktemp("shared"), sync=False, key_encoding=OrderedKeys()) as store:
        yield store


short = keys.filter(lambda key: len(OrderedKeys().encode(key)) <= 511)


@given(
    some=st.lists(short, unique_by=OrderedKeys().encode, max_size=8),
    low=short,
    high=short,
    prefix=tuples | texts,
    flush=st.booleans(),
)
def test_range_and_prefix_are_those_of_the_model_property(
    shared: LmdbObjectStore[Any, int], some: list[Any], low: Any, high: Any, prefix: Any, flush: bool
) -> None:
    """The order of a store, its ranges and its prefixes are those of the model."""
    shared.clear()
    shared.update((key, number) for number, key in enumerate(some))
    if flush:
        shared.flush()
    order = sorted(some, key=place)
    assert equal(shared, order)
    assert [shared[key] for key in some] == list(range(len(some)))
    at_least = [key for key in order if low is None or place(low) <= place(key)]
    assert equal(shared.irange(low, high), [key for key in at_least if high is None or place(key) <= place(high)])
    assert equal(shared.prefix(prefix), [key for key in order if begins(key, prefix)])


# -- keys of the file that the encoding has not written


def test_iter_foreign_key_gives_a_stored_key(open_store: OpenStore) -> None:
    """A key that the encoding has not written is given as a StoredKey, and each method takes it."""
    raw = open_store(key_encoding=None)
    raw.update({b"": 0, b"text": 1, b"\x15\x07": 2, b"\xff": 3})
    raw.flush()
    store = open_store(key_encoding=OrderedKeys())
    stored = [StoredKey(b""), 7, StoredKey(b"text"), StoredKey(b"\xff")]
    assert equal(store, stored)
    assert equal(store.irange(7), stored[1:])
    assert equal(store.prefix(StoredKey(b"te")), stored[2:3])
    assert [store[key] for key in stored] == [0, 2, 1, 3]
    assert store.keys() & {StoredKey(b"text"), b"text", "text"} == {StoredKey(b"text")}
    assert store.get_many(stored, decode_keys=True)[0] == dict(zip(stored, [0, 2, 1, 3]))
    assert b"text" not in store
    assert store.popitem() == (StoredKey(b"\xff"), 3)
    store[StoredKey(b"text")] = 5
    del store[StoredKey(b"")]
    store.flush()
    assert dict(raw) == {b"text": 5, b"\x15\x07": 2}


def test_stored_key_of_any_bytes_finds_their_item(ordered: LmdbObjectStore[Any, Any]) -> None:
    """The bytes of a key, as a StoredKey, lead to its item. Iteration gives the key itself."""
    stored = StoredKey(OrderedKeys().encode(("user", 1)))
    assert ordered[stored] == ordered["user", 1]
    assert ordered.keys() & {stored} == set()
    assert ordered.get_many([StoredKey(b"\x15\x09"), StoredKey(b"x")], decode_keys=True) == ({}, [9, StoredKey(b"x")])


@pytest.mark.parametrize("key_encoding", [None, "utf-8", OrderedKeys()])
def test_stored_key_is_one_row_in_all_stores(open_store: OpenStore, key_encoding: Any) -> None:
    """In every store and every method a StoredKey is the row of its bytes."""
    store, key = open_store(key_encoding=key_encoding), StoredKey(b"\x15\x07")
    store[key] = 1
    store.flush()
    assert store.env.begin().get(b"\x15\x07") is not None
    assert (store[key], store.get(key), key in store, len(store.prefix(key))) == (1, 1, True, 1)
    store.update({key: 2})
    store.put_many({key: 3})
    assert list(store.get_many([key])[0].items()) == [(b"\x15\x07", 3)]
    assert store.pop(key) == 3


def test_stored_key_differs_from_its_bytes() -> None:
    """A StoredKey equals another of the same bytes and nothing else. A dict tells it from a key of bytes."""
    stored, data = StoredKey(b"a"), b"a"
    assert stored == StoredKey(b"a") != StoredKey(b"b")
    assert (stored != data, data != stored, stored == data, data == stored) == (True, True, False, False)
    assert len({stored, StoredKey(b"a"), data}) == 2
    assert repr(StoredKey(b"a")) == "StoredKey(b'a')"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert same(pickle.loads(pickle.dumps(StoredKey(b"a"), protocol)), StoredKey(b"a"))


def test_open_twice_with_two_encodings_shows_all_items(
    ordered: LmdbObjectStore[Any, Any], open_store: OpenStore
) -> None:
    """Each store sees all items of the file. It gives the other's keys by their bytes, or by its own decoding."""
    ordered.flush()
    text = open_store(key_encoding="utf-8")
    assert len(text) == len(ordered) == len(list(text))
    assert [text[key] for key in text] == list(ordered.values())
    text["plain"] = 1
    text.flush()
    assert ordered[StoredKey(b"plain")] == 1
    words = open_store(key_encoding=Words())
    assert words["plain",] == 1
    assert [words[key] for key in words] == list(ordered.values())


# -- other encodings


def test_key_encoding_of_any_class_with_encode_and_decode_works(open_store: OpenStore) -> None:
    """An object needs `encode` and `decode` alone. Without `prefix_range`, a prefix is of the bytes."""
    encoding: KeyEncoding = Words()
    store = open_store(key_encoding=encoding)
    store.update([(("a", "b"), 1), (("a", "bc"), 2), (("b",), 3), ([], 4)])
    assert list(store) == [(), ("a", "b"), ("a", "bc"), ("b",)]
    assert list(store.prefix(["a", "b"])) == [("a", "b"), ("a", "bc")]
    assert store[["a", "b"]] == 1
    assert store.keys() & {("a", "b"), "a"} == {("a", "b")}
    store.flush()
    assert store[()] == store[StoredKey(b"")] == 4
    assert store.env.begin().get(EMPTY) is not None


def test_key_encoding_with_errors_of_its_own_raises_value_error(open_store: OpenStore) -> None:
    """A key that it refuses is a ValueError that names the key. Bytes that it refuses are a StoredKey."""
    store = open_store(key_encoding=Numbers())
    store.update({300: "a", 5: "b"})
    with pytest.raises(ValueError, match=r"^key 'x' cannot be encoded by .*Numbers.*: required argument") as caught:
        store["x"]
    assert isinstance(caught.value.__cause__, struct.error)
    assert store.keys() & {5, "x"} == {5}
    store[StoredKey(b"short")] = "c"
    assert equal(store, [5, 300, StoredKey(b"short")])


def test_iter_key_that_does_not_lead_back_gives_a_stored_key(open_store: OpenStore) -> None:
    """A key that is not encoded to the same bytes is not given, because it would not find its item."""
    store = open_store(key_encoding=Wrong(lambda key: b"%d" % key, int))
    store[7] = 1
    for written in (b"007", b"-0", b" 8"):
        store[StoredKey(written)] = 2
    assert list(store) == [StoredKey(b" 8"), StoredKey(b"-0"), StoredKey(b"007"), 7]
    assert all(store[key] for key in store)


@pytest.mark.parametrize("given_back", [None, "text", bytearray(b"a"), memoryview(b"a"), StoredKey(b"a"), 7])
def test_key_encoding_that_gives_no_bytes_raises_type_error(open_store: OpenStore, given_back: Any) -> None:
    """The error names the key and the wrong result."""
    store = open_store(key_encoding=Wrong(lambda _: given_back))
    for call in (store.get, store.prefix, lambda key: store.put(key, 1)):
        with pytest.raises(TypeError, match=rf"gave {type(given_back).__name__} for key 'k': it must give bytes"):
            call("k")
    assert not store


def test_key_encoding_that_gives_the_reserved_bytes_is_refused(open_store: OpenStore) -> None:
    """An encoding cannot write the bytes that stand for the empty key in the file."""
    store = open_store(key_encoding=Wrong(lambda key: b"\0" * key, len))
    with pytest.raises(ValueError, match="511 NUL bytes is reserved"):
        store[511] = 1
    assert 511 not in store
    store.update({0: "a", 1: "b"})
    assert dict(store) == {0: "a", 1: "b"}


def test_prefix_range_of_an_encoding_bounds_the_prefix(open_store: OpenStore) -> None:
    """`prefix_range` gives both ends of a prefix, None for the end of all. Results other than bytes are refused."""
    encoding: Any = Wrong(str.encode, bytes.decode)
    encoding.prefix_range = {"b": (b"b", b"c"), "c": (b"c", None), "?": ("b", None), "!": (b"b", 1)}.__getitem__
    store = open_store(key_encoding=encoding)
    store.update(a=1, b=2, bc=3, c=4, d=5)
    assert (list(store.prefix("b")), list(store.prefix("c"))) == (["b", "bc"], ["c", "d"])
    for wrong in "?!":
        with pytest.raises(TypeError, match=rf"for prefix '\{wrong}': they must be bytes"):
            store.prefix(wrong)
    with pytest.raises(ValueError, match=r"^prefix 'x' cannot be encoded"):
        store.prefix("x")


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_key_encoding_whose_decoding_fails_otherwise_raises(open_store: OpenStore, error: type[Exception]) -> None:
    """An error with another reason than the key is raised. The key is not taken for another program's."""

    def decode(data: bytes) -> Any:
        raise error

    store = open_store(key_encoding=Wrong(str.encode, decode))
    store["a"] = 1
    with pytest.raises(error):
        list(store)


def test_key_encoding_that_uses_the_store_works(open_store: OpenStore) -> None:
    """The encoding runs with no lock taken. It may write to its store, and make the map grow."""
    store: LmdbObjectStore[Any, Any]

    def decode(data: bytes) -> str:
        store[StoredKey(b"log")] = bytes(100_000)
        store.flush()
        return data.decode()

    store = open_store(key_encoding=Wrong(str.encode, decode), map_size=1 << 20)
    store.update({f"key{number}": number for number in range(50)})
    assert list(store)[:50] == sorted(f"key{number}" for number in range(50))
    assert store.popitem(last=False)[0] == "key0"
    assert store.get_many(["key1"], decode_keys=True)[0] == {"key1": 1}


@pytest.mark.parametrize("encoding", [8, b"utf-8", object(), OrderedKeys, Wrong(str.encode, None), json])  # type: ignore[arg-type]
def test_open_with_an_object_that_is_no_encoding_raises(open_store: OpenStore, encoding: Any) -> None:
    """An object without both methods, and a class in place of an object, are a TypeError of the constructor."""
    with pytest.raises(TypeError, match=r"key_encoding must be the name of an encoding, an object \(no class\) with"):
        open_store(key_encoding=encoding)


@pytest.mark.parametrize("options", [{"key_errors": "ignore"}, {"str_normalize": "NFC"}])
def test_open_with_an_encoding_and_options_of_text_raises(open_store: OpenStore, options: dict[str, Any]) -> None:
    """An option for text encodings alone is a ValueError beside an object, because it would do nothing."""
    with pytest.raises(ValueError, match="key_errors and str_normalize are for text encodings"):
        open_store(key_encoding=OrderedKeys(), **options)


# -- the handle


def test_pickled_handle_carries_the_encoding(ordered: LmdbObjectStore[Any, Any]) -> None:
    """A pickled handle, and a copied one, encode keys in the same way."""
    for copied in (pickle.loads(pickle.dumps(ordered)), copy.copy(ordered)):
        assert type(copied.key_encoding) is OrderedKeys
        assert copied["user", 1] == ordered["user", 1]
        assert equal(copied.prefix(("user", 1)), [("user", 1), ("user", 1, "name")])
        assert equal(copied, KEYS)
        copied.close()


def test_pickled_handle_whose_encoding_cannot_be_pickled_raises(open_store: OpenStore) -> None:
    """The TypeError names the object that cannot be sent."""
    store = open_store(key_encoding=Wrong(lambda key: b"%d" % key, int))
    with pytest.raises(TypeError, match=r"a store is pickled with its key_encoding, and <.*Wrong.* cannot be"):
        pickle.dumps(store)


def test_ordered_keys_are_imported_late(tmp_path: Path) -> None:
    """A program without such keys does not import their modules. Each name is there when it is asked for."""
    program = """
import sys
before = set(sys.modules)
import lmdb_object_store
assert not {"lmdb_object_store._keys.custom", "lmdb_object_store._keys.ordered"} & sys.modules.keys()
lmdb_object_store.OrderedKeys().encode(("a", 1))
assert "lmdb_object_store._keys.ordered_times" not in sys.modules
from lmdb_object_store import *
assert {"KeyEncoding", "OrderedKeys", "StoredKey", "LmdbObjectStore"} <= globals().keys()
try:
    lmdb_object_store.nothing
except AttributeError as error:
    assert "has no attribute 'nothing'" in str(error)
else:
    raise AssertionError
"""
    assert {"KeyEncoding", "OrderedKeys", "StoredKey", "LmdbObjectStore"} <= set(dir(lmdb_object_store))
    root = str(Path(lmdb_object_store.__file__).parents[1])
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env={"PYTHONPATH": root}, timeout=60)
