"""The end of a store: close, collection, exit, and the ends of child processes."""

from __future__ import annotations

import atexit
import os
import pickle
import sys
import time
import warnings
from functools import partial
from typing import Any

from ._buffer.flush import FlushMixin
from ._buffer.state import RefusingBuffer
from ._environment.environment import Environment
from ._environment.locks import values_of
from ._environment.opening import RETRY_SECONDS
from ._environment.registry import (
    ClosedEnvironment,
    UnopenedEnvironment,
    all_environments,
    process,
    release,
    transactions_here,
)
from ._environment.stores import OpenStore
from ._errors import FlushError, StoreClosedError, finish_logging, logger, shown


def close(store: FlushMixin, strict: bool) -> None:
    """Flush, release the environment in any case, then report a flush that failed.

    RecursionError and MemoryError leave the store open, as an interrupt does: a caller with more room can write the
    changes.
    """
    environment = store._environment
    if isinstance(environment, UnopenedEnvironment):  # closed, or unpickled and not used yet
        mark_closed(store)
        return
    environment.check_process()
    with environment.lock:
        if store._environment is not environment:  # another thread was first
            return
        store._check_no_commit()
        sink, refusing = store._sink, RefusingBuffer(ClosedEnvironment(store.db_path).attach)
        try:
            failed = _flush_twice(store, refusing)
        except BaseException:  # the store stays open
            store._sink = sink
            raise
        # In this order, so that a second call can finish what an interrupt ends.
        release(environment, store)
        mark_closed(store)
        try:  # noqa: SIM105  # contextlib is slow to import
            environment.close_collected()
        except RecursionError:  # the next commit, or the exit, closes them; first report the failed flush
            pass
    if failed is None:
        return
    if strict:
        raise failed
    try:
        logger().error(
            "Error during final flush on close: %s (%d changes of %s are not stored)",
            failed.__cause__, len(failed.pending), store.db_path, exc_info=failed.__cause__,
        )  # fmt: skip
    except (RecursionError, MemoryError):
        raise failed from failed.__cause__  # it cannot be logged, and holds the changes


def _flush_twice(store: FlushMixin, refusing: RefusingBuffer) -> FlushError | None:
    """Flush, then refuse changes, and flush those that came meanwhile. Return the error of a flush that failed.

    The error is made while the store is still open, because at the recursion limit its creation can fail too.
    """
    try:
        try:
            store._flush()
        finally:
            store._sink = refusing
        store._flush()  # for a signal handler's changes: a refusal could have ended the first flush
    except (RecursionError, MemoryError):
        raise
    except Exception as cause:
        pending = store.write_buffer
        message = f"Final flush failed during close() of {store.db_path}: {len(pending)} changes are not stored"
        failed = FlushError(message, pending)
        failed.__cause__ = cause
        return failed
    return None


def mark_closed(store: FlushMixin) -> None:
    """Make every further use of `store` raise StoreClosedError."""
    stand_in: Any = ClosedEnvironment(store.db_path)
    store._sink = RefusingBuffer(stand_in.attach)
    store._pending = store.write_buffer
    store._codec = store._environment = stand_in
    store._forget_pending()
    store._is_closed = True
    open_pages, store._open_pages = store._open_pages, {}
    for page in values_of(open_pages):  # ends the iterators, see `_until_close` in _mapping/ordered.py
        page.clear()


def collect(store: OpenStore) -> None:
    """Close a store that is collected and was not closed, now or later. Never wait: the collector runs anywhere."""
    environment = getattr(store, "_environment", None)
    if environment is None or isinstance(environment, UnopenedEnvironment):  # None: its constructor failed
        return
    try:
        warnings.warn(f"unclosed store at {store.db_path}", ResourceWarning, stacklevel=2, source=store)
    finally:
        environment.collected.append(store)
        environment.close_collected_unless_locked()


def close_all() -> None:
    """Close every open store of this process, so that no accepted change is lost.

    Open transactions of this thread are rolled back. The transaction of another thread keeps its file open.
    """
    process.check()
    for transaction in transactions_here():
        transaction.end()
    for environment in all_environments():
        if not _acquire(environment):
            continue
        try:
            environment.close_collected()  # first, because `living` may return these stores too
            for store in environment.living():
                try:
                    store.close()
                except Exception:  # the other stores must be closed too
                    logger().exception("a store could not be closed at exit")
            environment.close_collected()
            if environment.collected:  # no memory to write their changes
                logger().error("%d collected stores of %s are not stored", len(environment.collected), environment.path)
        finally:
            environment.lock.release()
    finish_logging()


