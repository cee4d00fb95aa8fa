"""A store in a transaction, looked at from outside and used after its end."""

from __future__ import annotations

import pickle
from collections.abc import Generator
from typing import Any

from lmdb_object_store import LmdbObjectStore
from support.threads import in_thread

Store = LmdbObjectStore[Any, Any]


class Undo(Exception):
    """Ends a block without its changes."""


def in_file(store: Store) -> dict[str, Any]:
    """Return the committed rows, by another thread's read transaction."""
    found: dict[str, Any] = {}

    def read() -> None:
        with store.env.begin() if store._environment.transaction is None else store._environment.begin() as txn:
            found.update({bytes(key).decode(): pickle.loads(data) for key, data in txn.cursor()})

    in_thread(read)
    return found


def usable(store: Store) -> None:
    """Check that the store reads and writes in this thread and in others, and has no rest of a transaction."""
    assert store._sink is store._pending is store.write_buffer
    assert not store._environment.committing
    assert store._environment.transaction is None
    store["usable"] = 1
    store.flush()
    in_thread(lambda: store.put_many({"usable": 2}))
    assert store.pop("usable") == 2
    store.flush()
    assert store._pending_bytes == 0


def leaving_open(store: Store) -> Generator[None, None, None]:
    """Stay in the middle of a transaction, as a generator."""
    with store.transaction():
        store["left"] = 1
        yield
