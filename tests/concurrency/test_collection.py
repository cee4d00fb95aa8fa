"""Stores that nobody has closed when they are collected, beside commits and interrupts."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from conftest import OpenStore
from support.checkpoints import Interrupt, at_checkpoint, in_each_commit, interrupt
from support.files import contents
from support.threads import frequent_switches, together

from lmdb_object_store import LmdbObjectStore

MIB = 1024 * 1024
Store = LmdbObjectStore[Any, Any]


def put_and_drop(path: str, **items: int) -> None:
    """Write into a store that nobody closes, which lasts until the reference count says so."""
    store: Store = LmdbObjectStore(path, key_encoding="utf-8")
    store.update(items)


def put_and_drop_in_a_cycle(path: str, **items: int) -> None:
    """Put a change and drop the store in a cycle, for the collector to find."""
    store: Store = LmdbObjectStore(path, key_encoding="utf-8")
    store.update(items)
    store.itself = store  # type: ignore[attr-defined]


def test_collection_of_an_open_store_flushes_and_warns(path: str) -> None:
    """A store that goes out of scope writes its pending changes and warns."""
    with pytest.warns(ResourceWarning, match="db"):
        put_and_drop(path, key=1)
    assert contents(path) == {"key": 1}


def test_collection_of_a_cycle_flushes_and_warns(path: str) -> None:
    """A store that the garbage collector finds writes its pending changes and warns."""
    put_and_drop_in_a_cycle(path, key=1)
    with pytest.warns(ResourceWarning, match="db"):
        gc.collect()
    assert contents(path) == {"key": 1}


def test_collection_of_a_closed_store_warns_of_nothing(path: str, recwarn: pytest.WarningsRecorder) -> None:
    """A closed store is collected without a warning."""
    store: Store = LmdbObjectStore(path)
    store.close()
    del store
    gc.collect()
    assert not recwarn.list


DROPS = {"by reference count": put_and_drop, "by the collector": put_and_drop_in_a_cycle}


@pytest.mark.parametrize("drop", DROPS.values(), ids=DROPS)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_collection_during_a_commit_loses_nothing(path: str, open_store: OpenStore, drop: Callable[..., None]) -> None:
    """The collector may run during a commit to the same file. The next commit writes the pending changes."""
    store = open_store()
    store["key"] = 1

    def collected() -> None:
        if not dropped:
            dropped.append(True)
            drop(path, dropped=2)
            gc.collect()

    dropped: list[bool] = []
    in_each_commit(collected, store.flush)
    assert dropped
    store["next"] = 3
    store.flush()
    assert (store["dropped"], store["key"]) == (2, 1)
    store.close(strict=True)
    assert contents(path) == {"key": 1, "dropped": 2, "next": 3}


@pytest.mark.parametrize("drop", DROPS.values(), ids=DROPS)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_close_writes_a_store_collected_during_its_commit(
    path: str, open_store: OpenStore, drop: Callable[..., None]
) -> None:
    """A store collected during the final flush of the file's last store is written, and the file is closed."""
    store = open_store()
    store["key"] = 1

    def collected() -> None:
        if not dropped:
            dropped.append(True)
            drop(path, dropped=2)
            gc.collect()

    dropped: list[bool] = []
    in_each_commit(collected, store.close)
    assert contents(path) == {"key": 1, "dropped": 2}


@pytest.mark.parametrize("drop", DROPS.values(), ids=DROPS)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_collection_during_another_threads_commit_does_not_wait(
    path: str, open_store: OpenStore, drop: Callable[..., None]
) -> None:
    """A store collected while another thread commits is gone at once. Its changes arrive with the next commit."""
    store = open_store()
    store["key"] = 1
    begun, collected = threading.Event(), threading.Event()
    dropped: list[Store] = [LmdbObjectStore(path, key_encoding="utf-8")]
    dropped[0]["dropped"] = 2
    if drop is put_and_drop_in_a_cycle:
        dropped[0].itself = dropped[0]  # type: ignore[attr-defined]

    def wait_once() -> None:
        begun.set()
        assert collected.wait(20)

    def collect() -> None:
        assert begun.wait(20)
        dropped.clear()
        gc.collect()
        collected.set()

    together(lambda: in_each_commit(wait_once, store.flush), collect)
    store["next"] = 3
    store.flush()
    assert dict(store) == {"key": 1, "dropped": 2, "next": 3}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_collection_while_the_lock_is_taken_does_not_wait(path: str, open_store: OpenStore) -> None:
    """A store collected while another thread has the lock is gone at once, and nothing is lost."""
    store = open_store()
    held, collected = threading.Event(), threading.Event()

    def hold() -> None:
        with store._environment.lock:
            held.set()
            assert collected.wait(20)

    def drop() -> None:
        assert held.wait(20)
        try:
            second.clear()
        finally:
            collected.set()

    second: list[Store] = [open_and_put(path)]
    together(hold, drop)
    store["key"] = 1
    store.flush()
    assert dict(store) == {"key": 1, "dropped": 2}


