"""Serializers: modules as they are, objects of one's own, what the store carries, and what it refuses."""

from __future__ import annotations

import copy
import json
import marshal
import pickle
import sys
import types
import zlib
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.programs import run_script

from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._shelve.writeback import WritebackStore

PLAIN = {"text": "é", "number": 1.5, "list": [1, None, True], "nested": {"empty": {}}}
MODULES = ["pickle", "json", "marshal", "orjson", "msgpack", "cloudpickle", "dill"]
KINDS: list[type[LmdbObjectStore[Any, Any]]] = [LmdbObjectStore, WritebackStore]


class Zlib:
    """A serializer that compresses, as anybody may write one."""

    def dumps(self, obj: Any) -> bytes:
        return zlib.compress(pickle.dumps(obj, pickle.HIGHEST_PROTOCOL))

    def loads(self, data: bytes) -> Any:
        return pickle.loads(zlib.decompress(data))


class Raw:
    """Values are bytes, stored as they are; `given` notes what `loads` gets, `made` is what `dumps` gives."""

    made: type = bytes

    def __init__(self) -> None:
        self.given: list[object] = []

    def dumps(self, obj: Any) -> Any:
        return self.made(obj)

    def loads(self, data: bytes) -> Any:
        self.given.append(data)
        return data


def raw_rows(store: LmdbObjectStore[Any, Any]) -> dict[bytes, bytes]:
    """Return the rows in the file of `store`."""
    with store.env.begin() as txn:
        return {bytes(key): bytes(data) for key, data in txn.cursor()}


def everything(store: LmdbObjectStore[Any, Any], value: Any) -> None:
    """Write `value` and read it again, by each method that does so, pending and stored."""
    store["a"] = value
    store.put("b", value)
    store.update(c=value)
    store.put_many({"d": value})
    assert store.setdefault("e", value) == value
    for flushed in (False, True):
        if flushed:
            store.flush()
        assert store["a"] == store[b"a"] == store.get("b") == store.get(b"b") == value
        assert store.setdefault("e", None) == value
        assert store.get_many(["c", "x"]) == ({b"c": value}, ["x"])
        assert dict(store.items()) == dict.fromkeys("abcde", value)
        assert list(store.values()) == [value] * 5
        assert ("a", value) in store.items()
        assert store == dict.fromkeys("abcde", value)
        assert store.prefix("a")["a"] == store.range("d").peekitem()[1] == value
    store["f"] = value
    assert store.pop("f") == value
    assert store.popitem() == ("e", value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODULES)
def test_serializer_module_is_taken_as_it_is(open_store: OpenStore, name: str, kind: Any) -> None:
    """Any object with `dumps` and `loads` is taken. The rows are the results of its `dumps`."""
    module = pytest.importorskip(name)
    with open_store(kind=kind, serializer=module) as store:
        assert store.serializer is module
        everything(store, PLAIN)
        data = module.dumps(PLAIN)
        expected = data.encode() if isinstance(data, str) else data
        assert name == "pickle" or raw_rows(store)[b"a"] == expected
    with open_store(kind=kind, serializer=module) as store:
        assert store["a"] == PLAIN


def test_serializer_pickle_is_the_default(open_store: OpenStore) -> None:
    """The default is pickle with its highest protocol, and large values in parts."""
    store = open_store(serializer=pickle)
    store["k"] = store.setdefault("d", PLAIN)
    store.flush()
    assert raw_rows(store) == dict.fromkeys((b"d", b"k"), pickle.dumps(PLAIN, pickle.HIGHEST_PROTOCOL))
    assert store._is_pickled
    assert open_store().serializer is pickle


