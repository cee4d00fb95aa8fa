"""Interrupts at any place: a store that works, and no lock that stays taken."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import OpenStore
from support.checkpoints import Interrupt, at_checkpoint, interrupt
from support.files import contents
from support.programs import run_script
from support.threads import in_thread, looping

from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._environment.locks import Lock
from lmdb_object_store._transactions.waiting import TransactionLock

MIB = 1024 * 1024
Store = LmdbObjectStore[Any, Any]


def put_and_flush(store: Store) -> None:
    store.put("new", 1)
    store.flush()


INTERRUPTED: dict[str, Callable[[Store], object]] = {
    "[]": lambda store: store["stored"],
    "get_many": lambda store: store.get_many(["stored", "none"]),
    "len": len,
    "items": lambda store: list(store.items()),
    "put": lambda store: store.put("new", 1),
    "flush": put_and_flush,
    "put_many": lambda store: store.put_many({"new": 1}),
    "grow": lambda store: store.put_many({"large": bytes(2 * MIB)}),
    "pop": lambda store: store.pop("stored"),
    "clear": lambda store: store.clear(),
}


# An interrupt at the end of a dropped generator goes no further.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("call", INTERRUPTED.values(), ids=INTERRUPTED)
def test_methods_interrupted_anywhere_leave_a_store_that_works(
    open_store: OpenStore, call: Callable[[Store], object]
) -> None:
    """Wherever a call is interrupted, the store then reads, flushes and closes, though the exception is kept."""
    kept: list[BaseException] = []
    for number in count():
        store = open_store(batch_size=2, map_size=MIB, max_readers=4, sync=False)
        store.clear()
        store["stored"] = "value"
        store.flush()
        try:
            reached = at_checkpoint(number, interrupt, lambda store=store: call(store))  # type: ignore[misc]
        except Interrupt as error:
            reached = True
            if sys.version_info >= (3, 13):  # before that, a frame that was profiled holds more than its variables
                kept.append(error)
        place = f"checkpoint {number}"
        assert store.get("stored") in ("value", None), place
        store["after"] = number
        store.flush()
        assert dict(store).keys() >= {"after"}, place
        in_thread(lambda store=store, number=number: store.put_many({"thread": number}), limit=10)  # type: ignore[misc]
        assert (store["after"], store["thread"]) == (number, number), place
        store.close(strict=True)
        if not reached:
            break
    assert number > 2


class Guarded(Lock):
    """A lock as in CPython 3.14, in every version."""

    __enter__ = Lock._enter


def stand_in() -> Lock:
    """Return a file's lock after a transaction, as a thread has it that looked it up during the transaction."""
    lock: Any = TransactionLock
    return lock(Lock(), SimpleNamespace(abandoned=False, ended=True))  # type: ignore[no-any-return]


guarded = pytest.param(
    Guarded,
    marks=pytest.mark.skipif(not hasattr(Lock, "_recursion_count"), reason="needs the count of CPython 3.11 and later"),
)


@pytest.mark.parametrize("kind", [Lock, guarded, stand_in])
def test_lock_interrupted_anywhere_is_free(kind: Callable[[], Lock]) -> None:
    """Wherever a `with` statement is interrupted, its lock is taken within and free afterwards."""
    lock = kind()

    def body() -> None:
        with lock:
            taken.append(lock._is_owned())

    taken: list[bool] = []
    for number in count():
        try:
            reached = at_checkpoint(number, interrupt, body)
        except Interrupt:
            reached = True
        assert not lock._is_owned(), f"checkpoint {number}"
        if not reached:
            break
    assert taken
    assert all(taken)


@pytest.mark.parametrize("kind", [Lock, guarded, stand_in])
def test_lock_interrupted_within_itself_stays_with_the_outer(kind: Callable[[], Lock]) -> None:
    """Wherever an inner `with` statement is interrupted, its lock is free after the outer one, and not before."""
    lock = kind()

    def body() -> None:
        with lock:
            pass

    for number in count():
        with lock:
            try:
                reached = at_checkpoint(number, interrupt, body)
            except Interrupt:
                reached = True
            assert lock._is_owned(), f"checkpoint {number}"
        assert not lock._is_owned(), f"checkpoint {number}"
        if not reached:
            break
    assert number