def open_and_put(path: str) -> Store:
    """Open a store with a pending change."""
    store: Store = LmdbObjectStore(path, key_encoding="utf-8")
    store["dropped"] = 2
    return store


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_collection_during_an_iteration_is_written(path: str, open_store: OpenStore) -> None:
    """An iterator in progress does not hinder the collection of a store of the same file."""
    store = open_store()
    store.put_many({f"k{i:03}": i for i in range(100)})
    keys = iter(store)
    assert next(keys) == "k000"
    put_and_drop(path, z=1)
    assert list(keys)[-1] == "z"


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_collection_interrupted_anywhere_loses_nothing(path: str, open_store: OpenStore) -> None:
    """Wherever the writing of a collected store is interrupted, its changes are stored in the end."""
    for number in count():
        store = open_store()
        store["key"] = number

        dropped: list[bool] = []

        def collected(number: int = number, dropped: list[bool] = dropped) -> None:
            if not dropped:
                dropped.append(True)
                put_and_drop(path, dropped=number)

        in_each_commit(collected, store.flush)
        store["next"] = number
        try:
            reached = at_checkpoint(number, interrupt, store.flush)
        except Interrupt:
            reached = True
        store.flush()
        store["last"] = number
        store.flush()
        store.close(strict=True)
        assert contents(path) == dict.fromkeys(("key", "dropped", "next", "last"), number), f"checkpoint {number}"
        if not reached:
            break


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_collection_whose_flush_fails_is_logged(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """A collected store whose flush fails logs the lost changes and closes the file."""

    def drop() -> None:
        store: Store = LmdbObjectStore(path, map_size=MIB, max_map_size=MIB)
        store[b"large"] = bytes(2 * MIB)

    with caplog.at_level(logging.ERROR):
        drop()
    assert "Error during final flush on close" in caplog.text
    assert contents(path) == {}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_collect_of_a_cycle_whose_finaliser_closes_another_store_loses_nothing(path: str) -> None:
    """The collector clears the references to a store before its finaliser runs: the file must stay open until then."""

    class Closes:
        def __init__(self, other: Store) -> None:
            self.other = other

        def __del__(self) -> None:
            self.other.close()

    first: Any = Closes(LmdbObjectStore(path, key_encoding="utf-8"))
    first.store = LmdbObjectStore[str, Any](path, key_encoding="utf-8")
    first.store.put("key", 1)
    first.store.finalised_first = first
    del first
    gc.collect()
    assert contents(path) == {"key": 1}


@pytest.mark.slow  # 900 stores are opened and collected
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_collection_of_all_stores_of_a_file_writes_each(path: str) -> None:
    """The collector clears all references before the first finalizer runs. No finalizer closes the file too early."""
    for number in range(300):
        stores: list[Any] = [LmdbObjectStore(path, key_encoding="utf-8", sync=False) for _ in range(3)]
        for name, store in zip("abc", stores):
            store[f"{name}{number}"] = number
        stores.append(stores)
        del stores, store
        if number % 5 == 0:
            gc.collect()
    gc.collect()
    assert contents(path) == {f"{name}{number}": number for name in "abc" for number in range(300)}


@pytest.mark.slow  # 450 stores are opened and collected
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_collection_in_several_threads_loses_nothing(path: str) -> None:
    """Several threads open stores, write and drop them in cycles. Each of their writes is stored."""
    accepted: list[str] = []

    def use(name: str) -> None:
        for number in range(150):
            store: Any = LmdbObjectStore(path, key_encoding="utf-8", sync=False)
            cycle = [store]
            cycle.append(cycle)
            store[f"{name}{number}"] = 1
            accepted.append(f"{name}{number}")
            if number % 7 == 0:
                del store, cycle
                gc.collect()

    with frequent_switches():
        together(*(lambda name=name: use(name) for name in "abc"))
    gc.collect()
    assert contents(path).keys() == set(accepted)
