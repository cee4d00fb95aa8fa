"""The contract, sentence by sentence; then the names of 0.1.0, the errors, and what is never lost."""

from __future__ import annotations

import inspect
import logging
import pickle
import threading
import unicodedata
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lmdb
import pytest
from conftest import OpenStore

import lmdb_object_store
from lmdb_object_store import FlushError, LmdbObjectStore, StoreClosedError
from lmdb_object_store._buffer import pending as _buffer
from lmdb_object_store._buffer import resize as _resize
from lmdb_object_store._buffer.pending import BufferMixin
from lmdb_object_store._buffer.resize import ResizeMixin
from lmdb_object_store._mapping import bulk as _bulk
from lmdb_object_store._values import serializing as _serializing

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


class Counted:
    """Counts how often it is unpickled."""

    unpickled = 0

    def __setstate__(self, state: object) -> None:
        Counted.unpickled += 1

    def __getstate__(self) -> object:
        return {"some": "state"}


def stored(path: str) -> dict[bytes, Any]:
    """What is in the file, by a look from outside: only committed rows. No store may have it open."""
    with lmdb.open(path, readonly=True) as environment, environment.begin() as txn:
        return {bytes(key): pickle.loads(data) for key, data in txn.cursor()}


def committed(store: Store) -> dict[bytes, Any]:
    """What of the store is in the file already."""
    with store.env.begin() as txn:
        return {bytes(key): pickle.loads(data) for key, data in txn.cursor()}


@pytest.fixture
def full(open_store: OpenStore) -> Store:
    """A store whose next flush fails: `kept` is in the file, `small` and `large` are pending."""
    store = open_store(**TINY)
    store["kept"] = 1
    store.flush()
    store["small"] = 2
    store["large"] = TOO_LARGE
    return store


# -- quick start


def test_the_programs_of_the_quick_start(tmp_path: Path) -> None:
    """What a newcomer does first works as it is told: options, items, deletes, many at once, a strict close."""
    path = str(tmp_path / "path-to-db")
    with LmdbObjectStore[str, Any](
        path,
        batch_size=1000,
        autoflush_on_read=True,
        key_encoding="utf-8",
        map_size=128 * MIB,
        subdir=True,
        readonly=False,
        max_map_size=4 << 30,
    ) as store:
        store["user:42"] = {"name": "Ada", "plan": "pro"}
        assert store.get("user:42") == {"name": "Ada", "plan": "pro"}
        assert "user:42" in store
        assert store.exists("user:42", flush=False) is True
        del store["user:42"]
        store.put_many({f"k{i}": {"i": i} for i in range(10_000)})
        assert store.get_many(["k1", "kX"], decode_keys=True) == ({"k1": {"i": 1}}, ["kX"])
    again: Store = LmdbObjectStore(path, key_encoding="utf-8")
    try:
        assert (len(again), "user:42" in again) == (10_000, False)
        again.close(strict=True)
    finally:
        again.close()


def test_the_public_names() -> None:
    """The package exports the store, the errors that a caller would catch apart, what is for keys, and figures."""
    names = {
        "LmdbObjectStore",
        "ConflictError",
        "FlushError",
        "StoreClosedError",
        "KeyEncoding",
        "OrderedKeys",
        "StoreStats",
        "StoredKey",
    }
    assert set(lmdb_object_store.__all__) == names


def test_the_shape() -> None:
    """The store is a MutableMapping, with the buffer and the growth in mixins."""
    assert issubclass(LmdbObjectStore, MutableMapping)
    assert {ResizeMixin, BufferMixin, MutableMapping} <= set(LmdbObjectStore.__mro__)


# -- constructor


def test_the_constructors_defaults() -> None:
    """Names, order, kinds and defaults of the parameters are the contract's."""
    parameters = dict(inspect.signature(LmdbObjectStore).parameters)
    assert [(name, p.default) for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == [
        ("db_path", inspect.Parameter.empty),
        ("batch_size", 1000),
    ]
    assert {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY} == {
        "batch_bytes": 64 * MIB,
        "autoflush_on_read": True,
        "key_encoding": None,
        "key_errors": "strict",
        "str_normalize": None,
        "max_map_size": None,
        "serializer": pickle,
    }
    assert [p.kind for p in parameters.values()][-1] is inspect.Parameter.VAR_KEYWORD


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("put", "(self, key, obj)"),
        ("get", "(self, key, default=None)"),
        ("flush", "(self)"),
        ("put_many", "(self, items)"),
        ("get_many", "(self, keys, *, decode_keys=False, decode_not_found=None)"),
        ("exists", "(self, key, *, flush=None)"),
        ("delete", "(self, key)"),
        ("close", "(self, strict=False)"),
    ],
)
def test_the_methods_parameters(method: str, signature: str) -> None:
    """The methods take what the contract says, by the names that it says."""
    parameters = inspect.signature(getattr(LmdbObjectStore, method)).parameters.values()
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    assert str(inspect.Signature(plain)) == signature


def test_db_path_may_be_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """str, bytes and PathLike name one file; a relative path stays where it was after a change of directory."""
    monkeypatch.chdir(tmp_path)
    with LmdbObjectStore[bytes, int]("db") as store:
        store[b"a"] = 1
        assert store.db_path == str(tmp_path / "db")
        monkeypatch.chdir("/")
        store.flush()
    for path in (tmp_path / "db", bytes(tmp_path / "db")):
        with LmdbObjectStore[bytes, int](path) as store:
            assert store[b"a"] == 1


def test_lmdbs_options_are_forwarded(open_store: OpenStore, path: str) -> None:
    """`map_size`, `subdir`, `max_readers` and the like reach `lmdb.open`."""
    store = open_store(map_size=3 * MIB, subdir=False, max_readers=7)
    store["a"] = 1
    assert Path(path).is_file()
    assert store.env.info()["map_size"] == 3 * MIB
    assert store.env.info()["max_readers"] == 7


def test_more_readers_than_lmdbs_default(store: Store) -> None:
    """Unless told otherwise, 1024 readers may read at once."""
    assert store.env.info()["max_readers"] == 1024