def test_finalizer_interrupted_anywhere_leaves_no_lock_taken(path: str, open_store: OpenStore) -> None:
    """Wherever the close of a collected store is interrupted, others can write and its changes are written."""
    for number in count():
        store = open_store()
        dropped: Store = LmdbObjectStore(path, key_encoding="utf-8")
        dropped["dropped"] = number
        environment = store._environment
        environment.collected.append(dropped)
        try:
            reached = at_checkpoint(number, interrupt, environment.close_collected_unless_locked)
        except Interrupt:
            reached = True
        assert not environment.lock._is_owned(), f"checkpoint {number}"
        store.put_many({"next": number})
        store.close()
        assert contents(path) == {"dropped": number, "next": number}, f"checkpoint {number}"
        if not reached:
            break


def test_clear_interrupted_at_any_place_tears_nothing(open_store: OpenStore) -> None:
    """Wherever `clear` is interrupted, the rows are all there or all gone. A pending change may outlast its row."""
    store = open_store(autoflush_on_read=False)
    for number in count():
        store.put_many({"stored": 1})
        store["pending"] = 1
        try:
            reached = at_checkpoint(number, interrupt, store.clear)
        except Interrupt:
            reached = True
        assert set(store) in (set(), {"pending"}, {"stored", "pending"}), f"checkpoint {number}"
        if not reached:
            break


def test_close_interrupted_in_its_flush_leaves_the_store_open(path: str, open_store: OpenStore) -> None:
    """Wherever the flush within `close` is interrupted, nothing is lost: a second `close` does the rest."""
    for number in count():
        store = open_store()
        store["key"] = number
        try:
            reached = at_checkpoint(number, interrupt, store.close)
        except Interrupt:
            reached = True
        store.close(strict=True)
        assert contents(path) == {"key": number}, f"checkpoint {number}"
        if not reached:
            break


def test_growth_interrupted_beside_readers_leaves_them_running(open_store: OpenStore) -> None:
    """An interrupt during growth leaves no closed gate and no reader in error."""
    store = open_store(map_size=MIB, sync=False)
    store.put_many({"key": "value"})

    def read() -> None:
        for _ in range(100):
            assert store["key"] == "value"

    def interrupted() -> None:
        for number in range(0, 60, 3):
            with suppress(Interrupt):
                at_checkpoint(number, interrupt, lambda: store.put_many({"large": bytes(8 * MIB)}))
        store.put_many({"last": 1})

    with looping(read, read, read):
        in_thread(interrupted, limit=20)
    assert store["last"] == 1


@pytest.mark.posix
@pytest.mark.slow  # a storm: 3,000 interrupts of each call
@pytest.mark.parametrize(
    "call",
    ["store.get('key')", "store.put(str(next(numbers) % 50), 1)", "store.put('a', 1); store.flush()", "list(store)"],
)
def test_interrupts_by_the_thousand_leave_a_store_that_works(path: str, call: str) -> None:
    """After thousands of real interrupts the store flushes, grows and closes at once, and no reader slot is taken."""
    source = f"""
        from itertools import count, islice, pairwise
        numbers = count()
        store = opened(sync=False, map_size=1 << 20, batch_size=5)
        store["key"] = list(range(20))
        store.flush()
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        interrupts = 0
        while interrupts < 3000:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0001)
                while True:
                    {call}
            except KeyboardInterrupt:
                interrupts += 1
        assert store["key"] == list(range(20))
        store["after"] = 1
        store.flush()
        def grow(): store.put_many({{"large": bytes(80 << 20)}})
        thread = threading.Thread(target=grow, daemon=True)
        thread.start()
        thread.join(15)
        assert not thread.is_alive()
        assert store["after"] == 1
        assert "no active" in store.env.readers(), store.env.readers()
        store.close(strict=True)
    """
    run_script(source, path)
