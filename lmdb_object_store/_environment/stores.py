"""Stores: the stores that have a file open, and those that were collected before they were closed."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Protocol

from .locks import Lock, values_of


class OpenStore(Protocol):
    """A store, as its environment sees it."""

    db_path: str
    _flush_failed: bool
    _flush_due: float
    _readonly: bool

    @property
    def write_buffer(self) -> dict[bytes, bytes | None]:
        """The pending changes."""

    def flush(self) -> None:
        """Commit the pending changes."""

    def _stop_timer(self) -> None:
        """Let the next change start the timer."""

    def _flush_on_time(self) -> None:
        """Commit changes that have been pending for `flush_interval`. Log a failure."""

    def close(self) -> None:
        """Flush, then release the environment."""

    def _forget_pending(self) -> None:
        """Drop the pending changes: in a forked child they belong to the parent."""


class Stores:
    """The stores of an environment. Needs these attributes of the environment."""

    lock: Lock
    committing: bool
    transaction: object | None

    def __init__(self) -> None:
        # By id. `release` removes an entry: the reference dies before its store is finalised.
        self.stores: dict[int, weakref.ref[OpenStore]] = {}
        # Stores that were collected before they were closed. They are kept alive until they can be closed. A deque,
        # because a finaliser appends anywhere, also during a copy, and a copy of a list crashes Python 3.11 then.
        self.collected: deque[OpenStore] = deque()
        self._closing_collected = False

    def living(self) -> list[OpenStore]:
        """Return the stores that have the file open and are not collected."""
        # `is not None`, because the truth value of a store reads the file.
        return [store for ref in values_of(self.stores) if (store := ref()) is not None]

    def close_collected(self) -> None:
        """Close the collected stores, unless a commit or a transaction is under way. Needs the lock."""
        if not self.collected or self.committing or self.transaction is not None or self._closing_collected:
            return
        self._closing_collected = True
        try:
            while self.collected:
                try:
                    self.collected[0].close()
                except (RecursionError, MemoryError):
                    return  # the store stays open: the next commit, or the exit, closes it
                self.collected.popleft()  # after the close, so that an interrupt does not lose the store
        finally:
            self._closing_collected = False

    def close_collected_unless_locked(self) -> None:
        """Close the collected stores if the lock is free. Else the next commit closes them.

        The garbage collector, which may run anywhere, must not wait for a lock.
        """
        if not self.collected:
            return
        lock = self.lock
        owned = lock._is_owned()  # the collector has interrupted this thread while it held the lock
        try:
            taken = owned or lock.acquire(False)
            if taken:
                self.close_collected()
        except BaseException:
            if not owned and lock._is_owned():
                lock.release()
            raise
        if taken and not owned:
            lock.release()
