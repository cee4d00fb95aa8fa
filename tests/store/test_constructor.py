"""The constructor: its parameters, LMDB's options, wrong options, and the attributes that they become."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.stores import MIB, Store, committed

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._buffer.pending import BufferMixin
from lmdb_object_store._buffer.resize import ResizeMixin
from lmdb_object_store._errors import KeyNotFoundError, ReadonlyStoreError


def test_package_exports_the_public_names() -> None:
    """The package exports the store, its errors, the kinds of keys, figures, and the classes to annotate with."""
    names = {
        *("LmdbObjectStore", "WritebackStore", "StoreRange", "Transaction", "StoreStats"),
        *("ConflictError", "FlushError", "KeyNotFoundError", "ReadonlyStoreError", "StoreClosedError"),
        *("KeyEncoding", "OrderedKeys", "Serializer", "StoredKey"),
    }
    assert set(lmdb_object_store.__all__) == names


def test_store_class_is_a_mutable_mapping_made_of_mixins() -> None:
    """The store is a MutableMapping, with the buffer and the growth in mixins."""
    assert issubclass(LmdbObjectStore, MutableMapping)
    assert {ResizeMixin, BufferMixin, MutableMapping} <= set(LmdbObjectStore.__mro__)


def test_constructor_parameters_are_the_contracts() -> None:
    """Names, order, kinds and defaults of the parameters are the contract's."""
    parameters = dict(inspect.signature(LmdbObjectStore).parameters)
    assert [(name, p.default) for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == [
        ("db_path", inspect.Parameter.empty),
        ("batch_size", 1000),
    ]
    assert {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY} == {
        "batch_bytes": 64 * MIB,
        "flush_interval": None,
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
def test_methods_parameters_are_the_contracts(method: str, signature: str) -> None:
    """The methods take what the contract says, by the names that it says."""
    parameters = inspect.signature(getattr(LmdbObjectStore, method)).parameters.values()
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    assert str(inspect.Signature(plain)) == signature


def test_constructor_path_of_any_kind_names_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_constructor_options_of_lmdb_are_forwarded(open_store: OpenStore, path: str) -> None:
    """`map_size`, `subdir`, `max_readers` and the like reach `lmdb.open`."""
    store = open_store(map_size=3 * MIB, subdir=False, max_readers=7)
    store["a"] = 1
    assert Path(path).is_file()
    assert store.env.info()["map_size"] == 3 * MIB
    assert store.env.info()["max_readers"] == 7


def test_constructor_without_max_readers_allows_1024(store: Store) -> None:
    """By default 1024 readers may read at once."""
    assert store.env.info()["max_readers"] == 1024


def test_constructor_unknown_option_is_refused(path: str) -> None:
    """An option that `lmdb.open` does not know is its TypeError."""
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
def test_constructor_wrong_option_is_refused_and_creates_nothing(
    path: str, options: dict[str, Any], error: type[Exception]
) -> None:
    """An option that cannot be is an error of the constructor, which then has created nothing."""
    with pytest.raises(error):
        LmdbObjectStore(path, **options).close()
    assert not Path(path).exists()


def test_constructor_read_only_without_a_file_is_refused(path: str) -> None:
    """A file that is not there cannot be opened read-only: LMDB's error, and nothing is created."""
    with pytest.raises(lmdb.Error):
        LmdbObjectStore(path, readonly=True)
    assert not Path(path).exists()


def test_constructor_unknown_option_is_named(open_store: OpenStore) -> None:
    """An option that LMDB has not is a TypeError that names it, also where the file is open already."""
    for _ in range(2):
        with pytest.raises(TypeError, match="bogus"):
            open_store(bogus=1)
        open_store()


def test_options_changed_later_take_effect(store: Store) -> None:
    """`batch_size`, `autoflush_on_read` and `max_map_size` are looked at when they are needed."""
    store.batch_size, store.autoflush_on_read = 2, False
    store["a"] = 1
    assert len(store) == 1
    assert committed(store) == {}
    store["b"] = 2
    assert committed(store) == {b"a": 1, b"b": 2}


def test_constructor_that_fails_leaves_the_file_closed(
    path: str, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the constructor raises after it has opened the file, the file is closed again."""
    with monkeypatch.context() as patched:
        patched.setattr("lmdb_object_store._store.KeyCodec.__init__", None)
        with pytest.raises(TypeError):
            open_store()
    lmdb.open(path).close()  # "already open in this process" otherwise


def test_module_of_public_names_is_the_package() -> None:
    """Tracebacks, pickles and `help` show the name that a program can import."""
    for name in lmdb_object_store.__all__:
        assert getattr(lmdb_object_store, name).__module__ == "lmdb_object_store", name
    for error in (KeyNotFoundError("x"), ReadonlyStoreError("x")):
        assert type(pickle.loads(pickle.dumps(error))) is type(error)
