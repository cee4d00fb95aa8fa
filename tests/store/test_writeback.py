"""A store that writes back: it gives the very objects that it has given or taken before, and writes what changed."""

from __future__ import annotations

import gc
import pickle
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from conftest import OpenStore
from support.checkpoints import Interrupt, in_each_commit, interrupt
from support.files import contents
from support.programs import run_script
from support.writeback import Open, Person, Store, Stubborn, WatchedStore

from lmdb_object_store import StoreClosedError
from lmdb_object_store._shelve.writeback import WritebackStore

# -- the very object


READS: list[Callable[[Any], Any]] = [
    lambda store: store["c"],
    lambda store: store[b"c"],
    lambda store: store.get("c"),
    lambda store: store.get(b"c"),
    lambda store: store.setdefault("c", []),
    lambda store: store.get_many(["a", "c"])[0][b"c"],
    lambda store: store.peekitem()[1],
    lambda store: list(store.values())[-1],
    lambda store: next(reversed(store.values())),
    lambda store: dict(store.items())["c"],
    lambda store: store.copy()["c"],
    lambda store: (store | {})["c"],
    lambda store: store.prefix("c")["c"],
    lambda store: store.range("b").get("c"),
    lambda store: list(store.range("b").values())[-1],
    lambda store: store.range("b").peekitem()[1],
    lambda store: store.pop("c"),
    lambda store: store.popitem()[1],
    lambda store: store.range("b").popitem()[1],
]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("first", READS[:-3])
def test_read_twice_gives_one_object(lists: Store, first: Any, read: Any) -> None:
    """Any read after the first one gives the same object, with its changes."""
    value = first(lists)
    value.append("changed")
    assert read(lists) is value


@pytest.mark.parametrize(
    "write",
    [
        lambda store, value: store.__setitem__("k", value),
        lambda store, value: store.put("k", value),
        lambda store, value: store.update(k=value),
        lambda store, value: store.put_many({"k": value}),
        lambda store, value: store.put_many(iter([("k", []), ("k", value)])),
        lambda store, value: store.setdefault("k", value),
        lambda store, value: store.prefix("k").__setitem__("k", value),
        lambda store, value: store.prefix("k").setdefault("k", value),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 1000])
def test_read_of_a_stored_object_gives_it(open_cached: Open, write: Any, batch_size: int) -> None:
    """Reads give the object that any write has stored, and its later changes are written."""
    value: list[int] = []
    with open_cached(batch_size=batch_size) as store:
        write(store, value)
        value.append(1)
        assert store["k"] is value
    assert contents(store.db_path) == {"k": [1]}


def test_items_with_a_value_stored_meanwhile_keeps_it(lists: Store) -> None:
    """The stored object is kept, though the iterator has read the older row before."""
    items = iter(lists.items())
    assert next(items) == ("a", [1])
    new = ["new"]
    lists["c"] = new
    assert dict(items)["c"] is new
    assert lists["c"] is new


def test_views_and_comparisons_see_changed_objects(lists: Store) -> None:
    """Equality and membership use the kept objects."""
    lists["b"].append("changed")
    assert lists == {"a": [1], "b": [2, "changed"], "c": [3]}
    assert lists.prefix("b") == {"b": [2, "changed"]}
    assert ("b", [2, "changed"]) in lists.items()
    assert ("b", [2]) not in lists.items()
    assert [2, "changed"] in lists.values()


# -- written back


@pytest.mark.parametrize(
    "end",
    [
        lambda store: store.sync(),
        lambda store: store.flush(),
        lambda store: store.close(),
        lambda store: store.close(strict=True),
        lambda store: store.__exit__(None),
        lambda store: store.__exit__(ValueError),
        pickle.dumps,
    ],
)
def test_sync_writes_changed_objects(open_cached: Open, open_store: OpenStore, end: Any) -> None:
    """Values that were read, and values that were stored, are written with their later changes."""
    with open_cached() as store:
        store["read"] = [1]
    store = open_cached()
    stored: list[Any] = [2]
    store["stored"] = stored
    store["read"].append("changed")
    stored.append("changed")
    end(store)
    assert open_store() == {"read": [1, "changed"], "stored": [2, "changed"]}


