"""Forks, worker processes, pickled handles, and other processes on the same file."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support import (
    Interrupt,
    at_checkpoint,
    contents,
    in_child,
    in_thread,
    interrupt,
    looping,
    meta_pages,
    run_script,
)

from lmdb_object_store import LmdbObjectStore, StoreClosedError

MIB = 1024 * 1024
METHODS = sorted({"fork", "spawn", "forkserver"}.intersection(multiprocessing.get_all_start_methods()))
Store = LmdbObjectStore[Any, Any]


def assert_no_reader(store: Store) -> None:
    """No reader of any process holds a slot of the reader table."""
    assert "no active" in store.env.readers()


# -- os.fork


def test_parent_and_child_both_go_on(path: str, open_store: OpenStore) -> None:
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


def test_a_childs_reads_take_no_reader_slot_of_the_parent(open_store: OpenStore) -> None:
    """More reads in children than the reader table has slots leave it empty, and the parent reading."""
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


def test_a_childs_close_does_not_disturb_the_parents_readers(open_store: OpenStore) -> None:
    """Children that close their copy while the parent's threads read cost those no error."""
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


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_is_pending_at_a_fork_is_the_parents(
    path: str, open_store: OpenStore, end: Callable[[Store], object]
) -> None:
    """A child starts without what could not be flushed, whatever it does; the parent keeps it, and writes it once."""
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


def test_a_child_does_not_bring_back_what_its_parent_changed_since(open_store: OpenStore) -> None:
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


def test_forks_while_other_threads_read_and_write(path: str, open_store: OpenStore) -> None:
    """Forks amid reads, writes, flushes and growth: each child works, and the parent loses nothing."""
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


def test_two_threads_may_fork_at_once(open_store: OpenStore) -> None:
    """Forks of several threads, beside a third that opens and closes stores, disturb nobody."""
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


def test_an_iterator_survives_a_fork(open_store: OpenStore) -> None:
    """An iterator under way at a fork goes on in the parent and in the child."""
    store = open_store()
    items = {f"k{i:04}": i for i in range(3000)}
    store.put_many(items)
    iterator = iter(store.items())
    first = [next(iterator) for _ in range(10)]

    def child() -> None:
        assert dict(first) | dict(iterator) == items

    in_child(child)
    assert dict(first) | dict(iterator) == items


def test_a_fork_with_several_stores_open(open_store: OpenStore, tmp_path: Path) -> None:
    """A fork takes every open file along, stores that share one and closed ones too."""
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


def test_a_childs_threads_may_use_the_store(open_store: OpenStore) -> None:
    """The locks of a child are its own: no thread of it waits for the one that forked."""
    store = open_store()
    store["parent"] = 1

    def child() -> None:
        in_thread(lambda: store.put_many({"child": 1}), limit=10)

    in_child(child)
    assert store["child"] == 1


def test_threads_that_fork_at_once(path: str) -> None:
    """Each fork waits for the other's locks, and gives back its own."""
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_place_in_a_fork(open_store: OpenStore) -> None:
    """CPython goes on with a fork whose hooks are interrupted: the child inherits no open file all the same, and no
    lock stays taken."""
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_of_a_fork_that_waits(open_store: OpenStore) -> None:
    """A fork that waits for another thread's commit goes on waiting when it is interrupted."""
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


# -- multiprocessing

WORK = """
import multiprocessing, os
parent = os.getpid()

def work(store, number):
    assert os.getpid() != parent or multiprocessing.parent_process()
    assert store["given"] == 0
    store[f"worker {number}"] = number

def open_and_work(path, number):
    opened_store.append(LmdbObjectStore(path, key_encoding="utf-8"))
    work(opened_store[0], number)

def value(store, key):
    return store[key]

opened_store = []
"""


@pytest.mark.parametrize("method", METHODS)
def test_what_a_worker_accepts_is_written_though_it_never_closes(path: str, method: str) -> None:
    """Processes of `multiprocessing` write what they left pending in a store that they were given."""
    main = f"""
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    store = opened()
    store["given"] = 0
    store.flush()
    store["pending"] = 1
    workers = [context.Process(target=work, args=(store, number)) for number in range(3)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert store["pending"] == 1
    assert [store[f"worker {{number}}"] for number in range(3)] == [0, 1, 2]
    assert "no active" in store.env.readers()
"""
    run_script(WORK + main, path)
    assert contents(path) == {"given": 0, "pending": 1, "worker 0": 0, "worker 1": 1, "worker 2": 2}


@pytest.mark.parametrize("method", METHODS)
def test_what_a_worker_writes_to_a_store_it_opened_is_kept(path: str, method: str) -> None:
    """The same for a store that the worker opens itself."""
    main = f"""
if __name__ == "__main__":
    with opened() as store: store["given"] = 0
    context = multiprocessing.get_context({method!r})
    worker = context.Process(target=open_and_work, args=(path, 7))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
"""
    run_script(WORK + main, path)
    assert contents(path) == {"given": 0, "worker 7": 7}


