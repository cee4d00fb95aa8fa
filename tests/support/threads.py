"""Threads with a time limit, which start together or run in a loop."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support import LIMIT


class _Task(threading.Thread):
    """A thread that keeps its function's error; a daemon, so that one that hangs fails the test alone."""

    def __init__(self, body: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.body = body
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.body()
        except BaseException as error:
            self.error = error


def _finish(tasks: list[_Task], limit: float) -> None:
    for task in tasks:
        task.join(limit)
    for task in tasks:
        if task.error is not None:
            raise task.error
    assert not [task for task in tasks if task.is_alive()], "a thread hangs"


def in_thread(body: Callable[[], object], limit: float = LIMIT) -> None:
    """Run `body` in another thread to its end; raises its error."""
    together(body, limit=limit)


def together(*bodies: Callable[[], object], limit: float = LIMIT) -> None:
    """Run each of `bodies` in a thread of its own, all from one moment on; raises the first error."""
    barrier = threading.Barrier(len(bodies))

    def from_one_moment(body: Callable[[], object]) -> None:
        barrier.wait(limit)
        body()

    tasks = [_Task(lambda body=body: from_one_moment(body)) for body in bodies]  # type: ignore[misc]
    for task in tasks:
        task.start()
    _finish(tasks, limit)


@contextmanager
def looping(*bodies: Callable[[], object], limit: float = LIMIT) -> Iterator[None]:
    """Run each of `bodies` over and over in a thread of its own meanwhile; raise the first error at the end."""
    stop = threading.Event()
    begun = [threading.Event() for _ in bodies]

    def loop(body: Callable[[], object], once: threading.Event) -> None:
        try:
            while not stop.is_set():
                body()
                once.set()
        finally:
            once.set()

    tasks = [_Task(lambda pair=pair: loop(*pair)) for pair in zip(bodies, begun)]  # type: ignore[misc]
    for task in tasks:
        task.start()
    try:
        for once in begun:
            assert once.wait(limit), "a thread hangs"
        yield
    finally:
        stop.set()
        _finish(tasks, limit)


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Have threads take turns as often as the interpreter can, so that races show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
