"""Errors say what is wrong, with what, and what to do about it."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.programs import run_script

import lmdb_object_store
from lmdb_object_store import FlushError, LmdbObjectStore, OrderedKeys

Store = LmdbObjectStore[Any, Any]

# -- keys


@pytest.mark.parametrize(
    ("options", "convert"),
    [
        ({"key_encoding": None}, "bytes-like; got int. Convert it to bytes"),
        ({}, "bytes-like or str; got int. Convert it to str"),
    ],
)
def test_get_key_of_another_type_says_what_takes_it(
    open_store: OpenStore, options: dict[str, Any], convert: str
) -> None:
    """The error names both ways: another key, or another `key_encoding`, which does take it."""
    store = open_store(**options)
    for call in (store.get, store.__getitem__, store.__contains__, store.pop, store.delete, lambda k: store.put(k, 1)):
        with pytest.raises(TypeError) as caught:
            call(5)
        assert str(caught.value) == (
            f"Key must be {convert}, or make a store with key_encoding=OrderedKeys(), "
            "which takes numbers, dates and tuples."
        )
    with LmdbObjectStore[Any, Any](f"{store.db_path}2", key_encoding=OrderedKeys()) as ordered:
        ordered[5] = 1
        assert ordered[5] == 1


def test_getitem_slice_names_range(store: Store) -> None:
    """A slice asks for a part of the store."""
    with pytest.raises(TypeError, match=r"^Key must be bytes-like or str; got slice\. .* range\(minimum, maximum\)"):
        store["a":"b"]


# -- values that cannot be pickled


class Refusing:
    """Has an error of its own when it is pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


def _edited(store: Store, value: Any) -> None:
    with store.edit("k", default=dict) as edited:
        edited["v"] = value


def _merged(store: Store, value: Any) -> None:
    store |= {"a": 1, "k": value}


WRITES: dict[str, Callable[[Store, Any], object]] = {
    "[]": lambda store, value: store.__setitem__("k", value),
    "bytes": lambda store, value: store.__setitem__(b"k", value),
    "put": lambda store, value: store.put("k", value),
    "put_many": lambda store, value: store.put_many({"a": 1, "k": value}),
    "update": lambda store, value: store.update({"a": 1, "k": value}),
    "|=": _merged,
    "setdefault": lambda store, value: store.setdefault("k", value),
    "edit": _edited,
    "range": lambda store, value: store.range("a").__setitem__("k", value),
}


def notes(error: BaseException) -> list[str]:
    """Return the notes of `error`, which Python itself shows from 3.11 on."""
    return getattr(error, "__notes__", [])


@pytest.mark.parametrize("serializer", ["pickle", "json", "own"])
@pytest.mark.parametrize("writeback", [False, True])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_put_value_that_cannot_be_pickled_names_its_key(
    path: str, write: Callable[[Store, Any], object], writeback: bool, serializer: str
) -> None:
    """A note names the key, once; the error is the serializer's own object, and the value is not stored."""
    options: dict[str, dict[str, Any]] = {"pickle": {}, "json": {"serializer": json}, "own": {"protocol": 2}}
    store = lmdb_object_store.open(path, writeback=writeback, **options[serializer])
    error = ArithmeticError("refused")
    value = Refusing(error)
    with pytest.raises(TypeError if serializer == "json" else ArithmeticError) as caught:
        write(store, value)  # which `json` refuses by its type
    assert serializer == "json" or caught.value is error
    assert notes(caught.value) == ["The value for key 'k' was not stored."]
    assert "k" not in store
    store.close(strict=True)


def test_put_value_that_cannot_be_pickled_shows_its_key_in_the_traceback(path: str) -> None:
    """A script that ends so shows the key below the error, from Python 3.11 on."""
    ended = run_script("opened()['user:7'] = lambda: 0", path, status=1)
    assert ("user:7" in ended.stderr.splitlines()[-1]) == (sys.version_info >= (3, 11))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
@pytest.mark.parametrize("options", [{}, {"protocol": 2}])
def test_put_interrupted_is_not_noted(path: str, error: BaseException, options: dict[str, Any]) -> None:
    """An interrupt during the pickling has nothing to do with the value."""
    with lmdb_object_store.open(path, **options) as store:
        for write in (WRITES["put"], WRITES["update"], WRITES["put_many"], WRITES["setdefault"]):
            with pytest.raises(type(error)) as caught:
                write(store, Refusing(error))
            assert notes(caught.value) == []


