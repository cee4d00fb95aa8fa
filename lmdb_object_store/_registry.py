"""The environments of this process, one for each file that is open, and what a fork does to them.

Order of locks: an environment's `lock` first, the registry's after it, nothing after that. Only
`_before_fork` holds several environments' locks, and takes them in the registry's order.
"""

from __future__ import annotations

import os
import threading
import weakref

from ._environment import Environment, Options, Tenant, identity

_registry: list[Environment] = []
_registry_lock = threading.RLock()
_held: list[Environment] = []  # those whose lock a fork under way holds


def acquire(path: str, options: Options, tenant: Tenant) -> Environment:
    """The environment of the file at `path`, opened if it is not; `tenant` keeps it open until it is released."""
    with _registry_lock:
        file = identity(path, options)
        environment = next((e for e in tuple(_registry) if file and e.identity == file), None)
        if environment is None:
            environment = Environment(path, options)
            _registry.append(environment)  # first: a fork must find what is open
            try:
                environment.open(create=options.get("create", True))
            except BaseException:
                _registry.remove(environment)
                raise
        environment.tenants[id(tenant)] = weakref.ref(tenant)
    try:
        environment.admit(options)
    except BaseException:
        release(environment, tenant)
        raise
    return environment


def release(environment: Environment, tenant: Tenant) -> None:
    """Let go of `tenant`; the last one to leave closes the file."""
    with environment.lock, _registry_lock:
        environment.forget(tenant)
        if not environment.orphans and not environment.living():
            environment.sleep()
            environment.closed = True
            if environment in _registry:
                _registry.remove(environment)


def all_environments() -> tuple[Environment, ...]:
    """Those that are open in this process."""
    return tuple(_registry)


def _before_fork() -> None:
    """Close every environment, with all locks held: a child that inherits an open one harms its parent's readers."""
    while True:
        environments = tuple(_registry)
        for environment in environments:
            environment.lock.acquire()
        _registry_lock.acquire()
        if environments == tuple(_registry):
            break
        _registry_lock.release()
        for environment in environments:
            environment.lock.release()
    _held[:] = environments
    for environment in environments:
        environment.sleep()


def _after_fork_in_parent() -> None:
    environments = tuple(_held)  # before the next fork may begin
    _registry_lock.release()
    for environment in environments:
        environment.lock.release()


def _after_fork_in_child() -> None:
    """New locks, and nothing pending: what was, the parent writes."""
    global _registry_lock
    _registry_lock = threading.RLock()
    for environment in _registry:
        environment.lock = threading.RLock()
        environment.busy = False
        environment.orphans.clear()
        for tenant in environment.living():
            tenant._forget_pending()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
