"""Forks by C code, of which Python is not told. uWSGI makes its workers so.

No function of `os.register_at_fork` runs then, and the child inherits open files. It must not read through them: a read
takes a place in LMDB's table of readers that nobody gives back, since it bears the parent's process id. It must not
close them either: that gives up the places of the parent's threads, and can wait for one of these. The child leaves
them as they are, and opens the files once more.
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
        self._entering: dict[int, Lock] = {}  # by process: a lock of the parent's may be taken for good

    def check(self) -> None:
        """Leave the open files to the parent if this process is a child, and has not done so. Takes 0.2 µs."""
        if self.pid == getpid():
            return
        with self._entering.setdefault(getpid(), Lock()):
            if self.pid != getpid():  # else another thread was first
                self._enter_child()
                self.pid = getpid()


def leave_as_it_is(inherited: object) -> None:
    """Keep an object of LMDB's that belongs to the parent from being collected, which would close it."""
    _left.append(inherited)


def let_open_again() -> None:
    """Have py-lmdb open files that this process has inherited. It refuses those that the process has open already.

    It tells files apart by what this function of its own returns. No public one stands in for it.
    """
    _envid: Any = import_module("lmdb._envid")
    pid, keys_of = getpid(), _envid.env_keys

    def keys_in_this_process(path: Any, subdir: bool) -> tuple[Any, ...]:
        return tuple((pid, key) for key in keys_of(path, subdir))

    _envid.env_keys = keys_in_this_process


# -- uWSGI


class _Hook:
    """The hook that uWSGI calls in each process that it forks: it calls `check`, then the hook that it replaces."""

    def __init__(self, check: Callable[[], None], former: Callable[[], object] | None) -> None:
        self.check = check
        self.former = former

    def __call__(self) -> None:
        self.check()
        if self.former is not None:
            self.former()


def watch_uwsgi(check: Callable[[], None]) -> bool:
    """Have uWSGI call `check` in its workers. Return True in the process that forks them.

    To be called again and again: `uwsgidecorators` sets a hook of its own, and may be imported late.
    """
    uwsgi: Any = sys.modules.get("uwsgi")
    if not hasattr(uwsgi, "worker_id"):  # not there, or a file of the user's that has this name
        return False
    former = getattr(uwsgi, "post_fork_hook", None)
    if not isinstance(former, _Hook):
        uwsgi.post_fork_hook = _Hook(check, former)
    return bool(uwsgi.worker_id() == 0)