def test_update_iterable_that_raises_is_not_noted(store: Store) -> None:
    """The error of the caller's own iterable is about no key."""

    def pairs() -> Any:
        yield "a", 1
        raise ArithmeticError("mine")

    for write in (store.update, store.put_many):
        with pytest.raises(ArithmeticError) as caught:
            write(pairs())
        assert notes(caught.value) == []


def test_flush_changed_value_that_cannot_be_pickled_names_its_key(path: str) -> None:
    """Write-back names the key in the error itself, which is `sync`'s own; nothing else is lost."""
    store = lmdb_object_store.open(path, writeback=True)
    store["k"] = []
    store["other"] = 1
    store["k"].append(lambda: 0)
    with pytest.raises(RuntimeError, match="'k'"):
        store.sync()
    with pytest.raises(FlushError, match="'k'"):
        store.close(strict=True)
    with lmdb_object_store.open(path, "r") as again:
        assert again == {"k": [], "other": 1}


# -- values that cannot be read

BESIDE = "The value is damaged, or another serializer wrote it; this store's is "


@pytest.mark.parametrize(
    "data", [b'{"a": 1}', b'"text"', b"[1, 2]", b"null", b"3", b"", b"\x81\xa1a\x01", b"\x80\x05K\x01"]
)
def test_get_value_of_another_serializer_says_so(open_store: OpenStore, data: bytes) -> None:
    """JSON, MessagePack, a pickle that was cut off: no pickle of this store's."""
    store = open_store()
    with store.env.begin(write=True) as txn:
        txn.put(b"k", data)
    reads: tuple[Callable[[], object], ...] = (
        lambda: store["k"],
        lambda: store[b"k"],
        lambda: store.get("k"),
        lambda: store.get_many(["k"]),
        lambda: list(store.items()),
        lambda: store.pop("k"),
        lambda: store.range("a")["k"],
    )
    for read in reads:
        with pytest.raises(RuntimeError, match=r"^Failed to unpickle DB key 'k': ") as caught:
            read()
        assert str(caught.value).endswith(f". {BESIDE}pickle.")


def test_open_protocol_is_named_as_pickle(path: str) -> None:
    """A store that `open(protocol=…)` has made reads pickles of any protocol."""
    with lmdb_object_store.open(path, protocol=2) as store:
        with store.env.begin(write=True) as txn:
            txn.put(b"k", b"[1]")
        with pytest.raises(RuntimeError, match=r"this store's is pickle\.$"):
            store["k"]


@pytest.mark.parametrize(("serializer", "name"), [(json, "json"), (OrderedKeys, "OrderedKeys")])
def test_get_pickle_with_another_serializer_says_so(open_store: OpenStore, serializer: Any, name: str) -> None:
    """The other way about: the store's own serializer is named, a module or a class."""
    if serializer is OrderedKeys:
        serializer = type(
            "OrderedKeys", (), {"dumps": lambda _, value: b"", "loads": lambda _, data: json.loads(data)}
        )()
    with open_store() as store:
        store["k"] = {"a": {1}}
    store = open_store(serializer=serializer)
    with pytest.raises(RuntimeError, match=r"^Failed to deserialize DB key 'k': ") as caught:
        store["k"]
    assert str(caught.value).endswith(f". {BESIDE}{name}.")


class WriteOnly:
    """A serializer that refuses what it has made itself."""

    def dumps(self, value: object) -> bytes:
        return b"bytes"

    def loads(self, data: bytes) -> Any:
        raise ArithmeticError("refused")


def test_get_pending_value_is_not_called_damaged(open_store: OpenStore) -> None:
    """A pending value is as this store's own serializer has made it."""
    store = open_store(serializer=WriteOnly())
    store["k"] = 1
    with pytest.raises(RuntimeError) as caught:
        store["k"]
    assert str(caught.value) == "Failed to deserialize buffered key 'k': refused"


