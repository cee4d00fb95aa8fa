"""The lock of an open file, and of the registry."""

from __future__ import annotations

import sys
import threading
from typing import Any

RLock: Any = type(threading.RLock())


class Lock(RLock):  # type: ignore[misc]  # the type checker knows it as a final class
    """An RLock that is held for as long as the body of its `with` statement runs, wherever an interrupt ends it.

    CPython 3.14 runs signal handlers between an `__enter__` that is written in C and the body. If one raises, the lock
    stays taken (https://github.com/python/cpython/issues/148874). After a function in Python it runs none.
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
