"""asyncio: the event loop reads and writes the store itself, and leaves what waits for the disk to threads."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import lmdb

from lmdb_object_store import LmdbObjectStore

Store = LmdbObjectStore[str, int]


async def flush_each(store: Store, seconds: float) -> None:
    """Commit what is pending, again and again, in a thread: the event loop goes on meanwhile."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(store.flush)
        except lmdb.Error:  # a full disk, say: everything stays pending, for the next time
            logging.exception("could not flush")


@asynccontextmanager
async def opened(path: str) -> AsyncIterator[Store]:
    """A store that commits in threads alone: not for a read, nor for a number of pending writes (`batch_size`).

    A read never waits for a commit. A write does if one is under way that holds an earlier write to the same key: so
    commit often, and little at a time.
    """
    store = await asyncio.to_thread(Store, path, batch_size=None, autoflush_on_read=False, key_encoding="utf-8")
    flusher = asyncio.create_task(flush_each(store, 0.05))
    try:
        yield store
    finally:
        flusher.cancel()
        await asyncio.to_thread(store.close, strict=True)


async def client(store: Store, name: str) -> None:
    """One of many. A read or a write takes microseconds, so that it is simply called."""
    for number in range(20):
        store[name] = store.get(name, 0) + number  # no other task runs before the next `await`
        await asyncio.sleep(0.01)


def archive(store: Store) -> int:
    """Several steps that belong together, and wait for the disk: a function, to be run in a thread as a whole."""
    totals = {f"archive:{name}": total for name, total in store.prefix("client:").items()}
    store.put_many(totals)  # in one transaction
    return len(totals)


async def main(path: str = "service.db") -> None:
    async with opened(path) as store:
        store.clear()
        began = time.perf_counter()
        await asyncio.gather(*(client(store, f"client:{number:03}") for number in range(100)))
        print("archived:", await asyncio.to_thread(archive, store))
        print("sum:", sum(store.prefix("archive:").values()))
        print(f"2,000 reads and writes of 100 clients took {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
