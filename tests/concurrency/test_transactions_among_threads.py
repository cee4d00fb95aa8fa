"""Transactions among threads: writers wait, readers do not; blocks that another thread leaves; several files."""

from __future__ import annotations

import gc
import pickle
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import OpenStore
from support import LIMIT
from support.checkpoints import at_checkpoint
from support.files import contents
from support.programs import run_script
from support.threads import frequent_switches, in_thread, looping, together
from support.transactions import Undo, in_file, leaving_open, usable

from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._environment import registry
from lmdb_object_store._environment.locks import Lock
from lmdb_object_store._transactions.waiting import TransactionLock

Store = LmdbObjectStore[Any, Any]


# -- one step


def test_transaction_that_increments_beside_others_misses_none(tmp_path: Path) -> None:
    """Threads of two stores on one file, and other processes, increment one number. No increment is lost."""
    path = str(tmp_path / "db")
    with LmdbObjectStore[str, int](path, key_encoding="utf-8", sync=False) as store:
        store["n"] = 0

    def count(rounds: int) -> None:
        with LmdbObjectStore[str, int](path, key_encoding="utf-8", sync=False) as store:
            for _ in range(rounds):
                with store.transaction():
                    store["n"] += 1

    script = "with opened(sync=False) as store:\n    for _ in range(300):\n        with store.transaction():\n"
    script += "            store['n'] += 1\n"
    with frequent_switches():
        together(*[lambda: run_script(script, path) and None] * 2, lambda: count(200), lambda: count(200))
    assert contents(path)["n"] == 1000


def test_transaction_makes_other_threads_writes_wait(store: Store) -> None:
    """A put, an update, a pop and a put_many of other threads come after the transaction, and none is lost."""
    store["k"] = "before"
    with store.transaction():
        store["k"] = "block"
        begun = [threading.Event() for _ in range(4)]
        actions: list[Callable[[], object]] = [
            lambda: store.put("put", 1),
            lambda: store.update(a=1, b=2),
            lambda: store.pop("k"),
            lambda: store.put_many({"many": 1}),
        ]
        threads = [
            threading.Thread(target=lambda pair=pair: (pair[0].set(), pair[1]()), daemon=True)
            for pair in zip(begun, actions)
        ]
        for thread, event in zip(threads, begun):
            thread.start()
            assert event.wait(LIMIT)
        threads[0].join(0.2)
        assert all(thread.is_alive() for thread in threads)
        assert store.copy() == {"k": "block"}
        assert in_file(store) == {"k": "before"}
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    store.flush()
    assert in_file(store) == {"put": 1, "a": 1, "b": 2, "many": 1}
    assert store._pending_bytes == 0


def test_transaction_with_a_put_of_another_thread_anywhere_keeps_it(tmp_path: Path) -> None:
    """Another thread's put, whenever it comes, is neither lost nor part of a rolled-back transaction."""
    number = 0
    with LmdbObjectStore[str, int](tmp_path / "db", key_encoding="utf-8", sync=False) as store:
        more = True
        while more:
            waiting: list[threading.Thread] = []

            def put(number: int = number, waiting: list[threading.Thread] = waiting) -> None:
                thread = threading.Thread(target=lambda: store.put(f"other{number}", number), daemon=True)
                waiting.append(thread)
                thread.start()
                thread.join(0.01)  # it may have to wait for the block

            def body() -> None:
                with suppress(Undo), store.transaction():
                    store["mine"] = 1
                    raise Undo

            more = at_checkpoint(number, put, body)
            for thread in waiting:
                thread.join(LIMIT)
                assert not thread.is_alive()
            if more:
                assert store[f"other{number}"] == number
            assert "mine" not in store
            store.flush()
            assert store._pending_bytes == 0
            number += 1
    assert number > 30
    assert len(contents(str(tmp_path / "db"))) == number - 1


def test_transaction_lets_other_threads_read(store: Store) -> None:
    """Reads of other threads, large and small, pages and counts, see the old state. None waits for the transaction."""
    store.put_many({"small": 0, "large": bytes(200_000)})

    def read() -> None:
        assert store["small"] == 0
        assert store["large"] == bytes(200_000)
        assert len(store) == len(list(store)) == 2
        assert store.get_many(["small", "new"])[1] == ["new"]

    with looping(read, read, read):
        for _ in range(20):
            with pytest.raises(Undo), store.transaction():
                for number in range(20):
                    store["small"] = number + 1
                    store["new"] = number
                    assert store["small"] == number + 1
                raise Undo
        with store.transaction():
            pass


