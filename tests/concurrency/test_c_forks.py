"""Forks that Python does not know of: by C code, as by the master of uWSGI."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import OpenStore
from support.files import contents
from support.programs import Child, in_child, run_script

from lmdb_object_store import LmdbObjectStore

pytestmark = pytest.mark.posix

Store = LmdbObjectStore[Any, Any]


# -- forks by C code, which do not run Python's fork hooks


def in_c_child(body: Callable[[], object]) -> None:
    """Run `body` in a fork of this process that C code has made; fail if it raises or hangs."""
    Child(body, ctypes.PyDLL(None).fork).join()


def wrote(store: Store) -> None:
    store["new"] = 1
    store.flush()


def wrote_many(store: Store) -> None:
    store.put_many({"new": 1})


def opened_another(store: Store) -> None:
    with LmdbObjectStore(store.db_path, key_encoding="utf-8") as other:
        assert other.get("stored") == 1


def began(store: Store) -> None:
    with store.transaction():
        assert store["stored"] == 1
        store["new"] = 1


FIRST_USES: dict[str, Callable[[Store], object]] = {
    "flush": lambda store: store.flush(),
    "put and flush": wrote,
    "put_many": wrote_many,
    "transaction": began,
    "another store": opened_another,
    "clear of nothing": lambda store: store.range("x", "y").clear(),
    "close": lambda store: store.close(),
    "env": lambda store: store.env,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("use", FIRST_USES.values(), ids=FIRST_USES)
@pytest.mark.parametrize("version", [0, 1])
def test_c_fork_leaves_pending_and_the_file_to_the_parent(
    path: str, open_store: OpenStore, use: Callable[[Store], object], version: int
) -> None:
    """The child's first use drops what was pending and opens the file again, without harm to the parent's readers."""
    store = open_store(autoflush_on_read=False, lib_version=version)
    store.put_many({"stored": 1})
    assert store["stored"] == 1
    store["pending"] = 1

    def child() -> None:
        use(store)
        assert store.write_buffer == {}
        if use is not FIRST_USES["close"]:
            handle = store.env
            for _ in range(10):
                assert store["stored"] == 1
            assert "pending" not in store
            with handle.begin():  # its place in the table of readers is the child's own
                assert str(os.getpid()) in handle.readers()
            store.close()

    for _ in range(3):
        in_c_child(child)
        assert store["stored"] == 1
    assert "no active" in store.env.readers()
    assert store.env.begin().get(b"pending") is None, "a child wrote it"
    assert store["pending"] == 1
    store.flush()
    assert dict(store).items() >= {"stored": 1, "pending": 1}.items()


def test_c_fork_beside_a_reader_keeps_its_reader_slot(open_store: OpenStore) -> None:
    """A thread of the parent that reads at the fork keeps the pages of its snapshot."""
    store = open_store()
    store.put_many({"stored": 1})

    def child() -> None:
        store.put_many({"child": 1})
        store.close()

    with store.env.begin() as txn:
        in_c_child(child)
        assert str(os.getpid()) in store.env.readers()
        assert txn.get(b"child") is None
    assert store["child"] == 1


def test_c_fork_drops_the_pending_changes(path: str, open_store: OpenStore) -> None:
    """A child that ends late does not write the parent's older value over its newer one."""
    store = open_store()
    store["key"] = "old"
    wait, go = os.pipe()

    def child() -> None:
        os.read(wait, 1)
        store.flush()
        store.close()

    pid = ctypes.PyDLL(None).fork()
    if pid == 0:
        try:
            child()
        finally:
            os._exit(0)
    store["key"] = "new"
    store.flush()
    os.write(go, b".")
    os.waitpid(pid, 0)
    assert store["key"] == "new"


def test_c_fork_with_pending_changes_warns(open_store: OpenStore, capfd: pytest.CaptureFixture[str]) -> None:
    """The child's log has the number of changes that stay with the parent."""
    store = open_store()
    store.update(a=1, b=2)

    def child() -> None:
        logging.basicConfig(force=True)
        store.flush()
        for thread in threading.enumerate():
            if thread.name == "lmdb_object_store log":
                thread.join(10)

    in_c_child(child)
    assert "leaves 2 pending changes to its parent" in capfd.readouterr().err


def test_c_fork_while_another_thread_has_the_lock_does_not_wait(open_store: OpenStore) -> None:
    """The child does not wait for a lock that a thread of the parent had at the fork."""
    store = open_store()
    store.put_many({"stored": 1})
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store._environment.lock:
            held.set()
            assert done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(20)

    def child() -> None:
        store.flush()
        store["child"] = store["stored"]
        store.close()

    try:
        in_c_child(child)
    finally:
        done.set()
        holder.join(20)
    assert store["child"] == 1


def test_c_fork_within_a_transaction_leaves_it_to_the_parent(open_store: OpenStore) -> None:
    """The child's uses raise, as they do after a fork by Python, and the parent's block commits."""
    store = open_store()

    def child() -> None:
        with pytest.raises(RuntimeError, match="forked inside of a transaction"), store.transaction():
            pass

    with store.transaction():
        store["parent"] = 1
        in_c_child(child)
    assert dict(store) == {"parent": 1}


