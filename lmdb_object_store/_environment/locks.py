"""Locks, and reads of dicts, that an interrupt or a finaliser cannot break."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
RLock: Any = type(threading.RLock())


class Lock(RLock):  # type: ignore[misc]  # the type checker knows RLock as a final class
    """An RLock that is released at the end of its `with` statement, wherever an interrupt comes.

    CPython 3.14 runs signal handlers between an `__enter__` that is written in C and the body. If a handler raises, a
    plain RLock stays taken (https://github.com/python/cpython/issues/148874). After one in Python it runs none.
    """

    __slots__ = ()

    def _enter(self) -> bool:
        depth = self._recursion_count()
        try:
            return bool(self.acquire())
        except BaseException:
            if self._recursion_count() > depth:
                self.release()
            raise

    if sys.version_info[:2] == (3, 14):
        __enter__ = _enter


def undisturbed(read: Callable[[], T]) -> T:
    """Return `read()`. Call it again if a finaliser or another thread changes the size of the dict that it reads."""
    while True:
        try:
            return read()
        except RuntimeError:  # dictionary changed size during iteration
            pass


def values_of(mapping: dict[Any, T]) -> list[T]:
    """Return the values of `mapping`, which a finaliser or another thread may change meanwhile."""
    return undisturbed(lambda: list(mapping.values()))