def test_an_unknown_option_is_an_error(path: str) -> None:
    """What `lmdb.open` does not know is its TypeError."""
    with pytest.raises(TypeError):
        LmdbObjectStore(path, no_such_option=1)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"batch_size": 0}, ValueError),
        ({"batch_size": -1}, ValueError),
        ({"batch_size": 1.5}, TypeError),
        ({"batch_size": "1"}, TypeError),
        ({"batch_bytes": 0}, ValueError),
        ({"batch_bytes": "1"}, TypeError),
        ({"key_encoding": "no-such-encoding"}, LookupError),
        ({"key_encoding": 8}, TypeError),
        ({"key_errors": "no-such-handler"}, LookupError),
        ({"str_normalize": "NFX"}, ValueError),
        ({"max_map_size": "1"}, TypeError),
        ({"max_map_size": -1}, ValueError),
    ],
)
def test_wrong_options(path: str, options: dict[str, Any], error: type[Exception]) -> None:
    """An option that cannot be is an error of the constructor, which then has created nothing."""
    with pytest.raises(error):
        LmdbObjectStore(path, **options).close()
    assert not Path(path).exists()


def test_a_missing_read_only_file(path: str) -> None:
    """A file that is not there cannot be opened read-only: LMDB's error, and nothing is created."""
    with pytest.raises(lmdb.Error):
        LmdbObjectStore(path, readonly=True)
    assert not Path(path).exists()


# -- put, get, flush


def test_put_waits_in_memory(store: Store) -> None:
    """`put` and `[]=` write to the buffer, `flush` persists it."""
    store.put("a", 1)
    store["b"] = 2
    assert committed(store) == {}
    store.flush()
    assert committed(store) == {b"a": 1, b"b": 2}
    assert store.write_buffer == {}


def test_get_reads_buffer_and_file(store: Store) -> None:
    """`get` answers from the buffer if the key is there, else from the file."""
    store["a"] = "old"
    store.flush()
    store["a"] = "new"
    assert store.get("a") == "new"
    assert committed(store) == {b"a": "old"}
    store.delete("a")
    assert store.get("a", "gone") == "gone"


def test_missing_keys(store: Store) -> None:
    """`[]` and `del` raise KeyError for a missing key, `get` returns its default."""
    assert store.get("z") is None
    assert store.get("z", default=5) == 5
    for call in (store.__getitem__, store.__delitem__):
        with pytest.raises(KeyError) as caught:
            call("z")
        assert caught.value.args == ("z",)
        assert str(caught.value) == "Key not found: 'z'"


def test_values_are_pickled_by_the_highest_protocol(store: Store) -> None:
    """Buffer and file hold the value's pickle of the highest protocol."""
    value = {"some": [1, 2.5, None]}
    expected = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    store["a"] = value
    assert store.write_buffer == {b"a": expected}
    store.flush()
    with store.env.begin() as txn:
        assert txn.get(b"a") == expected


def test_a_value_is_unpickled_once_per_read(store: Store) -> None:
    """A read unpickles its value once, and what is not read is not unpickled."""
    store["a"] = Counted()
    for flush in (False, True):
        if flush:
            store.flush()
        before = Counted.unpickled
        store["a"]
        store.get("a")
        store.get_many(["a", "a"])
        assert "a" in store
        assert Counted.unpickled - before == 3


def test_a_writer_without_reads_flushes_at_the_threshold(open_store: OpenStore) -> None:
    """`batch_size` entries are flushed, fewer are not; the same key counts once."""
    store = open_store(3)
    store.update({"a": 1, "b": 2})
    store["b"] = 3
    assert committed(store) == {}
    store.delete("c")
    assert committed(store) == {b"a": 1, b"b": 3}
    assert store.write_buffer == {}


def test_update_is_committed_as_a_whole(open_store: OpenStore) -> None:
    """`batch_size` is looked at when all is staged; what a failing iterable gave before waits as a put would."""
    store = open_store(3)
    with patch.object(_resize, "_write", wraps=_resize._write) as write:
        store.update({f"k{i}": i for i in range(10)})
        assert (write.call_count, store.write_buffer, len(committed(store))) == (1, {}, 10)
        store.update(a=1, b=2)
        assert (write.call_count, len(store.write_buffer)) == (1, 2)

        def failing() -> Iterator[tuple[str, int]]:
            yield from {"c": 3, "d": 4}.items()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.update(failing())
        assert write.call_count == 1
        assert "d" in store
        store["e"] = 5
        assert write.call_count == 2
    assert store.write_buffer == {}


def test_update_keeps_to_the_threshold_in_bytes(open_store: OpenStore) -> None:
    """However many items come, little more than `batch_bytes` of them are in memory at a time."""
    store = open_store(3, batch_bytes=1000)
    most = 0

    def items() -> Iterator[tuple[str, bytes]]:
        nonlocal most
        for i in range(100):
            most = max(most, store._pending_bytes)
            yield f"k{i}", bytes(100)

    store.update(items())
    assert 800 < most < 1000
    assert len(store) == 100


def test_update_takes_what_a_dict_does(store: Store) -> None:
    """A mapping, something with `keys`, pairs, keywords; one argument at most, and pairs that are pairs."""

    class Keyed:
        def keys(self) -> list[str]:
            return ["x", "y"]

        def __getitem__(self, key: str) -> str:
            return key * 2

    store.update({"a": 1}, b=2)
    store.update([("c", 3)])
    store.update(Keyed())
    store.update(store)
    store.update()
    assert store == {"a": 1, "b": 2, "c": 3, "x": "xx", "y": "yy"}
    with pytest.raises(TypeError, match="at most 1 argument"):
        store.update({}, {})  # type: ignore[call-overload]
    wrongs: list[Any] = [7, [7], [(1, 2, 3)]]
    for wrong in wrongs:
        with pytest.raises((TypeError, ValueError)):
            store.update(wrong)