def test_c_fork_then_increments_of_both_loses_none(path: str, open_store: OpenStore) -> None:
    """Parent and child increment one number in transactions, and none is lost."""
    store = open_store()
    store.put_many({"number": 0})

    def increment() -> None:
        for _ in range(200):
            with store.transaction():
                store["number"] += 1

    pid = ctypes.PyDLL(None).fork()
    if pid == 0:
        try:
            store.flush()
            increment()
        finally:
            os._exit(0)
    increment()
    assert os.waitpid(pid, 0)[1] == 0
    assert store["number"] == 400


def test_c_fork_of_a_c_fork_opens_the_file_itself(open_store: OpenStore) -> None:
    """A child's own child is one more process that opens the file by itself."""
    store = open_store()
    store.put_many({"number": 1})

    def grandchild() -> None:
        store["grandchild"] = store["number"]
        store.flush()

    def child() -> None:
        store.flush()
        in_c_child(grandchild)
        in_child(lambda: store.put_many({"forked": store["number"]}))
        store["child"] = store["number"]
        store.close()

    in_c_child(child)
    assert dict(store) == {"number": 1, "grandchild": 1, "forked": 1, "child": 1}


def test_c_fork_that_ends_with_the_interpreter_harms_nobody(path: str) -> None:
    """A child that ends as a script does, and never used its store, closes nothing of the parent's."""
    source = """
        import ctypes
        store = opened(autoflush_on_read=False)
        store.put_many({"stored": 1})
        assert store["stored"] == 1
        store["pending"] = 1
        before = store.env.readers()
        pid = ctypes.PyDLL(None).fork()
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
            assert store.env.readers() == before
            assert store["stored"] == 1
        else:
            sys.exit()
    """
    run_script(source, path)
    assert contents(path) == {"stored": 1, "pending": 1}


# -- uWSGI, which forks its workers in C, and then calls a hook

UWSGI = """
import ctypes, traceback, types

master = os.getpid()
uwsgi = sys.modules["uwsgi"] = types.ModuleType("uwsgi")
uwsgi.worker_id = lambda: int(os.getpid() != master)
called = []

def in_worker(body):
    pid = ctypes.PyDLL(None).fork()
    if pid == 0:
        status = 1
        try:
            vars(uwsgi).get("post_fork_hook", int)()
            body()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0

def hook():
    called.append(os.getpid())

"""


def test_uwsgi_workers_take_no_places_of_the_masters_readers(path: str) -> None:
    """Workers read past LMDB's number of readers, as fast as elsewhere; what the master had pending stays there."""
    source = """
store = opened(autoflush_on_read=False, max_readers=20)
store.put_many({"stored": 1})
store["pending"] = 1

def work():
    assert store.write_buffer == {}
    for _ in range(50):
        assert store["stored"] == 1
        assert len(store) == len(list(store.items())) >= 1
    assert store._environment.begin == store.env.begin
    assert "no active" in store.env.readers()
    store[f"worker {os.getpid()}"] = 1
    store.close()

for number in range(4):
    in_worker(work)
    assert store["stored"] == 1
assert "no active" in store.env.readers()
assert len(store) == 6
"""
    run_script(UWSGI + source, path)
    assert len(contents(path)) == 6


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_uwsgi_hook_of_somebody_else_is_called(path: str, when: str) -> None:
    """An existing hook is kept. A hook that replaces the store's, as `uwsgidecorators` does, breaks no reads."""
    source = f"""
set_hook = lambda: setattr(uwsgi, "post_fork_hook", hook)
if {when!r} == "before": set_hook()
store = opened(max_readers=20)
store.put_many({{"stored": 1}})
if {when!r} == "between": set_hook()
with opened() as other: other.flush()
if {when!r} == "after": set_hook()

def work():
    assert called == [os.getpid()]
    for _ in range(50):
        assert store["stored"] == 1
    assert "no active" in store.env.readers()
    store.put_many({{"worker": 1}})

in_worker(work)
assert store["worker"] == 1
"""
    run_script(UWSGI + source, path)


def test_uwsgi_without_a_fork_reads_as_fast_as_elsewhere(path: str) -> None:
    """The one process of a server without a master loads the app as number 0, and then becomes worker 1."""
    source = """
store = opened()
store.put_many({"stored": 1})
assert store["stored"] == 1
assert store._environment.begin != store.env.begin
uwsgi.worker_id = lambda: 1
assert store["stored"] == 1
assert store._environment.begin == store.env.begin
"""
    run_script(UWSGI + source, path)


def test_uwsgi_module_of_the_users_is_left_alone(path: str) -> None:
    """A user's module that has the name is left alone."""
    source = """
        import types
        user = sys.modules["uwsgi"] = types.ModuleType("uwsgi")
        store = opened()
        store["key"] = 1
        assert store["key"] == 1
        assert not hasattr(user, "post_fork_hook")
    """
    run_script(source, path)
