"""The end of a store: close, the `with` block, collection, exit, and what child processes need."""

from __future__ import annotations

import atexit
import os
import pickle
import sys
import time
import warnings
from functools import partial
from typing import Any, Protocol

from ._buffer.state import Pending, RefusingBuffer, TransactionBuffer
from ._environment.environment import Environment
from ._environment.opening import PATIENCE
from ._environment.registry import (
    ClosedEnvironment,
    UnopenedEnvironment,
    all_environments,
    process,
    release,
    transactions_here,
)
from ._environment.stores import OpenStore, values_of
from ._errors import FlushError, StoreClosedError, logger, shown
from ._keys.codec import KeyCodec


class Handle(OpenStore, Protocol):
    """What these functions need of a store."""

    _sink: dict[bytes, bytes | None] | RefusingBuffer | TransactionBuffer
    _pending: Pending
    _environment: Environment
    _codec: KeyCodec
    _is_closed: bool
    _open_pages: dict[object, list[Any]]

    def close(self, strict: bool = False) -> None: ...
    def _flush(self) -> None: ...
    def _check_no_commit(self) -> None: ...


def close(store: Handle, strict: bool) -> None:
    """Flush, and let the environment go whatever became of that; then tell of a flush that failed.

    RecursionError and MemoryError say nothing about the changes: a caller with more room can write them. They leave the
    store open, as an interrupt does.
    """
    environment = store._environment
    if isinstance(environment, UnopenedEnvironment):  # closed, or a pickled handle that nobody used
        mark_closed(store)
        return
    environment.check_process()
    with environment.lock:
        if store._environment is not environment:  # another thread was first
            return
        store._check_no_commit()
        accept, shut = store._sink, RefusingBuffer(ClosedEnvironment(store.db_path).attach)
        try:
            failed = _flush_twice(store, shut)
        except BaseException:  # the store stays open
            store._sink = accept
            raise
        # In this order, an interrupt leaves what a second call can finish.
        release(environment, store)
        mark_closed(store)
        try:  # noqa: SIM105  # contextlib takes a tenth of this package's import
            environment.close_collected()
        except RecursionError:  # the next commit, or the exit, closes them; an error of the flush must be told
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
        raise failed from failed.__cause__  # the caller must hear of it, and has the changes


def _flush_twice(store: Handle, shut: RefusingBuffer) -> FlushError | None:
    """Flush, and once more for what came meanwhile. Return the error for a flush that failed.

    The error is made here, where the store is still open: at the recursion limit that may fail in its turn.
    """
    try:
        try:
            store._flush()
        finally:
            store._sink = shut
        store._flush()  # what came during the first one, which a refusal in a signal handler would have ended
    except (RecursionError, MemoryError):
        raise
    except Exception as cause:
        pending = store.write_buffer
        message = f"Final flush failed during close() of {store.db_path}: {len(pending)} changes are not stored"
        failed = FlushError(message, pending)
        failed.__cause__ = cause
        return failed
    return None


def mark_closed(store: Handle) -> None:
    """Make every further use of `store` a StoreClosedError."""
    stand_in: Any = ClosedEnvironment(store.db_path)
    store._sink = RefusingBuffer(stand_in.attach)
    store._pending = store.write_buffer
    store._codec = store._environment = stand_in
    store._forget_pending()
    store._is_closed = True
    open_pages, store._open_pages = store._open_pages, {}
    for page in values_of(open_pages):  # iterators end here, see `ManyMixin._until_close`
        page.clear()


def leave(store: Handle, failed: bool) -> None:
    """End a `with` block, whose body `failed` or not. An error of the last flush is raised unless the body raised."""
    store.close(strict=not failed)


def collect(store: Handle) -> None:
    """What the garbage collector does to a store that nobody closed: it may run anywhere, and so waits for nothing."""
    environment = getattr(store, "_environment", None)
    if environment is None or isinstance(environment, UnopenedEnvironment):  # None: its constructor failed
        return
    try:
        warnings.warn(f"unclosed store at {store.db_path}", ResourceWarning, stacklevel=2, source=store)
    finally:
        environment.collected.append(store)
        environment.close_collected_unless_locked()


def close_all() -> None:
    """Close every open store of this process: nothing that it accepted is to go down with it.

    But what a transaction has changed that is open still. One of another thread keeps its file from being closed.
    """
    process.check()
    for transaction in transactions_here():
        transaction.end()
    for environment in all_environments():
        if not _acquire(environment):
            continue
        try:
            environment.close_collected()  # which may be among the living still, as their finalisers brought them back
            for store in environment.living():
                try:
                    store.close()
                except Exception:  # the others must be closed all the same
                    logger().exception("a store could not be closed at exit")
            environment.close_collected()
            if environment.collected:  # there was no memory to write what they hold
                logger().error("%d collected stores of %s are not stored", len(environment.collected), environment.path)
        finally:
            environment.lock.release()


def _acquire(environment: Environment) -> bool:
    """Take the lock; False where a transaction has it, and goes on while something waits to be written, or nothing
    does."""
    deadline = time.monotonic() + PATIENCE
    while not environment.lock.acquire(timeout=0.1):
        waiting = any(store.write_buffer for store in environment.living())
        if environment.transaction is not None and (not waiting or time.monotonic() > deadline):
            if waiting:
                logger().error("a transaction is open at exit: what waits for it is not stored in %s", environment.path)
            return False
    return True


atexit.register(close_all)


def check_carried(key_encoding: object) -> None:
    """Raise TypeError if `key_encoding` cannot go with a pickled store."""
    try:
        pickle.dumps(key_encoding)
    except Exception as error:
        raise TypeError(
            f"a store is pickled with its key_encoding, and {shown(key_encoding)} cannot be: {error}"
        ) from error


# -- before a fork


def flush_before_fork() -> None:
    """Flush every store: the child drops what is pending, and the parent may end by `os._exit`, as daemons do.

    A change that cannot be flushed stays with the parent. Call it with no lock held, as a store may write back values.
    """
    for environment in all_environments():
        if (environment.committing or environment.transaction is not None) and environment.lock._is_owned():
            continue  # a commit or a transaction of this thread
        for store in environment.living():
            if not store._readonly:
                _flush_or_log(store)
        environment.close_collected_unless_locked()


def _flush_or_log(store: OpenStore) -> None:
    known = store._flush_failed  # and reported, and nothing new has come since
    try:
        store.flush()
    except StoreClosedError:  # by another thread, just now
        pass
    except Exception as error:
        if not known:
            logger().error("%s could not be flushed before a fork, its changes stay pending: %s", store.db_path, error)
        store._flush_failed = True


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