def test_no_limit_by_count(open_store: OpenStore) -> None:
    """With `batch_size=None` only `batch_bytes` sets off a flush; a copy of the handle has no limit either."""
    store = open_store(None, batch_bytes=10_000)
    for i in range(50):
        store[f"k{i}"] = bytes(100)
    assert committed(store) == {}
    store["large"] = bytes(10_000)
    assert len(committed(store)) == 51
    assert pickle.loads(pickle.dumps(store)).batch_size is None


def test_bytes_are_a_threshold_too(open_store: OpenStore) -> None:
    """`batch_bytes` bytes of pending keys and values are flushed, fewer are not."""
    store = open_store(batch_bytes=1000)
    store["a"] = b"x" * 500
    store["a"] = b"y" * 500
    assert committed(store) == {}
    store["b"] = b"z" * 500
    assert set(committed(store)) == {b"a", b"b"}


# -- autoflush_on_read

READS: list[Callable[[Store], Any]] = [
    lambda store: store["stored"],
    lambda store: store.get("stored"),
    lambda store: store.get("missing"),
    lambda store: store.get_many(["stored"]),
    lambda store: store.exists("stored"),
    lambda store: store.exists("missing", flush=None),
    len,
    list,
    lambda store: list(reversed(store)),
    lambda store: list(store.items()),
]
NO_FLUSH: list[Callable[[Store], Any]] = [
    lambda store: "stored" in store,
    lambda store: "missing" in store,
    lambda store: store.exists("stored", flush=False),
    lambda store: store["pending"],
    lambda store: store.get("pending"),
    lambda store: store.get_many(["pending"]),
    lambda store: store.exists("pending"),
    lambda store: store.pop("stored"),
    lambda store: store.pop("missing", None),
    lambda store: store.popitem(),
    lambda store: store.popitem(last=False),
    lambda store: store.setdefault("stored"),
    lambda store: store.setdefault("missing"),
    lambda store: store.__delitem__("stored"),
    lambda store: store.delete("stored"),
    lambda store: store.update({"stored": 2}),
    repr,
]


@pytest.fixture
def pending(request: pytest.FixtureRequest, open_store: OpenStore) -> Store:
    """A store of a key in the file, and one that waits."""
    store = open_store(autoflush_on_read=getattr(request, "param", True))
    store["stored"] = 1
    store.flush()
    store["pending"] = 2
    return store


def flushes(store: Store, call: Callable[[Store], Any]) -> bool:
    """Whether `call` writes what is pending to the file."""
    call(store)
    return b"pending" in committed(store)


@pytest.mark.parametrize("read", READS)
def test_reads_flush(pending: Store, read: Callable[[Store], Any]) -> None:
    """With `autoflush_on_read` a read that must look into the file flushes first."""
    assert flushes(pending, read)


@pytest.mark.parametrize("autoflush", [True, False])
@pytest.mark.parametrize(
    "read",
    [lambda store: store[b"stored"], lambda store: store.get(b"stored"), lambda store: store.get(b"missing")],
)
def test_reads_of_bytes_keys_flush(open_store: OpenStore, read: Callable[[Store], Any], autoflush: bool) -> None:
    """The short way that keys of bytes take flushes first too, if `autoflush_on_read` is on."""
    store = open_store(key_encoding=None, autoflush_on_read=autoflush)
    store[b"stored"] = 1
    store.flush()
    store[b"pending"] = 2
    assert flushes(store, read) is autoflush


@pytest.mark.parametrize("pending", [False], indirect=True)
@pytest.mark.parametrize("read", READS)
def test_reads_do_not_flush(pending: Store, read: Callable[[Store], Any]) -> None:
    """Without it none does, and each sees what is pending all the same."""
    assert not flushes(pending, read)
    assert pending.get("pending") == 2
    assert list(pending.items()) == [("pending", 2), ("stored", 1)]
    assert len(pending) == 2


@pytest.mark.parametrize("call", NO_FLUSH)
def test_what_never_flushes(pending: Store, call: Callable[[Store], Any]) -> None:
    """`in` has no side effect, a pending key is answered from the buffer, and writes wait for the threshold."""
    assert not flushes(pending, call)


@pytest.mark.parametrize("pending", [True, False], indirect=True)
def test_exists_may_flush_or_not(pending: Store) -> None:
    """`exists(flush=False)` guarantees no flush, `flush=True` flushes whatever the option says."""
    assert pending.exists("pending", flush=False) is True
    assert pending.exists("missing", flush=False) is False
    assert b"pending" not in committed(pending)
    assert pending.exists("missing", flush=True) is False
    assert b"pending" in committed(pending)


# -- put_many


@pytest.mark.parametrize(
    "kind", [dict, dict.items, lambda items: iter(items.items()), lambda d: list(map(list, d.items()))]
)
def test_put_many_takes_mappings_and_pairs(store: Store, kind: Callable[[dict[str, int]], Any]) -> None:
    """A mapping, pairs, an iterator: all is in the file at the return, nothing is pending."""
    store.put_many(kind({"a": 1, "b": 2}))
    assert committed(store) == {b"a": 1, b"b": 2}
    assert store.write_buffer == {}


def test_put_many_of_nothing(store: Store) -> None:
    """No items are no error."""
    store.put_many({})
    store.put_many([])
    assert not store


def test_put_many_is_one_transaction(store: Store) -> None:
    """More items than `batch_size` are written in one transaction."""
    store.put_many({f"k{i}": i for i in range(5000)})
    assert store.env.info()["last_txnid"] == 1
    assert len(store) == 5000


def test_put_many_flushes_first(store: Store) -> None:
    """What is pending is flushed in a transaction of its own, before the items, which win over it."""
    store.update({"a": "pending", "b": "pending"})
    store.put_many({"a": "many"})
    assert store.env.info()["last_txnid"] == 2
    assert committed(store) == {b"a": "many", b"b": "pending"}


def test_put_many_duplicates(store: Store) -> None:
    """The last of several values for one key counts, however the key is spelt."""
    store.put_many([("a", 1), ("b", 2), (b"a", 3), (bytearray(b"a"), 4)])
    assert committed(store) == {b"a": 4, b"b": 2}


