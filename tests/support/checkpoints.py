"""Code that runs at a chosen moment of other code: at each place, before a commit, before a copy."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupt(KeyboardInterrupt):
    """An interrupt that this test, not the user, has sent."""


def interrupt() -> None:
    """Raise Interrupt."""
    raise Interrupt


def at_checkpoint(number: int, action: Callable[[], object], body: Callable[[], object], *, times: int = 1) -> bool:
    """Run `body`, and `action` at the `number`-th place in it where CPython may run a signal handler.

    These are the beginnings of Python functions and the returns of C functions. At `times` such places
    in a row, if that is more than one. Return True if `body` got so far.
    """
    passed = 0
    gc.disable()  # what it would run is no place in `body`

    def profile(_: FrameType, event: str, called: object) -> None:
        nonlocal passed
        del called  # a method, say, whose object a kept traceback must not keep
        if event in ("call", "c_return"):
            passed += 1
            if number < passed <= number + times:
                action()

    sys.setprofile(profile)
    try:
        body()
    finally:
        sys.setprofile(None)
        gc.enable()
        reached = passed > number
    return reached


def in_each_commit(action: Callable[[], object], body: Callable[[], object]) -> int:
    """Run `body`, and `action` just before each write transaction in it commits. How many did."""
    commits = 0

    def profile(_: FrameType, event: str, called: Any) -> None:
        nonlocal commits
        if event == "c_call" and called.__name__ == "commit":
            commits += 1
            action()

    sys.setprofile(profile)
    try:
        body()
    finally:
        sys.setprofile(None)
    return commits


@contextmanager
def at_copies(*actions: Callable[[], object]) -> Iterator[None]:
    """Run the first of `actions` just before this thread's first call of LMDB's copy, the second before the second …"""
    remaining = list(actions)

    def profile(_: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ == "copyfd" and remaining:
            remaining.pop(0)()

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)
    assert not remaining, "LMDB was not asked to copy so often"
