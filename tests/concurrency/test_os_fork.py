"""Forks by `os.fork`: parent and child both continue, at any place, in signal handlers and beside threads."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import OpenStore
from support.checkpoints import Interrupt, at_checkpoint, interrupt
from support.files import contents, meta_pages
from support.programs import in_child, run_script
from support.stores import assert_no_reader
from support.threads import in_thread, looping

from lmdb_object_store import LmdbObjectStore, StoreClosedError


@pytest.fixture(autouse=True)
def _lock_of_logging() -> Iterator[None]:
    """Release the lock of `logging` after a test. An interrupt of its own fork hooks leaves that lock taken."""
    yield
    lock: Any = vars(logging)["_lock"]
    while lock._is_owned():
        lock.release()


MIB = 1024 * 1024

Store = LmdbObjectStore[Any, Any]


# -- os.fork


@pytest.mark.posix
def test_fork_lets_parent_and_child_use_one_object(path: str, open_store: OpenStore) -> None:
    """After a fork, parent and child read and write through the same object, again and again."""
    store = open_store()
    store["parent"] = 0

    def use(name: str) -> None:
        for number in range(5):
            store[name] = number
            assert store[name] == number
            assert "parent" in dict(store)
            assert store.get_many(["parent", "none"])[1] == ["none"]

    def child() -> None:
        use("child")
        store.close(strict=True)

    for _ in range(10):
        store["parent"] = 0
        store.flush()
        in_child(child)
        use("parent")
    assert_no_reader(store)
    store.close(strict=True)
    assert contents(path) == {"parent": 4, "child": 4}


@pytest.mark.posix
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_fork_leaves_no_file_mapped_in_the_child(path: str, open_store: OpenStore) -> None:
    """A child that never uses the store keeps no disk space of a file that its parent deletes."""
    store = open_store()
    store["key"] = 1
    store.flush()

    def child() -> None:
        assert path not in Path("/proc/self/maps").read_text()

    assert path in Path("/proc/self/maps").read_text()
    in_child(child)


@pytest.mark.posix
def test_fork_whose_child_reads_takes_no_reader_slot(open_store: OpenStore) -> None:
    """More reads in children than the reader table has slots leave the table empty, and the parent reading."""
    store = open_store(max_readers=4)
    store.put_many({"key": 1})

    def read() -> None:
        for _ in range(20):
            assert store["key"] == 1
            assert list(store) == ["key"]

    for _ in range(5):
        read()
        in_child(read)
        assert_no_reader(store)
    read()


@pytest.mark.posix
def test_fork_whose_child_closes_disturbs_no_reader_of_the_parent(open_store: OpenStore) -> None:
    """Children close their copy while the parent's threads read. Those threads see no error."""
    store = open_store()
    store.put_many({"key": 1})

    def read() -> None:
        for _ in range(50):
            assert store["key"] == 1

    def child() -> None:
        assert store["key"] == 1
        store.close()
        with pytest.raises(StoreClosedError):
            store["key"]

    with looping(read, read):
        for _ in range(20):
            in_child(child)
    assert_no_reader(store)


def put_and_flush(store: Store) -> None:
    store["new"] = 1
    store.flush()


ENDS: dict[str, Callable[[Store], object]] = {
    "reads": lambda store: store.get("stored"),
    "flushes": lambda store: store.flush(),
    "closes": lambda store: store.close(),
    "writes": put_and_flush,
}


@pytest.mark.posix
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_fork_with_changes_that_cannot_be_flushed_leaves_them_to_the_parent(
    path: str, open_store: OpenStore, end: Callable[[Store], object]
) -> None:
    """A child starts without the changes that could not be flushed. The parent keeps them and writes them once."""
    store = open_store(autoflush_on_read=False, map_size=MIB, max_map_size=MIB)
    store.put_many({"stored": 1})
    store["pending"] = os.urandom(2 * MIB)

    def child() -> None:
        assert "pending" not in store
        assert store.write_buffer == {}
        end(store)

    before = meta_pages(path)
    in_child(child)
    assert (meta_pages(path) == before) == (end is not ENDS["writes"])
    assert len(store["pending"]) == 2 * MIB
    store["pending"] = 1
    transactions = store.env.info()["last_txnid"]
    store.flush()
    assert store.env.info()["last_txnid"] == transactions + 1
    assert dict(store).items() >= {"stored": 1, "pending": 1}.items()


@pytest.mark.posix
def test_fork_whose_child_ends_late_keeps_the_parents_newer_value(open_store: OpenStore) -> None:
    """A child that ends late does not overwrite the parent's newer value with the one pending at the fork."""
    store = open_store()
    store["key"] = "old"
    told, tell = os.pipe()

    def child() -> None:
        os.close(tell)
        os.read(told, 1)
        store.flush()
        store.close()

    def parent() -> None:
        store["key"] = "new"
        store.flush()
        os.write(tell, b".")

    thread = threading.Thread(target=in_child, args=(child,), daemon=True)
    thread.start()
    parent()
    thread.join(30)
    assert not thread.is_alive()
    os.close(told)
    os.close(tell)
    assert store["key"] == "new"