def _failing_items() -> Iterator[tuple[str, int]]:
    yield "new", 1
    raise OSError("no more")


@pytest.mark.parametrize(
    ("items", "error"),
    [
        (_failing_items, OSError),
        (lambda: [("new", 1), ("bad", lambda: None)], Exception),
        (lambda: [("new", 1), (5, 1)], TypeError),
        (lambda: [("new", 1), ("k" * 600, 1)], ValueError),
        (lambda: [("new", 1), ("large", TOO_LARGE)], lmdb.MapFullError),
        (lambda: [("new", 1), "bad"], ValueError),
    ],
)
def test_put_many_stores_all_or_none(open_store: OpenStore, items: Callable[[], Any], error: type[Exception]) -> None:
    """Where the iterable, a key, a value or the map fails, none of the items is there; what was pending still is."""
    store = open_store(**TINY)
    store["old"] = 0
    with pytest.raises(error):
        store.put_many(items())
    assert store == {"old": 0}


def test_put_many_may_use_the_store_in_its_iterable(store: Store) -> None:
    """The caller's iterable runs with nothing held: it may read and write the store."""
    store["a"] = 1

    def items() -> Iterator[tuple[str, int]]:
        store["b"] = 2
        store.flush()
        yield "c", store["a"] + store["b"]

    store.put_many(items())
    assert store == {"a": 1, "b": 2, "c": 3}


# -- get_many


def test_get_many_merges_buffer_and_file(pending: Store) -> None:
    """Found keys are bytes and come in the order asked for, those not found as they were given."""
    found, missing = pending.get_many(["z", "stored", b"y", "pending"])
    assert list(found.items()) == [(b"stored", 1), (b"pending", 2)]
    assert missing == ["z", b"y"]


@pytest.mark.parametrize(
    ("options", "found", "missing"),
    [
        ({}, {b"a": 1, b"b": 2}, ["y", b"z", bytearray(b"x")]),
        ({"decode_keys": False}, {b"a": 1, b"b": 2}, ["y", b"z", bytearray(b"x")]),
        ({"decode_keys": True}, {"a": 1, "b": 2}, ["y", "z", "x"]),
        ({"decode_keys": True, "decode_not_found": None}, {"a": 1, "b": 2}, ["y", "z", "x"]),
        ({"decode_keys": True, "decode_not_found": False}, {"a": 1, "b": 2}, ["y", b"z", bytearray(b"x")]),
        ({"decode_not_found": True}, {b"a": 1, b"b": 2}, ["y", "z", "x"]),
    ],
)
def test_get_many_decodes(store: Store, options: dict[str, Any], found: Any, missing: list[Any]) -> None:
    """`decode_keys` makes found keys str, `decode_not_found` those not found, by default as `decode_keys`."""
    store.update({"a": 1, "b": 2})
    result = store.get_many(["a", "y", b"b", b"z", bytearray(b"x")], **options)
    assert result == (found, missing)
    assert [type(key) for key in result[1]] == [type(key) for key in missing]


def test_get_many_duplicates(pending: Store) -> None:
    """A key asked for twice is found once, at its first place; a missing one is told as often as it was asked for."""
    found, missing = pending.get_many(["stored", "z", "pending", b"stored", "z"], decode_keys=True)
    assert list(found) == ["stored", "pending"]
    assert missing == ["z", "z"]


def test_get_many_keys_that_are_no_text(store: Store) -> None:
    """A key that does not decode stays bytes."""
    store[b"\xff"] = 1
    assert store.get_many([b"\xff", b"\xfe"], decode_keys=True) == ({b"\xff": 1}, [b"\xfe"])


def test_get_many_of_awkward_keys(store: Store) -> None:
    """The empty key is found, one too long is not, none is no error, an iterator will do."""
    store[""] = 0
    assert store.get_many(["", "k" * 600, "\0" * 511]) == ({b"": 0}, ["k" * 600, "\0" * 511])
    assert store.get_many([""], decode_keys=True) == ({"": 0}, [])
    assert store.get_many([]) == ({}, [])
    assert store.get_many(iter(["", "z"])) == ({b"": 0}, ["z"])


@pytest.mark.parametrize("options", [{"decode_keys": True}, {"decode_not_found": True}])
def test_get_many_decodes_only_with_an_encoding(open_store: OpenStore, options: dict[str, bool]) -> None:
    """To decode keys without `key_encoding` is a ValueError that names it."""
    with pytest.raises(ValueError, match="key_encoding"):
        open_store(key_encoding=None).get_many([b"a"], **options)


def test_get_many_is_one_snapshot(store: Store) -> None:
    """Deleted and pending keys are told rightly, though the file still has the old rows."""
    store.autoflush_on_read = False
    store.update({"a": 1, "b": 2})
    store.flush()
    store.delete("a")
    store["b"] = 3
    assert store.get_many(["a", "b"]) == ({b"b": 3}, ["a"])


# -- deletion


def test_del_and_delete(pending: Store) -> None:
    """`del` raises KeyError for what is not there, `delete` schedules a deletion without a look."""
    del pending["stored"]
    assert pending.write_buffer[b"stored"] is None
    assert "stored" not in pending
    with pytest.raises(KeyError):
        del pending["stored"]
    pending.delete("stored")
    pending.delete("never there")
    pending.flush()
    assert committed(pending) == {b"pending": 2}


def test_delete_of_a_key_that_cannot_be(store: Store) -> None:
    """A key too long to be stored is not there: `delete` does nothing to the file, `del` and `pop` say so."""
    store[""] = "not it"
    for key in ("k" * 600, b"\0" * 511):
        store.delete(key)
        with pytest.raises(KeyError):
            del store[key]
        with pytest.raises(KeyError):
            store.pop(key)
    store.flush()
    assert dict(store) == {"": "not it"}


def test_a_failed_clear_is_not_the_failure_of_the_flush(open_store: OpenStore) -> None:
    """Who was told that `clear` failed has not heard that the `with` block's last flush did."""
    with pytest.raises(FlushError), open_store(map_size=1 << 20, max_map_size=1 << 20) as store:  # noqa: PT012
        store["large"] = bytes(2 << 20)
        with patch.object(_resize, "_write", side_effect=lmdb.DiskError("full")), pytest.raises(lmdb.DiskError):
            store.clear()


