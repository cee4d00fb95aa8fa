"""Writes that take no lock, beside threads that flush, close, take and fill the same rows: none is lost or undone.

Without `ONE_STEP` each write takes the lock. The other thread then acts only where it does not have to wait for it.
"""

from __future__ import annotations

import itertools
import pickle
import random
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support import LIMIT
from support.checkpoints import Interrupt, at_checkpoint, in_each_commit, interrupt
from support.files import contents
from support.threads import frequent_switches, in_thread, looping, together

from lmdb_object_store import LmdbObjectStore, StoreClosedError
from lmdb_object_store._buffer.pending import ONE_STEP
from lmdb_object_store._environment import registry as _registry

Store = LmdbObjectStore[Any, Any]


def at_each_point(directory: Path, round_: Callable[[Store, int], bool]) -> None:
    """Call `round_(store, number)` for a new store and each number, until it reports that it got no further."""
    for number in itertools.count():
        with LmdbObjectStore[Any, Any](directory / str(number), key_encoding="utf-8") as store:
            if not round_(store, number):
                break
    assert number > 5


def unless_locked(locks: Callable[[], list[Any]], body: Callable[[], object]) -> Callable[[], None]:
    """Run `body` in another thread, unless one of `locks` is taken here: it would wait for the lock."""

    def action() -> None:
        free: list[bool] = []

        def look() -> None:
            for lock in locks():
                free.append(lock.acquire(blocking=False))
                if free[-1]:
                    lock.release()

        in_thread(look)
        if all(free):
            in_thread(body)

    return action


def beside(store: Store, body: Callable[[], object]) -> Callable[[], None]:
    """Run `body` in another thread. If writes take the lock, only where the lock is free."""
    lock = store._environment.lock
    return (lambda: in_thread(body)) if ONE_STEP else unless_locked(lambda: [lock], body)


def test_put_with_a_flush_of_another_thread_anywhere_is_kept(tmp_path: Path) -> None:
    """A change written while another thread flushes is pending or in the file."""

    def round_(store: Store, number: int) -> bool:
        store["before"] = 0
        reached = at_checkpoint(number, beside(store, store.flush), lambda: store.put("k", "new"))
        assert store["k"] == "new"
        store.close()
        assert contents(store.db_path) == {"before": 0, "k": "new"}
        return reached

    at_each_point(tmp_path, round_)


def test_put_with_a_close_of_another_thread_anywhere_is_kept_or_refused(tmp_path: Path) -> None:
    """A change written while another thread closes the store is in the file, or the writer gets an error."""

    def round_(store: Store, number: int) -> bool:
        told = False

        def write() -> None:
            nonlocal told
            try:
                store.put("k", "new")
            except StoreClosedError:
                told = True

        reached = at_checkpoint(number, beside(store, store.close), write)
        store.close()
        assert told or contents(store.db_path) == {"k": "new"}
        return reached

    at_each_point(tmp_path, round_)


def test_put_with_a_pop_of_another_thread_anywhere_loses_neither_value(tmp_path: Path) -> None:
    """A `pop` during a write takes the old value and the new one stays, or it takes the new one."""

    def round_(store: Store, number: int) -> bool:
        taken: list[Any] = []
        store.put_many({"k": "old"})
        reached = at_checkpoint(
            number, beside(store, lambda: taken.append(store.pop("k"))), lambda: store.put("k", "new")
        )
        assert taken or not (reached and ONE_STEP)
        assert (taken, store.get("k")) in [([], "new"), (["old"], "new"), (["new"], None)]
        return reached

    at_each_point(tmp_path, round_)


def unless_pending(store: Store, key: str, written: list[str]) -> Callable[[], None]:
    """Write "new" in another thread, unless the key is pending: the write would wait for the lock, which is taken here.

    `written` gets the key.
    """

    def write() -> None:
        store.put(key, "new")
        written.append(key)

    def action() -> None:
        if key.encode() not in store.write_buffer:
            beside(store, write)()

    return action


def test_flush_with_a_put_of_another_thread_anywhere_keeps_it(tmp_path: Path) -> None:
    """A change written during a flush stays, under a new key and under a key being committed."""

    def round_(store: Store, number: int) -> bool:
        written: list[str] = []

        def write() -> None:
            for key in ("a", "b", "new"):
                unless_pending(store, key, written)()

        store.update(a="old", b="old")
        reached = at_checkpoint(number, write, store.flush)
        assert dict(store) == {"a": "old", "b": "old"} | dict.fromkeys(written, "new")
        store.close()
        assert contents(store.db_path) == {"a": "old", "b": "old"} | dict.fromkeys(written, "new")
        return reached

    at_each_point(tmp_path, round_)