def _acquire(environment: Environment) -> bool:
    """Take the lock. Return False if a transaction keeps it: after 10 s if changes are pending, else at once."""
    deadline = time.monotonic() + RETRY_SECONDS
    while not environment.lock.acquire(timeout=0.1):
        waiting = any(store.write_buffer for store in environment.living())
        if environment.transaction is not None and (not waiting or time.monotonic() > deadline):
            if waiting:
                logger().error("a transaction is open at exit: what waits for it is not stored in %s", environment.path)
            return False
    return True


atexit.register(close_all)


def check_carried(key_encoding: object) -> None:
    """Raise TypeError if `key_encoding` cannot be pickled with its store."""
    try:
        pickle.dumps(key_encoding)
    except Exception as error:
        raise TypeError(
            f"a store is pickled with its key_encoding, and {shown(key_encoding)} cannot be: {error}"
        ) from error


# -- before a fork


def flush_before_fork() -> None:
    """Flush every store, because the child drops pending changes, and the parent may end by `os._exit`, as daemons do.

    A change that cannot be flushed stays with the parent. Call this with no lock held, because a store that writes back
    runs user code.
    """
    for environment in all_environments():
        if (environment.committing or environment.transaction is not None) and environment.lock._is_owned():
            continue  # a commit or a transaction of this thread
        for store in environment.living():
            if not store._readonly:
                _flush_or_log(store)
        environment.close_collected_unless_locked()


def _flush_or_log(store: OpenStore) -> None:
    known = store._flush_failed  # reported before, and no change came since
    try:
        store.flush()
    except StoreClosedError:  # another thread has closed it
        pass
    except Exception as error:
        if not known:
            logger().error("%s could not be flushed before a fork, its changes stay pending: %s", store.db_path, error)
        store._flush_failed = True


# -- the ends of child processes. Some do not run the functions of `atexit`: it depends on how they were started, and on
# the version of Python.

_watched_by: int | None = None


def _close_all_at_the_end_of_this_child(_: object = None) -> None:
    from multiprocessing.util import Finalize

    Finalize(None, close_all, exitpriority=0)
    _close_all_as_a_worker_of_billiard_ends()


def _close_all_as_a_worker_of_billiard_ends() -> None:
    """Close the stores of a worker of Celery's pools, which calls `on_exit` and then ends by `os._exit`."""
    pool, process = sys.modules.get("billiard.pool"), sys.modules.get("billiard.process")
    if pool is None or process is None:
        return
    worker = getattr(process.current_process(), "_target", None)
    if isinstance(worker, pool.Worker):
        worker.on_exit = partial(_then_close_all, worker.on_exit)


def _then_close_all(on_exit: Any, *arguments: Any) -> None:
    try:
        if on_exit is not None:
            on_exit(*arguments)  # sends Celery's signal `worker_process_shutdown`, whose receivers may use a store
    finally:
        close_all()


def _is_child() -> bool:
    from multiprocessing import parent_process

    billiard = sys.modules.get("billiard.process")
    return parent_process() is not None or (billiard is not None and billiard.current_process()._parent_pid is not None)


def watch_multiprocessing() -> None:
    """Close the stores of `multiprocessing`'s children at their ends. Called before a fork and at each opening."""
    global _watched_by
    if _watched_by == os.getpid() or "multiprocessing" not in sys.modules:
        return
    from multiprocessing import util  # billiard uses it too

    _watched_by = os.getpid()
    # A child drops its registered functions as its target begins. These functions run after that.
    util.register_after_fork(close_all, _close_all_at_the_end_of_this_child)
    if _is_child():
        _close_all_at_the_end_of_this_child()


if hasattr(os, "register_at_fork"):  # registered after `_before_fork`, which takes all locks, and so called before it
    os.register_at_fork(before=watch_multiprocessing)
    os.register_at_fork(before=flush_before_fork)