def test_unknown_options_are_named(open_store: OpenStore) -> None:
    """An option that LMDB has not is a TypeError that names it, also where the file is open already."""
    for _ in range(2):
        with pytest.raises(TypeError, match="bogus"):
            open_store(bogus=1)
        open_store()


def test_copy_is_a_dict(store: Store) -> None:
    """`copy` gives a dict, which no longer follows the store."""
    store.update(a=1, b=2)
    copy = store.copy()
    del store["a"]
    assert type(copy) is dict
    assert copy == {"a": 1, "b": 2}


def test_sets_know_keys_in_the_form_that_iteration_gives(store: Store) -> None:
    """As `set(store)` does: a text key as bytes is in the store, but is no element of its sets."""
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
def test_bytes_likes_are_always_keys(open_store: OpenStore, key: Any) -> None:
    """bytes, bytearray and memoryview are keys, with `key_encoding` or without, and the same one."""
    for number, encoding in enumerate((None, "utf-8")):
        store = open_store(key_encoding=encoding, path=f"{open_store().db_path}{number}")
        store[key] = 1
        assert store[b"k"] == store.get(key) == 1
        assert key in store
        assert list(store) == ["k" if encoding else b"k"]
        del store[key]
        assert not store


def test_str_keys_need_an_encoding(open_store: OpenStore) -> None:
    """Without `key_encoding` a str key is a TypeError whose message tells how to enable it."""
    store = open_store(key_encoding=None)
    for call in (store.get, store.exists, store.__contains__, store.delete, store.pop):
        with pytest.raises(TypeError) as caught:
            call("a")
        assert str(caught.value) == "str keys are not allowed (set key_encoding='utf-8' etc. to enable)."


def test_messages_for_foreign_keys(open_store: OpenStore) -> None:
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


def test_key_errors(open_store: OpenStore) -> None:
    """`key_errors` is the error handler of the encoding."""
    strict, ignoring = open_store(key_encoding="ascii"), open_store(key_encoding="ascii", key_errors="ignore")
    with pytest.raises(UnicodeEncodeError):
        strict["aé"] = 1
    ignoring["aé"] = 1
    assert list(ignoring) == ["a"]


def test_rows_are_never_hidden(open_store: OpenStore) -> None:
    """A stored key that does not decode under any `key_errors` is given as bytes and finds its value."""
    for errors in ("strict", "ignore", "replace", "backslashreplace", "xmlcharrefreplace"):
        store = open_store(key_encoding="ascii", key_errors=errors)
        store[b"\xff"] = 1
        assert [(key, store[key]) for key in store] == [(b"\xff", 1)]
        assert store.popitem() == (b"\xff", 1)


def test_str_normalize(open_store: OpenStore) -> None:
    """With `str_normalize` all spellings of one text are one key."""
    store = open_store(str_normalize="NFC")
    store["e\u0301"] = 1
    assert store["\u00e9"] == 1
    assert list(store) == [unicodedata.normalize("NFC", "e\u0301")]


@pytest.mark.parametrize(("options", "limit"), [({}, 511), ({"lib_version": 1}, 1978)])
def test_the_length_of_keys(open_store: OpenStore, options: dict[str, Any], limit: int) -> None:
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
def test_the_empty_key(open_store: OpenStore, options: dict[str, Any]) -> None:
    """The empty key is a key, through a flush and a reopening, and comes first."""
    store = open_store(**options)
    store.update({"": 1, "\0a": 2, "a": 3})
    store.close()
    store = open_store(**options)
    assert list(store.items()) == [("", 1), ("\0a", 2), ("a", 3)]
    assert store[b""] == 1
    assert store.popitem(last=False) == ("", 1)


def test_the_reserved_key(store: Store) -> None:
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