def test_flush_with_a_put_of_a_signal_handler_anywhere_keeps_it(tmp_path: Path) -> None:
    """A change that a handler writes during its thread's flush stays, and every read sees it."""

    def round_(store: Store, number: int) -> bool:
        seen: list[Any] = []

        def handler() -> None:
            store.update({"a": "new", "c": "new"})
            del store["b"]

        def look() -> None:
            in_thread(lambda: seen.append((store.get("a"), store.get("b"), store.get("c"))))

        store.autoflush_on_read = False
        store.update(a="old", b="old")
        reached = at_checkpoint(number, handler, store.flush)
        if reached:
            at_checkpoint(0, look, store.flush, times=1 << 30)
            assert set(seen) == {("new", None, "new")}
            store.close()
            assert contents(store.db_path) == {"a": "new", "c": "new"}
        return reached

    at_each_point(tmp_path, round_)


@pytest.mark.parametrize("method", ["pop", "popitem"])
def test_pop_with_a_put_of_another_thread_anywhere_loses_neither_value(tmp_path: Path, method: str) -> None:
    """A change written as the row is removed was removed itself, or is there."""

    def round_(store: Store, number: int) -> bool:
        store.put_many({"k": "old"})
        taken: list[Any] = []
        written: list[str] = []

        def take() -> None:
            taken.append(store.pop("k") if method == "pop" else store.popitem()[1])

        reached = at_checkpoint(number, unless_pending(store, "k", written), take)
        outcome = taken[0], store.get("k")
        assert outcome in ([("old", "new"), ("new", None)] if written else [("old", None)])
        return reached

    at_each_point(tmp_path, round_)


def test_setdefault_with_a_put_of_another_thread_anywhere_loses_nothing(tmp_path: Path) -> None:
    """A change written during `setdefault` is returned, or replaces the default."""

    def round_(store: Store, number: int) -> bool:
        found: list[Any] = []
        reached = at_checkpoint(
            number, unless_pending(store, "k", []), lambda: found.append(store.setdefault("k", "default"))
        )
        assert store["k"] == "new" or found == ["default"]
        assert found in (["default"], ["new"])
        return reached

    at_each_point(tmp_path, round_)


def test_close_with_a_put_of_another_thread_anywhere_keeps_it(tmp_path: Path) -> None:
    """Changes accepted while the store closes are in the file."""

    def round_(store: Store, number: int) -> bool:
        accepted: dict[str, str] = {"before": "old"}

        def write() -> None:
            try:
                store.put("k", "new")
            except StoreClosedError:
                return
            accepted["k"] = "new"

        store["before"] = "old"
        reached = at_checkpoint(number, beside(store, write), store.close)
        assert contents(store.db_path) == accepted
        return reached

    at_each_point(tmp_path, round_)


def test_close_with_a_put_of_a_signal_handler_anywhere_keeps_or_refuses_it(tmp_path: Path) -> None:
    """A change that a handler writes during a close is in the file or refused. All others are in the file."""

    def round_(store: Store, number: int) -> bool:
        accepted: dict[str, str] = {"before": "old"}

        def handler() -> None:
            with suppress(StoreClosedError):
                store.put("k", "new")
                accepted["k"] = "new"

        store["before"] = "old"
        reached = at_checkpoint(number, handler, store.close)
        assert contents(store.db_path) == accepted
        return reached

    at_each_point(tmp_path, round_)


def test_close_with_a_put_during_the_last_commit_keeps_it(open_store: OpenStore) -> None:
    """A write by a handler during the last commit is not refused, because the error would end that commit."""
    store = open_store()
    store["before"] = "old"
    first = iter([lambda: store.put("k0", "new")])
    in_each_commit(lambda: next(first, lambda: None)(), store.close)
    assert contents(store.db_path) == {"before": "old", "k0": "new"}


def test_close_that_is_interrupted_takes_later_writes(open_store: OpenStore) -> None:
    """A close whose flush is interrupted closes nothing: the store takes and keeps later writes."""
    store = open_store()
    store["before"] = "old"
    with pytest.raises(Interrupt):
        in_each_commit(interrupt, store.close)
    store["after"] = "new"
    store.close()
    assert contents(store.db_path) == {"before": "old", "after": "new"}


HANDLERS = ["takes", "writes", "writes at once", "deletes"]


