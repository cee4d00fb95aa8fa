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
from itertools import chain
from threading import get_ident
from typing import Any

from .._errors import log_in_thread
from .environment import Environment, OpenTransaction
from .forks import Process
from .locks import Lock
from .options import Options, check_options, explain
from .paths import check_way, identity
from .stores import Tenant, values_of

_registry: dict[int, Environment] = {}  # by id, in order of opening
_registry_lock = Lock()


class Detached:
    """Stands in for a store's environment or codec while the store is not open: any use calls `attach`.

    `attach` returns the real one, or raises.
    """

    def __init__(self, attach: Callable[[], object]) -> None:
        self.attach = attach

    def __getattr__(self, name: str) -> Any:
        return getattr(self.attach(), name)


def acquire(path: str, options: Options, tenant: Tenant) -> Environment:
    """The environment of the file at `path`, opened if it is not; `tenant` keeps it open until it is released."""
    process.check()
    check_options(options)
    reference = weakref.ref(tenant)
    with _registry_lock:
        while True:
            file = identity(path, options) if _registry else None
            same = (e for e in all_environments() if file and e.identity == file and not e.closed)
            found = next(same, None)
            environment = found or _open(path, options)
            environment.tenants[id(tenant)] = reference
            if not environment.closed:  # by the collector, in this very thread, just before
                break
    if found is None:
        return environment
    try:
        environment.admit(options)
    except BaseException:
        release(environment, tenant)
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


def release(environment: Environment, tenant: Tenant) -> None:
    """Let go of `tenant`; the last one to leave closes the file."""
    with environment.lock, _registry_lock:
        environment.tenants.pop(id(tenant), None)
        if not environment.tenants:
            environment.closed = True
            environment.sleep()
            _registry.pop(id(environment), None)


def all_environments() -> list[Environment]:
    """Those that are open in this process, in order of opening."""
    return values_of(_registry)


def transactions_here() -> list[OpenTransaction]:
    """Return the transactions that this thread has open, on all files."""
    opened = (environment.block for environment in all_environments())
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
                    environment.sleep()
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
        lock, block = environment.lock, environment.block
        # A thread that has its lock already, but for the fork, uses the file at this moment, and keeps it.
        if block is not None or not lock._is_owned() or lock in _fork.locks:
            environment.lock = Lock()
            environment.busy = False
        environment.block = None
        if block is not None:
            block.after_fork()
        environment.leave_to_parent()
        for tenant in chain(environment.living(), environment.orphans):
            dropped += len(tenant.write_buffer)
            tenant._forget_pending()
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