def test_values_that_are_too_long(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that LMDB cannot hold is a ValueError at the call, and changes nothing."""
    for module in (_bulk, _serializing, _buffer):
        monkeypatch.setattr(module, "MAX_VALUE_BYTES", 1000)
    for write in (store.put, store.__setitem__, store.setdefault, lambda key, value: store.update({key: value})):
        with pytest.raises(ValueError, match=r"'a'.*1000"):
            write("a", bytes(1000))
    with pytest.raises(ValueError, match="1000"):
        store.put_many({"b": 1, "a": bytes(1000)})
    assert store == {}


# -- read-only


def test_a_read_only_store(open_store: OpenStore) -> None:
    """It can be read in every way and written in none: lmdb.ReadonlyError, with nothing to write too."""
    with open_store() as writer:
        writer["a"] = 1
    store = open_store(readonly=True)
    writes: list[Callable[[], Any]] = [
        lambda: store.put("b", 1),
        lambda: store.__setitem__("b", 1),
        lambda: store.__delitem__("a"),
        lambda: store.delete("a"),
        lambda: store.pop("a"),
        lambda: store.pop("z", None),
        lambda: store.popitem(),
        lambda: store.setdefault("a", 1),
        lambda: store.update({"b": 1}),
        lambda: store.put_many({"b": 1}),
        lambda: store.put_many({}),
        lambda: store.clear(),
        lambda: store.flush(),
    ]
    for write in writes:
        with pytest.raises(lmdb.ReadonlyError):
            write()
    assert store == {"a": 1}
    assert store.exists("a", flush=True)
    assert store.get_many(["a"]) == ({b"a": 1}, [])
    store.close(strict=True)


# -- unpickling


@pytest.mark.parametrize("flush", [False, True])
def test_unpickling_failures(store: Store, flush: bool) -> None:
    """They are RuntimeErrors that name the key and where the value was, with their cause chained."""
    store["bad"] = Unloadable()
    if flush:
        store.flush()
    where = "DB" if flush else "buffered"
    for read in (store.get, store.__getitem__, store.pop, lambda key: store.get_many([key])):
        with pytest.raises(RuntimeError) as caught:
            read("bad")
        assert str(caught.value) == f"Failed to unpickle {where} key 'bad': refused"
        assert isinstance(caught.value.__cause__, ArithmeticError)
    assert "bad" in store


# -- a flush that fails


def test_a_failed_flush_keeps_every_change(full: Store) -> None:
    """`flush` raises LMDB's error, nothing of the batch is in the file, and all of it stays pending and readable."""
    full.delete("kept")
    pending = dict(full.write_buffer)
    for _ in range(2):
        with pytest.raises(lmdb.MapFullError):
            full.flush()
        assert full.write_buffer == pending
    assert committed(full) == {b"kept": 1}
    assert (full["small"], full["large"], "kept" in full) == (2, TOO_LARGE, False)
    del full["large"]
    full.flush()
    assert committed(full) == {b"small": 2}


def test_a_write_at_the_threshold_stays_pending(open_store: OpenStore) -> None:
    """Where reaching the threshold sets off a flush that fails, the write raises and is kept."""
    store = open_store(1, **TINY)
    with pytest.raises(lmdb.MapFullError):
        store["large"] = TOO_LARGE
    assert store["large"] == TOO_LARGE
    with pytest.raises(lmdb.MapFullError):
        store["next"] = 1
    assert store["next"] == 1


def test_a_read_whose_flush_fails_still_answers(full: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The failure is logged, once: reads do not try that flush again until there is something new."""
    for _ in range(3):
        assert full["kept"] == 1
        assert len(full) == 3
        assert list(full) == ["kept", "large", "small"]
        assert full.get_many(["kept", "z"]) == ({b"kept": 1}, ["z"])
        assert full.exists("kept")
    assert [(record.name, record.levelno) for record in caplog.records] == [("lmdb_object_store", logging.WARNING)]
    full["new"] = 1
    assert full["kept"] == 1
    assert len(caplog.records) == 2
    assert set(full.write_buffer) == {b"small", b"large", b"new"}


def test_explicit_flushes_are_tried_again(full: Store) -> None:
    """A flush that the caller asks for is tried each time, whatever a read has met."""
    assert full["kept"] == 1
    with pytest.raises(lmdb.MapFullError):
        full.flush()
    with pytest.raises(lmdb.MapFullError):
        full.exists("z", flush=True)
    full.max_map_size = None
    full.flush()
    assert full.write_buffer == {}


@pytest.mark.parametrize(
    "take", [lambda store: store.pop("a"), lambda store: store.popitem(last=False), lambda store: store.popitem()]
)
@pytest.mark.parametrize("flushed", [False, True])
def test_pop_leaves_the_item_where_it_raises(
    open_store: OpenStore, take: Callable[[Store], Any], flushed: bool
) -> None:
    """If the flush that `pop` or `popitem` sets off fails, the item is still there and not lost by a later flush."""
    store = open_store(3, **TINY)
    store["a"] = "value"
    if flushed:
        store.flush()
    store._flush = _fail  # type: ignore[method-assign]  # the disk is full
    store.batch_size = 1
    with pytest.raises(lmdb.DiskError):
        take(store)
    assert "a" in store
    del store._flush  # there is room again
    store.flush()
    assert store == {"a": "value"}
    assert take(store) in ("value", ("a", "value"))


def _fail() -> None:
    raise lmdb.DiskError("No space left on device")


def test_pop_leaves_what_cannot_be_unpickled(store: Store) -> None:
    """A value that cannot be unpickled is not deleted."""
    store["bad"] = Unloadable()
    for take in (lambda: store.pop("bad", None), store.popitem, lambda: store.popitem(last=False)):
        with pytest.raises(RuntimeError, match="bad"):
            take()
    assert list(store) == ["bad"]


def test_clear_that_fails_keeps_everything(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `clear` that raises has cleared nothing, neither in the file nor of what is pending."""
    monkeypatch.setattr(full, "_commit", lambda *_, **__: _fail())
    before = dict(full.items())
    with pytest.raises(lmdb.DiskError):
        full.clear()
    assert full == before
    monkeypatch.undo()
    full.clear()
    assert full == {}


# -- the end


def test_close_persists(open_store: OpenStore, path: str) -> None:
    """`close` flushes, and a second call does nothing."""
    store = open_store()
    store["a"] = 1
    store.close()
    store.close()
    store.close(strict=True)
    assert stored(path) == {b"a": 1}


def test_a_with_block_persists(open_store: OpenStore, path: str) -> None:
    """So does the end of a `with` block, which is given the store itself."""
    opened = open_store()
    with opened as store:
        assert store is opened
        store["a"] = 1
    assert stored(path) == {b"a": 1}


def test_a_with_block_may_be_closed_inside(open_store: OpenStore) -> None:
    """A store that its own block has closed ends quietly."""
    with open_store() as store:
        store.close()


def test_a_with_block_persists_what_came_before_an_error(open_store: OpenStore, path: str) -> None:
    """An exception of the body goes up, and what was written before it is kept."""
    with pytest.raises(ZeroDivisionError), open_store() as store:  # noqa: PT012  # the block is what is tested
        store["a"] = 1
        raise ZeroDivisionError
    assert stored(path) == {b"a": 1}


def test_a_strict_close_raises_after_closing(full: Store) -> None:
    """FlushError is a RuntimeError with the cause chained and the lost changes in it; the file is closed by then."""
    pending = dict(full.write_buffer)
    with pytest.raises(RuntimeError, match=r"^Final flush failed during close\(\)") as caught:
        full.close(strict=True)
    assert isinstance(caught.value, FlushError)
    assert isinstance(caught.value.__cause__, lmdb.MapFullError)
    assert caught.value.pending == pending
    assert full._is_closed
    assert stored(full.db_path) == {b"kept": 1}
    full.close(strict=True)


def test_a_lenient_close_logs(full: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Without `strict` the failure is logged as an error, and the close completes."""
    full.close()
    [record] = caplog.records
    assert (record.name, record.levelno) == ("lmdb_object_store", logging.ERROR)
    assert record.getMessage().startswith("Error during final flush on close: ")
    assert stored(full.db_path) == {b"kept": 1}


def test_flush_error_can_be_made_by_hand() -> None:
    """`pending` is a dict of its own, empty by default."""
    assert FlushError("message").pending == {}
    assert isinstance(FlushError("message"), RuntimeError)


def test_a_with_block_raises_a_failure_that_nobody_heard_of(full: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The final flush fails, the body succeeded: FlushError, and nothing is logged besides."""
    with pytest.raises(FlushError) as caught, full:
        pass
    assert set(caught.value.pending) == {b"small", b"large"}
    assert caplog.records == []


def test_a_with_block_does_not_hide_the_bodys_error(full: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The body's own exception goes up, and the failure is logged."""
    with pytest.raises(ZeroDivisionError), full:
        raise ZeroDivisionError
    assert "Error during final flush on close: " in caplog.text


def test_a_with_block_does_not_repeat_what_was_heard(full: Store, caplog: pytest.LogCaptureFixture) -> None:
    """An earlier flush has told the caller, who caught it, and nothing was written since: it is logged."""
    with full:
        with pytest.raises(lmdb.MapFullError):
            full.flush()
        assert full["kept"] == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_with_block_raises_where_more_was_written_since(full: Store) -> None:
    """What was written after the failure that was heard of is lost too, and of that nobody has heard."""
    with pytest.raises(FlushError), full:  # noqa: PT012  # the block is what is tested
        with pytest.raises(lmdb.MapFullError):
            full.flush()
        full["later"] = 1


def test_a_with_block_raises_what_was_only_logged(full: Store) -> None:
    """A failure that a read has logged has not been heard by the caller."""
    with pytest.raises(FlushError), full:
        assert full["kept"] == 1


def test_a_strict_close_is_strict_about_what_was_heard_too(full: Store) -> None:
    """`close(strict=True)` raises whatever was raised before."""
    with pytest.raises(lmdb.MapFullError):
        full.flush()
    with pytest.raises(FlushError):
        full.close(strict=True)


CALLS: list[Callable[[Store], Any]] = [
    lambda store: store["a"],
    lambda store: store.__setitem__("a", 1),
    lambda store: store.__delitem__("a"),
    lambda store: "a" in store,
    lambda store: store.get("a"),
    lambda store: store.put("a", 1),
    lambda store: store.delete("a"),
    lambda store: store.exists("a"),
    lambda store: store.exists("a", flush=False),
    lambda store: store.exists("a", flush=True),
    lambda store: store.pop("a"),
    lambda store: store.pop("a", None),
    lambda store: store.popitem(),
    lambda store: store.setdefault("a"),
    lambda store: store.update({"a": 1}),
    lambda store: store.update({}),
    lambda store: store.get_many(["a"]),
    lambda store: store.get_many([]),
    lambda store: store.put_many({"a": 1}),
    lambda store: store.put_many({}),
    lambda store: store.clear(),
    lambda store: store.flush(),
    len,
    bool,
    iter,
    reversed,
    lambda store: len(store.keys()),
    lambda store: "a" in store.keys(),  # noqa: SIM118  # the view's own
    lambda store: list(store.keys()),
    lambda store: list(store.values()),
    lambda store: list(store.items()),
    lambda store: store.keys() & {"a"},
    lambda store: store == {},
    lambda store: store | {},
    lambda store: {} | store,
    lambda store: store.__ior__({"a": 1}),
    lambda store: store.env,
    lambda store: store.__enter__(),
    lambda store: store._norm_key("a"),
    pickle.dumps,
]


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_after_close_every_method_raises(open_store: OpenStore, readonly: bool, call: Callable[[Store], Any]) -> None:
    """Every use of a closed store is a StoreClosedError that names it, and leaves nothing behind."""
    open_store().close()
    store = open_store(readonly=readonly)
    store.close()
    with pytest.raises(StoreClosedError) as caught:
        call(store)
    assert store.db_path in str(caught.value)
    assert store.write_buffer == {}


def test_the_repr_of_a_closed_store(store: Store) -> None:
    """It alone does not raise, and says so."""
    store.close()
    assert repr(store) == f"<LmdbObjectStore {store.db_path!r}: closed>"


def test_store_closed_error() -> None:
    """It is what a failing database raises, and what a closed `shelve` raises."""
    assert issubclass(StoreClosedError, lmdb.Error)
    assert issubclass(StoreClosedError, ValueError)


def test_an_iterator_of_a_closed_store(open_store: OpenStore) -> None:
    """An iterator that needs another page after the close raises, and does not end as if that were all."""
    store = open_store()
    store.update({f"{i:04}": i for i in range(500)})
    keys = iter(store)
    assert next(keys) == "0000"
    store.close()
    with pytest.raises(StoreClosedError):
        list(keys)


# -- concurrency


def test_readers_beside_a_writer(open_store: OpenStore) -> None:
    """Many threads read while one writes and flushes: each sees whole values, old or new."""
    store = open_store(10)
    store.put_many({f"k{i}": (0, 0) for i in range(50)})
    barrier, wrong = threading.Barrier(5), list[object]()

    def read() -> None:
        barrier.wait(30)
        try:
            for i in range(500):
                first, second = store[f"k{i % 50}"]
                if first != second:
                    wrong.append((first, second))
        except Exception as error:
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    barrier.wait(30)
    for i in range(500):
        store[f"k{i % 50}"] = (i, i)
    for reader in readers:
        reader.join(30)
    assert wrong == []


def test_close_beside_a_reader_that_unpickles(store: Store) -> None:
    """`close` neither hangs on a reader that is at its value nor takes the value from it."""
    store["a"] = Slow()
    store.flush()
    answers: list[object] = []
    reader = threading.Thread(target=lambda: answers.append(store["a"]))
    reader.start()
    assert Slow.begun.wait(30)
    store.close()
    Slow.go_on.set()
    reader.join(30)
    assert [type(answer) for answer in answers] == [Slow]


class Slow:
    """Waits while it is unpickled until the test lets it go on."""

    begun = threading.Event()
    go_on = threading.Event()

    def __getstate__(self) -> object:
        return {"some": "state"}

    def __setstate__(self, state: object) -> None:
        Slow.begun.set()
        assert Slow.go_on.wait(30)


# -- names of 0.1.0


def test_the_attributes_of_0_1_0(open_store: OpenStore, path: str) -> None:
    """The options are attributes, `env` is LMDB's environment."""
    store = open_store(
        7,
        autoflush_on_read=False,
        key_encoding="latin-1",
        key_errors="ignore",
        str_normalize="NFC",
        max_map_size=MIB * 20,
    )
    assert (store.db_path, store.batch_size, store.autoflush_on_read) == (path, 7, False)
    assert (store.key_encoding, store.key_errors, store.str_normalize) == ("latin-1", "ignore", "NFC")
    assert store.max_map_size == 20 * MIB
    assert isinstance(store.env, lmdb.Environment)


def test_the_write_buffer(store: Store) -> None:
    """`write_buffer` is the dict of pending changes, always the same: stored key to pickle, None for a deletion."""
    buffer = store.write_buffer
    store["a"] = 1
    store.delete("b")
    assert buffer == {b"a": pickle.dumps(1, pickle.HIGHEST_PROTOCOL), b"b": LmdbObjectStore._DELETION_SENTINEL}
    assert LmdbObjectStore._DELETION_SENTINEL is None
    for call in (store.flush, store.clear, lambda: store.put_many({"c": 1}), store.close):
        call()
        assert buffer == {}
        assert store.write_buffer is buffer


def test_the_options_can_be_changed_later(store: Store) -> None:
    """`batch_size`, `autoflush_on_read` and `max_map_size` are looked at when they are needed."""
    store.batch_size, store.autoflush_on_read = 2, False
    store["a"] = 1
    assert len(store) == 1
    assert committed(store) == {}
    store["b"] = 2
    assert committed(store) == {b"a": 1, b"b": 2}


def test_the_internal_names_of_0_1_0(open_store: OpenStore) -> None:
    """`_norm_key` gives a stored key, `_flush` flushes, `_is_closed` tells whether the store is closed."""
    store = open_store(str_normalize="NFC")
    assert store._norm_key("e\u0301") == "é".encode()
    assert store._norm_key(memoryview(b"ab")) == b"ab"
    store["a"] = 1
    store._flush()
    assert committed(store) == {b"a": 1}
    assert store._is_closed is False
    store.close()
    assert store._is_closed is True


@pytest.mark.parametrize("error", [RuntimeError("mine"), lmdb.DiskError("full")])
def test_close_calls_flush(store: Store, error: Exception) -> None:
    """Whoever has put another `_flush` in its place finds it called by `close`, and its error chained."""

    def flush() -> None:
        raise error

    store._flush = flush  # type: ignore[method-assign]  # as tests of 0.1.0 do
    with pytest.raises(FlushError, match=r"^Final flush failed during close\(\)") as caught:
        store.close(strict=True)
    assert caught.value.__cause__ is error


def test_an_interrupted_close_leaves_the_store_open(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """KeyboardInterrupt in the final flush goes on up; nothing is lost, and the store can be closed again."""
    store = open_store()
    store["a"] = 1

    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, "_flush", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.close()
    assert store["a"] == 1
    store.close(strict=True)
    assert stored(store.db_path) == {b"a": 1}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("user:7", "Key not found: 'user:7'"),
        (b"user:7", "Key not found: 'user:7'"),
        (b"\xff\xfe", "Key not found: 0xfffe"),
    ],
)
def test_the_message_of_a_missing_key(store: Store, key: Any, text: str) -> None:
    """It reads as it did, though the error's only argument is the key."""
    for call in (store.__getitem__, store.__delitem__, store.pop):
        with pytest.raises(KeyError) as caught:
            call(key)
        assert (caught.value.args, str(caught.value)) == ((key,), text)


def test_long_keys_are_cut_in_messages(store: Store) -> None:
    """A message about a key stays readable, and tells the key's own length."""
    with pytest.raises(KeyError) as caught:
        store["k" * 500]
    assert len(str(caught.value)) < 150
    with pytest.raises(ValueError, match="600") as refused:
        store[b"k" * 600] = 1
    assert len(str(refused.value)) < 250
    assert "192" not in str(refused.value)


def test_an_environment_that_was_closed_from_outside(open_store: OpenStore, caplog: pytest.LogCaptureFixture) -> None:
    """A store whose `env` somebody has closed still closes quietly."""
    for strict in (False, True):
        store = open_store()
        store["a"] = 1
        store.flush()
        store.env.close()
        store.close(strict=strict)
    with open_store() as store:
        store.env.close()
    assert caplog.records == []


def test_a_constructor_that_fails_leaves_the_file_closed(
    path: str, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the constructor raises after it has opened the file, the file is closed again."""
    with monkeypatch.context() as patched:
        patched.setattr("lmdb_object_store._store.KeyCodec.__init__", None)
        with pytest.raises(TypeError):
            open_store()
    lmdb.open(path).close()  # "already open in this process" otherwise


def test_repr_of_a_store_that_cannot_be_read(store: Store) -> None:
    """`repr` raises nothing: it tells LMDB's error."""
    store.env.close()
    assert repr(store).startswith("<LmdbObjectStore ")
    assert "closed" in repr(store)


@pytest.mark.parametrize("key", ["bad", b"bad"])
def test_a_stored_value_that_is_no_pickle(store: Store, key: Any) -> None:
    """Each read of it is a RuntimeError that names the key and chains the cause."""
    with store.env.begin(write=True) as txn:
        txn.put(b"bad", b"no pickle")
    reads: list[Callable[[], object]] = [
        lambda: store[key],
        lambda: store.get(key),
        lambda: store.get_many([key]),
        lambda: store.pop(key),
        lambda: list(store.values()),
        lambda: list(reversed(store.items())),
    ]
    for read in reads:
        with pytest.raises(RuntimeError, match="Failed to unpickle DB key 'bad'") as caught:
            read()
        assert isinstance(caught.value.__cause__, pickle.UnpicklingError)
    assert "bad" in store