@pytest.mark.parametrize("made", [bytes, bytearray, memoryview])
def test_serializer_loads_gets_bytes_that_nobody_changes(open_store: OpenStore, made: type) -> None:
    """`loads` gets bytes for any kind of bytes from `dumps`, and of any size, also of none."""
    serializer = Raw()
    serializer.made = made
    store = open_store(serializer=serializer, autoflush_on_read=False)
    source = bytearray(b"before")
    store["pending"] = source
    source[:] = b"after!"
    store.put_many({"empty": b"", "one": b"1", "large": bytes(1 << 20)})
    store.get("large")
    expected = {"empty": b"", "large": bytes(1 << 20), "one": b"1", "pending": b"before"}
    assert [bytes(value) for value in store.values()] == list(expected.values())
    assert {key: bytes(store[key]) for key in expected} == expected
    assert {key: bytes(store[key.encode()]) for key in expected} == expected
    assert "empty" in store
    assert store.pop("empty") == b""
    assert {type(data) for data in serializer.given} == {bytes}


@pytest.mark.parametrize("kind", KINDS)
def test_serializer_loads_gets_all_bytes_of_a_large_value(open_store: OpenStore, kind: Any) -> None:
    """`loads` gets the bytes in one piece, also if the serializer pickles."""
    serializer = types.SimpleNamespace(dumps=pickle.dumps, loads=lambda data: pickle.loads(data))
    values = {f"k{number}": [bytes(1 << 20), number] for number in range(3)}
    with open_store(serializer=serializer) as store:
        store.put_many(values)
    store = open_store(kind=kind, serializer=serializer)
    assert [store[key] for key in values] == list(values.values())
    assert [store.get(key.encode()) for key in values] == list(values.values())


def test_serializer_text_is_encoded_as_utf_8(open_store: OpenStore) -> None:
    """Text is not escaped if the serializer does not escape it."""
    serializer = types.SimpleNamespace(dumps=lambda obj: json.dumps(obj, ensure_ascii=False), loads=json.loads)
    store = open_store(serializer=serializer)
    store["k"] = "é"
    store.flush()
    assert raw_rows(store) == {b"k": b'"\xc3\xa9"'}
    assert store["k"] == "é"


@pytest.mark.parametrize("made", [None, 1, ["x"], object()])
@pytest.mark.parametrize("kind", KINDS)
def test_serializer_dumps_of_another_type_is_refused(open_store: OpenStore, kind: Any, made: Any) -> None:
    """The call that brought the value raises, and changes nothing."""
    store = open_store(kind=kind, serializer=types.SimpleNamespace(dumps=lambda obj: made, loads=bytes))
    for write in (
        lambda: store.put("k", 1),
        lambda: store.__setitem__("k", 1),
        lambda: store.update(k=1),
        lambda: store.put_many({"k": 1}),
        lambda: store.setdefault("k", 1),
    ):
        with pytest.raises(TypeError, match=f"{type(made).__name__} for the value of key 'k'.*bytes or str"):
            write()
    assert not store


@pytest.mark.parametrize("kind", KINDS)
def test_serializer_error_of_dumps_reaches_the_caller(open_store: OpenStore, kind: Any) -> None:
    """The error is the serializer's own, and nothing has changed."""
    store = open_store(kind=kind, serializer=json)
    store["a"] = 1
    for write in (store.put, store.setdefault, lambda key, value: store.put_many([("b", 2), (key, value)])):
        with pytest.raises(TypeError, match="not JSON serializable"):
            write("x", {1, 2})
    assert store == {"a": 1}


