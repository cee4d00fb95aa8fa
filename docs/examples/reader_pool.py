"""A pool of processes that read from one store. The handle is sent to them, not the data."""

from __future__ import annotations

import ast
import multiprocessing
import sys
import sysconfig
from pathlib import Path

from lmdb_object_store import LmdbObjectStore

Sources = LmdbObjectStore[str, str]

sources: Sources  # in each worker: set once, by `start`


def start(store: Sources) -> None:
    """Keep the handle that a worker was sent. The file is opened by the first read."""
    global sources
    sources = store


def functions(name: str) -> int:
    """How many functions the module `name` defines. Runs in a worker, which reads the source for itself."""
    tree = ast.parse(sources[name])
    return sum(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) for node in ast.walk(tree))


def main(path: str = "sources.db") -> None:
    with Sources(path, key_encoding="utf-8") as store:
        folder = Path(sysconfig.get_path("stdlib"), "json")
        store.put_many((file.stem, file.read_text(encoding="utf-8")) for file in folder.glob("*.py"))
        # Workers see what is committed. Pickling the store, which happens here, flushes what is pending.
        pool = multiprocessing.get_context("spawn").Pool(2, initializer=start, initargs=(store,))
        counts = dict(zip(store, pool.map(functions, store)))
        pool.close()  # and `join`: the end of a `with` block would terminate the workers
        pool.join()
        for name, count in counts.items():
            print(f"{name}: {count} functions")


if __name__ == "__main__":
    main(*sys.argv[1:])
