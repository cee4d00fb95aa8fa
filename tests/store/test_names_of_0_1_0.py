"""Names that version 0.1.0 had: attributes, the write buffer, internal methods."""

from __future__ import annotations

import pickle

import lmdb
from conftest import OpenStore
from support.stores import MIB, Store, committed

from lmdb_object_store import LmdbObjectStore


def test_attributes_of_0_1_0_are_the_options(open_store: OpenStore, path: str) -> None:
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


def test_write_buffer_is_always_the_same_dict(store: Store) -> None:
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


def test_internal_names_of_0_1_0_still_work(open_store: OpenStore) -> None:
    """`_norm_key` gives a stored key, `_flush` flushes, and `_is_closed` is True once the store is closed."""
    store = open_store(str_normalize="NFC")
    assert store._norm_key("e\u0301") == "é".encode()
    assert store._norm_key(memoryview(b"ab")) == b"ab"
    store["a"] = 1
    store._flush()
    assert committed(store) == {b"a": 1}
    assert store._is_closed is False
    store.close()
    assert store._is_closed is True
