"""Forks by C code, which Python does not notice. uWSGI makes its workers in this way.

The functions of `os.register_at_fork` do not run then, and the child inherits open files. The child must not read
through them: a read would take a slot of LMDB's reader table for the parent's process id, which nobody frees. The
child must not close them either: that frees the slots of the parent's threads, and can wait for one of these
threads. The child leaves the inherited files as they are, and opens its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from os import getpid
from typing import Any

from .locks import Lock

_left: list[object] = []


class Process:
    """The process that the open files belong to. `enter_child` makes a forked child leave them to its parent."""

    def __init__(self, enter_child: Callable[[], None]) -> None:
        self.pid = getpid()
        self._enter_child = enter_child
        self._entering: dict[int, Lock] = {}  # by process id, because a lock that the parent held stays taken here

    def check(self) -> None:
        """Leave the open files to the parent if this process is a new child. Takes 0.2 µs."""
        if self.pid == getpid():
            return
        with self._entering.setdefault(getpid(), Lock()):
            if self.pid != getpid():  # else another thread was first
                self._enter_child()
                self.pid = getpid()


def leave_as_it_is(inherited: object) -> None:
    """Keep an LMDB object of the parent from being collected, which would close it."""
    _left.append(inherited)


def let_open_again() -> None:
    """Let py-lmdb open files again that this process has inherited open.

    py-lmdb refuses to open a file twice in a process. It tells files apart by the result of its function `env_keys`,
    and has no public way to change that.
    """
    _envid: Any = import_module("lmdb._envid")
    pid, keys_of = getpid(), _envid.env_keys

    def keys_in_this_process(path: Any, subdir: bool) -> tuple[Any, ...]:
        return tuple((pid, key) for key in keys_of(path, subdir))

    _envid.env_keys = keys_in_this_process


# -- uWSGI


class _Hook:
    """The hook that uWSGI calls in each process that it forks. Calls `check`, then the hook that was there before."""

    def __init__(self, check: Callable[[], None], former: Callable[[], object] | None) -> None:
        self.check = check
        self.former = former

    def __call__(self) -> None:
        self.check()
        if self.former is not None:
            self.former()


def watch_uwsgi(check: Callable[[], None]) -> bool:
    """Set a hook by which uWSGI calls `check` in its workers. Return True in the process that forks them.

    Called each time that the gate opens: `uwsgidecorators` sets a hook of its own, and may be imported late.
    """
    uwsgi: Any = sys.modules.get("uwsgi")
    if not hasattr(uwsgi, "worker_id"):  # not imported, or a user's module of the same name
        return False
    former = getattr(uwsgi, "post_fork_hook", None)
    if not isinstance(former, _Hook):
        uwsgi.post_fork_hook = _Hook(check, former)
    return bool(uwsgi.worker_id() == 0)