@pytest.mark.parametrize("method", METHODS)
def test_a_handle_goes_to_the_workers_of_a_pool(path: str, method: str) -> None:
    """A store can be an argument of a pool's tasks; what is pending is flushed as it is sent."""
    main = f"""
if __name__ == "__main__":
    store = opened()
    items = {{f"k{{i}}": i for i in range(20)}}
    store.update(items)
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        assert pool.starmap(value, [(store, key) for key in items]) == list(items.values())
    assert dict(store) == items
"""
    run_script(WORK + main, path)


@pytest.mark.parametrize("method", METHODS)
def test_a_process_pool_executor_keeps_what_its_workers_write(path: str, method: str) -> None:
    """Workers of `concurrent.futures` write what they left pending."""
    main = f"""
if __name__ == "__main__":
    from concurrent.futures import ProcessPoolExecutor
    store = opened()
    store["given"] = 0
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context({method!r})) as pool:
        list(pool.map(work, [store] * 10, range(10)))
    assert {{store[f"worker {{number}}"] for number in range(10)}} == set(range(10))
"""
    run_script(WORK + main, path)


def test_a_worker_that_fails_keeps_what_it_wrote_before(path: str) -> None:
    """A worker that ends by an exception or `sys.exit` writes what it had accepted."""
    source = """
import multiprocessing

def fail(error):
    store[type(error).__name__] = 1
    raise error

store = opened()
if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    for error in (SystemExit(3), ValueError("no")):
        worker = context.Process(target=fail, args=(error,))
        worker.start()
        worker.join()
        assert worker.exitcode != 0
    assert set(store) == {"SystemExit", "ValueError"}
"""
    run_script(source, path)


def test_a_forked_script_that_ends_normally_writes_its_own(path: str) -> None:
    """A child of `os.fork` that runs to the end of the script writes what it put, and nothing of its parent's."""
    source = """
        store = opened()
        store["parent"] = "old"
        pid = os.fork()
        if pid:
            store["parent"] = "new"
            store.flush()
            assert os.waitpid(pid, 0)[1] == 0
        else:
            store["child"] = 1
    """
    run_script(source, path)
    assert contents(path) == {"parent": "new", "child": 1}


# -- pickled handles


def test_a_pickled_handle_opens_at_its_first_use(path: str, open_store: OpenStore) -> None:
    """A handle carries the path and the options, and touches the file only when it is used."""
    store = open_store(batch_size=7, batch_bytes=1000, autoflush_on_read=False, str_normalize="NFC", max_map_size=MIB)
    store["key"] = 1
    data = pickle.dumps(store)
    store.close()
    handle: Store = pickle.loads(data)
    assert contents(path) == {"key": 1}  # which needs a file that is not open here
    assert "not opened" in repr(handle)
    assert handle["key"] == 1
    assert (handle.batch_size, handle.batch_bytes, handle.autoflush_on_read) == (7, 1000, False)
    assert (handle.str_normalize, handle.max_map_size, handle.key_encoding) == ("NFC", MIB, "utf-8")
    handle.close()


USES: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("key"),
    "[]": lambda store: store["key"],
    "in": lambda store: "key" in store,
    "put": lambda store: store.put("new", 1),
    "del": lambda store: store.__delitem__("key"),
    "pop": lambda store: store.pop("key"),
    "len": len,
    "iter": list,
    "items": lambda store: list(store.items()),
    "get_many": lambda store: store.get_many(["key"]),
    "put_many": lambda store: store.put_many({"new": 1}),
    "flush": lambda store: store.flush(),
    "clear": lambda store: store.clear(),
    "with": lambda store: store.__enter__()["key"],
    "env": lambda store: store.env.info(),
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_any_use_opens_a_pickled_handle(open_store: OpenStore, use: Callable[[Store], object]) -> None:
    """Whatever is done first with a handle, it opens its file and works like the original."""
    store = open_store()
    store["key"] = 1
    handle: Store = pickle.loads(pickle.dumps(store))
    try:
        use(handle)
        handle["after"] = 2
        handle.flush()
        assert store["after"] == 2
    finally:
        handle.close()
    with pytest.raises(StoreClosedError):
        handle["after"]


def test_a_handle_that_was_never_used_closes_quietly(open_store: OpenStore) -> None:
    """Closing a handle that was not used opens nothing, and leaves it closed."""
    store = open_store()
    handle: Store = pickle.loads(pickle.dumps(store))
    handle.close()
    with pytest.raises(StoreClosedError):
        handle["key"]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_a_copy_is_a_second_handle(open_store: OpenStore, copied: Callable[[Store], Store]) -> None:
    """A copied store is another store on the same file: with all the data, and a buffer and an end of its own."""
    store = open_store()
    store["key"] = 1
    with copied(store) as other:
        assert other["key"] == 1
        other["key"] = 2
        assert store["key"] == 1
    assert store["key"] == 2


# -- other processes on the file

# Not a fork, which would have this process open the file anew.
GROW = "with opened(map_size=64 << 20) as store: store['large'] = bytes(8 << 20)"

