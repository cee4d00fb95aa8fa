"""A store that writes back: it gives the very objects that it has given or taken before, and writes what changed."""

from __future__ import annotations

import gc
import itertools
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import (
    Interrupt,
    at_checkpoint,
    contents,
    frequent_switches,
    in_child,
    in_each_commit,
    in_thread,
    interrupt,
    run_script,
    together,
)

from lmdb_object_store import FlushError, LmdbObjectStore, StoreClosedError
from lmdb_object_store._shelve.writeback import WritebackStore

Store = WritebackStore[Any, Any]
Open = Callable[..., Store]


class WatchedStore(Store):
    """A store that notes which keys its commits write."""

    written: list[bytes]

    def _commit(self, changes: Mapping[bytes, bytes | None], **options: Any) -> None:
        super()._commit(changes, **options)
        self.written = [*getattr(self, "written", []), *changes]


class Person:
    """An object whose pickle differs from that of its copy: name of an attribute and value are one string before."""

    def __init__(self, role: str) -> None:
        self.role = role


class Stubborn(list[Any]):
    """A list that can be pickled as long as it is empty."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self:
            raise ArithmeticError("not to be pickled")
        return Stubborn, ()


@pytest.fixture
def open_cached(open_store: OpenStore) -> Open:
    """Opens stores that write back."""
    return partial(open_store, kind=WritebackStore)  # type: ignore[return-value]


@pytest.fixture
def full(open_cached: Open) -> Store:
    """A store, opened again, so that nothing is kept yet, with lists under `a`, `b` and `c`."""
    with open_cached() as store:
        store.update(a=[1], b=[2], c=[3])
    return open_cached()


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
def test_a_value_is_the_same_object_however_it_is_read(full: Store, first: Any, read: Any) -> None:
    """Whatever has read a value first, every other read gives that object, with what has changed in it."""
    value = first(full)
    value.append("changed")
    assert read(full) is value


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


def test_a_value_stored_amid_an_iteration_is_the_one_that_is_kept(full: Store) -> None:
    """Though the iterator has read the older row before."""
    items = iter(full.items())
    assert next(items) == ("a", [1])
    new = ["new"]
    full["c"] = new
    assert dict(items)["c"] is new
    assert full["c"] is new


def test_views_and_comparisons_see_what_has_changed(full: Store) -> None:
    """Equality and membership are those of the objects that are kept."""
    full["b"].append("changed")
    assert full == {"a": [1], "b": [2, "changed"], "c": [3]}
    assert full.prefix("b") == {"b": [2, "changed"]}
    assert ("b", [2, "changed"]) in full.items()
    assert ("b", [2]) not in full.items()
    assert [2, "changed"] in full.values()


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


def test_an_object_outlives_what_it_was_written_by(full: Store, open_store: OpenStore) -> None:
    """After a flush of any kind the store still knows the object, and writes what changes in it later."""
    value = full["a"]
    for write in (full.sync, full.flush, partial(pickle.dumps, full), lambda: full.put_many({"x": 1})):
        value.append("changed")
        write()
        assert full["a"] is value
    full.close()
    assert open_store()["a"] == [1, *["changed"] * 4]


def test_a_flush_by_a_threshold_or_a_read_looks_for_no_changes(full: Store, open_store: OpenStore) -> None:
    """It would have to pickle all that is kept: it commits what was assigned, and no more."""
    other = open_store()
    full["a"].append("changed")
    full["x"] = 1
    assert full["b"] == [2]  # which flushes
    assert (other["a"], other["x"]) == ([1], 1)
    full.batch_size = 1
    full["y"] = 2
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


# -- transactions


def test_an_undone_transaction(open_cached: Open) -> None:
    """What was stored or changed within is let go of, and does not come back; what had changed before is written."""
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


def test_an_undone_transaction_of_a_bounded_store(open_cached: Open) -> None:
    """What is dropped within, past the bound, had been written before."""
    store = open_cached(max_cached=1)
    store.update(a=[1], b=[1])
    store.sync()
    store["a"].append(2)
    with pytest.raises(ZeroDivisionError), store.transaction():  # noqa: PT012
        assert store["b"] == [1]
        assert store["a"] == [1, 2]
        raise ZeroDivisionError
    assert dict(store) == {"a": [1, 2], "b": [1]}


def test_changes_within_are_part_of_the_commit(open_cached: Open) -> None:
    """All of a transaction is in the file at its end, what has changed in place as well; or it fails as a whole."""
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


def test_a_transaction_that_succeeds(open_cached: Open) -> None:
    """What was stored within is kept, and written back as any other."""
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
def test_clear_in_a_transaction(open_cached: Open, part: bool) -> None:
    """What it deletes is not kept."""
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


def test_a_transaction_that_begins_as_the_store_is_closed(open_cached: Open) -> None:
    """It is refused, and leaves no lock taken."""
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


def test_edit(open_cached: Open) -> None:
    """It gives the very object that is kept, which goes on to be; an exception undoes what has changed in it."""
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


def test_a_write_that_is_refused_keeps_nothing(full: Store) -> None:
    """After an error of the pickler, or a key that cannot be stored, all is as before."""
    kept = full["a"]
    for write in (full.put, full.setdefault, lambda key, value: full.put_many({"b": 1, key: value})):
        with pytest.raises(ArithmeticError):
            write("a" if write == full.put else "new", Stubborn([1]))
        with pytest.raises(ValueError, match="at most 511"):
            write("k" * 512, 1)
    assert full["a"] is kept
    assert full == {"a": [1], "b": [2], "c": [3]}


def test_an_interrupted_clear_brings_nothing_back(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the interrupt comes after the commit; before it, what has changed is there still."""
    commit = full._commit

    def interrupted(*args: Any, before: bool, **options: Any) -> None:
        if not before:
            commit(*args, **options)
        interrupt()

    for before, left in ((True, [1, "changed"]), (False, None)):
        full["a"].append("changed")
        monkeypatch.setattr(full, "_commit", partial(interrupted, before=before))
        with pytest.raises(Interrupt):
            full.clear()
        monkeypatch.undo()
        full.flush()
        assert full.get("a") == left


