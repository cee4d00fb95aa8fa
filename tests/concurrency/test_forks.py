"""The flush before a fork, daemons, the workers of pools, and forks that Python does not know of."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import OpenStore
from support.files import contents
from support.programs import Child, in_child, run_script

from lmdb_object_store import LmdbObjectStore

pytestmark = pytest.mark.posix

MIB = 1024 * 1024
Store = LmdbObjectStore[Any, Any]


# -- what is flushed before a fork


def test_fork_flushes_every_open_store(open_store: OpenStore, tmp_path: Path) -> None:
    """Parent and child find everything in the file, of every open store, and nothing pending."""
    stores = [open_store(path=str(tmp_path / name)) for name in "aab"]
    for number, store in enumerate(stores):
        store[f"k{number}"] = number

    def child() -> None:
        assert [store.write_buffer for store in stores] == [{}, {}, {}]
        assert [dict(store) for store in stores] == [{"k0": 0, "k1": 1}, {"k0": 0, "k1": 1}, {"k2": 2}]

    in_child(child)
    assert [store.write_buffer for store in stores] == [{}, {}, {}]


DAEMON = """
    store = opened()
    store["key"] = 1
    done, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os.read(done, 1)  # so that the script ends after its daemon
        os._exit(0)
    {second}
    store["daemon"] = store["key"] + 1
    store.close()
    os.write(tell, b".")
    os._exit(0)
"""


@pytest.mark.parametrize("second", ["", "os.setsid()\n    if os.fork(): os._exit(0)"], ids=["one fork", "two forks"])
def test_fork_then_exit_of_the_parent_loses_nothing(path: str, second: str) -> None:
    """A daemon, whose parents end by `os._exit`, reads what was pending before the fork."""
    run_script(DAEMON.format(second=second), path)
    assert contents(path) == {"key": 1, "daemon": 2}


def test_fork_whose_flush_fails_is_logged_once_and_keeps_the_changes(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A change that does not fit stays pending in the parent, which raises at the end of its `with` block."""
    store = open_store(map_size=MIB, max_map_size=MIB)
    store["large"] = os.urandom(2 * MIB)

    def child() -> None:
        assert store.write_buffer == {}
        assert "large" not in store

    for _ in range(2):
        in_child(child)
    assert caplog.text.count("could not be flushed before a fork") == 1
    assert "MapFull" in caplog.text or "full" in caplog.text
    assert store.write_buffer.keys() == {b"large"}
    with pytest.raises(Exception, match="Final flush failed"), store:
        pass


def test_fork_tries_the_flush_again_each_time(open_store: OpenStore) -> None:
    """A disk that was full at the first fork may have room at the second one."""
    store = open_store(map_size=MIB, max_map_size=MIB)
    store["large"] = os.urandom(2 * MIB)
    in_child(lambda: None)
    store.max_map_size = 8 * MIB
    in_child(lambda: None)
    assert store.write_buffer == {}


def test_fork_leaves_a_read_only_store_alone(
    path: str, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A read-only store has nothing to flush, and the log has nothing to say."""
    open_store().close()
    reader = open_store(readonly=True)
    in_child(lambda: reader.get("none"))
    assert not caplog.records


def test_fork_within_a_transaction_flushes_other_files_alone(
    open_store: OpenStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The transaction commits at its end. Another file's pending changes are flushed, and the log is empty."""
    store, other = open_store(), open_store(path=str(tmp_path / "other"))
    with store.transaction():
        store["inside"] = 1
        other["pending"] = 1
        in_child(lambda: other["pending"])
        assert other.write_buffer == {}
        assert store["inside"] == 1
    assert dict(store) == {"inside": 1}
    assert not caplog.records


def test_fork_within_a_serialization_does_not_repeat_it(path: str) -> None:
    """A value forks while it is serialized. The flush before that fork does not serialize the value again."""
    source = """
        from lmdb_object_store import open
        class Forks:
            forked = 0
            def __reduce__(self):
                if self.forked == 1:
                    self.forked = 2
                    pid = os.fork()
                    if not pid:
                        os._exit(0)
                    os.waitpid(pid, 0)
                return int, (self.forked,)
        store = open(path, writeback=True)
        store["key"] = value = Forks()
        value.forked = 1
        store.close()
    """
    run_script(source, path)
    assert contents(path) == {"key": 2}


@pytest.mark.filterwarnings("ignore:unclosed store:ResourceWarning")
def test_fork_closes_a_store_that_was_collected(path: str) -> None:
    """A store that was collected while another thread had the lock is written before the fork."""
    store = LmdbObjectStore(path, key_encoding="utf-8")
    store["key"] = 1
    lock = store._environment.lock
    held, collected = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            assert collected.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(20)
    store.itself = store  # type: ignore[attr-defined]  # the collector finds it, and clears weak references to it first
    del store
    gc.collect()
    collected.set()
    holder.join(20)
    in_child(lambda: None)
    assert contents(path) == {"key": 1}


# -- pools of billiard, which Celery starts

POOL = """
import billiard, billiard.pool

store = None

def task(number):
    global store
    if store is None:
        store = opened()
    store[f"k{{number}}"] = number

if __name__ == "__main__":
    {before}
    pool = billiard.get_context({method!r}).Pool(2)
    pool.map(task, range(20))
    pool.close()
    pool.join()
"""


@pytest.mark.parametrize(
    ("method", "before"),
    [("fork", "store = opened()"), ("fork", ""), ("spawn", "")],
    ids=["inherited", "opened in the worker", "spawned"],
)
def test_close_and_join_of_a_billiard_pool_keep_what_its_tasks_wrote(path: str, method: str, before: str) -> None:
    """A task's worker ends by `os._exit`: its stores are closed before that."""
    pytest.importorskip("billiard", reason="billiard is not installed")
    run_script(POOL.format(method=method, before=before), path)
    assert contents(path) == {f"k{number}": number for number in range(20)}


def test_close_of_a_billiard_pool_calls_its_on_exit_first(path: str) -> None:
    """A function called at the end of a worker may still use the store, as with Celery's `worker_process_shutdown`."""
    pytest.importorskip("billiard", reason="billiard is not installed")
    source = """
        import billiard, billiard.pool
        store = opened()
        def task(number):
            store[f"k{number}"] = number
        def at_the_end(pid, exitcode):
            store["end"] = exitcode
        pool = billiard.pool.Pool(1, on_process_exit=at_the_end)
        pool.map(task, range(2))
        pool.close()
        pool.join()
    """
    run_script(source, path)
    assert contents(path) == {"k0": 0, "k1": 1, "end": 0}


# forks by C code, which do not run Python's fork hooks


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