@pytest.mark.posix
def test_fork_beside_reads_writes_and_growth_loses_nothing(path: str, open_store: OpenStore) -> None:
    """Each child of a fork during reads, writes, flushes and growth works, and the parent loses nothing."""
    store = open_store(batch_size=3, map_size=MIB, sync=False)
    store.put_many({"key": "value"})
    numbers, accepted = count(), {"key": "value"}

    def read() -> None:
        assert store["key"] == "value"
        assert "key" in list(store)

    def write() -> None:
        number = next(numbers)
        name = f"k{number % 100}"
        store[name] = str(number)
        accepted[name] = str(number)

    def child() -> None:
        read()
        store["child"] = os.getpid()
        store.close(strict=True)

    with looping(read, read, write):
        for turn in range(20):
            in_child(child)
            if turn % 5 == 0:
                store.put_many({"large": bytes((turn + 1) * 4 * MIB)})
    store.close(strict=True)
    stored = contents(path)
    assert stored.pop("child")
    assert len(stored.pop("large")) == 64 * MIB
    assert stored == accepted


@pytest.mark.posix
def test_fork_of_two_threads_beside_openings_disturbs_nobody(open_store: OpenStore) -> None:
    """Several threads may fork at once while another opens and closes stores."""
    store = open_store()
    store.put_many({"key": 1})

    def fork() -> None:
        in_child(lambda: store["key"])

    numbers = count()

    def open_and_close() -> None:
        with open_store(path=f"{store.db_path}{next(numbers) % 3}") as other:
            other["key"] = 1

    with looping(fork, fork, open_and_close):
        for _ in range(40):
            assert store["key"] == 1
    assert_no_reader(store)


@pytest.mark.posix
def test_fork_during_an_iteration_lets_both_continue(open_store: OpenStore) -> None:
    """An iterator in progress at a fork continues in the parent and in the child."""
    store = open_store()
    items = {f"k{i:04}": i for i in range(3000)}
    store.put_many(items)
    iterator = iter(store.items())
    first = [next(iterator) for _ in range(10)]

    def child() -> None:
        assert dict(first) | dict(iterator) == items

    in_child(child)
    assert dict(first) | dict(iterator) == items


@pytest.mark.posix
def test_fork_with_several_stores_takes_all_along(open_store: OpenStore, tmp_path: Path) -> None:
    """A fork takes every open file along, also stores that share a file and closed stores."""
    one, other = open_store(), open_store()
    apart, closed = open_store(path=str(tmp_path / "apart")), open_store(path=str(tmp_path / "closed"))
    one.put_many({"key": 1})
    apart.put_many({"key": 2})
    closed.close()

    def child() -> None:
        assert (one["key"], other["key"], apart["key"]) == (1, 1, 2)
        with open_store() as further:
            assert further["key"] == 1
            assert further.env is one.env
        with pytest.raises(StoreClosedError):
            closed["key"]

    in_child(child)
    child()


@pytest.mark.posix
def test_fork_whose_child_starts_threads_lets_them_use_the_store(open_store: OpenStore) -> None:
    """The locks of a child are its own: no thread of the child waits for the thread that forked."""
    store = open_store()
    store["parent"] = 1

    def child() -> None:
        in_thread(lambda: store.put_many({"child": 1}), limit=10)

    in_child(child)
    assert store["child"] == 1


@pytest.mark.posix
def test_fork_of_many_threads_at_once_ends(path: str) -> None:
    """Each fork waits for the other's locks, and releases its own."""
    # In a process of its own, because a fork takes longer the more memory the tests before have left to this one.
    source = """
        store = opened()
        store["key"] = 1
        store.flush()
        statuses = []

        def fork():
            for _ in range(40):
                pid = os.fork()
                if pid == 0:
                    os._exit(store._environment._handle is not None or store.get("key") != 1)
                statuses.append(os.waitpid(pid, 0)[1])

        def run(*bodies):
            threads = [threading.Thread(target=body) for body in bodies]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        sys.setswitchinterval(1e-6)
        run(fork, fork, fork)
        assert statuses == [0] * 120, statuses
        run(lambda: store.put_many({"thread": 1}))
        assert store["thread"] == 1
    """
    run_script(source, path)


@pytest.mark.posix
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_fork_interrupted_anywhere_inherits_no_open_file(open_store: OpenStore) -> None:
    """CPython continues a fork whose hooks are interrupted. The child has no open file, and no lock stays taken."""
    store = open_store()
    environment = store._environment

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(environment._handle is not None)
        status.append(os.waitpid(pid, 0)[1])

    for number in count():
        status: list[int] = []
        store["key"] = number
        try:
            reached = at_checkpoint(number, interrupt, fork)
        except Interrupt:
            reached = True
        assert status in ([], [0]), f"checkpoint {number}"
        in_thread(lambda number=number: store.put_many({"thread": number}), limit=10)  # type: ignore[misc]
        if not reached:
            break
    assert number > 10
    assert (store["key"], store["thread"]) == (number, number)


@pytest.mark.posix
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_fork_interrupted_as_it_waits_still_waits(open_store: OpenStore) -> None:
    """A fork that waits for another thread's commit continues to wait when it is interrupted."""
    store = open_store()
    store["key"] = 1
    environment = store._environment
    held = threading.Event()

    def hold() -> None:
        with environment.lock:
            held.set()
            assert interrupted.wait(20)

    def interrupts(*_: object) -> None:
        interrupted.set()
        raise Interrupt

    interrupted = threading.Event()
    before = signal.signal(signal.SIGALRM, interrupts)
    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(20)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        pid = os.fork()
        if pid == 0:
            os._exit(environment._handle is not None)
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        signal.signal(signal.SIGALRM, before)
        holder.join(20)
    assert interrupted.is_set()
    in_thread(store.flush, limit=10)
    assert store["key"] == 1


# -- a fork in a signal handler
