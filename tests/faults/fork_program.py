"""A program that forks under load: threads read and write its store meanwhile, and its children use and leave theirs.

Usage: python fork_program.py FOLDER METHOD SEED

METHOD is "os.fork", "threads", "reduce", "futures", or one of multiprocessing's.

Each writer keeps a journal in FOLDER; one whose pending writes must be in the file in the end, by the way it
ended, is named in the file `finished`.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from journal import Journal, Store, random_operation, stamp_of, value_of  # noqa: E402
from support.threads import looping, together  # noqa: E402

from lmdb_object_store import LmdbObjectStore  # noqa: E402

BATCH_SIZE = 10
CHILDREN = 4
# How a child ends, with which status, and whether what it had pending must then be in the file.
ENDINGS = {
    "close": (0, True),
    "normal": (0, True),
    "exit": (3, True),
    "exception": (1, True),
    "_exit": (4, False),
}


def use(store: Store, folder: Path, name: str, ending: str) -> None:
    """Use `store` as a child reads and writes, and end as required; only a child that ends normally returns."""
    assert "parent" in store
    assert stamp_of(store["parent"]) == (1, 10)
    for key, value in store.items():
        assert stamp_of(value)[0] >= 0, f"{key} has a value that nobody wrote"
    source, journal = random.Random(name), Journal(folder / name)
    for _ in range(source.randrange(60)):
        operation = random_operation(source, name, without="clear")
        if operation[0] not in ("close", "grow"):
            journal.run(store, operation)
    if ENDINGS[ending][1]:
        journal.note("begun", journal.number + 1, ("close", {}))
        journal.note("done", journal.number + 1)
    if ending == "close":
        store.close(strict=True)
        os._exit(0)
    if ending == "exit":
        sys.exit(3)
    if ending == "exception":
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        raise ZeroDivisionError
    if ending == "_exit":
        os._exit(4)


def fork(store: Store, folder: Path, name: str, ending: str) -> None:
    """Fork; the child uses the store, the parent waits for it to end as it should."""
    pid = os.fork()
    if pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == ENDINGS[ending][0]
    else:
        use(store, folder, name, ending)
        sys.exit(0)


class Forks:
    """A value that forks as it is pickled, and is read as one that operation 0 wrote."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        fork(*self.arguments)
        return value_of, ((0, 0),)


def run_children(store: Store, folder: Path, method: str, endings: list[str]) -> None:
    """Have children use the store, one for each of `endings`."""
    names = [f"c{number} " for number in range(len(endings))]
    if method == "threads":
        together(*(partial(fork, store, folder, *pair) for pair in zip(names, endings)))
    elif method in ("os.fork", "reduce"):
        for pair in zip(names, endings):
            if method == "reduce":
                store["reduced"] = Forks(store, folder, *pair)
            else:
                fork(store, folder, *pair)
    elif method == "futures":
        with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
            for done in [pool.submit(use, store, folder, name, "normal") for name in names]:
                done.result()
    else:
        context: Any = multiprocessing.get_context(method)
        pairs = zip(names, endings)
        processes = [context.Process(target=use, args=(store, folder, name, ending)) for name, ending in pairs]
        for process in processes:
            process.start()
        for process, ending in zip(processes, endings):
            process.join()
            assert process.exitcode == ENDINGS[ending][0], (process.exitcode, ending)


def main() -> None:
    """Run children beside threads that read and write."""
    folder, method, source = Path(sys.argv[1]), sys.argv[2], random.Random(sys.argv[3])
    store: Store = LmdbObjectStore(str(folder / "db"), BATCH_SIZE, key_encoding="utf-8", map_size=1 << 20)
    store["parent"] = value_of((1, 10))
    store.flush()
    journal, parent, lock = Journal(folder / "p "), os.getpid(), threading.Lock()
    endings = source.choices(list(ENDINGS), k=CHILDREN)
    if method == "futures":
        endings = ["normal"] * CHILDREN
    if method == "threads":  # an exception would end the thread alone
        endings = source.choices(["close", "_exit"], k=CHILDREN)

    def write() -> None:
        with lock:  # one journal
            operation = random_operation(source, "p ", without="clear")
            if operation[0] != "close":
                journal.run(store, operation)

    def read() -> None:
        assert stamp_of(store["parent"]) == (1, 10)
        for key, value in store.items():
            assert stamp_of(value)[0] >= 0, f"{key} has a value that nobody wrote"

    with looping(write, write, read, read):
        run_children(store, folder, method, endings)
    assert os.getpid() == parent  # each child has ended by an exception
    assert "no active" in store.env.readers(), store.env.readers()
    journal.run(store, ("close", {}))
    store = LmdbObjectStore(str(folder / "db"), key_encoding="utf-8")
    with store:
        store.delete("reduced")
        del store["parent"]


if __name__ == "__main__":
    main()
