"""Transactions, forks and other processes; kills in every stage; the end of a program."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support import LIMIT
from support.checkpoints import in_each_commit
from support.files import contents
from support.programs import in_child, run_script
from support.threads import in_thread
from support.transactions import Undo, in_file, usable

from lmdb_object_store import ConflictError, LmdbObjectStore

Store = LmdbObjectStore[Any, Any]


# -- growth


def test_transaction_with_a_foreign_write_during_growth_conflicts(open_store: OpenStore, path: str) -> None:
    """The other process uses LMDB alone. ConflictError, nothing is written, and a second run succeeds."""
    store = open_store(map_size=1 << 20)
    store["n"] = 1
    store.flush()
    resize = type(store._environment).resize
    script = """
        import lmdb, pickle
        with lmdb.open(path, map_size=1 << 20) as environment, environment.begin(write=True) as txn:
            txn.put(b"n", pickle.dumps(5))
    """

    def resize_late(environment: Any, size: int) -> None:
        run_script(script, path)
        resize(environment, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store._environment), "resize", resize_late)
        with pytest.raises(ConflictError, match="again"), store.transaction():
            store["n"] += 1
            store["large"] = bytes(2 << 20)
    assert issubclass(ConflictError, lmdb.Error)
    assert in_file(store) == {"n": 5}
    usable(store)
    with store.transaction():
        store["n"] += 1
        store["large"] = bytes(2 << 20)
    assert in_file(store)["n"] == 6


def test_transaction_after_another_process_grew_the_file_adopts_its_size(open_store: OpenStore, path: str) -> None:
    """A transaction adopts the size as it begins."""
    store = open_store(map_size=1 << 20)
    run_script("with opened() as store:\n    store['large'] = bytes(8 << 20)\n", path)
    with store.transaction():
        assert len(store["large"]) == 8 << 20
        store["a"] = 1
    assert store["a"] == 1


# -- forks


@pytest.mark.posix
def test_transaction_with_a_fork_inside_belongs_to_the_parent(store: Store, path: str) -> None:
    """The child gets errors until it has left the block, and writes nothing. The parent commits."""
    store["before"] = 1

    def child() -> None:
        for use in (
            lambda: store["a"],
            lambda: store.put("a", 2),
            lambda: "a" in store,
            lambda: len(store),
            store.copy,
        ):
            with pytest.raises(RuntimeError, match="forked"):
                use()
        in_thread(lambda: store.__setitem__("thread", 1))
        with pytest.raises(RuntimeError, match="forked"):
            store.transaction().__enter__()
        raise Undo

    def fork_inside(leave: Callable[[], None]) -> None:
        with store.transaction():
            store["a"] = 1
            pid = os.fork()
            if pid == 0:
                leave()
                return
            assert os.waitpid(pid, 0)[1] == 0
            assert store["a"] == 1
            store["b"] = 1

    def leave_by_an_error() -> None:
        with pytest.raises(Undo):
            fork_inside(child)
        if os.getpid() != parent:
            after()

    def leave_at_the_end() -> None:
        with pytest.raises(RuntimeError, match="forked"):
            fork_inside(lambda: None)
        if os.getpid() != parent:
            after()

    def after() -> None:
        assert "a" not in store
        store["child"] = 1
        assert store["child"] == 1

    parent = os.getpid()
    for body in (leave_by_an_error, leave_at_the_end):
        store.clear()
        status = 1
        try:
            body()
            status = 0
        except BaseException as error:
            if os.getpid() != parent:
                sys.stderr.write(f"{error!r}\n")
            elif not isinstance(error, pytest.fail.Exception):  # the parent's block succeeds: nothing is raised
                raise
        finally:
            if os.getpid() != parent:
                os._exit(status)
        assert in_file(store) == {"a": 1, "b": 1}


@pytest.mark.posix
def test_transaction_with_a_write_during_its_fork_conflicts(store: Store, path: str) -> None:
    """If another process writes while the file is closed for a fork, the transaction is refused at its next use."""
    store["n"] = 1
    with pytest.raises(ConflictError), store.transaction():
        store["n"] = 2
        in_child(lambda: None)
        run_script("with opened() as store:\n    store['n'] = 5\n", path)
        for use in (lambda: store["n"], lambda: list(store), lambda: store.put("n", 3)):
            with pytest.raises(ConflictError):
                use()
    assert store.copy() == {"n": 5}
    usable(store)
    with store.transaction():
        store["n"] += 1
        in_child(lambda: None)
    assert store["n"] == 6


@pytest.mark.posix
def test_fork_in_another_thread_waits_for_the_transaction(path: str) -> None:
    """The fork waits also while the transaction uses another file. The child works."""
    run_script(
        """
        second = LmdbObjectStore(path + " second", key_encoding="utf-8")  # whose lock a fork takes first
        store = opened()
        forking, statuses = threading.Event(), []

        def fork():
            forking.set()
            pid = os.fork()
            if pid == 0:
                os._exit(0 if store.copy() == {"a": 1} and not store.flush() else 1)
            statuses.append(os.waitpid(pid, 0)[1])

        thread = threading.Thread(target=fork)
        with store.transaction():
            store["a"] = 1
            thread.start()
            forking.wait()
            thread.join(0.1)
            with second.transaction():
                second["b"] = 1
            assert thread.is_alive()
        thread.join()
        assert statuses == [0]
        assert second.copy() == {"b": 1}
        """,
        path,
        python=("-Wignore",),  # of forks beside threads
    )


# -- kill -9


@pytest.mark.posix
@pytest.mark.parametrize("stage", ["before", "inside", "nested", "commit", "growth", "grown"])
def test_kill_in_any_stage_of_a_transaction_writes_nothing(path: str, stage: str) -> None:
    """Nothing of the transaction is in the file. Another process writes at once, though the killed one had the lock."""
    with LmdbObjectStore[str, Any](path, key_encoding="utf-8", map_size=1 << 20) as store:
        store["a"] = 0
    told, tell = os.pipe()

    def here(now: str) -> None:
        if now == stage:
            os.write(tell, b".")
            signal.pause()

    def write() -> None:
        store = LmdbObjectStore[str, Any](path, key_encoding="utf-8", map_size=1 << 20)
        store["pending"] = 1
        resize = type(store._environment).resize

        def watched(environment: Any, size: int) -> None:
            here("growth")
            resize(environment, size)
            here("grown")

        type(store._environment).resize = watched  # type: ignore[assignment,method-assign]
        transaction = store.transaction()
        in_each_commit(lambda: here("before"), transaction.__enter__)
        store["a"] = 1
        store["large"] = bytes(2 << 20 if stage.startswith("grow") else 100)
        here("inside")
        with store.transaction():
            store["a"] = 2
            here("nested")
        in_each_commit(lambda: here("commit"), lambda: transaction.__exit__(None, None, None))

    pid = os.fork()
    if pid == 0:
        try:
            write()
        finally:
            os._exit(1)
    assert select.select([told], [], [], LIMIT)[0], "the child has not come so far"
    with LmdbObjectStore[str, Any](path, key_encoding="utf-8") as store:
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        with store.transaction():
            assert store["a"] == 0
            assert ("pending" in store) is (stage != "before")
            assert "large" not in store
            store["a"] = 3
    os.close(told)
    os.close(tell)
    assert contents(path)["a"] == 3


# -- the end of the process


def test_exit_with_an_open_transaction_writes_nothing(path: str) -> None:
    """In the main thread and in a daemon thread nothing hangs, is written or is printed."""
    for where in ("begin()", "threading.Thread(target=begin, daemon=True).start(); open.wait()"):
        done = run_script(
            f"""
            store = opened()
            store["before"] = 1
            open, never = threading.Event(), threading.Event()
            def leaving_open():
                with store.transaction():
                    store["left"] = 1
                    yield
            kept = leaving_open()
            def begin():
                next(kept)
                open.set()
                if threading.current_thread() is not threading.main_thread():
                    never.wait()
            {where}
            """,
            path,
        )
        assert done.stderr == ""
        assert contents(path) == {"before": 1}


def test_exit_while_writes_wait_for_a_transaction_writes_them(path: str) -> None:
    """The writes are stored if the transaction ends in time."""
    run_script(
        """
        import time
        store, other = opened(), opened()
        open = threading.Event()
        def body():
            with store.transaction():
                store["block"] = 1
                open.set()
                time.sleep(0.3)
        threading.Thread(target=body, daemon=True).start()
        open.wait()
        other["pending"] = 1
        """,
        path,
    )
    assert contents(path) == {"block": 1, "pending": 1}