def handle(store: Store, what: str, flushes: bool) -> list[Any]:
    """Act on the row as a handler; return a list of the removed values, or None if it could not act."""
    taken: list[Any] = []
    with suppress(RuntimeError):  # within a flush there is none
        if what == "takes" and (value := store.pop("k", None)) is not None:
            taken.append(value)
        elif what == "writes":
            store["k"] = "new"
        elif what == "writes at once":
            store.put_many({"k": "new"})
        elif what == "deletes":
            store.delete("k")
        if flushes:
            store.flush()
    return taken


@pytest.mark.parametrize("what", HANDLERS)
@pytest.mark.parametrize("flushes", [True, False])
@pytest.mark.parametrize("pending", [True, False])
def test_pop_with_a_signal_handler_anywhere_loses_nothing(
    tmp_path: Path, what: str, flushes: bool, pending: bool
) -> None:
    """One `pop` of two, one of them in a handler, gets the row. The handler's write is removed or stays."""

    def round_(store: Store, number: int) -> bool:
        if pending:
            store["k"] = "old"
        else:
            store.put_many({"k": "old"})
        taken: list[Any] = []
        states: list[Any] = []

        def handler() -> None:
            taken.extend(handle(store, what, flushes))
            states.append(store.get("k"))

        reached = at_checkpoint(number, handler, lambda: taken.append(store.pop("k", None)))
        has = [value for value in (*taken, store.get("k")) if value is not None]
        assert len(has) == len(set(has))
        assert not states or states[0] is None or states[0] in has
        return reached

    at_each_point(tmp_path, round_)


@pytest.mark.parametrize("what", ["writes", "writes at once"])
@pytest.mark.parametrize("flushes", [True, False])
def test_setdefault_with_a_signal_handler_anywhere_loses_nothing(tmp_path: Path, what: str, flushes: bool) -> None:
    """A change that a handler writes during `setdefault` is found, or replaces the default."""

    def round_(store: Store, number: int) -> bool:
        found: list[Any] = []
        store["other"] = 1
        reached = at_checkpoint(
            number, lambda: handle(store, what, flushes), lambda: found.append(store.setdefault("k", "default"))
        )
        assert (found, store["k"]) in [(["default"], "new"), (["new"], "new")] or not reached
        return reached

    at_each_point(tmp_path, round_)


@pytest.mark.parametrize("what", ["writes", "writes at once", "nothing"])
@pytest.mark.parametrize("flushes", [True, False])
def test_pop_that_a_handlers_exception_ends_removes_nothing(tmp_path: Path, what: str, flushes: bool) -> None:
    """A `pop` ended by a handler's exception removes nothing, and keeps the handler's earlier changes."""

    def round_(store: Store, number: int) -> bool:
        store.put_many({"k": "old"})
        store.batch_size = 1
        expected: list[Any] = []

        def handler() -> None:
            taken = handle(store, what, flushes)
            left = store.get("k")
            expected.append(None if taken or (what == "deletes" and left is None) else left or "old")
            interrupt()

        popped = False
        with suppress(Interrupt):
            reached = at_checkpoint(number, handler, lambda: store.pop("k", None))
            popped = True
        if popped:  # all points are passed: the interrupt came after the last
            return reached
        # From its last point on, the lock's release, there is nothing to undo.
        assert store.get("k") == expected[0] or last_point(number)
        return True

    def last_point(number: int) -> bool:
        with LmdbObjectStore[Any, Any](tmp_path / "points", 1, key_encoding="utf-8") as store:
            store.put_many({"k": "old"})
            return not at_checkpoint(number + 1, lambda: None, lambda: store.pop("k", None))

    at_each_point(tmp_path, round_)


def test_pop_whose_flush_fails_leaves_the_row(open_store: OpenStore) -> None:
    """A `pop` whose flush fails leaves the row, and a later one takes it."""
    store = open_store(1)
    store["k"] = "old"
    with pytest.raises(lmdb.DiskError):
        in_each_commit(full, lambda: store.pop("k"))
    assert store.write_buffer
    assert store["k"] == "old"
    assert store.pop("k") == "old"
    assert "k" not in store


def full() -> None:
    """Fail as a full disk makes a commit fail."""
    raise lmdb.DiskError("full")