class Unloadable:
    """Can be pickled, and has an error of its own when it is unpickled."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise ArithmeticError("refused")


def test_get_value_whose_own_code_fails_is_not_called_damaged(store: Store) -> None:
    """A whole pickle that its class refuses is neither damaged nor another serializer's."""
    store["k"] = Unloadable()
    store.flush()
    with pytest.raises(RuntimeError) as caught:
        store["k"]
    assert str(caught.value) == "Failed to unpickle DB key 'k': refused"


def test_get_value_of_a_class_that_is_not_there_says_what_to_do(path: str) -> None:
    """A class of a script is found by no other program: the commonest of these errors."""
    run_script("class P: pass\nopened()['k'] = P()", path)
    ended = run_script(
        """
        try:
            opened()["k"]
        except RuntimeError as error:
            print(error)
        """,
        path,
    )
    assert "attribute 'P'" in ended.stdout
    assert ended.stdout.endswith(". The program that reads a value must be able to import its class.\n")


# -- paths


@pytest.mark.parametrize(
    "name", [":memory:", b":memory:", Path(":memory:"), "file::memory:", "file::memory:?cache=shared"]
)
@pytest.mark.parametrize("make", [LmdbObjectStore, lmdb_object_store.open])
def test_open_path_that_means_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, name: Any
) -> None:
    """SQLite's names of a database in memory are no paths here, and nothing is made on the disk."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"memory:.* is no path: LMDB has no store in memory\. Use .*tempfile.*dict"):
        make(name)
    assert os.listdir(tmp_path) == []


def test_open_folder_of_that_very_name_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of such a name is reached by the path that the message names."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"\./:memory:"):
        LmdbObjectStore(":memory:")
    if os.name != "nt":  # no name may hold a colon here
        with LmdbObjectStore[Any, Any]("./:memory:", key_encoding="utf-8") as store:
            store["a"] = 1
        assert os.listdir(tmp_path) == [":memory:"]


# -- views


@pytest.mark.parametrize("view", ["keys", "values", "items"])
@pytest.mark.parametrize("make_copy", [pickle.dumps, copy.copy, copy.deepcopy])
def test_pickle_of_a_view_is_refused(store: Store, view: str, make_copy: Callable[[Any], Any]) -> None:
    """TypeError is raised for a view of the store and of a part, as for a dict's. The message says what to store."""
    store["a"] = 1
    for mapping in (store, store.range("a"), {"a": 1}):
        with pytest.raises(TypeError, match=r"^cannot pickle '\w+' object") as caught:
            make_copy(getattr(mapping, view)())
    with pytest.raises(
        TypeError, match=r"^cannot pickle 'Store\w+' object: it is a view of a store. Give list\(view\)"
    ) as caught:
        make_copy(getattr(store, view)())
    assert "view" in str(caught.value)


@pytest.mark.parametrize("view", ["keys", "values", "items"])
def test_put_view_as_a_value_is_refused(store: Store, view: str) -> None:
    """A view stored by mistake would be a handle to the whole store, not what it showed."""
    store["a"] = 1
    with pytest.raises(TypeError, match="it is a view of a store") as caught:
        store["k"] = getattr(store, view)()
    assert notes(caught.value) == ["The value for key 'k' was not stored."]
    assert store == {"a": 1}


# -- options and arguments


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"map_size": 1 << 70}, ValueError, f"map_size must be at most {sys.maxsize}, not {1 << 70}"),
        ({"max_readers": 1 << 40}, ValueError, f"max_readers must be at most {2**31 - 1}, not {1 << 40}"),
        ({"max_spare_txns": -1}, ValueError, "max_spare_txns must be at least 1, not -1"),
        ({"max_dbs": "x"}, TypeError, "max_dbs must be an int, not 'x'"),
    ],
)
def test_open_option_that_lmdb_refuses_is_named(path: str, options: Any, kind: type[Exception], message: str) -> None:
    """LMDB's own message does not name the option."""
    with pytest.raises(kind) as caught:
        LmdbObjectStore(path, **options)
    assert str(caught.value) == message


def test_open_map_size_beyond_the_address_space_is_named(path: str) -> None:
    """The error has the size and a remedy."""
    import lmdb

    with pytest.raises(lmdb.MemoryError, match=r"map_size=1125899906842624\b.*smaller map_size"):
        LmdbObjectStore(path, map_size=1 << 50)


