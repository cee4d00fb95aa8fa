"""The environments of this process, one for each open file, and forks.

Order of locks: an environment's `lock` first, then the registry's, then none. A thread with transactions on several
files holds the locks of several environments. So does `_before_fork`, which never waits for a lock while it holds one.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from itertools import chain
from threading import get_ident
from typing import Any, NoReturn

from .._errors import closed, log_in_thread
from .environment import Environment, OpenTransaction
from .forks import Process
from .locks import Lock, values_of
from .options import Options, check_options
from .paths import check_path, identity
from .stores import OpenStore

_registry: dict[int, Environment] = {}  # by id, in order of opening
_registry_lock = Lock()


class UnopenedEnvironment:
    """Stands in for the environment, or the codec, of an unpickled store that is not used yet.

    Any use calls `attach`, which opens the file and returns the real one.
    """

    def __init__(self, attach: Callable[[], object]) -> None:
        self.attach = attach

    def __getattr__(self, name: str) -> Any:
        return getattr(self.attach(), name)


class ClosedEnvironment(UnopenedEnvironment):
    """Stands in for the environment and the codec of the closed store at `path`. Any use raises StoreClosedError."""

    def __init__(self, path: str) -> None:
        self._path = path

    def attach(self) -> NoReturn:
        """Raise the error for a use of a closed store."""
        raise closed(self._path)


def acquire(path: str, options: Options, store: OpenStore) -> Environment:
    """Return the environment of the file at `path`, for `store` until `release`. Open the file if it is not open."""
    process.check()
    check_options(options)
    reference = weakref.ref(store)
    with _registry_lock:
        while True:
            file = identity(path, options) if _registry else None
            same = (e for e in all_environments() if file and e.identity == file and not e.closed)
            found = next(same, None)
            environment = found or _open(path, options)
            environment.stores[id(store)] = reference
            if not environment.closed:  # else the collector closed it in this thread, just before
                break
    if found is None:
        return environment
    try:
        environment.share(options)
    except BaseException:
        release(environment, store)
        raise
    return environment


def _open(path: str, options: Options) -> Environment:
    check_path(path, options)
    environment = Environment(path, options, process)
    _registry[id(environment)] = environment  # before it is open, so that a fork finds every open file
    try:
        environment.open(create=options.get("create", True))
    except BaseException:
        del _registry[id(environment)]
        raise
    return environment


def release(environment: Environment, store: object) -> None:
    """End the use of `environment` by `store`. The last store closes the file."""
    with environment.lock, _registry_lock:
        environment.stores.pop(id(store), None)
        if not environment.stores:
            environment.closed = True
            environment.suspend()
            timer, environment.timer = environment.timer, None
            if timer is not None:
                timer.wake()  # to end
            _registry.pop(id(environment), None)


def all_environments() -> list[Environment]:
    """Return the environments that are open in this process, in order of opening."""
    return values_of(_registry)


def transactions_here() -> list[OpenTransaction]:
    """Return the transactions that this thread has open, on all files."""
    opened = (environment.transaction for environment in all_environments())
    return [transaction for transaction in opened if transaction is not None and transaction.owner == get_ident()]


# -- forks

# CPython prints an exception in one of these functions, and forks anyway. If an interrupt comes as `_before_fork`
# begins, the files stay open. The child then leaves them to the parent, as after a fork by C code.


class _Fork(threading.local):
    """The locks of a fork. Each thread has its own, because several threads may fork at once."""

    def __init__(self) -> None:
        self.locks: list[Lock] = []  # locks that this thread has taken for the fork, or will take


_fork = _Fork()


def _before_fork() -> None:
    """Take all locks and close every environment. A child that inherits an open one would harm the parent's readers."""
    interrupt: BaseException | None = None
    awaited: list[Lock] = []  # at most one lock that was not free: wait for it while no other lock is held
    while True:
        try:
            environments = all_environments()
            locks = [*awaited, *(environment.lock for environment in environments), _registry_lock]
            _fork.locks = [lock for lock in locks if not lock._is_owned()]
            for lock in awaited:
                lock.acquire()
            taken_by_others = [lock for lock in _fork.locks if not (lock._is_owned() or lock.acquire(False))]
            awaited = taken_by_others[:1]
            if not awaited and environments == all_environments():
                for environment in environments:
                    environment.suspend()
                break
        except BaseException as error:
            interrupt = error
        _release_locks()
    if interrupt is not None:
        raise interrupt  # CPython prints it


def _release_locks() -> None:
    for lock in _fork.locks:
        if lock._is_owned():
            lock.release()
    _fork.locks = []


def _enter_child() -> None:
    """Make new locks, and drop the pending changes, which the parent writes.

    After a fork by C code the files are still open, and a lock may be held by a thread that only the parent has.
    """
    global _registry_lock
    by_python = bool(_fork.locks)
    dropped = 0
    for environment in all_environments():
        lock, transaction = environment.lock, environment.transaction
        # A lock that this thread held before the fork stays: the thread uses the file at this moment.
        if transaction is not None or not lock._is_owned() or lock in _fork.locks:
            environment.lock = Lock()
            environment.committing = False
        environment.transaction = None
        if transaction is not None:
            transaction.after_fork()
        environment.leave_to_parent()
        for store in chain(environment.living(), environment.collected):
            dropped += len(store.write_buffer)
            store._forget_pending()
    _registry_lock = Lock()
    _fork.locks = []
    if dropped and not by_python:
        log_in_thread(  # this thread may hold a lock
            "this process was forked by C code, and leaves %d pending changes to its parent. Call flush() before such "
            "a fork (under uWSGI, at the end of the module of the app), and as the first thing after it",
            dropped,
        )


process = Process(_enter_child)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_release_locks, after_in_child=process.check)
    # Again, because Ctrl-C during the system call, which takes milliseconds, ends the first function after it.
    os.register_at_fork(after_in_parent=_release_locks)
