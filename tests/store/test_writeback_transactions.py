"""Transactions and edits of a store that writes back."""

from __future__ import annotations

import pickle
import threading

import pytest
from support.files import contents
from support.threads import in_thread
from support.writeback import Open

from lmdb_object_store import StoreClosedError


def test_transaction_rolled_back_forgets_its_objects(open_cached: Open) -> None:
    """Objects stored or changed within do not come back. Earlier changes are written."""
    store = open_cached()
    store.update(kept=[1], replaced=[1], deleted=[1])
    store.sync()
    kept, new = store["kept"], [1]
    for key in ("kept", "replaced", "deleted"):
        store[key].append(2)
    with pytest.raises(ZeroDivisionError), store.transaction():  # noqa: PT012
        kept.append(3)
        store["new"] = new
        store["replaced"] = [3]
        del store["deleted"]
        store.put_many({"many": new})
        store.setdefault("default", new)
        with pytest.raises(KeyError), store.transaction():  # noqa: PT012
            kept.append(4)
            store["inner"] = new
            raise KeyError
        assert "inner" not in store
        assert store["kept"] == [1, 2, 3]
        raise ZeroDivisionError
    new.append(2)
    store.sync()
    assert dict(store) == {"kept": [1, 2], "replaced": [1, 2], "deleted": [1, 2]}


def test_transaction_rolled_back_with_max_cached_keeps_earlier_changes(open_cached: Open) -> None:
    """An object dropped within, past the bound, had been written before."""
    store = open_cached(max_cached=1)
    store.update(a=[1], b=[1])
    store.sync()
    store["a"].append(2)
    with pytest.raises(ZeroDivisionError), store.transaction():  # noqa: PT012
        assert store["b"] == [1]
        assert store["a"] == [1, 2]
        raise ZeroDivisionError
    assert dict(store) == {"a": [1, 2], "b": [1]}


def test_transaction_commits_changed_objects(open_cached: Open) -> None:
    """All of a transaction is in the file at its end, with objects changed in place, or it fails as a whole."""
    store = open_cached()
    store["a"] = [1]
    with store.transaction():
        store["a"].append(2)
        store["n"] = 1
    with store.env.begin() as txn:
        assert {key: pickle.loads(data) for key, data in txn.cursor()} == {b"a": [1, 2], b"n": 1}
    with pytest.raises(RuntimeError, match="'a'"), store.transaction():  # noqa: PT012
        store["n"] = 2
        store["a"].append(lambda: None)
    assert dict(store) == {"a": [1, 2], "n": 1}


def test_transaction_that_commits_keeps_its_objects(open_cached: Open) -> None:
    """Objects stored within are kept, and written back as any other."""
    store = open_cached()
    new = [1]
    with store.transaction():
        store["new"] = new
        store["deleted"] = [1]
        del store["deleted"]
    assert store["new"] is new
    new.append(2)
    store.sync()
    store.close()
    assert contents(store.db_path) == {"new": [1, 2]}


@pytest.mark.parametrize("part", [False, True])
def test_clear_in_a_transaction_forgets_objects(open_cached: Open, part: bool) -> None:
    """The deleted values are not kept."""
    store = open_cached()
    store.update(a=[1], b=[1])
    store.sync()
    values = list(store.values())
    with store.transaction():
        (store.prefix("a") if part else store).clear()
    for value in values:
        value.append(2)
    store.sync()
    assert dict(store) == ({"b": [1, 2]} if part else {})


def test_transaction_of_a_store_being_closed_is_refused(open_cached: Open) -> None:
    """The transaction leaves no lock taken."""
    store, other = open_cached(), open_cached()
    begun, errors = threading.Event(), list[BaseException]()

    def begin() -> None:
        try:
            with store.transaction():
                begun.set()
        except StoreClosedError as error:
            errors.append(error)

    closing, beginning = threading.Thread(target=store.close), threading.Thread(target=begin)
    with store.transaction():
        store["a"] = 1
        for thread in (closing, beginning):
            thread.start()
            thread.join(0.2)  # it is to wait, the first one first
    closing.join(30)
    beginning.join(30)
    assert begun.is_set() != bool(errors)
    in_thread(lambda: other.put_many({"b": 1}))
    assert dict(other) == {"a": 1, "b": 1}


def test_edit_of_a_kept_object_gives_it(open_cached: Open) -> None:
    """The kept object itself is given and stays kept. An exception rolls back its changes."""
    store = open_cached()
    store["a"] = kept = [1]
    kept.append(2)
    with store.edit("a") as value:
        assert value is kept
        value.append(3)
    kept.append(4)
    store.sync()
    with pytest.raises(ZeroDivisionError), store.edit("a") as value:  # noqa: PT012
        value.append(5)
        raise ZeroDivisionError
    assert store["a"] == [1, 2, 3, 4]
    with store.edit("new", list) as new:
        new.append(1)
    assert store["new"] is new
    store.close()
    assert contents(store.db_path) == {"a": [1, 2, 3, 4], "new": [1]}
