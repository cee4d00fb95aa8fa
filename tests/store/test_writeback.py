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
def test_a_value_is_the_same_object_however_it_is_read(lists: Store, first: Any, read: Any) -> None:
    """Whatever has read a value first, every other read gives that object, with what has changed in it."""
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
def test_a_value_that_was_stored_is_kept(open_cached: Open, write: Any, batch_size: int) -> None:
    """However a value has been stored: it is what reads give, and what changes in it then is written."""
    value: list[int] = []
    with open_cached(batch_size=batch_size) as store:
        write(store, value)
        value.append(1)
        assert store["k"] is value
    assert contents(store.db_path) == {"k": [1]}


def test_a_value_stored_amid_an_iteration_is_the_one_that_is_kept(lists: Store) -> None:
    """Though the iterator has read the older row before."""
    items = iter(lists.items())
    assert next(items) == ("a", [1])
    new = ["new"]
    lists["c"] = new
    assert dict(items)["c"] is new
    assert lists["c"] is new


def test_views_and_comparisons_see_what_has_changed(lists: Store) -> None:
    """Equality and membership are those of the objects that are kept."""
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
def test_what_has_changed_is_written(open_cached: Open, open_store: OpenStore, end: Any) -> None:
    """Values that were read, and those that were stored, each with what has changed in it since."""
    with open_cached() as store:
        store["read"] = [1]
    store = open_cached()
    stored: list[Any] = [2]
    store["stored"] = stored
    store["read"].append("changed")
    stored.append("changed")
    end(store)
    assert open_store() == {"read": [1, "changed"], "stored": [2, "changed"]}


def test_what_has_changed_is_written_when_the_store_is_collected(open_cached: Open, path: str) -> None:
    """A store that nobody closes writes back as it goes, and warns."""
    store: Store = WritebackStore(path, key_encoding="utf-8")
    store["k"] = value = [1]
    value.append(2)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del store
    gc.collect()
    assert contents(path) == {"k": [1, 2]}


def test_a_collected_store_waits_for_no_lock(open_store: OpenStore, path: str) -> None:
    """Where another thread holds the lock, what has changed goes to the next commit."""
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


def test_what_has_changed_is_written_at_exit(path: str) -> None:
    """A script that ends without a word, or by an exception, loses nothing."""
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


def test_what_has_not_changed_is_not_written(path: str) -> None:
    """Not what is read, nor what was stored already; not an object either whose copy has another pickle."""
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


def test_an_object_outlives_what_it_was_written_by(lists: Store, open_store: OpenStore) -> None:
    """After a flush of any kind the store still knows the object, and writes what changes in it later."""
    value = lists["a"]
    for write in (lists.sync, lists.flush, partial(pickle.dumps, lists), lambda: lists.put_many({"x": 1})):
        value.append("changed")
        write()
        assert lists["a"] is value
    lists.close()
    assert open_store()["a"] == [1, *["changed"] * 4]


def test_a_flush_by_a_threshold_or_a_read_looks_for_no_changes(lists: Store, open_store: OpenStore) -> None:
    """It would have to pickle all that is kept: it commits what was assigned, and no more."""
    other = open_store()
    lists["a"].append("changed")
    lists["x"] = 1
    assert lists["b"] == [2]  # which flushes
    assert (other["a"], other["x"]) == ([1], 1)
    lists.batch_size = 1
    lists["y"] = 2
    assert (other["a"], other["y"]) == ([1], 2)


def test_what_has_changed_is_committed_at_once(open_store: OpenStore) -> None:
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
def test_what_is_deleted_does_not_come_back(open_cached: Open, drop: Any) -> None:
    """A value that has changed goes with its key, and what changes in it afterwards is nobody's."""
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
def test_what_is_replaced_is_forgotten(open_cached: Open, write: str) -> None:
    """The object that a key had before is not written any more."""
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


def test_a_write_that_is_refused_keeps_nothing(lists: Store) -> None:
    """After an error of the pickler, or a key that cannot be stored, all is as before."""
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


def test_what_another_store_has_written_is_read_anew(lists: Store, open_store: OpenStore) -> None:
    """Unless the kept value has changed too: then that one goes on, and is written over the other."""
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


def test_a_pickled_store_keeps_nothing_and_its_bound(lists: Store) -> None:
    """The copy reads from the file, and writes back by itself."""
    lists["a"].append("changed")
    lists.max_cached = 7
    copy = pickle.loads(pickle.dumps(lists))
    assert type(copy) is WritebackStore
    assert (copy.max_cached, copy["a"], copy["a"] is lists["a"]) == (7, [1, "changed"], False)
    copy["a"].append("copy")
    copy.close()
    assert lists["a"] == [1, "changed", "copy"]


def test_a_closed_store_keeps_nothing(lists: Store) -> None:
    """Every use is the error that a closed store gives; `sync` alone does nothing, as that of a closed shelf."""
    assert lists["a"] == [1]
    lists.close()
    assert not lists._cache
    lists.sync()
    for use in (lambda: lists["a"], lists.flush, lambda: lists.put("a", 1), lambda: lists.update(a=1)):
        with pytest.raises(StoreClosedError):
            use()
    lists.close()