@pytest.mark.parametrize("inclusive", [True, None, "both", (True,), (True, True, True)])
def test_irange_inclusive_that_is_no_pair_is_named(store: Store, inclusive: Any) -> None:
    """pandas and others take one flag, or a word, for both bounds."""
    for call in (store.irange, store.range):
        with pytest.raises(TypeError, match=r"^inclusive must be a pair of bools, .* not ") as caught:
            call("a", "b", inclusive)
        assert repr(inclusive) in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "bounds"),
    [
        (("a", "b"), "from 'a' to 'b'"),
        (("a", "b", (False, False)), "after 'a' to below 'b'"),
        ((None, "b"), "from the first key to 'b'"),
        (("a", None, (False, True)), "after 'a'"),
    ],
)
@pytest.mark.parametrize("key_encoding", ["utf-8", OrderedKeys()])
def test_put_outside_of_a_range_shows_its_bounds(
    open_store: OpenStore, arguments: Any, bounds: str, key_encoding: Any
) -> None:
    """Bounds are shown as they were given, not as they are stored."""
    part = open_store(key_encoding=key_encoding).range(*arguments)
    assert repr(part).startswith(f"<StoreRange {bounds} of ")
    with pytest.raises(ValueError, match=f"which is {bounds}: write it to the store itself"):
        part["a" if arguments[0] == "a" and len(arguments) > 2 else "z"] = 1


def test_serializer_given_by_name_says_what_to_pass(path: str) -> None:
    """A name is not looked up."""
    with pytest.raises(TypeError, match=r"'json' has not: pass the module or the object itself"):
        LmdbObjectStore(path, serializer="json")  # type: ignore[arg-type]


def test_get_many_decode_without_an_encoding_says_which(open_store: OpenStore) -> None:
    """The message has the option to open the store with."""
    with pytest.raises(ValueError, match=r"key_encoding='utf-8'"):
        open_store(key_encoding=None).get_many([b"a"], decode_keys=True)


def test_put_reserved_key_says_what_to_do(store: Store) -> None:
    """No file has this one key."""
    with pytest.raises(ValueError, match=r"it stands for the empty key in the file\. Use any other key\.$"):
        store[b"\0" * 511] = 1


def test_open_key_errors_of_another_type_is_named(path: str) -> None:
    """Python's own message does not say which option it is."""
    with pytest.raises(TypeError, match="key_errors must be the name of an error handler, such as 'strict', not 5"):
        LmdbObjectStore(path, key_encoding="utf-8", key_errors=5)  # type: ignore[arg-type]


def test_open_read_only_with_writeback_says_what_to_do(store: Store) -> None:
    """A shelf takes both, and loses what has changed."""
    with pytest.raises(ValueError, match="leave out writeback=True, or open the store to write"):
        lmdb_object_store.open(store.db_path, "r", writeback=True)


def test_put_key_that_ordered_keys_does_not_take_says_which_it_takes(open_store: OpenStore) -> None:
    """The key and the type are named, also within a tuple."""
    store = open_store(key_encoding=OrderedKeys())
    with pytest.raises(TypeError, match=r"key \('a', \[1\]\) .* or a tuple of these, not list: convert it\."):
        store["a", [1]] = 1


def test_open_foreign_file_as_a_folder_names_a_way_out_that_works(path: str) -> None:
    """`subdir=False` is named for a store in one file alone."""
    LmdbObjectStore[Any, Any](path, subdir=False).close()
    with pytest.raises(lmdb.InvalidError, match="subdir=False opens it"):
        LmdbObjectStore(path)
    Path(path).write_text("no store")
    with pytest.raises(lmdb.InvalidError, match="take another path"):
        LmdbObjectStore(path)


def test_error_of_another_serializers_value_has_one_full_stop(path: str) -> None:
    """The message joins the texts of two sources."""
    with LmdbObjectStore[Any, Any](path, serializer=json) as store:
        store[b"a"] = {"b": 1}
    with LmdbObjectStore[Any, Any](path) as store, pytest.raises(RuntimeError) as caught:
        store[b"a"]
    assert ".." not in str(caught.value)
    assert "another serializer wrote it" in str(caught.value)
