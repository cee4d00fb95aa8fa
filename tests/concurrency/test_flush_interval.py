"""`flush_interval`: pending changes are committed in time, though the program makes no further call."""

from __future__ import annotations

import _thread
import gc
import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support import LIMIT
from support.checkpoints import Interrupt, at_checkpoint, interrupt
from support.files import contents
from support.threads import in_thread

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._environment.timer import FlushTimer

SOON = 0.02  # seconds


def until(condition: Callable[[], object]) -> None:
    """Wait for `condition`, which no event announces."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def in_file(store: LmdbObjectStore[Any, Any]) -> list[str]:
    """Return the keys in the file."""
    with store.env.begin() as transaction:
        return [key.decode() for key in transaction.cursor().iternext(values=False)]


@pytest.fixture(autouse=True)
def threads() -> Iterator[Callable[[], int]]:
    """Return a function that counts the threads of the test. None may be left at its end."""
    before = _thread._count()
    yield lambda: _thread._count() - before
    until(lambda: _thread._count() <= before)


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.put("k", 1),
        lambda store: store.update(k=1),
        lambda store: store.setdefault("k", 1),
        lambda store: store.delete("old"),
        lambda store: store.pop("old"),
        lambda store: store.clear() or store.put("k", 2),
    ],
    ids=["put", "update", "setdefault", "delete", "pop", "clear"],
)
def test_flush_interval_change_of_any_kind_is_committed_without_a_call(
    open_store: OpenStore, change: Callable[[LmdbObjectStore[Any, Any]], object]
) -> None:
    """A pending change is in the file after the interval."""
    store = open_store(flush_interval=SOON, autoflush_on_read=False)
    store.put_many({"old": 0})
    change(store)
    until(lambda: not store.write_buffer)
    assert in_file(store) == [key for key in ("k", "old") if key in store]


def test_flush_interval_each_change_is_committed_in_time(open_store: OpenStore) -> None:
    """A change after a timed flush starts the timer again, also if its key was pending before."""
    store = open_store(flush_interval=SOON, autoflush_on_read=False)
    for i in range(5):
        store["k"] = i
        store["k"] = -i
        until(lambda: not store.write_buffer)
        with store.env.begin() as transaction:
            assert pickle.loads(transaction.get(b"k", b"")) == -i


def test_flush_interval_without_changes_has_no_thread(open_store: OpenStore, threads: Callable[[], int]) -> None:
    """The thread begins with a pending change, and ends when nothing is pending any more."""
    store = open_store(flush_interval=SOON)
    assert threads() == 0
    store.put_many({"a": 1})
    assert store["a"] == 1
    with store.transaction():
        store["b"] = 1
        assert threads() == 0
    assert threads() == 0
    store["a"] = 2
    until(lambda: not store.write_buffer)
    until(lambda: threads() == 0)


def test_flush_interval_one_thread_serves_all_stores_of_a_file(
    open_store: OpenStore, threads: Callable[[], int]
) -> None:
    """Each store of a file keeps its own interval, and they share a thread."""
    slow, soon = open_store(flush_interval=1000), open_store(flush_interval=SOON)
    slow["slow"] = 1
    soon["soon"] = 1
    until(lambda: threads() == 1)
    until(lambda: not soon.write_buffer)
    assert slow.write_buffer
    assert in_file(slow) == ["soon"]
    soon["again"] = 1
    until(lambda: not soon.write_buffer)
    soon.close()
    assert threads() == 1
    slow.close()
    until(lambda: threads() == 0)
    assert contents(slow.db_path).keys() == {"slow", "soon", "again"}


def test_flush_interval_close_ends_the_thread(open_store: OpenStore, threads: Callable[[], int]) -> None:
    """The thread sleeps for an hour, and yet ends with the store."""
    store = open_store(flush_interval=3600)
    store["k"] = 1
    until(lambda: threads() == 1)
    store.close()
    until(lambda: threads() == 0)
    assert contents(store.db_path) == {"k": 1}


def test_flush_interval_collected_store_is_closed(path: str, threads: Callable[[], int]) -> None:
    """The thread does not keep its store alive."""
    store: Any = LmdbObjectStore(path, flush_interval=3600, key_encoding="utf-8")
    store["k"] = 1
    with pytest.warns(ResourceWarning, match="unclosed store"):
        store = None
    gc.collect()
    until(lambda: threads() == 0)
    assert contents(path) == {"k": 1}


def test_flush_interval_waits_for_a_transaction_of_another_thread(open_store: OpenStore) -> None:
    """Changes that wait for a transaction are committed after its end, and the transaction stays whole."""
    store = open_store(flush_interval=SOON, autoflush_on_read=False)
    with store.transaction():
        store["in"] = 1
        time.sleep(5 * SOON)
        assert in_file(store) == []
    assert in_file(store) == ["in"]
    store["after"] = 1
    until(lambda: not store.write_buffer)
    assert in_file(store) == ["after", "in"]


def test_flush_interval_failure_is_logged_once_and_tried_again(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails is reported once. The changes stay pending, and are committed as soon as it works again."""
    caplog.set_level(logging.INFO)
    failures = []

    def commit(*_: object, **__: object) -> None:
        failures.append(1)
        raise lmdb.DiskError("the disk is full")

    store = open_store(flush_interval=SOON, autoflush_on_read=False)
    for round_ in (1, 2):
        failures.clear()
        with monkeypatch.context() as context:
            context.setattr(store, "_commit", commit)
            store["k"] = round_
            until(lambda: len(failures) >= 3)
            store["more"] = round_  # a change does not have the failure reported again
            until(lambda: len(failures) >= 6)
            assert store.write_buffer.keys() == {b"k", b"more"}
        until(lambda: not store.write_buffer)
        assert in_file(store) == ["k", "more"]
        until(lambda: not store._timer_failed)
        messages = [record.getMessage() for record in caplog.records]
        assert (
            messages
            == [f"flush_interval could not flush {store.db_path}, its changes stay pending: the disk is full"] * round_
        )


