"""The environments of this process, one for each file that is open, and what a fork does to them.

Order of locks: an environment's `lock` first, the registry's after it, nothing after that. A thread with transactions
on several files holds several environments' locks (see _locks), and so does `_before_fork`, which waits for none of
them while it holds another.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from .._errors import logger
from .environment import Environment
from .forks import Process
from .locks import Lock, RLock, acquire_at_once, announce, forget, give, new_lock
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


# -- forks

# CPython ignores an exception in one of these functions and forks all the same. An interrupt must therefore neither
# end them early nor come between a lock and the note that it is taken: where that matters, a single call into C does
# both. What cannot be avoided is an interrupt as such a function begins, and so each is registered twice.


class _Fork(threading.local):
    """The fork that this thread has under way: several may fork at once."""

    held: Iterator[Any] = iter(())  # the locks that it holds, and that are still to be released


_fork = _Fork()


def _before_fork() -> None:
    """Close every environment, with all locks held: a child that inherits an open one harms its parent's readers."""
    if _fork.held.__length_hint__():  # type: ignore[attr-defined]  # iterators of lists have it
        return
    interrupt: BaseException | None = None
    awaited: list[Any] = []  # a lock that was not free, and that is waited for with no other one held
    while True:
        taken: list[Any] = []
        try:
            environments = all_environments()
            locks = [*(e.lock for e in environments), _registry_lock]
            announce(locks)
            taken.extend(filter(RLock.acquire, awaited))
            taken.extend(filter(acquire_at_once, [lock for lock in locks if lock not in awaited]))
            awaited = [lock for lock in locks if lock not in taken][:1]
            if not awaited and environments == all_environments():
                for environment in environments:
                    environment.sleep()
                _fork.held = iter(taken)
                break
        except BaseException as error:
            interrupt = error
        give(iter(taken))
    if interrupt is not None:
        raise interrupt  # to be printed, at least


def _after_fork_in_parent() -> None:
    announce(())
    give(_fork.held)


def _after_fork_in_child() -> None:
    process.check()


def _enter_child() -> None:
    """New locks, and nothing pending: what was, the parent writes.

    After a fork by C code the files are open still, and another thread of the parent may have had a lock.
    """
    global _registry_lock
    by_python = _fork.held.__length_hint__()  # type: ignore[attr-defined]  # all locks are held then
    _registry_lock = Lock()
    environments = all_environments()
    # This thread has a lock where it uses the store already.
    kept = [e.lock for e in environments if not by_python and e.block is None and e.lock._is_owned()]
    forget(kept)
    dropped = 0
    for environment in environments:
        if environment.lock not in kept:
            environment.lock = new_lock(environment.path)
            environment.busy = False
        block, environment.block = environment.block, None
        if block is not None:
            block.after_fork()
        if not by_python:
            environment.leave_to_parent()
        for tenant in chain(environment.living(), environment.orphans):
            dropped += len(tenant.write_buffer)
            tenant._forget_pending()
    _fork.held = iter(())
    if dropped and not by_python:
        logger().warning(
            "this process was forked by C code, and leaves %d pending changes to its parent; call flush() before such "
            "a fork (under uWSGI, as the last thing that the module of the app does), and as the first thing after it",
            dropped,
        )


process = Process(_enter_child)

if hasattr(os, "register_at_fork"):
    for _ in range(2):
        os.register_at_fork(
            before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
        )