def test_transaction_rolled_back_waits_for_no_readers(tmp_path: Path) -> None:
    """Readers do not wait for the rollback either, however many they are and however short their pauses."""
    with LmdbObjectStore[bytes, int](tmp_path / "db") as store:
        store.put_many({b"key": 1})

        def read() -> None:
            for _ in range(1000):
                store[b"key"]

        def undo() -> None:
            for _ in range(5):
                with pytest.raises(Undo), store.transaction():
                    store[b"key"] = 2
                    raise Undo

        with looping(read, read, read):
            in_thread(undo, limit=10)
        assert store[b"key"] == 1


def test_transaction_lets_reads_skip_the_flush(store: Store, open_store: OpenStore) -> None:
    """Another store's pending changes are read as usual. A read after the transaction flushes them."""
    other = open_store()
    other["pending"] = 1
    with store.transaction():
        store["a"] = 1

        def read() -> None:
            assert other.get("a", "none") == "none"
            assert other.copy() == {"pending": 1} == other
            assert (len(other), other.exists("a")) == (1, False)

        in_thread(read, limit=5)
        assert other.write_buffer
    assert other.get("a") == 1
    assert not other.write_buffer


# -- blocks that another thread leaves or drops


def test_close_in_another_thread_waits_for_the_transaction(open_store: OpenStore, path: str) -> None:
    """The transaction is committed, then the store closes."""
    store = open_store()
    thread = threading.Thread(target=store.close, daemon=True)
    with store.transaction():
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        store["a"] = 1
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert contents(path) == {"a": 1}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_transaction_dropped_in_another_thread_is_rolled_back_later(store: Store) -> None:
    """The transaction is rolled back when its own thread uses the store again, and nothing hangs."""
    held = [leaving_open(store)]
    next(held[0])
    in_thread(held.clear)
    assert "left" not in store
    usable(store)


def leaving_two_open(store: Store) -> Generator[None, None, None]:
    with store.transaction(), store.edit("left", list) as value:
        value.append(1)
        yield


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("leave", [leaving_open, leaving_two_open])
@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.get("left"),
        lambda store: store.put("a", 1),
        len,
        LmdbObjectStore.flush,
        LmdbObjectStore.sync,
        pickle.dumps,
        lambda store: store.put_many({"a": 1}),
        lambda store: store.transaction().__enter__(),
    ],
)
def test_transaction_dropped_in_another_thread_is_rolled_back_by_any_use(store: Store, leave: Any, use: Any) -> None:
    """An outer transaction with an inner one is rolled back too, also by a use that would be refused within."""
    held = [leave(store)]
    next(held[0])
    in_thread(held.clear)
    use(store)
    assert "left" not in store
    usable(store)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_close_after_a_transaction_was_dropped_elsewhere_rolls_back(open_store: OpenStore, path: str) -> None:
    """`close` rolls the transaction back, and closes. So does a flush of another store of the file."""
    store, other = open_store(), open_store()
    for use in (other.flush, store.close):
        held = [leaving_two_open(store)]
        next(held[0])
        in_thread(held.clear)
        other["a"] = 1
        use()
    other.close()
    assert contents(path) == {"a": 1}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_put_beside_a_dropped_transaction_raises_in_the_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers get an error that says what has happened."""
    monkeypatch.setattr("lmdb_object_store._transactions.waiting._PATIENCE", 0.2)
    held = [leaving_open(store)]
    next(held[0])

    def write() -> None:
        held.clear()
        for call in (store.flush, lambda: store.put("a", 1), lambda: store.transaction().__enter__()):
            with pytest.raises(RuntimeError, match="another thread"):
                call()

    in_thread(write)
    assert "left" not in store
    usable(store)


def test_transaction_left_in_another_thread_raises_there(store: Store) -> None:
    """The other thread gets an error. The transaction's own thread rolls it back."""
    transaction = store.transaction()
    transaction.__enter__()
    store["a"] = 1

    def leave() -> None:
        with pytest.raises(RuntimeError, match="another thread"):
            transaction.__exit__(None, None, None)

    in_thread(leave)
    assert "a" not in store
    usable(store)


def test_transaction_whose_savepoint_is_left_elsewhere_cannot_continue(store: Store) -> None:
    """The outer transaction cannot continue."""
    with pytest.raises(RuntimeError, match="another thread"), store.transaction():
        store["a"] = 1
        inner = store.transaction()
        inner.__enter__()

        def leave() -> None:
            with pytest.raises(RuntimeError, match="another thread"):
                inner.__exit__(None, None, None)

        in_thread(leave)
        with pytest.raises(RuntimeError, match="another thread"):
            store["b"] = 1
    assert not store
    usable(store)


def test_transaction_whose_thread_ends_is_rolled_back(store: Store) -> None:
    """The transaction is rolled back as the thread ends, and others can write."""
    generator = leaving_open(store)
    in_thread(lambda: next(generator))
    assert "left" not in store
    usable(store)
    with pytest.raises(RuntimeError):
        next(generator)


