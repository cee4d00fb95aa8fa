"""Edits in place, each a transaction."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from support.transactions import Undo, in_file, usable

from lmdb_object_store import LmdbObjectStore

Store = LmdbObjectStore[Any, Any]


def test_edit_stores_the_object_at_the_end(store: Store) -> None:
    """The object is stored at the end of the block."""
    store["list"] = [1]
    with store.edit("list") as value:
        value.append(2)
        assert store["list"] == [1]
    assert store["list"] == [1, 2]
    assert in_file(store) == {"list": [1, 2]}
    with store.edit("new", default=list) as value:
        value.append(1)
    with store.edit("other", default={"n": 1}) as other:
        other["n"] += 1
    with store.edit("untouched", dict):
        pass
    with store.edit("none", None) as none:
        assert none is None
    expected = {"list": [1, 2], "new": [1], "other": {"n": 2}, "untouched": {}, "none": None}
    assert store.copy() == in_file(store) == expected
    usable(store)


def test_edit_without_a_change_writes_nothing(store: Store) -> None:
    """An equal pickle is not stored again. The block's own write to the key stays."""
    store["list"] = [1]
    store.flush()
    before = store.env.info()["last_txnid"]
    with store.edit("list") as value:
        value.append(2)
        value.pop()
    assert store.env.info()["last_txnid"] == before
    with store.edit("list"):
        store["list"] = "otherwise"
    assert store["list"] == "otherwise"


def test_edit_that_fails_changes_nothing(store: Store) -> None:
    """A missing key, an exception, a bad key, or a value that cannot be pickled or unpickled changes nothing."""
    store["list"] = [1]
    with pytest.raises(KeyError) as missing, store.edit("missing"):
        pass
    assert missing.value.args == ("missing",)
    with pytest.raises(Undo), store.edit("list") as value:
        value.append(2)
        raise Undo
    with pytest.raises((pickle.PicklingError, AttributeError)), store.edit("list") as value:
        value.append(lambda: None)
    with pytest.raises(Undo), store.edit("new", default=raise_undo):
        pass
    with pytest.raises(TypeError):
        store.edit(5)
    with pytest.raises(ValueError, match="at most 511"):
        store.edit("k" * 2000)
    store.flush()
    with store.env.begin(write=True) as txn:
        txn.put(b"bad", b"no pickle")
    with pytest.raises(RuntimeError, match="bad"), store.edit("bad"):
        pass
    del store["bad"]
    assert store.copy() == {"list": [1]}
    usable(store)


def raise_undo() -> None:
    raise Undo


def test_edit_in_a_transaction_is_a_savepoint(store: Store) -> None:
    """The block's exception rolls back its own changes alone, and its end commits nothing."""
    with store.transaction():
        with store.edit("a", list) as value:
            value.append(1)
        with pytest.raises(Undo), store.edit("a") as value:
            value.append(2)
            raise Undo
        assert store["a"] == [1]
        assert in_file(store) == {}
    assert in_file(store) == {"a": [1]}
