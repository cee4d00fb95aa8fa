"""The lock of an open file, and the deadlocks of threads that have transactions open on several files.

A thread with a transaction open holds one such lock and may wait for another, which no order of locks prevents. While
any transaction is open in this process, every lock is a `WatchedLock`: whoever waits says for what, and a wait that
would never end is refused.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from operator import methodcaller
from threading import get_ident
from typing import Any, Protocol

RLock: Any = type(threading.RLock())


class Holder(Protocol):
    """An open transaction."""

    owner: int  # the thread that opened it
    abandoned: bool  # whether it was dropped in another one, where it could not be ended


# Seconds between two looks at what the others wait for, and until the lock of an abandoned transaction is given up.
_POLL = 0.1
_PATIENCE = 10.0

acquire_at_once = methodcaller("acquire", False)
_acquire = methodcaller("acquire")
_acquire_soon = methodcaller("acquire", True, _POLL)


class Lock(RLock):  # type: ignore[misc]  # the type checker knows it as a final class
    """An RLock that is held for as long as the body of its `with` statement runs, and no longer, wherever that ends.

    CPython 3.14 lets a signal handler in between an `__enter__` that is a call into C, and the body. If it raises, the
    lock stays taken (https://github.com/python/cpython/issues/148874). After a function in Python it does not.
    """

    __slots__ = ()

    def _enter(self) -> bool:
        taken: list[Lock] = []
        try:
            taken.extend(filter(_acquire, (self,)))  # taken and noted in one step
            return True
        except BaseException:
            give(iter(taken))
            raise

    if sys.version_info[:2] == (3, 14):
        __enter__ = _enter


class FileLock(Lock):
    """The lock of the file at `path`."""

    __slots__ = ("path",)

    path: str


class WatchedLock(FileLock):
    """The same while a transaction is open in this process. RuntimeError where to wait for it would be to deadlock."""

    __slots__ = ()

    def __enter__(self) -> bool:
        taken: list[FileLock] = []
        try:
            take(self, taken)
            return True
        except BaseException:  # an interrupt too, that comes after it was taken
            give(iter(taken))
            raise


_locks: set[weakref.ref[FileLock]] = set()
_holders: dict[FileLock, Holder] = {}
_waiting: dict[int, tuple[FileLock, ...]] = {}  # by thread
_graph = Lock()  # held for moments only, round what looks at these three or changes them


def new_lock(path: str) -> FileLock:
    """A lock for the file at `path`."""
    with _graph:
        lock = WatchedLock() if _holders else FileLock()
        lock.path = path
        _locks.add(weakref.ref(lock, _locks.discard))
    return lock


def take(lock: FileLock, taken: list[FileLock]) -> None:
    """Acquire `lock`, and note it in `taken`, which is empty: both in one step, which no interrupt divides."""
    taken.extend(filter(acquire_at_once, (lock,)))
    if taken:
        return
    me, deadline = get_ident(), time.monotonic() + _PATIENCE
    try:
        while not taken:
            with _graph:
                _refuse_to_wait(lock, me, late=time.monotonic() > deadline)
                _waiting[me] = (lock,)
            taken.extend(filter(_acquire_soon, (lock,)))
    finally:
        _waiting.pop(me, None)


def give(held: Iterator[Lock]) -> None:
    """Release the locks that `held` has still to give, each as it is taken from there."""
    deque(map(RLock.release, held), maxlen=0)


def _refuse_to_wait(lock: FileLock, me: int, late: bool) -> None:
    todo, seen = [lock], {me}
    while todo:
        holder = _holders.get(todo.pop())
        if holder is None:
            continue
        if holder.owner == me:
            raise RuntimeError(
                f"to wait for {lock.path} would be to wait for ever: the thread that has a transaction open there "
                "waits for one of this thread's; open them in the same order everywhere, and run this one again"
            )
        if holder.abandoned and late:
            raise RuntimeError(
                f"a transaction on {lock.path} was dropped in another thread than it was opened in; nobody can write "
                "until that thread uses the store again, or ends"
            )
        if holder.owner not in seen:
            seen.add(holder.owner)
            todo.extend(_waiting.get(holder.owner, ()))


def hold(lock: FileLock, holder: Holder) -> None:
    """Note that `holder` is open, under `lock`, which its thread has."""
    with _graph:
        if not _holders:
            _make_all(WatchedLock)
        _holders[lock] = holder


def let_go(lock: FileLock, holder: Holder) -> None:
    """Note that `holder` is not open any more, if it was."""
    with _graph:
        if _holders.get(lock) is holder:
            del _holders[lock]
        if not _holders:
            _make_all(FileLock)


def _make_all(kind: type[FileLock]) -> None:
    for reference in tuple(_locks):
        lock = reference()
        if lock is not None:
            lock.__class__ = kind


def announce(locks: Iterable[Any]) -> None:
    """Say that this thread is about to wait for `locks`, without asking whether that will end; none: it does not."""
    if waited_for := tuple(locks):
        _waiting[get_ident()] = waited_for
    else:
        _waiting.pop(get_ident(), None)


def holders_here() -> list[Any]:
    """The transactions that this thread has open."""
    with _graph:
        return [holder for holder in _holders.values() if holder.owner == get_ident()]


def forget(kept: Iterable[FileLock]) -> None:
    """Forget all locks but `kept`, and all transactions: in this child no other thread holds a lock or waits."""
    global _graph
    _graph = Lock()
    _locks.clear()
    for lock in kept:
        lock.__class__ = FileLock
        _locks.add(weakref.ref(lock, _locks.discard))
    _holders.clear()
    _waiting.clear()
