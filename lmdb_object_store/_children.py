"""Child processes: what is flushed before a fork, and how the workers of pools end."""

from __future__ import annotations

import os
import sys
from functools import partial

from ._environment.registry import all_environments
from ._environment.stores import Tenant
from ._errors import StoreClosedError, logger
from ._lifecycle import close_all
from ._typing import Any


def flush_before_fork() -> None:
    """Flush every store: the child drops what is pending, and the parent may end by `os._exit`, as daemons do.

    A change that cannot be flushed stays with the parent. Call it with no lock held, as a store may write back values.
    """
    for environment in all_environments():
        if environment.busy and environment.lock._is_owned():
            continue  # a commit or a transaction of this very thread
        for store in environment.living():
            if not store._readonly:
                _flush_or_log(store)
        environment.close_orphans_unless_locked()


def _flush_or_log(store: Tenant) -> None:
    told = store._failure_told
    try:
        store.flush()
    except StoreClosedError:  # by another thread, just now
        pass
    except Exception as error:
        if told is None:  # else the failure is known, and nothing new has come since
            logger().error("%s could not be flushed before a fork, its changes stay pending: %s", store.db_path, error)
        store._failure_told = told or False


# -- the ends of children: some run nothing that `atexit` holds. It depends on how they were started, and on the version
# of Python.

_watched_by: int | None = None


def _close_all_at_the_end_of_this_child(_: object = None) -> None:
    from multiprocessing.util import Finalize

    Finalize(None, close_all, exitpriority=0)
    _close_all_as_a_worker_of_billiard_ends()


def _close_all_as_a_worker_of_billiard_ends() -> None:
    """Close the stores of a worker of Celery's pools, which ends by `os._exit` once it has called `on_exit`."""
    pool, process = sys.modules.get("billiard.pool"), sys.modules.get("billiard.process")
    if pool is None or process is None:
        return
    worker = getattr(process.current_process(), "_target", None)
    if isinstance(worker, pool.Worker):
        worker.on_exit = partial(_then_close_all, worker.on_exit)


def _then_close_all(on_exit: Any, *arguments: Any) -> None:
    try:
        if on_exit is not None:
            on_exit(*arguments)  # Celery's sends `worker_process_shutdown`, whose receivers may use a store
    finally:
        close_all()


def _is_child() -> bool:
    from multiprocessing import parent_process

    billiard = sys.modules.get("billiard.process")
    return parent_process() is not None or (billiard is not None and billiard.current_process()._parent_pid is not None)


def watch_multiprocessing() -> None:
    """Have the stores of `multiprocessing`'s children closed at their end. Called before a fork and at each open."""
    global _watched_by
    if _watched_by == os.getpid() or "multiprocessing" not in sys.modules:
        return
    from multiprocessing import util  # whose registry is that of billiard's util too

    _watched_by = os.getpid()
    # A child drops what it has registered as its target begins. These functions run after that.
    util.register_after_fork(close_all, _close_all_at_the_end_of_this_child)
    if _is_child():
        _close_all_at_the_end_of_this_child()


if hasattr(os, "register_at_fork"):  # after the registry's, and so called before it, which takes the locks
    os.register_at_fork(before=watch_multiprocessing)
    os.register_at_fork(before=flush_before_fork)