def test_transaction_collected_with_its_store_is_rolled_back(path: str) -> None:
    """Nothing of the transaction is written, also in a cycle, and the file can be used again."""
    for cycle in (False, True):
        store: Any = LmdbObjectStore[str, Any](path, key_encoding="utf-8")
        generator = leaving_open(store)
        next(generator)
        if cycle:
            store.itself = [store, generator]
        gone = weakref.ref(store)
        with pytest.warns(ResourceWarning, match="unclosed"):
            del generator, store
            gc.collect()
        assert gone() is None
        assert contents(path) == {}


def test_transaction_commits_a_collected_stores_changes_apart(path: str, open_store: OpenStore) -> None:
    """The pending changes are committed as a transaction begins, or after its end if the store is collected within."""
    store = open_store()
    held: list[Store] = [LmdbObjectStore(path, key_encoding="utf-8")]
    held[0]["before"] = 1
    with pytest.warns(ResourceWarning, match="unclosed"), store._environment.lock:
        in_thread(held.clear)  # which cannot close it, as this thread has the lock
    with store.transaction():
        assert store.copy() == {"before": 1}
        held.append(LmdbObjectStore(path, key_encoding="utf-8"))
        held[0]["inside"] = 1
        with pytest.warns(ResourceWarning, match="unclosed"):
            held.clear()
        assert store.copy() == {"before": 1}
    assert store.copy() == {"before": 1, "inside": 1}
    usable(store)


# -- several files


def test_transaction_on_two_files_in_both_orders_ends_in_deadlock_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that waits first gets the error, and its transaction is rolled back. The other one commits.

    Each wait has a limit. The second thread begins its wait while the first one waits already.
    """
    monkeypatch.setattr("lmdb_object_store._transactions.waiting._PATIENCE", 1)
    a, b = (LmdbObjectStore[str, Any](tmp_path / name, key_encoding="utf-8") for name in "ab")
    both = threading.Barrier(2)
    refused: list[str] = []

    def move(name: str, first: Store, second: Store, step: Callable[[Store], None], delay: float) -> None:
        try:
            with first.transaction():
                first[name] = 1
                both.wait(LIMIT)
                time.sleep(delay)
                step(second)
        except RuntimeError as error:
            refused.append(name if "same order" in str(error) else str(error))

    def inner(store: Store) -> None:
        with store.transaction():
            store["inner"] = 1

    for step in (inner, Store.flush, lambda store: store.put("put", 1), lambda store: store.put_many({"many": 1})):
        a.clear()
        b.clear()
        refused.clear()
        together(lambda: move("ab", a, b, step, 0), lambda: move("ba", b, a, step, 0.5))  # noqa: B023
        assert refused == ["ab"]
        assert "ab" not in a
        assert "ba" in b
    for store in (a, b):
        usable(store)
        store.close()


def test_put_without_a_transaction_waits_without_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit applies only to threads that others may wait for."""
    monkeypatch.setattr("lmdb_object_store._transactions.waiting._PATIENCE", 0.01)
    writer = threading.Thread(target=lambda: store.put_many({"after": 1}))
    with store.transaction():
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        store["inside"] = 1
    writer.join(LIMIT)
    assert store.copy() == {"after": 1, "inside": 1}
    usable(store)


def test_lock_outside_of_transactions_is_cpythons_own(store: Store) -> None:
    """CPython's own lock is faster, and is used outside of transactions."""
    lock = store._environment.lock
    assert type(lock) is Lock
    with store.transaction():
        assert type(store._environment.lock) is TransactionLock
    assert store._environment.lock is lock


def test_fork_that_waits_for_a_transaction_has_no_other_lock(store: Store, tmp_path: Path) -> None:
    """The transaction's thread can use another file, also once the flush before the fork is over."""

    def prepare() -> None:
        registry._before_fork()
        prepared.append(bool(store._environment._handle or second._environment._handle))
        registry._release_locks()

    prepared: list[bool] = []
    thread = threading.Thread(target=prepare, daemon=True)
    with LmdbObjectStore[str, Any](tmp_path / "second", key_encoding="utf-8") as second:
        for outer, inner in ((store, second), (second, store)):
            with outer.transaction():
                thread.start()
                thread.join(0.1)
                assert thread.is_alive()
                with inner.transaction():
                    inner["inner"] = 1
                assert not prepared
            thread.join(LIMIT)
            assert prepared.pop() is False
            thread = threading.Thread(target=prepare, daemon=True)
        assert store.copy() == second.copy() == {"inner": 1}
    usable(store)
