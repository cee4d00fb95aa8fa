"""The flush before a fork, daemons, and the workers of pools."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import OpenStore
from support.files import contents
from support.programs import in_child, run_script

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
