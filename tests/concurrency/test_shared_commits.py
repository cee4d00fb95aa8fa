"""Threads that flush at once share commits: each change is in the file when its flush returns, or the flush raises."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lmdb
import pytest
from support import LIMIT
from support.checkpoints import Interrupt, at_checkpoint, interrupt
from support.files import contents
from support.threads import in_thread, looping, together

from lmdb_object_store import LmdbObjectStore, StoreClosedError


class SlowStore(LmdbObjectStore[str, Any]):
    """A store whose commits call `before_commit`, which may wait or raise."""

    def __init__(self, path: object, **options: Any) -> None:
        self.before_commit: Callable[[], object] = lambda: None
        self.commits_begun = 0
        super().__init__(str(path), key_encoding="utf-8", **options)

    def _commit(self, *arguments: Any, **options: Any) -> None:
        self.commits_begun += 1
        self.before_commit()
        super()._commit(*arguments, **options)


class Gates:
    """Holds each commit of a store until its turn is let go."""

    def __init__(self, store: SlowStore) -> None:
        self.store = store
        self.entered = [threading.Event() for _ in range(5)]
        self.go = [threading.Event() for _ in range(5)]
        store.before_commit = self.wait

    def wait(self) -> None:
        number = self.store.commits_begun
        self.entered[number].set()
        assert self.go[number].wait(LIMIT)


def started(body: Callable[[], object]) -> threading.Thread:
    """Start `body` in a thread."""
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread


def flushed(store: SlowStore, key: str) -> Callable[[], None]:
    """Return a function that stores `key`, flushes, and then finds it in the file."""

    def body() -> None:
        store[key] = key
        store.flush()
        assert store._environment.begin().get(key.encode()) is not None

    return body


def in_file(store: SlowStore) -> list[str]:
    """Return the keys in the file."""
    with store.env.begin() as transaction:
        return [key.decode() for key in transaction.cursor().iternext(values=False)]


@contextmanager
def signalled(handle: Callable[..., None]) -> Iterator[None]:
    """Have a signal call `handle` in this thread, the main one, while the body waits."""
    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGTERM, handle)
    sender = threading.Timer(0.05, signal.pthread_kill, [main, signal.SIGTERM])
    try:
        sender.start()
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
    sender.join(LIMIT)


def until(condition: Callable[[], bool]) -> None:
    """Wait for `condition`, which no event announces."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_flush_whose_change_another_thread_committed_does_not_wait_for_the_next_commit(tmp_path: Path) -> None:
    """A thread whose change is in the second commit returns while the third one is still under way."""
    with SlowStore(tmp_path / "db") as store:
        gates = Gates(store)
        first = started(flushed(store, "1"))
        assert gates.entered[1].wait(LIMIT)
        second = [started(flushed(store, f"2{i}")) for i in range(4)]
        until(lambda: len(store.write_buffer) == 5)
        gates.go[1].set()
        assert gates.entered[2].wait(LIMIT)
        third = started(flushed(store, "3"))
        until(lambda: len(store.write_buffer) == 5)  # "1" is in the file
        gates.go[2].set()
        assert gates.entered[3].wait(LIMIT)
        for thread in (first, *second):
            thread.join(LIMIT)
            assert not thread.is_alive()
        assert third.is_alive()
        gates.go[3].set()
        third.join(LIMIT)
        assert store.commits_begun == 3


@pytest.mark.parametrize("how", ["flush", "batch_size=1", "autoflush_on_read"])
def test_commits_of_many_threads_are_fewer_than_their_writes(tmp_path: Path, how: str) -> None:
    """Eight threads that each commit every write need at most half as many commits as writes."""
    with SlowStore(tmp_path / "db", batch_size=1 if how == "batch_size=1" else 1000) as store:
        store.before_commit = lambda: time.sleep(0.002)

        def write(name: str) -> None:
            for i in range(20):
                store[f"{name}{i}"] = i
                if how == "flush":
                    store.flush()
                elif how == "autoflush_on_read":
                    assert store.get("missing") is None
                assert store._environment.begin().get(f"{name}{i}".encode()) is not None

        together(*(lambda name=name: write(name) for name in "abcdefgh"))
        assert len(store) == 160
        assert store.commits_begun <= 80