def test_collection_writes_changed_objects(open_cached: Open, path: str) -> None:
    """A store that nobody closes writes back as it is collected, and warns."""
    store: Store = WritebackStore(path, key_encoding="utf-8")
    store["k"] = value = [1]
    value.append(2)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del store
    gc.collect()
    assert contents(path) == {"k": [1, 2]}


def test_collection_with_changed_objects_waits_for_no_lock(open_store: OpenStore, path: str) -> None:
    """If another thread has the lock, the next commit writes the changes."""
    other = open_store()
    store: Store = WritebackStore(path, key_encoding="utf-8")
    store["k"] = value = [1]
    store.flush()
    value.append(2)
    held, let_go = threading.Event(), threading.Event()
    in_time: list[bool] = []

    def hold() -> None:
        with other._environment.lock:
            held.set()
            in_time.append(let_go.wait(10))

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del store
    let_go.set()
    thread.join()
    assert in_time == [True]
    other.flush()
    assert other["k"] == [1, 2]


def test_exit_writes_changed_objects(path: str) -> None:
    """A script that ends without closing, or by an exception, loses nothing."""
    script = """
        import lmdb_object_store
        shelf = lmdb_object_store.open(path, writeback=True)
        shelf.setdefault("k", []).append(1)
        {}
    """
    run_script(script.format(""), path)
    assert contents(path) == {"k": [1]}
    assert "ArithmeticError" in run_script(script.format("raise ArithmeticError"), path, status=1).stderr
    assert contents(path) == {"k": [1, 1]}


def test_sync_of_unchanged_objects_writes_nothing(path: str) -> None:
    """Objects that were read or stored are not written again, nor is one whose copy has another pickle."""
    with WatchedStore(path, key_encoding="utf-8") as store:
        store.update(a=[1], b=[2], person=Person("role"))
        assert pickle.dumps(store["person"], 5) != pickle.dumps(pickle.loads(pickle.dumps(store["person"], 5)), 5)
    with WatchedStore(path, key_encoding="utf-8") as store:
        list(store.values())
        store["b"].append(1)
        store["b"].pop()
        store.sync()
        assert not hasattr(store, "written")
        store["b"].append("changed")
        store["person"].role = "other"
        store["new"] = 1
        store.sync()
        assert sorted(store.written) == [b"b", b"new", b"person"]
        store.sync()
        store["b"].append("again")
    assert sorted(store.written) == [b"b", b"b", b"new", b"person"]


def test_flush_of_any_kind_keeps_the_objects(lists: Store, open_store: OpenStore) -> None:
    """After a flush of any kind the store still knows the object, and writes its later changes."""
    value = lists["a"]
    for write in (lists.sync, lists.flush, partial(pickle.dumps, lists), lambda: lists.put_many({"x": 1})):
        value.append("changed")
        write()
        assert lists["a"] is value
    lists.close()
    assert open_store()["a"] == [1, *["changed"] * 4]


def test_flush_by_a_threshold_or_a_read_commits_assigned_values_alone(lists: Store, open_store: OpenStore) -> None:
    """A search for changed objects would pickle every kept object, so these flushes skip it."""
    other = open_store()
    lists["a"].append("changed")
    lists["x"] = 1
    assert lists["b"] == [2]  # which flushes
    assert (other["a"], other["x"]) == ([1], 1)
    lists.batch_size = 1
    lists["y"] = 2
    assert (other["a"], other["y"]) == ([1], 2)


def test_sync_commits_all_changes_in_one_transaction(open_store: OpenStore) -> None:
    """One transaction writes all changes, whatever the thresholds are."""
    store: Any = open_store(kind=WatchedStore, batch_size=2)
    store.put_many({f"k{number}": [] for number in range(10)})
    store.written.clear()
    for value in store.values():
        value.append(bytes(1000))
    store.batch_bytes = 1000
    assert in_each_commit(lambda: None, store.flush) == 1
    assert len(store.written) == 10


# -- replaced and deleted


