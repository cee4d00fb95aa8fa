"""FlushTimer: the thread that flushes stores whose changes have been pending for their `flush_interval`."""

from __future__ import annotations

import math
import time
from _thread import allocate_lock, start_new_thread
from typing import Protocol

from .stores import OpenStore


class TimedStores(Protocol):
    """The environment, as its timer sees it."""

    timer: FlushTimer | None

    def living(self) -> list[OpenStore]:
        """Return the stores that have the file open."""


class FlushTimer:
    """A thread of an environment. It sleeps until a store is due, and ends when none is due any more.

    It holds no lock and no store while it sleeps. `_thread` starts it, and not `threading`, whose lock a signal handler
    that writes to a store could wait for forever.
    """

    def __init__(self, environment: TimedStores) -> None:
        self._environment = environment
        self._sleep = allocate_lock()
        self._sleep.acquire()

    def wake(self) -> None:
        """Let the thread look again when its stores are due."""
        try:  # noqa: SIM105  # contextlib is slow to import
            self._sleep.release()
        except RuntimeError:  # it is about to look
            pass

    def run(self) -> None:
        """Flush the stores of the environment, until none is due any more. The body of the thread."""
        environment = self._environment
        former, environment.timer = environment.timer, self
        if former is not None:  # two changes have started a thread at once
            former.wake()
        try:
            while environment.timer is self:
                seconds = self._flush_due()
                if seconds is not None:
                    self._sleep.acquire(timeout=max(seconds, 0))
                    continue
                environment.timer = None  # from now on a change starts another thread
                if self._flush_due() is not None and environment.timer is None:  # a change came just before
                    environment.timer = self
        finally:
            if environment.timer is self:  # an error, such as that of a logging handler: the next change starts another
                environment.timer = None
                for store in environment.living():
                    store._stop_timer()

    def _flush_due(self) -> float | None:
        """Flush the stores that are due. Return the seconds until the next one is due, or None."""
        for store in self._environment.living():
            if store._flush_due <= time.monotonic():
                store._flush_on_time()
        due = min((store._flush_due for store in self._environment.living()), default=math.inf)
        return None if due == math.inf else due - time.monotonic()


def start_timer(environment: TimedStores) -> None:
    """Let the timer of `environment` look when its stores are due. Start its thread if there is none.

    RuntimeError if the process may have no more threads.
    """
    timer = environment.timer
    if timer is not None:
        timer.wake()
    else:
        start_new_thread(FlushTimer(environment).run, ())