def test_flush_alone_commits_each_time(tmp_path: Path) -> None:
    """A thread that is alone commits at each flush that has something to commit."""
    with SlowStore(tmp_path / "db") as store:
        for i in range(5):
            flushed(store, str(i))()
        store.flush()
        assert store.commits_begun == 5


def test_failed_shared_commit_reaches_each_caller(tmp_path: Path) -> None:
    """Each thread whose change was in a commit that failed gets an error, and all changes stay pending."""
    with SlowStore(tmp_path / "db") as store:
        errors = []

        def fail() -> None:
            time.sleep(0.002)
            raise lmdb.DiskError("no room")

        store.before_commit = fail

        def write(name: str) -> None:
            store[name] = name
            try:
                store.flush()
            except lmdb.DiskError:
                errors.append(name)

        together(*(lambda name=name: write(name) for name in "abcdefgh"))
        assert sorted(errors) == list("abcdefgh")
        assert sorted(store.write_buffer) == [name.encode() for name in "abcdefgh"]
        store.before_commit = lambda: None
        store.flush()
        assert in_file(store) == list("abcdefgh")


def test_flush_after_a_failed_commit_of_another_thread_commits(tmp_path: Path) -> None:
    """A thread that waits for a commit that fails commits by itself."""
    with SlowStore(tmp_path / "db") as store:
        gates = Gates(store)

        def fail() -> None:
            gates.wait()
            if store.commits_begun == 1:
                raise lmdb.DiskError("no room")

        store.before_commit = fail
        store["1"] = 1
        failed = []

        def first() -> None:
            try:
                store.flush()
            except lmdb.DiskError as error:
                failed.append(error)

        threads = [started(first)]
        assert gates.entered[1].wait(LIMIT)
        threads.append(started(flushed(store, "2")))
        until(lambda: len(store.write_buffer) == 2)
        gates.go[1].set()
        gates.go[2].set()
        for thread in threads:
            thread.join(LIMIT)
            assert not thread.is_alive()
        assert len(failed) == 1
        assert in_file(store) == ["1", "2"]


@pytest.mark.posix
def test_flush_of_a_signal_handler_while_its_thread_waits_for_a_shared_commit_commits(tmp_path: Path) -> None:
    """A handler's flush ends, and so does the flush that it interrupted."""
    with SlowStore(tmp_path / "db") as store:
        gates = Gates(store)
        thread = started(flushed(store, "1"))
        assert gates.entered[1].wait(LIMIT)

        def handle(*_: object) -> None:
            for gate in gates.go:
                gate.set()
            flushed(store, "handler")()

        with signalled(handle):
            flushed(store, "2")()
        thread.join(LIMIT)
        assert not thread.is_alive()
        assert in_file(store) == ["1", "2", "handler"]


def test_flush_interrupted_anywhere_keeps_no_other_thread_waiting(tmp_path: Path) -> None:
    """After an interrupt at any place of a flush, another thread's flush ends, and both changes are kept."""
    for number in itertools.count():
        with SlowStore(tmp_path / str(number)) as store:
            store["1"] = 1
            try:
                reached = at_checkpoint(number, interrupt, store.flush)
            except Interrupt:
                reached = True
            in_thread(flushed(store, "2"))
            in_thread(store.flush)
            assert in_file(store) == ["1", "2"]
        if not reached:
            break
    assert number > 10


@pytest.mark.posix
def test_fork_while_threads_share_commits_leaves_a_child_that_can_flush(tmp_path: Path) -> None:
    """A child does not wait for a thread that only its parent has."""
    with SlowStore(tmp_path / "db") as store:
        store.before_commit = lambda: time.sleep(0.001)
        writers = [flushed(store, name) for name in "abcd"]
        with looping(*writers):
            for i in range(20):
                pid = os.fork()
                if not pid:
                    signal.alarm(int(LIMIT))  # ends a child that hangs
                    flushed(store, f"child{i}")()
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
        assert {f"child{i}" for i in range(20)} <= store.keys()


