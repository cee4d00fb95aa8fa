"""Workers of multiprocessing and of a process pool: what they accept is written, however they end."""

from __future__ import annotations

import multiprocessing

import pytest
from support.files import contents
from support.programs import run_script

METHODS = [
    pytest.param(method, marks=[pytest.mark.posix] if method == "fork" else [])
    for method in sorted({"fork", "spawn", "forkserver"}.intersection(multiprocessing.get_all_start_methods()))
]


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
def test_worker_that_never_closes_a_given_store_writes_it(path: str, method: str) -> None:
    """Processes of `multiprocessing` write the pending changes of a store that they were given."""
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
def test_worker_that_never_closes_its_own_store_writes_it(path: str, method: str) -> None:
    """Processes of `multiprocessing` write the pending changes of a store that they opened."""
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
def test_pool_takes_a_store_as_an_argument(path: str, method: str) -> None:
    """A store can be an argument of a pool's tasks. Sending the store flushes its pending changes."""
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
def test_process_pool_executor_keeps_its_workers_writes(path: str, method: str) -> None:
    """Workers of `concurrent.futures` write their pending changes."""
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


@pytest.mark.posix
def test_worker_that_fails_keeps_its_earlier_writes(path: str) -> None:
    """A worker that ends by an exception or `sys.exit` writes the accepted changes."""
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


@pytest.mark.posix
def test_fork_that_ends_as_a_script_writes_its_own_changes(path: str) -> None:
    """A child of `os.fork` that runs to the end of the script writes its own changes, and none of the parent's."""
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


@pytest.mark.parametrize("method", METHODS)
def test_worker_that_keeps_a_reference_writes_at_its_end(path: str, method: str) -> None:
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
