"""Where one machine is not enough: Dask's workers read a store and build shards, which one writer merges.

A task is sent the handle of the store, not its data. Each worker writes its results into a store of its own, a shard,
on its own disk; all of them work at once, and none waits for another's commits. The rows of the shards then go through
the network to the one writer. With workers on several machines, each machine needs a copy of the input at the same
path: `store.backup(path)` makes one.
"""

from __future__ import annotations

import os
import sys
from itertools import islice

from dask.distributed import Client, LocalCluster, get_worker

from lmdb_object_store import LmdbObjectStore, OrderedKeys

Numbers = LmdbObjectStore[int, int]
Factors = LmdbObjectStore[int, list[int]]


def factors(number: int) -> list[int]:
    """The prime factors of `number`: what the cluster is there to compute."""
    found, divisor = [], 2
    while divisor * divisor <= number:
        if number % divisor:
            divisor += 1
        else:
            found.append(divisor)
            number //= divisor
    return [*found, number]


def build(numbers: Numbers, start: int, stop: int) -> tuple[str, str]:
    """Compute the values of a range of keys into a shard. Where it is: the worker's address, and the path there."""
    worker = get_worker()
    path = os.path.join(worker.local_directory, f"shard-{start}")
    with numbers, Factors(path, key_encoding=OrderedKeys()) as shard:  # both are this task's own: closed at its end
        part = numbers.range(start, stop, inclusive=(True, False))
        shard.update((key, factors(number)) for key, number in part.items())
    return worker.address, path


def rows(path: str, after: int | None, most: int = 500) -> list[tuple[int, list[int]]]:
    """The next rows of a shard: as many as go through the network at a time."""
    with Factors(path, key_encoding=OrderedKeys(), readonly=True) as shard:
        return list(islice(shard.range(after, inclusive=(False, True)).items(), most))


def main(path: str = "numbers.db", results: str = "factors.db") -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,  # for machines of your own: Client("tcp://scheduler:8786")
        Numbers(path, key_encoding=OrderedKeys()) as numbers,
        Factors(results, key_encoding=OrderedKeys()) as merged,
    ):
        numbers.put_many((key, 10**9 + key) for key in range(4_000))
        tasks = [client.submit(build, numbers, start, start + 1_000, pure=False) for start in range(0, 4_000, 1_000)]
        for address, shard in client.gather(tasks):
            after = None
            while page := client.submit(rows, shard, after, workers=[address], pure=False).result():
                merged.update(page)
                after = page[-1][0]
        print(f"{len(tasks)} shards merged: {len(merged)} values")
        print("1000000007 is prime:", merged[7] == [10**9 + 7], "- 1000000008:", merged[8])


if __name__ == "__main__":
    main(*sys.argv[1:])