@pytest.mark.parametrize(
    "drop",
    [
        lambda store: store.__delitem__("b"),
        lambda store: store.delete("b"),
        lambda store: store.pop("b"),
        lambda store: store.popitem(),
        lambda store: store.clear(),
        lambda store: store.prefix("b").clear(),
        lambda store: store.prefix("b").popitem(),
        lambda store: store.prefix("b").pop("b"),
        lambda store: store.prefix("b").__delitem__("b"),
    ],
)
def test_delete_of_a_changed_object_is_final(open_cached: Open, drop: Any) -> None:
    """A changed value is deleted with its key, and its later changes are not written."""
    with open_cached() as store:
        store.put_many({"b": []})
        value = store["b"]
        value.append("before")
        drop(store)
        value.append("after")
        store.flush()
        assert "b" not in store
        assert store.setdefault("b", "new") == "new"
    assert contents(store.db_path) == {"b": "new"}


@pytest.mark.parametrize("write", ["put", "update", "put_many", "setdefault"])
def test_setitem_over_an_object_forgets_it(open_cached: Open, write: str) -> None:
    """The key's earlier object is not written any more."""
    with open_cached() as store:
        old: list[Any] = [1]
        store["k"] = old
        old.append("before")
        if write == "put":
            store.put("k", [2])
        elif write == "setdefault":
            del store["k"]
            store.setdefault("k", [2])
        else:
            getattr(store, write)({"k": [2]})
        old.append("after")
        store["k"].append(3)
    assert contents(store.db_path) == {"k": [2, 3]}


def test_setitem_that_is_refused_changes_nothing(lists: Store) -> None:
    """After an error of the pickler, or a key that cannot be stored, everything is as before."""
    kept = lists["a"]
    for write in (lists.put, lists.setdefault, lambda key, value: lists.put_many({"b": 1, key: value})):
        with pytest.raises(ArithmeticError):
            write("a" if write == lists.put else "new", Stubborn([1]))
        with pytest.raises(ValueError, match="at most 511"):
            write("k" * 512, 1)
    assert lists["a"] is kept
    assert lists == {"a": [1], "b": [2], "c": [3]}


def test_clear_interrupted_before_the_commit_keeps_changed_values(
    lists: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The values that have changed since they were stored are written by the next flush."""
    lists["a"].append("changed")
    monkeypatch.setattr(lists, "_commit", lambda *_, **__: interrupt())
    with pytest.raises(Interrupt):
        lists.clear()
    monkeypatch.undo()
    lists.flush()
    assert lists["a"] == [1, "changed"]


# -- others


def test_read_after_another_stores_write_gives_its_value(lists: Store, open_store: OpenStore) -> None:
    """A kept value that has changed too is written over the other store's."""
    other = open_store()
    kept = dict(lists.items())
    other.update(a=["other"], b=["other"])
    del other["c"]
    other.flush()
    kept["b"].append("changed")
    assert lists["a"] == ["other"]
    assert lists["a"] is lists["a"]
    assert lists["b"] is kept["b"]
    assert "c" not in lists
    lists["a"].append("changed")
    lists.flush()
    assert other == {"a": ["other", "changed"], "b": [2, "changed"]}


def test_pickled_handle_keeps_max_cached_and_no_objects(lists: Store) -> None:
    """The copy reads from the file, and writes back by itself."""
    lists["a"].append("changed")
    lists.max_cached = 7
    copy = pickle.loads(pickle.dumps(lists))
    assert type(copy) is WritebackStore
    assert (copy.max_cached, copy["a"], copy["a"] is lists["a"]) == (7, [1, "changed"], False)
    copy["a"].append("copy")
    copy.close()
    assert lists["a"] == [1, "changed", "copy"]


def test_closed_store_keeps_no_objects(lists: Store) -> None:
    """Every use raises the closed error. `sync` alone does nothing, as that of a closed shelf."""
    assert lists["a"] == [1]
    lists.close()
    assert not lists._cache
    lists.sync()
    for use in (lambda: lists["a"], lists.flush, lambda: lists.put("a", 1), lambda: lists.update(a=1)):
        with pytest.raises(StoreClosedError):
            use()
    lists.close()
