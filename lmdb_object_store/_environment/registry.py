"""The environments of this process, one for each file that is open, and what a fork does to them.

Order of locks: an environment's `lock` first, the registry's after it, nothing after that. A thread with transactions
on several files holds several environments' locks, and so does `_before_fork`, which waits for none of them while it
holds another.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from functools import partial
from itertools import chain
from threading import get_ident
from typing import Any, NoReturn

from .._errors import closed, log_in_thread
from .environment import Environment, OpenTransaction
from .forks import Process
from .locks import Lock
from .options import Options, check_options, explain
from .paths import check_way, identity
from .stores import OpenStore, values_of

_registry: dict[int, Environment] = {}  # by id, in order of opening
_registry_lock = Lock()


class UnopenedEnvironment:
    """Stands in for a store's environment, or for its codec, before its first use: any use calls `attach`.

    `attach` opens the file and returns the real one.
    """

    def __init__(self, attach: Callable[[], object]) -> None:
        self.attach = attach

    def __getattr__(self, name: str) -> Any:
        return getattr(self.attach(), name)


class ClosedEnvironment(UnopenedEnvironment):
    """Stands in for them once the store at `path` is closed: any use raises StoreClosedError."""

    def __init__(self, path: str) -> None:
        self.attach = partial(_refuse, path)


def _refuse(path: str) -> NoReturn:
    raise closed(path)


def acquire(path: str, options: Options, store: OpenStore) -> Environment:
    """Return the environment of the file at `path`, opened if it is not. `store` keeps it open until it is released."""
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
            if not environment.closed:  # by the collector, in this very thread, just before
                break
    if found is None:
        return environment
    try:
        environment.admit(options)
    except BaseException:
        release(environment, store)
        raise
    return environment


def _open(path: str, options: Options) -> Environment:
    check_way(path, options)
    environment = Environment(path, options, process)
    _registry[id(environment)] = environment  # before it is open: a fork must find what is
    try:
        environment.open(create=options.get("create", True))
    except BaseException as error:
        del _registry[id(environment)]
        if isinstance(error, Exception):
            explain(error, path, options)
        raise
    return environment


def release(environment: Environment, store: OpenStore) -> None:
    """Release `store` from its environment. The last store closes the file."""
    with environment.lock, _registry_lock:
        environment.stores.pop(id(store), None)
        if not environment.stores:
            environment.closed = True
            environment.suspend()
            _registry.pop(id(environment), None)


def all_environments() -> list[Environment]:
    """Return the environments that are open in this process, in order of opening."""
    return values_of(_registry)


def transactions_here() -> list[OpenTransaction]:
    """Return the transactions that this thread has open, on all files."""
    opened = (environment.transaction for environment in all_environments())
    return [transaction for transaction in opened if transaction is not None and transaction.owner == get_ident()]


# -- forks

# CPython prints an exception in one of these functions and forks all the same. An interrupt as `_before_fork` begins
# leaves the files open: then the child leaves them to the parent as it does after a fork by C code.


class _Fork(threading.local):
    """The fork that this thread has under way: several may fork at once."""

    def __init__(self) -> None:
        self.locks: list[Lock] = []  # this thread had none of them before the fork, and has all or some of them now


_fork = _Fork()


def _before_fork() -> None:
    """Close every environment, with all locks held: a child that inherits an open one harms its parent's readers."""
    interrupt: BaseException | None = None
    awaited: list[Lock] = []  # a lock that was not free, and that is waited for with no other one held
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
        raise interrupt  # to be printed, at least


def _release_locks() -> None:
    for lock in _fork.locks:
        if lock._is_owned():
            lock.release()
    _fork.locks = []


def _enter_child() -> None:
    """New locks, and nothing pending: what was, the parent writes.

    After a fork by C code the files are open still, and another thread of the parent may have had a lock.
    """
    global _registry_lock
    by_python = bool(_fork.locks)
    dropped = 0
    for environment in all_environments():
        lock, transaction = environment.lock, environment.transaction
        # A thread that has its lock already, but for the fork, uses the file at this moment, and keeps it.
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
        log_in_thread(  # an environment's lock may be held here
            "this process was forked by C code, and leaves %d pending changes to its parent; call flush() before such "
            "a fork (under uWSGI, as the last thing that the module of the app does), and as the first thing after it",
            dropped,
        )


process = Process(_enter_child)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_release_locks, after_in_child=process.check)
    # Ctrl-C during the system call, which takes milliseconds, is raised as the first function after it begins.
    os.register_at_fork(after_in_parent=_release_locks)
