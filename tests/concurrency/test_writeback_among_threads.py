"""A store that writes back, beside threads, forks and interrupts."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import OpenStore
from support.checkpoints import Interrupt, at_checkpoint, interrupt
from support.files import contents
from support.programs import in_child
from support.threads import frequent_switches, in_thread, together
from support.writeback import Open, Store, WatchedStore

from lmdb_object_store import LmdbObjectStore, StoreClosedError
from lmdb_object_store._shelve.writeback import WritebackStore


@pytest.mark.posix
def test_fork_of_a_writeback_store_flushes_and_forgets_objects(lists: Store, open_store: OpenStore) -> None:
    """The changes of the parent are flushed before a fork. The child reads them, and writes its own changes."""
    value = lists["a"]
    value.append("parent")

    def child() -> None:
        assert lists["a"] == [1, "parent"]
        lists["b"].append("child")
        lists.close()

    in_child(child)
    other = open_store()
    assert other == {"a": [1, "parent"], "b": [2, "child"], "c": [3]}
    assert lists["a"] is value


@pytest.mark.posix
def test_fork_with_a_change_that_cannot_be_serialized_leaves_it_to_the_parent(
    lists: Store, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The other changes are flushed before the fork. The log names the key, once."""
    lists["a"].append(open)
    lists["a"].append(lambda: None)
    lists["b"].append("parent")

    def child() -> None:
        assert lists["a"] == [1]
        assert lists["b"] == [2, "parent"]
        lists.close()

    in_child(child)
    in_child(child)
    assert caplog.text.count("could not be flushed before a fork") == 1
    assert "key 'a'" in caplog.text
    lists["a"][1:] = ["parent"]
    lists.flush()
    assert open_store() == {"a": [1, "parent"], "b": [2, "parent"], "c": [3]}


@pytest.mark.posix
def test_sync_whose_value_forks_is_written_by_the_parent(path: str) -> None:
    """The child has forgotten the change by the time it would add it to the buffer."""
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


def test_get_by_several_threads_gives_one_object(lists: Store) -> None:
    """If several threads read a value for the first time, all get the same object."""
    for number in range(50):
        lists.put_many({"k": [number]})
        lists._cache.clear()
        found: list[Any] = []
        with frequent_switches():
            together(*[partial(_note, found, lists)] * 4)
        assert all(value is found[0] for value in found)
        assert found[0] is lists["k"]


def _note(found: list[Any], store: Store) -> None:
    found.append(store["k"])


def test_get_beside_a_put_keeps_the_stored_object(lists: Store) -> None:
    """The object that a thread stores is the kept one, however many threads read the key at that moment."""
    lost = []

    def write() -> None:
        for number in range(300):
            value = [number]
            lists["k"] = value
            if lists["k"] is not value:
                lost.append(number)

    def read() -> None:
        for _ in range(300):
            lists.get("k")
            list(lists.values())

    with frequent_switches():
        together(write, read, read)
    assert not lost


def test_get_of_a_row_replaced_meanwhile_keeps_the_new_value(lists: Store) -> None:
    """Another thread replaces or deletes a value while it is loaded. The old value is not kept in its place."""
    for change, expected in ((lambda: lists.put("k", ["new"]), ["new"]), (lambda: lists.delete("k"), None)):
        lists.put_many({"k": Meanwhile(partial(in_thread, change))})
        lists._cache.clear()
        lists.get("k")
        assert lists.get("k") == expected
        lists.sync()
        assert lists.get("k") == expected


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


def test_max_cached_passed_by_several_threads_loses_nothing(open_cached: Open) -> None:
    """Several threads change values of their own in a store that is always past its bound. Nothing is lost."""
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


@pytest.mark.parametrize("ends", ["close", "flush"])
def test_sync_with_a_close_of_another_thread_is_written(lists: Store, ends: str) -> None:
    """That thread writes all changes. A second `close` does nothing, and a flush raises the closed error."""
    lists["b"] = value = Does()
    lists["a"].append("changed")
    lists.flush()
    lists["c"].append("changed")
    value.action = partial(in_thread, lists.close)
    if ends == "close":
        lists.close(strict=True)
    else:
        with pytest.raises(StoreClosedError):
            lists.flush()
    assert contents(lists.db_path) == {"a": [1, "changed"], "b": None, "c": [3, "changed"]}


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
def test_writeback_interrupted_anywhere_loses_no_change(tmp_path: Path, call: str, limit: int | None) -> None:
    """Later flushes write the changed values, and a write has happened or has not."""
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


@pytest.mark.posix
def test_flush_in_a_child_whose_parent_was_writing_back_writes(
    lists: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new thread of the child may have the id of a parent's thread that was writing back."""
    lists["x"] = value = Does()
    begun, forked = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        forked.wait(10)

    value.action = wait
    writer = threading.Thread(target=lists.flush)

    def child() -> None:
        monkeypatch.setattr("lmdb_object_store._shelve.cache.get_ident", lambda: writer.ident)
        lists["b"].append("child")
        lists.close(strict=True)

    writer.start()
    assert begun.wait(10)
    monkeypatch.setattr(lists, "flush", lambda: None)  # as if the flush before the fork had been a moment earlier
    in_child(child)
    forked.set()
    writer.join()
    assert open_store()["b"] == [2, "child"]