AFTER_GROWTH: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("old"),
    "in": lambda store: "old" in store,
    "get_many": lambda store: store.get_many(["old", "none"]),
    "iter": list,
    "reversed": lambda store: list(reversed(store)),
    "items": lambda store: list(store.items()),
    "put": put_and_flush,
    "put_many": lambda store: store.put_many({"new": 1}),
    "pop": lambda store: store.pop("old"),
    "popitem": lambda store: store.popitem(),
    "setdefault": lambda store: store.setdefault("new", 1),
    "clear": lambda store: store.clear(),
    "repr": repr,
}


@pytest.mark.parametrize("call", AFTER_GROWTH.values(), ids=AFTER_GROWTH)
def test_a_map_that_another_process_grew_is_adopted(
    path: str, open_store: OpenStore, call: Callable[[Store], object]
) -> None:
    """Whatever is called first after another process outgrew this one's map works, and so does all that follows."""
    store = open_store(map_size=MIB)
    store.put_many({"old": 1})
    run_script(GROW, path)
    call(store)
    assert store.env.info()["map_size"] > 8 * MIB
    store["after"] = 2
    store.flush()
    assert store["after"] == 2


def test_an_iterator_goes_on_after_another_process_grew_the_map(path: str, open_store: OpenStore) -> None:
    """A loop under way when another process outgrows the map sees every key that was there all the while."""
    store = open_store(map_size=MIB)
    names = [f"k{i:04}" for i in range(3000)]
    store.put_many(dict.fromkeys(names, 1))
    iterator = iter(store)
    first = [next(iterator) for _ in range(5)]
    run_script(GROW, path)
    assert first + list(iterator) == [*names, "large"]


def test_several_processes_write_and_grow_at_once(path: str, open_store: OpenStore) -> None:
    """Processes that write and grow one file beside each other lose nothing."""
    source = """
        name = sys.argv[2]
        with opened(map_size=1 << 20, batch_size=5) as store:
            for number in range(60):
                store[f"{name} {number}"] = bytes(40_000)
                assert len(store[f"{name} {number // 2}"]) == 40_000
    """
    open_store(map_size=MIB).close()
    threads = [threading.Thread(target=run_script, args=(source, path, name), daemon=True) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert contents(path).keys() == {f"{name} {number}" for name in "abcd" for number in range(60)}


READ_AND_DIE = """
    store = opened()
    transaction = store.env.begin()
    transaction.get(b"key")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_slot_of_a_killed_reader_is_reclaimed_at_open(path: str, open_store: OpenStore) -> None:
    """A process that was killed while it read holds no slot once another one opens the file."""
    store = open_store()
    store.put_many({"key": 1})
    run_script(READ_AND_DIE, path, status=-signal.SIGKILL)
    assert "no active" not in store.env.readers()
    run_script("opened()", path)
    assert_no_reader(store)


def test_the_slot_of_a_killed_reader_is_reclaimed_when_the_table_is_full(path: str, open_store: OpenStore) -> None:
    """A reader table full of killed processes' readers is cleared by the read that needs a slot."""
    store = open_store(max_readers=2)
    store.put_many({"key": 1})
    source = """
        store = opened()
        transactions = [store.env.begin(), store.env.begin()]
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run_script(source, path, status=-signal.SIGKILL)
    assert store["key"] == 1
    assert_no_reader(store)


def test_a_killed_reader_does_not_pin_pages_for_ever(path: str, open_store: OpenStore) -> None:
    """A file at its cap, full of pages that a killed process was reading, takes writes again."""
    store = open_store(map_size=MIB, max_map_size=MIB)
    store.put_many({"key": bytes(100_000)})
    run_script(READ_AND_DIE, path, status=-signal.SIGKILL)
    for number in range(40):
        store.put_many({"key": bytes([number]) * 100_000})
    assert store["key"] == bytes([39]) * 100_000


@pytest.mark.parametrize("method", METHODS)
def test_what_a_worker_keeps_is_written_at_its_end(path: str, method: str) -> None:
    """A store that a worker process opened, and that nobody collects, is closed as the process ends."""
    source = f"""
        import multiprocessing
        kept = []

        def work():
            kept.append(opened())
            kept[0]["child"] = 1

        if __name__ == "__main__":
            process = multiprocessing.get_context("{method}").Process(target=work)
            process.start()
            process.join()
            assert process.exitcode == 0
    """
    run_script(source, path)
    assert contents(path) == {"child": 1}


def test_opening_while_another_process_grows_the_file(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMDB refuses to open a file that outgrows its map at that moment: the store opens it again."""
    opened = lmdb.open
    refusals = 3

    def refusing(*arguments: Any, **options: Any) -> lmdb.Environment:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise lmdb.MapResizedError("mdb_txn_begin")
        return opened(*arguments, **options)

    monkeypatch.setattr(lmdb, "open", refusing)
    store = open_store()
    store["key"] = 1
    assert store["key"] == 1
    assert refusals == -1
