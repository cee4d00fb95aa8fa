"""A store that writes back: values that cannot be written, and the bound on what it keeps."""

from __future__ import annotations

import gc
import os
import pickle
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.files import contents
from support.writeback import Open, Store, Stubborn, WatchedStore

from lmdb_object_store import FlushError, StoreClosedError
from lmdb_object_store._shelve.writeback import WritebackStore

# -- what cannot be written


def test_close_with_a_value_that_cannot_be_pickled_names_its_key(
    open_cached: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """The other values are written. Each way to end reports the key, by an error or in the log."""
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


def test_close_with_two_failures_reports_both(
    open_cached: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The failed commit is raised, and the value that could not be pickled is logged."""
    store = open_cached()
    store.update(bad=Stubborn(), good=[1])
    store.sync()
    store["bad"].append(1)
    store["good"].append(2)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_commit", lambda *_, **__: (_ for _ in ()).throw(lmdb.DiskError("lists")))
        with pytest.raises(FlushError) as caught:
            store.close(strict=True)
    assert {key: pickle.loads(data or b"") for key, data in caught.value.pending.items()} == {b"good": [1, 2]}
    assert "'bad'" in caplog.text


def test_collection_with_a_value_that_cannot_be_pickled_logs_it(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """A finalizer can raise nothing. The other values are written."""
    store: Store = WritebackStore(path, key_encoding="utf-8")
    store.update(bad=Stubborn(), good=[1])
    store["bad"].append(1)
    store["good"].append(2)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del store
    gc.collect()
    assert "'bad'" in caplog.text
    assert contents(path) == {"bad": [], "good": [1, 2]}


def test_sync_whose_commit_fails_leaves_changes_pending(lists: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next flush writes the changes."""
    lists["a"].append("changed")
    with monkeypatch.context() as patch:
        patch.setattr(lists, "_commit", lambda *_, **__: (_ for _ in ()).throw(lmdb.DiskError("lists")))
        with pytest.raises(lmdb.DiskError):
            lists.sync()
    lists["a"].append("again")
    lists.close(strict=True)
    assert contents(lists.db_path)["a"] == [1, "changed", "again"]


@pytest.mark.parametrize("change", [lambda store: store["a"].append(2), lambda store: store["bad"].append(1)])
def test_with_block_after_a_caught_failure_raises_with_and_without_further_changes(
    open_cached: Open, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    """A block whose failed flush the caller has caught raises that its last flush failed."""
    with monkeypatch.context() as patch:
        for changes in (False, True):
            store = open_cached()
            store.put_many({"a": [1], "bad": Stubborn()})

            def block(store: Store = store, changes: bool = changes) -> None:
                with store:
                    patch.setattr(store, "_commit", lambda *_, **__: (_ for _ in ()).throw(lmdb.DiskError("lists")))
                    store["x"] = 1
                    with pytest.raises(lmdb.DiskError):
                        store.sync()
                    if changes:
                        change(store)

            with pytest.raises(FlushError):
                block()


def test_sync_of_a_value_that_contains_the_store_ends(open_cached: Open, open_store: OpenStore) -> None:
    """Pickling the value flushes the store, which does not start to write back again."""
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


def test_open_read_only_with_writeback_is_refused(path: str) -> None:
    """The store is refused when it is opened, not when it is closed."""
    with pytest.raises(ValueError, match="read-only"):
        WritebackStore(path, readonly=True)
    assert not os.path.exists(path)


# -- the bound


@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (1.5, TypeError)])
def test_max_cached_below_1_is_refused(path: str, limit: Any, error: type[Exception]) -> None:
    """The bound is a number of entries, at least one."""
    with pytest.raises(error, match="max_cached"):
        WritebackStore(path, max_cached=limit)
    assert not os.path.exists(path)


def test_max_cached_passed_by_reads_writes_and_drops_the_oldest(open_store: OpenStore) -> None:
    """The least recently used value is dropped, and its changes are written first."""
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
def test_max_cached_passed_by_writes_drops_the_oldest(open_cached: Open, write: str) -> None:
    """Stored values count as read ones do, and the last ones are kept."""
    store = open_cached(max_cached=2)
    values: dict[str, list[str]] = {f"k{number}": [] for number in range(5)}
    if write in ("update", "put_many"):
        getattr(store, write)(values)
    else:
        for key, value in values.items():
            getattr(store, write)(key, value)
    assert list(store._cache) == [b"k3", b"k4"]
    assert store["k4"] is values["k4"]


def test_max_cached_with_a_value_that_cannot_be_written_keeps_it(
    open_cached: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """Reads of other keys continue, and the next flush raises."""
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


def test_max_cached_drops_count_for_the_thresholds(
    open_cached: Open, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that changes every value does not pile up changes. A failed flush does not fail the read."""
    with open_store() as plain:
        plain.update({f"k{number:02}": [] for number in range(20)})
    store = open_cached(max_cached=1, batch_size=3, autoflush_on_read=False)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_commit", lambda *_, **__: (_ for _ in ()).throw(lmdb.DiskError("lists")))
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


def test_close_by_a_handler_while_values_are_written_back_raises(
    open_cached: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler that closes within `sync` would lose the values that are not written yet."""
    store = open_cached()
    store.put_many({"a": [1], "b": [1], "c": [1]})
    for value in store.values():
        value.append(2)
    dumps = store._dumps

    def interrupted_by_a_handler(key: object, value: Any) -> bytes:
        store.close()
        return dumps(key, value)

    with monkeypatch.context() as patch:
        patch.setattr(store, "_dumps", interrupted_by_a_handler)
        with pytest.raises(RuntimeError, match="writing values back"):
            store.sync()
    store.close(strict=True)
    assert contents(store.db_path) == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}
