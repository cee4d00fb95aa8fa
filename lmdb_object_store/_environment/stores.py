"""Stores: the stores that have a file open, and those that were collected before they were closed."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from .locks import Lock

T = TypeVar("T")


class OpenStore(Protocol):
    """A store that has the file of an environment open."""

    db_path: str
    _flush_failed: bool
    _readonly: bool

    @property
    def write_buffer(self) -> dict[bytes, bytes | None]:
        """The pending changes."""

    def flush(self) -> None:
        """Commit what is pending."""

    def close(self) -> None:
        """Flush, then leave the environment."""

    def _forget_pending(self) -> None:
        """Drop what is pending: this process is a fork, and it belongs to the parent."""


class Stores:
    """What an environment knows of its stores. Needs the attributes below, which are the environment's."""

    lock: Lock
    committing: bool
    transaction: object | None

    def __init__(self) -> None:
        # By id. An entry goes only when its store is closed: its reference dies before the store is finalised.
        self.stores: dict[int, weakref.ref[OpenStore]] = {}
        # Stores that were collected before they were closed: kept alive until somebody can close them. A deque, since
        # a finaliser appends to it anywhere, amid a copy of a list too, which Python 3.11 does not survive.
        self.collected: deque[OpenStore] = deque()
        self._closing_collected = False

    def living(self) -> list[OpenStore]:
        """The stores that have the file open."""
        # By identity: an empty store is false, and asking whether it is so would read it.
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
                    return  # it stays open: the next commit, or the exit, closes it
                self.collected.popleft()  # not before: an interrupt of the close must not lose it
        finally:
            self._closing_collected = False

    def close_collected_unless_locked(self) -> None:
        """The same, for the garbage collector, which may run anywhere and must not wait: else the next commit does."""
        if not self.collected:
            return
        lock = self.lock
        owned = lock._is_owned()  # by this thread, which the collector has interrupted
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


def values_of(mapping: dict[Any, T]) -> list[T]:
    """Return the values of `mapping`, which a finaliser may change during this call."""
    return undisturbed(lambda: list(mapping.values()))


def undisturbed(read: Callable[[], T]) -> T:
    """Return `read()`, repeated as often as a finaliser, or another thread, changes the dict that it goes through."""
    while True:
        try:
            return read()
        except RuntimeError:  # the dict has changed its size
            pass
