"""The store's time for each workload as a ratio to raw py-lmdb's, both measured in turn in one run.

Small dict values under random keys. `raw` is py-lmdb by hand: one held read transaction, one write transaction,
or (`raw1k`) a commit per 1,000 writes. Usage: python tests/benchmarks/ratios.py [--keys N] [--rounds N]
"""

from __future__ import annotations

import argparse
import pickle
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb

from lmdb_object_store import LmdbObjectStore

Work = Callable[[], object]
MAP = 1 << 30


def value_of(number: int) -> dict[str, Any]:
    return {"id": number, "name": f"user {number}", "score": number / 7}


def reads(folder: Path, keys: list[bytes]) -> dict[str, tuple[Work, Work]]:
    """Workloads over a filled file, each as (store's, raw)."""
    store: LmdbObjectStore[bytes, Any] = LmdbObjectStore(folder / "store", map_size=MAP)
    store.put_many((key, value_of(number)) for number, key in enumerate(keys))
    env = lmdb.open(str(folder / "raw"), map_size=MAP)
    with env.begin(write=True) as txn:
        for number, key in enumerate(keys):
            txn.put(key, pickle.dumps(value_of(number), pickle.HIGHEST_PROTOCOL))
    absent = [key + b"?" for key in keys]
    hundreds = [keys[at : at + 100] for at in range(0, len(keys), 100)]
    loads = pickle.loads

    def raw_get(wanted: list[bytes]) -> None:
        with env.begin() as txn:
            get = txn.get
            for key in wanted:
                data = get(key)
                if data is not None:
                    loads(data)

    def raw_hundreds() -> None:
        with env.begin() as txn:
            for some in hundreds:
                {key: loads(data) for key, data in zip(some, map(txn.get, some)) if data is not None}

    def raw_items() -> None:
        with env.begin() as txn:
            for _, data in txn.cursor():
                loads(data)

    def raw_keys() -> None:
        with env.begin() as txn:
            for _ in txn.cursor().iternext(values=False):
                pass

    return {
        "store[k]": (lambda: [store[key] for key in keys], lambda: raw_get(keys)),
        "get, absent": (lambda: [store.get(key) for key in absent], lambda: raw_get(absent)),
        "k in store, absent": (lambda: [key in store for key in absent], lambda: raw_get(absent)),
        "get_many by 100": (lambda: [store.get_many(some) for some in hundreds], raw_hundreds),
        "items()": (lambda: [None for _ in store.items()], raw_items),
        "iteration": (lambda: [None for _ in store], raw_keys),
        "len": (lambda: [len(store) for _ in range(10_000)], lambda: [env.stat() for _ in range(10_000)]),
    }


def writes(folder: Path, keys: list[bytes]) -> dict[str, tuple[Work, Work]]:
    """Workloads that fill a new file, each as (store's, raw)."""
    paths = (folder / f"new{number}" for number in range(1 << 30))

    def put() -> None:
        with LmdbObjectStore[bytes, Any](next(paths), map_size=MAP) as store:
            for number, key in enumerate(keys):
                store[key] = value_of(number)

    def put_many() -> None:
        with LmdbObjectStore[bytes, Any](next(paths), map_size=MAP) as store:
            store.put_many((key, value_of(number)) for number, key in enumerate(keys))

    def raw(per_commit: int) -> None:
        with lmdb.open(str(next(paths)), map_size=MAP) as env:
            for start in range(0, len(keys), per_commit):
                with env.begin(write=True) as txn:
                    for number in range(start, min(start + per_commit, len(keys))):
                        txn.put(keys[number], pickle.dumps(value_of(number), pickle.HIGHEST_PROTOCOL))

    return {
        "put and close (raw1k)": (put, lambda: raw(1_000)),
        "put_many": (put_many, lambda: raw(len(keys))),
    }


def seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    source = random.Random(0)
    keys = [source.randbytes(16) for _ in range(options.keys)]
    with tempfile.TemporaryDirectory() as folder:
        workloads = {**reads(Path(folder), keys), **writes(Path(folder), keys)}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in workloads}
        for _ in range(options.rounds):
            for name, (ours, raw) in workloads.items():
                times[name].append((seconds(ours), seconds(raw)))
    print("| workload | store, ms | raw, ms | ratio |\n|---|--:|--:|--:|")
    for name, pairs in times.items():
        ours, raw = (statistics.median(column) * 1000 for column in zip(*pairs))
        print(f"| {name} | {ours:.1f} | {raw:.1f} | {statistics.median(a / b for a, b in pairs):.2f} |")


if __name__ == "__main__":
    main()