def test_serializer_value_over_the_limit_is_refused(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value is refused like a pickle, with the name of the key."""
    for module in ("_mapping.bulk", "_values.serializing", "_buffer.pending"):
        monkeypatch.setattr(f"lmdb_object_store.{module}.MAX_VALUE_BYTES", 100)
    store = open_store(serializer=Raw())
    for write in (store.put, store.setdefault, lambda key, value: store.put_many({key: value})):
        with pytest.raises(ValueError, match=r"key 'k' is 101 bytes"):
            write("k", bytes(101))
    store["k"] = bytes(100)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["k", b"k"])
def test_serializer_error_of_loads_names_the_key(open_store: OpenStore, kind: Any, key: Any) -> None:
    """Every method that reads, pending and stored items, raises with the key, and the item stays."""
    with open_store() as store:
        store["k"] = 1
    store = open_store(kind=kind, serializer=json)
    for read in (
        lambda: store[key],
        lambda: store.get(key),
        lambda: store.pop(key),
        lambda: store.setdefault(key, 1),
        lambda: store.get_many([key]),
        lambda: list(store.values()),
        lambda: list(store.items()),
        lambda: store.peekitem(),
        lambda: store.popitem(),
        lambda: store == {"k": 1},
        lambda: store.prefix("k")["k"],
    ):
        with pytest.raises(RuntimeError, match=r"Failed to deserialize DB key 'k'") as caught:
            read()
        assert caught.value.__cause__ is not None
    assert list(store) == ["k"]
    store["k"] = 2
    assert store == {"k": 2}


@pytest.mark.parametrize("serializer", [None, 5, "json", json.dumps, object(), types.SimpleNamespace(dumps=str)])
def test_serializer_without_its_methods_is_refused(path: str, serializer: Any) -> None:
    """The constructor refuses the object before anything is made on the disk."""
    with pytest.raises(TypeError, match=r"serializer must have dumps\(obj\) and loads\(data\)"):
        LmdbObjectStore(path, serializer=serializer)
    assert not Path(path).exists()


def test_serializer_of_each_store_is_its_own(open_store: OpenStore) -> None:
    """Each store reads and writes by its own serializer, whatever the other does."""
    first, second = open_store(serializer=json), open_store(serializer=Zlib())
    first["a"] = 1
    second["b"] = {2}
    first.flush()
    second.flush()
    assert (first["a"], second["b"]) == (1, {2})
    for store, key in ((first, "b"), (second, "a")):
        with pytest.raises(RuntimeError, match=f"key '{key}'"):
            store[key]


# -- carried


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("copied", [lambda store: pickle.loads(pickle.dumps(store)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("serializer", [json, marshal, pickle, Zlib()])
def test_pickled_handle_carries_its_serializer(open_store: OpenStore, serializer: Any, copied: Any, kind: Any) -> None:
    """A module is pickled by its name, an object by its own pickle."""
    store = open_store(kind=kind, serializer=serializer)
    store["k"] = PLAIN
    with copied(store) as handle:
        assert type(handle.serializer) is type(serializer)
        assert (handle.serializer is serializer) == (copied is copy.copy or isinstance(serializer, types.ModuleType))
        assert (handle["k"], handle._is_pickled) == (PLAIN, store._is_pickled)
        handle["new"] = 1
    assert store["new"] == 1


def test_pickled_handle_in_another_process_imports_its_serializer(
    open_store: OpenStore, path: str, tmp_path: Path
) -> None:
    """The other process has not imported the module before."""
    store = open_store(serializer=json)
    store["k"] = PLAIN
    handle = tmp_path / "handle"
    handle.write_bytes(pickle.dumps(store))
    script = """
        import pickle
        store = pickle.load(open(sys.argv[2], "rb"))
        print(store.serializer.__name__, store["k"]["text"])
        store.close()
    """
    assert run_script(script, path, str(handle), python=("-X", "utf8")).stdout == "json é\n"


def test_pickled_handle_whose_serializer_cannot_be_carried_says_so(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pickler names the object that it cannot take, and a process without the module names the module."""

    class Local(Zlib):
        pass

    with pytest.raises((AttributeError, pickle.PicklingError), match="Local"):
        pickle.dumps(open_store(serializer=Local()))
    module: Any = types.ModuleType("of_this_test")
    module.dumps, module.loads = json.dumps, json.loads
    data = pickle.dumps(open_store(serializer=module))
    with pytest.raises(ModuleNotFoundError, match="of_this_test"):
        pickle.loads(data)
    monkeypatch.setitem(sys.modules, "of_this_test", module)
    assert pickle.loads(data).serializer is module


def test_read_only_store_reads_by_its_serializer(open_store: OpenStore) -> None:
    """The option is not stored in the file."""
    with open_store(serializer=json) as store:
        store["k"] = PLAIN
    with open_store(serializer=json, readonly=True) as store:
        assert store["k"] == PLAIN
        with pytest.raises(lmdb.ReadonlyError):
            store["k"] = 1