def test_transaction_beside_threads_that_share_commits_ends(tmp_path: Path) -> None:
    """A thread with a transaction does not wait for threads that wait for its end."""
    with SlowStore(tmp_path / "db", batch_bytes=1) as store:

        def write() -> None:
            for i in range(50):
                with store.transaction():
                    store["in"] = i
                    store[f"in{i}"] = i

        with looping(flushed(store, "a"), flushed(store, "b"), flushed(store, "c")):
            in_thread(write)
        assert store["in"] == 49


@pytest.mark.posix
def test_flush_of_a_signal_handler_while_its_thread_waits_for_a_transaction_ends(tmp_path: Path) -> None:
    """A handler that flushes while its own thread is the one that all others wait for does not wait for itself."""
    with SlowStore(tmp_path / "db") as store:
        begun, handled = threading.Event(), threading.Event()

        def hold() -> None:
            with store.transaction():
                store["held"] = 1
                begun.set()
                assert handled.wait(LIMIT)

        def handle(*_: object) -> None:
            threading.Timer(0.05, handled.set).start()  # while the handler waits
            store.flush()

        thread = started(hold)
        assert begun.wait(LIMIT)
        with signalled(handle):
            store.flush()
        thread.join(LIMIT)
        assert handled.is_set()
        assert in_file(store) == ["held"]


def test_close_while_a_thread_waits_for_a_shared_commit_stores_its_change(tmp_path: Path) -> None:
    """A change whose flush a close overtakes is stored, and no thread hangs."""
    store = SlowStore(tmp_path / "db")
    gates = Gates(store)
    first = started(flushed(store, "1"))
    assert gates.entered[1].wait(LIMIT)
    store["2"] = 2

    def flush() -> None:
        with suppress(StoreClosedError):  # the close came first
            store.flush()

    second, closing = started(flush), started(store.close)
    for gate in gates.go:
        gate.set()
    for thread in (first, second, closing):
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert contents(store.db_path) == {"1": "1", "2": 2}


def test_flush_on_two_files_by_threads_that_wait_for_each_other_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads that each have a transaction on one file and flush the other do not wait forever for two others."""
    monkeypatch.setattr("lmdb_object_store._transactions.waiting._PATIENCE", 0.5)
    with SlowStore(tmp_path / "a") as a, SlowStore(tmp_path / "b") as b:
        begun, refused = threading.Barrier(3), []

        def hold(mine: SlowStore, other: SlowStore) -> None:
            with suppress(RuntimeError), mine.transaction():
                mine["held"] = 1
                begun.wait(LIMIT)
                until(lambda: other._current_flush is not None)
                try:
                    other.flush()
                except RuntimeError as error:
                    refused.append(error)
                    raise

        def flush_both() -> None:
            begun.wait(LIMIT)
            together(a.flush, b.flush)

        together(lambda: hold(a, b), lambda: hold(b, a), flush_both)
        assert 1 <= len(refused) <= 2
        flushed(a, "after")()
        flushed(b, "after")()


@pytest.mark.posix
def test_flush_of_a_thread_that_a_signal_handler_joins_ends(tmp_path: Path) -> None:
    """A thread that flushes does not wait forever for the thread whose handler waits for it."""
    with SlowStore(tmp_path / "db") as store:
        begun, joined = threading.Event(), threading.Event()

        def hold() -> None:
            with store.transaction():
                begun.set()
                assert joined.wait(LIMIT)

        def handle(*_: object) -> None:
            worker = started(store.flush)
            threading.Timer(0.05, joined.set).start()  # while the handler waits
            worker.join(LIMIT)
            assert not worker.is_alive()

        thread = started(hold)
        assert begun.wait(LIMIT)
        with signalled(handle):
            store.flush()
        thread.join(LIMIT)
        assert not thread.is_alive()
