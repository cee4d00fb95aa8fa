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


@pytest.mark.posix
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


@pytest.mark.posix
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