@pytest.mark.posix
def test_pop_with_signals_at_any_instruction_loses_nothing(open_store: OpenStore) -> None:
    """A change that a handler writes at any instruction of a `pop` is returned by the `pop`, or stays."""
    store = open_store(None, autoflush_on_read=False)
    numbers = itertools.count()
    put = [-1]

    def handler(*_: object) -> None:
        put[0] = next(numbers)
        store.put("k", put[0])

    before = signal.signal(signal.SIGALRM, handler)
    source = random.Random(0)
    try:
        for _ in range(15_000):
            store.put("k", "old")
            last = put[0]
            signal.setitimer(signal.ITIMER_REAL, source.uniform(1e-6, 4e-5))
            taken = store.pop("k", None)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert put[0] == last or put[0] in (taken, store.get("k"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_put_with_a_close_before_its_flush_is_no_error(tmp_path: Path) -> None:
    """A write that another thread's close has already stored is no error."""

    def round_(store: Store, number: int) -> bool:
        store.batch_size = 1
        told = False

        def write() -> None:
            nonlocal told
            try:
                store.put("k", "new")
            except StoreClosedError:
                told = True

        lock = store._environment.lock
        reached = at_checkpoint(number, unless_locked(lambda: [lock], store.close), write)
        store.close()
        assert contents(store.db_path) == ({} if told else {"k": "new"})
        return reached

    at_each_point(tmp_path, round_)


def test_update_whose_pickling_reads_sees_earlier_items(open_store: OpenStore) -> None:
    """`update` stores item by item, as a dict does: code that runs meanwhile sees the earlier items."""
    store = open_store()
    seen: list[Any] = []

    class Looking:
        def __reduce__(self) -> Any:
            seen.append((store.get("a"), store.get("z")))
            store["log"] = "by pickling"
            return (int, (7,))

    store.update({"a": 1, "log": "first", "v": Looking(), "z": 2})
    assert seen == [(1, None)]
    assert store == {"a": 1, "log": "by pickling", "v": 7, "z": 2}


def test_put_while_a_read_only_handle_opens_is_refused(tmp_path: Path) -> None:
    """One thread's first read opens a pickled read-only store. Another thread's write is refused at any point."""
    LmdbObjectStore[str, int](str(tmp_path / "db"), key_encoding="utf-8").close()
    with LmdbObjectStore[str, int](str(tmp_path / "db"), key_encoding="utf-8", readonly=True) as store:
        data = pickle.dumps(store)
    for number in itertools.count():
        handle = pickle.loads(data)

        def write(handle: Store = handle) -> None:
            with pytest.raises(lmdb.ReadonlyError):
                handle.put(b"k", 1)

        def locks() -> list[Any]:
            return [_registry._registry_lock, *(e.lock for e in _registry.all_environments())]

        reached = at_checkpoint(number, unless_locked(locks, write), partial(handle.get, "k"))
        handle.close()
        if not reached:
            break
    assert number > 5


def test_put_beside_the_commit_of_a_full_buffer_does_not_flush_again(open_store: OpenStore) -> None:
    """A write that finds the buffer full during a commit waits for its end, and stays pending after it."""
    store = open_store(2)
    writer = threading.Thread(target=lambda: store.put("later", 3))

    def write_meanwhile() -> None:
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()

    store["a"] = 1
    assert in_each_commit(write_meanwhile, lambda: store.put("b", 2)) == 1
    writer.join(LIMIT)
    assert store.write_buffer.keys() == {b"later"}


def test_put_by_many_threads_beside_flushes_loses_nothing(open_store: OpenStore) -> None:
    """Each of many writes by several threads is there, whichever thread flushes meanwhile."""
    store = open_store(7, autoflush_on_read=False)

    def writer(name: str) -> None:
        for number in range(1500):
            store[f"{name}{number}"] = number

    with frequent_switches(), looping(store.flush):
        together(*(partial(writer, name) for name in "abc"))
    assert store == {f"{name}{number}": number for name in "abc" for number in range(1500)}


def test_put_pop_and_setdefault_at_once_lose_and_repeat_nothing(open_store: OpenStore) -> None:
    """Many values are written to a few keys. None is removed twice, and the last of each key is removed or there."""
    store = open_store(5, autoflush_on_read=False)
    taken: list[tuple[str, int]] = []
    written = threading.Event()

    def writer(keys: str) -> None:
        for number in range(1500):
            for key in keys:
                store[key] = (key, number)

    def taker(keys: str) -> None:
        while not written.is_set():
            for key in keys:
                if (value := store.pop(key, None)) is not None:
                    taken.append(value)

    def filler() -> None:
        for number in itertools.count(10_000):
            if written.is_set():
                break
            for key in "abc":
                store.setdefault(key, (key, number))

    def writers() -> None:
        together(lambda: writer("ab"), lambda: writer("c"))
        written.set()

    with frequent_switches():
        together(writers, lambda: taker("abc"), lambda: taker("cba"), filler)
    there = list(store.values())
    assert len(set(taken + there)) == len(taken) + len(there)
    assert {(key, 1499) for key in "abc"} <= set(taken + there)