# The error of a handler ends the thread, and the interpreter prints it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_flush_interval_logging_handler_that_raises_does_not_end_it(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed flush that cannot be logged is tried again with the next change."""

    class Raising(logging.Handler):
        raised = False

        def emit(self, _: logging.LogRecord) -> None:
            self.raised = True
            raise ArithmeticError("this handler is broken")

    def commit(*_: object, **__: object) -> None:
        raise lmdb.DiskError("the disk is full")

    handler, log = Raising(), logging.getLogger("lmdb_object_store")
    log.addHandler(handler)
    try:
        store = open_store(flush_interval=SOON, autoflush_on_read=False)
        with monkeypatch.context() as context:
            context.setattr(store, "_commit", commit)
            store["a"] = 1
            until(lambda: handler.raised)
            until(lambda: store._environment.timer is None)
        store["b"] = 1
        until(lambda: not store.write_buffer)
    finally:
        log.removeHandler(handler)


def test_flush_interval_store_that_is_closed_as_its_flush_fails_stops_no_other(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A close just after a failed flush ends no thread that other stores of the file need."""
    failing, other = (open_store(flush_interval=n * SOON, autoflush_on_read=False) for n in (1, 20))
    start = failing._start_timer
    closed: list[bool] = []

    def commit(*_: object, **__: object) -> None:
        raise lmdb.DiskError("the disk is full")

    def start_after_close() -> None:
        if failing._flush_due == math.inf and failing._pending_bytes > 0 and threading.current_thread() is not main:
            failing.close()
            closed.append(True)
        start()

    main = threading.current_thread()
    other["k"] = 2
    monkeypatch.setattr(failing, "_commit", commit)
    failing["k"] = 1
    monkeypatch.setattr(failing, "_start_timer", start_after_close)
    until(lambda: closed)
    until(lambda: not other.write_buffer)


def test_flush_interval_limits_that_are_set_again_and_again_do_not_put_it_off(open_store: OpenStore) -> None:
    """A program that sets a limit more often than the interval has its changes committed in time."""
    store = open_store(flush_interval=10 * SOON, autoflush_on_read=False)
    store["k"] = 1

    def set_and_look() -> bool:
        store.batch_size = 1000
        store.flush_interval = 10 * SOON
        return not store.write_buffer

    until(set_and_look)


def test_flush_interval_begins_whatever_the_count_of_bytes_is(open_store: OpenStore) -> None:
    """The count of pending bytes may be too small for a moment beside other threads. The timer starts all the same."""
    store = open_store(flush_interval=SOON, autoflush_on_read=False)
    store._pending_bytes = -1_000_000
    store["k"] = 1
    until(lambda: not store.write_buffer)


def test_flush_interval_without_room_for_a_thread_is_logged_and_tried_again(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that may have no more threads keeps the changes, and the next change tries again."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    store = open_store(flush_interval=SOON, autoflush_on_read=False)
    with monkeypatch.context() as context:
        context.setattr("lmdb_object_store._environment.timer.start_new_thread", refuse)
        with store._environment.lock:
            store["a"] = 1
        assert not caplog.records  # a logging handler is user code, which does not run under the lock
        store["a"] = 2
        store["b"] = 1
    assert [record.getMessage() for record in caplog.records] == [
        f"flush_interval could not flush {store.db_path}, its changes stay pending: can't start new thread"
    ]
    assert store.write_buffer.keys() == {b"a", b"b"}
    store["c"] = 1
    until(lambda: not store.write_buffer)


def test_flush_interval_set_while_the_store_is_open_takes_effect(
    open_store: OpenStore, threads: Callable[[], int]
) -> None:
    """Pending changes are committed by the new interval, also without another change; None ends it."""
    store = open_store(autoflush_on_read=False)
    store["a"] = 1
    assert store.flush_interval is None
    store.flush_interval = SOON
    until(lambda: not store.write_buffer)
    store.flush_interval = 3600
    store["b"] = 1
    store.flush_interval = SOON
    until(lambda: not store.write_buffer)
    store.flush_interval = None
    store["c"] = 1
    until(lambda: threads() == 0)
    assert store.write_buffer.keys() == {b"c"}


def test_flush_interval_update_commits_its_items_together(open_store: OpenStore) -> None:
    """The change that starts the timer is not committed before the other items of an `update`."""
    store = open_store(batch_size=1, flush_interval=3600)
    store.update(dict.fromkeys("abcde"))
    assert store.stats().commits == 1


def test_flush_interval_beside_other_limits_leaves_them(open_store: OpenStore) -> None:
    """`batch_size` and `batch_bytes` flush as they do without an interval, also after they are set."""
    store = open_store(batch_size=3, flush_interval=3600, autoflush_on_read=False)
    store.update(dict.fromkeys("ab"))
    assert len(store.write_buffer) == 2
    store["c"] = 1
    assert not store.write_buffer
    store.batch_size, store.batch_bytes = None, 1000
    store["d"] = b"x" * 100
    assert len(store.write_buffer) == 1
    store["e"] = b"x" * 1000
    assert not store.write_buffer


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e300])
def test_flush_interval_that_no_clock_has_is_refused(open_store: OpenStore, seconds: float) -> None:
    """The error names the option, the limit and the value."""
    with pytest.raises(ValueError, match=r"flush_interval must be above 0 and at most \d+ seconds, not"):
        open_store(flush_interval=seconds)
    store = open_store()
    with pytest.raises(ValueError, match="flush_interval"):
        store.flush_interval = seconds
    assert store.flush_interval is None


@pytest.mark.parametrize("seconds", ["1", b"1", [1]])
def test_flush_interval_that_is_no_number_is_refused(open_store: OpenStore, seconds: Any) -> None:
    """A text is no number of seconds."""
    with pytest.raises(TypeError, match="flush_interval must be a number of seconds, not"):
        open_store(flush_interval=seconds)


def test_flush_interval_of_open_commits_a_shelf(path: str) -> None:
    """A script that uses the store as a shelf loses at most the last interval."""
    with closing(lmdb_object_store.open(path, flush_interval=SOON)) as shelf:
        shelf["k"] = [1]
        until(lambda: not shelf.write_buffer)
        assert in_file(shelf) == ["k"]


def test_flush_interval_with_writeback_commits_what_is_stored(path: str) -> None:
    """The thread pickles no object of the user. It commits the values as they were when they were stored."""
    with lmdb_object_store.open(path, writeback=True, flush_interval=SOON) as shelf:
        shelf["k"] = [1]
        until(lambda: not shelf.write_buffer)
        shelf["k"].append(2)
        shelf["other"] = 1
        until(lambda: not shelf.write_buffer)
        with shelf.env.begin() as transaction:
            assert pickle.loads(transaction.get(b"k", b"")) == [1]
    assert contents(path) == {"k": [1, 2], "other": 1}


def test_flush_interval_is_pickled_with_its_store(open_store: OpenStore) -> None:
    """A store in a worker has the same interval."""
    store = open_store(flush_interval=SOON, autoflush_on_read=False)
    copy = pickle.loads(pickle.dumps(store))
    assert copy.flush_interval == SOON
    copy["k"] = 1
    until(lambda: not copy.write_buffer)
    copy.close()


@pytest.mark.posix
def test_flush_interval_after_a_fork_works_in_parent_and_child(open_store: OpenStore) -> None:
    """The child has no thread of its parent: its next change starts one."""
    store = open_store(flush_interval=SOON, autoflush_on_read=False)
    for number in range(5):
        store[f"before{number}"] = 1
        pid = os.fork()
        if not pid:
            signal.alarm(int(LIMIT))
            store[f"child{number}"] = 1
            until(lambda: not store.write_buffer)
            os._exit(0)
        store[f"parent{number}"] = 1
        until(lambda: not store.write_buffer)
        assert os.waitpid(pid, 0)[1] == 0
    assert in_file(store) == sorted(f"{who}{i}" for who in ("before", "child", "parent") for i in range(5))


def test_flush_interval_at_exit_keeps_what_is_pending(path: str) -> None:
    """A program that ends while the thread sleeps, or is about to flush, loses nothing and ends at once."""
    program = """
import sys
from lmdb_object_store import LmdbObjectStore
store = LmdbObjectStore(sys.argv[1], flush_interval=float(sys.argv[2]), key_encoding="utf-8")
store[sys.argv[2]] = 1
"""
    for seconds in ("3600", "0.000001", "0.001"):
        ended = subprocess.run(
            [sys.executable, "-c", program, path, seconds], timeout=LIMIT, capture_output=True, text=True, check=True
        )
        assert not ended.stderr
        assert contents(path)[seconds] == 1


def test_flush_interval_put_interrupted_anywhere_is_committed_in_time(tmp_path: Path) -> None:
    """After an interrupt at any place of the change that starts the thread, the next change is committed in time."""
    number, reached = 0, True
    while reached:
        with LmdbObjectStore[str, int](tmp_path / str(number), flush_interval=SOON, key_encoding="utf-8") as store:
            with suppress(Interrupt):
                reached = at_checkpoint(number, interrupt, lambda: store.put("k", 1))
            store["next"] = 1
            until(lambda: not store.write_buffer)
            assert "next" in in_file(store)
        number += 1
    assert number > 5


def test_flush_interval_put_in_another_thread_anywhere_is_committed_in_time(tmp_path: Path) -> None:
    """Two changes that start the thread at once leave one that works."""
    number, reached = 0, True
    while reached:
        with LmdbObjectStore[str, int](
            tmp_path / str(number), flush_interval=SOON, autoflush_on_read=False, key_encoding="utf-8"
        ) as store:

            def put_and_wait() -> None:
                in_thread(lambda: store.put("other", 1))
                until(lambda: "other" in in_file(store))

            reached = at_checkpoint(number, put_and_wait, lambda: store.put("k", 1))
            until(lambda: not store.write_buffer)
            store["next"] = 1
            until(lambda: not store.write_buffer)
            assert in_file(store) == (["k", "next", "other"] if reached else ["k", "next"])
        number += 1
    assert number > 5


def test_flush_interval_two_threads_started_at_once_both_end_with_the_store(
    tmp_path: Path, threads: Callable[[], int]
) -> None:
    """Two changes at once may start two threads. None of them sleeps on when the store is closed."""
    number, reached = 0, True
    while reached:
        store = LmdbObjectStore[str, int](tmp_path / str(number), flush_interval=3600, key_encoding="utf-8")
        with store:
            put = partial(in_thread, partial(store.put, "other", 1))
            reached = at_checkpoint(number, put, partial(store.put, "k", 1))
        until(lambda: threads() == 0)
        number += 1
    assert number > 5


def test_flush_interval_change_as_the_thread_ends_is_flushed() -> None:
    """A change that comes after the thread has looked for the last time, and before it has ended, is not forgotten."""

    class Due:
        _flush_due = math.inf
        flushed = 0

        def _flush_on_time(self) -> None:
            self._flush_due = math.inf
            self.flushed += 1

    class Stores:
        """Stores of which one becomes due just before the `number`-th look at them."""

        timer: FlushTimer | None = None

        def __init__(self, number: int) -> None:
            self.store, self.looks, self.number = Due(), 0, number

        def living(self) -> list[Any]:
            self.looks += 1
            if self.looks == self.number:
                self.store._flush_due = 0.0
            return [self.store]

    for number in range(1, 4):
        stores = Stores(number)
        FlushTimer(stores).run()
        assert stores.timer is None
        assert stores.store.flushed == 1


@pytest.mark.posix
def test_flush_interval_signal_handler_that_writes_starts_the_thread(open_store: OpenStore) -> None:
    """A handler's change is committed in time, wherever it comes as the program starts threads."""
    store = open_store(flush_interval=SOON, autoflush_on_read=False)
    for number in range(0, 200, 5):
        at_checkpoint(number, lambda: store.put("handler", 1), lambda: in_thread(lambda: None))
        until(lambda: not store.write_buffer)


def test_flush_on_time_commits_or_logs_or_leaves_a_closed_store(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A timed flush commits; a failure is logged once and keeps the changes; a closed store is left alone."""

    def commit(*_: object, **__: object) -> None:
        raise lmdb.DiskError("the disk is full")

    store = open_store(flush_interval=3600, autoflush_on_read=False)
    store["a"] = 1
    store._flush_on_time()
    assert in_file(store) == ["a"]
    with monkeypatch.context() as context:
        context.setattr(store, "_commit", commit)
        store["b"] = 1
        store._flush_on_time()
        store._flush_on_time()
    assert len(caplog.records) == 1
    assert store.write_buffer.keys() == {b"b"}
    store.close()
    store._flush_on_time()


def test_timer_that_an_error_ends_lets_the_next_change_start_another(open_store: OpenStore) -> None:
    """An error ends the thread of the timer. It is then no longer the timer of the file."""
    store = open_store(flush_interval=3600)
    environment = store._environment

    def flush() -> None:
        raise ArithmeticError

    store._flush_on_time = flush  # type: ignore[method-assign]
    store["a"] = 1
    store._flush_due = 0.0
    timer = FlushTimer(environment)
    with pytest.raises(ArithmeticError):
        timer.run()
    assert environment.timer is None
    assert store._full_bytes < 0