# -- what cannot be written


def test_a_value_that_cannot_be_pickled_any_more_is_told_of_by_name(
    open_cached: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are written, and at each end the caller hears of it: by an error, else by the log."""
    store = open_cached()
    store.update(bad=Stubborn(), good=[1])
    store["bad"].append(1)
    store["good"].append(2)
    for end in (store.sync, store.flush):
        with pytest.raises(RuntimeError, match=r"'bad'.*not to be pickled") as caught:
            end()
        assert isinstance(caught.value.__cause__, ArithmeticError)
    with pytest.raises(FlushError, match=r"'bad'.*not to be pickled"):
        store.close(strict=True)
    assert contents(store.db_path) == {"bad": [], "good": [1, 2]}
    with pytest.raises(FlushError, match="'bad'"), open_cached() as store:
        store["bad"].append(1)
    assert not caplog.records
    store = open_cached()
    store["bad"].append(1)
    store["good"].append(3)
    store.close()
    assert "'bad'" in caplog.text
    assert contents(store.db_path) == {"bad": [], "good": [1, 2, 3]}
    with pytest.raises(StoreClosedError):
        store.flush()


def test_both_failures_of_a_close_are_told(
    open_cached: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the commit fails too, that is raised, and the value that could not be pickled is logged."""
    store = open_cached()
    store.update(bad=Stubborn(), good=[1])
    store.sync()
    store["bad"].append(1)
    store["good"].append(2)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_commit", lambda *_, **__: (_ for _ in ()).throw(lmdb.DiskError("full")))
        with pytest.raises(FlushError) as caught:
            store.close(strict=True)
    assert {key: pickle.loads(data or b"") for key, data in caught.value.pending.items()} == {b"good": [1, 2]}
    assert "'bad'" in caplog.text


def test_a_collected_store_logs_what_it_cannot_write(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """A finaliser can raise nothing; the others are written."""
    store: Store = WritebackStore(path, key_encoding="utf-8")
    store.update(bad=Stubborn(), good=[1])
    store["bad"].append(1)
    store["good"].append(2)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del store
    gc.collect()
    assert "'bad'" in caplog.text
    assert contents(path) == {"bad": [], "good": [1, 2]}


def test_a_commit_that_fails_leaves_what_has_changed(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is pending then, and the next flush writes it."""
    full["a"].append("changed")
    with monkeypatch.context() as patch:
        patch.setattr(full, "_commit", lambda *_, **__: (_ for _ in ()).throw(lmdb.DiskError("full")))
        with pytest.raises(lmdb.DiskError):
            full.sync()
    full["a"].append("again")
    full.close(strict=True)
    assert contents(full.db_path)["a"] == [1, "changed", "again"]


@pytest.mark.parametrize("change", [lambda store: store["a"].append(2), lambda store: store["bad"].append(1)])
def test_a_block_tells_of_what_has_changed_since_a_failure(
    open_cached: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, change: Any
) -> None:
    """A block whose failed flush the caller has caught raises for the changes after it, and is quiet without."""
    with monkeypatch.context() as patch:
        for changes in (False, True):
            store = open_cached()
            store.put_many({"a": [1], "bad": Stubborn()})

            def block(store: Store = store, changes: bool = changes) -> None:
                with store:
                    patch.setattr(store, "_commit", lambda *_, **__: (_ for _ in ()).throw(lmdb.DiskError("full")))
                    store["x"] = 1
                    with pytest.raises(lmdb.DiskError):
                        store.sync()
                    if changes:
                        change(store)

            if changes:
                caplog.clear()
                with pytest.raises(FlushError):
                    block()
            else:
                block()
                assert "are not stored" in caplog.text


def test_a_value_may_hold_the_store(open_cached: Open, open_store: OpenStore) -> None:
    """Pickling it flushes the store, which does not begin to write back anew."""
    store = open_cached()
    store.update(a=[store], b=[store])
    for key in ("a", "b"):
        store[key].append("changed")
    store.sync()
    store.close()
    with open_store() as again:
        assert again["a"][1] == "changed"
        with again["b"][0] as held:
            assert held["b"][1] == "changed"


def test_a_read_only_store_cannot_write_back(path: str) -> None:
    """It is refused when it is opened, not when it is closed."""
    with pytest.raises(ValueError, match="read-only"):
        WritebackStore(path, readonly=True)
    assert not os.path.exists(path)


# -- the bound


@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (1.5, TypeError)])
def test_a_bound_is_a_number_of_entries(path: str, limit: Any, error: type[Exception]) -> None:
    """At least one."""
    with pytest.raises(error, match="max_cached"):
        WritebackStore(path, max_cached=limit)
    assert not os.path.exists(path)


def test_the_oldest_is_written_and_dropped(open_store: OpenStore) -> None:
    """Past the bound the value goes that was used least recently, and what has changed in it is written first."""
    with open_store() as plain:
        plain.update({f"k{number}": [] for number in range(10)})
    store: Any = open_store(kind=WatchedStore, max_cached=3)
    first, second = store["k0"], store["k1"]
    first.append("changed")
    second.append("changed")
    assert store["k2"] == []
    assert store["k0"] is first  # so that k1 is the oldest
    assert store["k3"] == []
    assert (store["k0"] is first, store["k1"] is second, store["k1"]) == (True, False, ["changed"])
    store["k1"].append("again")
    for key, value in store.items():
        value.append(key)
        assert len(store._cache) <= 3
    store.close()
    assert contents(store.db_path) == {
        **{f"k{number}": [f"k{number}"] for number in range(10)},
        "k0": ["changed", "k0"],
        "k1": ["changed", "again", "k1"],
    }


@pytest.mark.parametrize("write", ["put", "update", "put_many", "setdefault"])
def test_writes_keep_to_the_bound(open_cached: Open, write: str) -> None:
    """What is stored counts as what is read does; the last ones are kept."""
    store = open_cached(max_cached=2)
    values: dict[str, list[str]] = {f"k{number}": [] for number in range(5)}
    if write in ("update", "put_many"):
        getattr(store, write)(values)
    else:
        for key, value in values.items():
            getattr(store, write)(key, value)
    assert list(store._cache) == [b"k3", b"k4"]
    assert store["k4"] is values["k4"]


def test_what_cannot_be_written_is_kept_beyond_the_bound(open_cached: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Reads of other keys go on, and the next flush tells."""
    store = open_cached(max_cached=1)
    store.update(a=Stubborn(), b=[], c=[])
    bad = store["a"]
    bad.append(1)
    assert (store["b"], store["c"]) == ([], [])
    assert store["a"] is bad
    with pytest.raises(RuntimeError, match="'a'"):
        store.sync()
    bad.clear()
    store.sync()
    assert store["b"] == []
    assert len(store._cache) == 1
    assert not caplog.records


def test_what_is_dropped_counts_for_the_thresholds(
    open_cached: Open, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that changes every value does not pile them up; a flush that fails does not fail the read."""
    with open_store() as plain:
        plain.update({f"k{number:02}": [] for number in range(20)})
    store = open_cached(max_cached=1, batch_size=3, autoflush_on_read=False)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_commit", lambda *_, **__: (_ for _ in ()).throw(lmdb.DiskError("full")))
        for value in store.values():
            value.append("changed")
        assert len(store.write_buffer) == 19
    assert "stay pending" in caplog.text
    for value in store.values():
        value.append("again")
        assert len(store.write_buffer) <= 20
    assert len(store.write_buffer) < 3
    store.close()
    assert contents(store.db_path) == {f"k{number:02}": ["changed", "again"] for number in range(20)}


# -- others


def test_what_another_store_has_written_is_read_anew(full: Store, open_store: OpenStore) -> None:
    """Unless the kept value has changed too: then that one goes on, and is written over the other."""
    other = open_store()
    kept = dict(full.items())
    other.update(a=["other"], b=["other"])
    del other["c"]
    other.flush()
    kept["b"].append("changed")
    assert full["a"] == ["other"]
    assert full["a"] is full["a"]
    assert full["b"] is kept["b"]
    assert "c" not in full
    full["a"].append("changed")
    full.flush()
    assert other == {"a": ["other", "changed"], "b": [2, "changed"]}


def test_a_pickled_store_keeps_nothing_and_its_bound(full: Store) -> None:
    """The copy reads from the file, and writes back by itself."""
    full["a"].append("changed")
    full.max_cached = 7
    copy = pickle.loads(pickle.dumps(full))
    assert type(copy) is WritebackStore
    assert (copy.max_cached, copy["a"], copy["a"] is full["a"]) == (7, [1, "changed"], False)
    copy["a"].append("copy")
    copy.close()
    assert full["a"] == [1, "changed", "copy"]


def test_a_forked_child_starts_with_nothing_kept(full: Store, open_store: OpenStore) -> None:
    """The changes of the parent are flushed before a fork. The child reads it, and writes its own changes."""
    value = full["a"]
    value.append("parent")

    def child() -> None:
        assert full["a"] == [1, "parent"]
        full["b"].append("child")
        full.close()

    in_child(child)
    other = open_store()
    assert other == {"a": [1, "parent"], "b": [2, "child"], "c": [3]}
    assert full["a"] is value


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_flush_in_a_child_whose_parent_was_writing_back_writes(
    full: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new thread of the child may have the id of a parent's thread that was writing back."""
    full["x"] = value = Does()
    begun, forked = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        forked.wait(10)

    value.action = wait
    writer = threading.Thread(target=full.flush)

    def child() -> None:
        monkeypatch.setattr("lmdb_object_store._shelve.cache.get_ident", lambda: writer.ident)
        full["b"].append("child")
        full.close(strict=True)

    writer.start()
    assert begun.wait(10)
    monkeypatch.setattr(full, "flush", lambda: None)  # as if the flush before the fork had been a moment earlier
    in_child(child)
    forked.set()
    writer.join()
    assert open_store()["b"] == [2, "child"]


def test_a_fork_leaves_a_change_that_cannot_be_serialized_to_the_parent(
    full: Store, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The other changes are flushed before the fork. The log names the key, once."""
    full["a"].append(open)
    full["a"].append(lambda: None)
    full["b"].append("parent")

    def child() -> None:
        assert full["a"] == [1]
        assert full["b"] == [2, "parent"]
        full.close()

    in_child(child)
    in_child(child)
    assert caplog.text.count("could not be flushed before a fork") == 1
    assert "key 'a'" in caplog.text
    full["a"][1:] = ["parent"]
    full.flush()
    assert open_store() == {"a": [1, "parent"], "b": [2, "parent"], "c": [3]}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_value_that_forks_as_it_is_pickled_is_written_by_the_parent(path: str) -> None:
    """The child has forgotten the change by the time it would stage it."""
    store = WatchedStore(path, key_encoding="utf-8")
    store["forks"] = value = Forks()
    store.flush()
    store.written.clear()
    value.on = True
    store.flush()
    if value.child == 0:
        store.close()
        os._exit(1 if store.written else 0)
    assert os.waitpid(value.child or 0, 0)[1] == 0
    assert store.written == [b"forks"]
    store.close()
    assert contents(path) == {"forks": []}


class Forks:
    """A value that forks the process once `on`, as it is pickled."""

    on = False
    child: int | None = None

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        if self.on and self.child is None:
            self.child = os.fork()
        return (list, ()) if self.on else (type(None), ())


def test_threads_share_the_objects(full: Store) -> None:
    """Of several threads that read a value for the first time, all get the same object."""
    for number in range(50):
        full.put_many({"k": [number]})
        full._cache.clear()
        found: list[Any] = []
        with frequent_switches():
            together(*[partial(_note, found, full)] * 4)
        assert all(value is found[0] for value in found)
        assert found[0] is full["k"]


def _note(found: list[Any], store: Store) -> None:
    found.append(store["k"])


def test_a_read_beside_a_write_never_replaces_what_is_stored(full: Store) -> None:
    """The object that a thread stores is the one that is kept, however many read the key at that moment."""
    lost = []

    def write() -> None:
        for number in range(300):
            value = [number]
            full["k"] = value
            if full["k"] is not value:
                lost.append(number)

    def read() -> None:
        for _ in range(300):
            full.get("k")
            list(full.values())

    with frequent_switches():
        together(write, read, read)
    assert not lost


def test_a_row_is_replaced_at_the_moment_it_is_loaded(full: Store) -> None:
    """A value that another thread replaces or deletes while it is loaded is not kept in place of the new one."""
    for change, expected in ((lambda: full.put("k", ["new"]), ["new"]), (lambda: full.delete("k"), None)):
        full.put_many({"k": Meanwhile(partial(in_thread, change))})
        full._cache.clear()
        full.get("k")
        assert full.get("k") == expected
        full.sync()
        assert full.get("k") == expected


_meanwhile: list[Callable[[], object]] = []


class Meanwhile:
    """A value that does something as it is unpickled, once."""

    def __init__(self, action: Callable[[], object]) -> None:
        _meanwhile.append(action)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _act, ()


def _act() -> list[str]:
    if _meanwhile:
        _meanwhile.pop()()
    return ["old"]


def test_threads_that_use_little_room(open_cached: Open) -> None:
    """With a bound that is always passed, threads that each change values of their own lose nothing."""
    store = open_cached(max_cached=2, batch_size=3)

    def count(thread: int) -> None:
        for _ in range(60):
            for number in range(3):
                store.setdefault(f"{thread}-{number}", [])
            store[f"{thread}-0"] = [*store[f"{thread}-0"], 1]

    with frequent_switches():
        together(*[partial(count, thread) for thread in range(3)])
    store.close()
    stored = contents(store.db_path)
    assert [len(stored[f"{thread}-0"]) for thread in range(3)] == [60] * 3


def test_a_closed_store_keeps_nothing(full: Store) -> None:
    """Every use is the error that a closed store gives; `sync` alone does nothing, as that of a closed shelf."""
    assert full["a"] == [1]
    full.close()
    assert not full._cache
    full.sync()
    for use in (lambda: full["a"], full.flush, lambda: full.put("a", 1), lambda: full.update(a=1)):
        with pytest.raises(StoreClosedError):
            use()
    full.close()


@pytest.mark.parametrize("ends", ["close", "flush"])
def test_another_thread_closes_in_the_midst_of_writing_back(full: Store, ends: str) -> None:
    """That thread writes what has changed; a second `close` does nothing, and a flush tells that it is closed."""
    full["b"] = value = Does()
    full["a"].append("changed")
    full.flush()
    full["c"].append("changed")
    value.action = partial(in_thread, full.close)
    if ends == "close":
        full.close(strict=True)
    else:
        with pytest.raises(StoreClosedError):
            full.flush()
    assert contents(full.db_path) == {"a": [1, "changed"], "b": None, "c": [3, "changed"]}


class Does:
    """A value that does something as it is pickled, once."""

    action: Callable[[], object] | None = None

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        action, self.action = self.action, None
        if action:
            action()
        return type(None), ()


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("call", ["sync", "put", "get", "close", "pop"])
def test_an_interrupt_at_any_point_loses_no_change(tmp_path: Path, call: str, limit: int | None) -> None:
    """What has changed is written by what comes after, and a write has happened or has not."""
    reached = True
    for number in itertools.count():
        path = str(tmp_path / str(number))
        with LmdbObjectStore[Any, Any](path, key_encoding="utf-8") as plain:
            plain.update(a=["a"], b=["b"])
        store: Store = WritebackStore(path, key_encoding="utf-8", max_cached=limit)
        store["a"].append("changed")
        bodies: dict[str, Callable[[], object]] = {
            "sync": store.sync,
            "put": partial(store.put, "b", ["new"]),
            "get": partial(store.get, "b"),
            "close": store.close,
            "pop": partial(store.pop, "b"),
        }
        with suppress(Interrupt):
            reached = at_checkpoint(number, interrupt, bodies[call])
        found: dict[str, Any] | None = None
        if call in ("put", "pop"):
            if "b" in store:
                store["b"].append("again")
            found = store.copy()
        store.close(strict=True)
        after = {"put": (["b", "again"], ["new", "again"]), "pop": (["b", "again"], None)}.get(call, (["b"],))
        stored = contents(path)
        assert stored["a"] == ["a", "changed"]
        assert stored.get("b") in after
        assert found is None or found == stored
        if not reached:
            break
    assert number > 5


# -- all of it, by a machine

KEYS = st.sampled_from(["a", "b", "c", "d"])


class WritebackMachine(RuleBasedStateMachine):
    """`model` holds the objects that the store must give, `stored` what is written of them."""

    @initialize(batch_size=st.sampled_from([1, 3, 1000]), autoflush=st.booleans())
    def start(self, batch_size: int, autoflush: bool) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.options: dict[str, Any] = {"batch_size": batch_size, "autoflush_on_read": autoflush}
        self.model: dict[str, Any] = {}
        self.number = 0
        self.open()

    def open(self) -> None:
        self.store: Store = WritebackStore(self.directory.name, key_encoding="utf-8", **self.options)

    def fresh(self) -> list[int]:
        self.number += 1
        return [self.number]

    @rule(key=KEYS, by=st.sampled_from(["put", "update", "put_many"]))
    def write(self, key: str, by: str) -> None:
        self.model[key] = value = self.fresh()
        if by == "put":
            self.store[key] = value
        else:
            getattr(self.store, by)({key: value})

    @rule(key=KEYS)
    def setdefault(self, key: str) -> None:
        value = self.fresh()
        assert self.store.setdefault(key, value) is self.model.setdefault(key, value)

    @rule(key=KEYS)
    def change(self, key: str) -> None:
        if key in self.model:
            self.model[key].append(0)

    @rule(key=KEYS, by=st.sampled_from(["pop", "del", "delete", "range"]))
    def remove(self, key: str, by: str) -> None:
        value = self.model.pop(key, None)
        if by == "pop":
            assert self.store.pop(key, None) is value
        elif by == "range":
            self.store.prefix(key).clear()
        elif by == "delete" or value is None:
            self.store.delete(key)
        else:
            del self.store[key]

    @rule()
    def popitem(self) -> None:
        if self.model:
            key, value = self.store.popitem()
            assert key == max(self.model)
            assert value is self.model.pop(key)

    @rule(by=st.sampled_from(["sync", "flush", "clear"]))
    def whole(self, by: str) -> None:
        getattr(self.store, by)()
        if by == "clear":
            self.model.clear()
        elif by == "sync":
            with LmdbObjectStore[Any, Any](self.directory.name, key_encoding="utf-8") as other:
                assert other == self.model

    @rule(strict=st.booleans())
    def reopen(self, strict: bool) -> None:
        self.store.close(strict)
        self.open()
        assert self.store == self.model
        self.model = {key: self.store[key] for key in self.model}

    @invariant()
    def gives_the_very_objects(self) -> None:
        found = dict(self.store.items())
        assert list(found) == sorted(self.model)
        for key, value in self.model.items():
            assert found[key] is value
            assert self.store[key] is value

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.directory.cleanup()


TestWritebackMachine = WritebackMachine.TestCase
