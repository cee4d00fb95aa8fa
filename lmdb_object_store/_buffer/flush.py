"""FlushMixin: when pending changes are committed, and what leaves the buffer then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import lmdb

from .._environment.locks import Lock
from .._environment.options import waits_for_disk
from .._environment.timer import start_timer
from .._errors import StoreClosedError, logger
from .._keys.interval import Interval
from .resize import ResizeMixin
from .state import Changes, TransactionBuffer, total_weight

# A commit of at most this many changes is a small one. On an SSD, reads that commit ten changes each make a program 18
# times as slow as it is with `autoflush_on_read=False`. With a hundred changes it is 3 times as slow.
SMALL_COMMIT = 10
# Reads of a store that have made small commits when the log names the option. They have then taken 0.1 s on an SSD,
# and seconds on a slow disk. A program that makes fewer of them has nothing to gain.
HINT_AFTER = 300
# A thread waits for this many seconds for the commit of another thread, and from then on for the lock.
FOLLOWED_SECONDS = 1.0


class FlushMixin(ResizeMixin):
    """Provides `flush` and `sync`, and the flushes that a full buffer or a read sets off."""

    def flush(self) -> None:
        """Commit the pending changes in one transaction. lmdb.Error if that fails: then all of them stay pending."""
        self._check_writable()
        self._share_commit(self._flush_now)

    def sync(self) -> None:
        """Flush, and wait for the disk, also with `sync=False` and the like.

        Does nothing if the store is read-only, or closed, as `sync` of a closed shelf.
        """
        if self._readonly or self._is_closed:  # Celery's beat calls it once more after `close`
            return
        self.flush()
        if not waits_for_disk(self._lmdb_kwargs):
            with self._environment.lock:
                self._environment.handle().sync(True)

    def _flush_now(self) -> None:
        """Flush, or raise RuntimeError within a commit or a transaction."""
        self._check_no_commit()
        self._flush()

    def _flush_if_full(self, at_count: int | None = None) -> None:
        """Flush if the buffer has reached a threshold. `at_count` stands in for `batch_size`.

        Start the timer if this is the first change that `flush_interval` has to flush.
        """

        def flush() -> None:
            if self._is_full(at_count):  # else another thread has flushed meanwhile
                self._flush()

        try:
            if self._full_bytes < self._batch_bytes and self.write_buffer:
                self._start_timer()
            if self._pending_bytes >= self._batch_bytes:
                self._count_pending()
            if self._is_full(at_count):
                self._share_commit(flush)
        except StoreClosedError:  # another thread has closed the store just now, and stored the change
            pass

    def _count_pending(self) -> None:
        """Count the pending bytes again, because `put` does not subtract what it overwrites."""
        self._pending_bytes = total_weight(self.write_buffer.copy())

    def _is_full(self, at_count: int | None) -> bool:
        """Return True if the buffer has reached a threshold. `at_count` stands in for `batch_size`."""
        count, buffer = at_count or self._batch_size, self.write_buffer
        if (count is not None and len(buffer) >= count) or self._pending_bytes >= self._batch_bytes:
            return True
        deletions = self._deletions_at_once()
        return deletions is not None and len(buffer) >= deletions and not any(buffer.copy().values())

    def _flush_before_read(self) -> None:
        """Flush for a read, if `autoflush_on_read` is set.

        A failure is logged, because the read's answer is right without the flush. The flush is not tried again until
        the next change. Reads do not flush, and so do not wait, during a transaction.

        After `HINT_AFTER` small commits the log names the option, once for a store.
        """
        if not self.autoflush_on_read or not self._write_buffer or self._flush_failed:
            return
        if self._environment.transaction is not None:
            return
        is_small = len(self._write_buffer) <= SMALL_COMMIT
        try:
            self._share_commit(self._flush)
        except StoreClosedError:
            raise
        except (lmdb.Error, OSError) as error:
            logger().warning("a read could not flush %s, its changes stay pending: %s", self.db_path, error)
            return
        # A logging handler is user code, which must not run under the lock. A read in a signal handler may hold it.
        if is_small and not self._environment.lock._is_owned() and next(self._small_commits) == HINT_AFTER:
            logger().info(
                "%s: %d reads have each waited for a commit of a few changes, which can make a program 20 times as "
                "slow. With autoflush_on_read=False, reads see pending changes without a commit. batch_size, flush() "
                "and close() commit them, and other processes see them from then on",
                self.db_path,
                HINT_AFTER,
            )

    # -- flush_interval

    def _apply_limits(self) -> None:
        """Make the timer follow a limit that was set while the store is open."""
        if not hasattr(self, "_write_buffer"):  # a subclass has set it before it called `__init__`
            return
        if self._flush_interval is None or not self.write_buffer:
            self._stop_timer()
        else:
            self._start_timer()

    def _start_timer(self) -> None:
        """Let the environment's timer flush this store `flush_interval` seconds from now, or earlier if it is due."""
        interval = self._flush_interval
        if interval is None:
            return
        self._flush_due = min(self._flush_due, time.monotonic() + interval)
        try:
            start_timer(self._environment)
        except RuntimeError as error:  # the process may have no more threads: the next change tries again
            if not self._environment.lock._is_owned():  # a logging handler is user code
                self._log_timer(error)
            return
        # In one step, because the timer of another change may stop at this moment.
        self._full_bytes = self._batch_bytes if self._flush_due < math.inf else -math.inf

    def _flush_on_time(self) -> None:
        """Commit changes that have been pending for `flush_interval`. Log the first of several failures.

        After a failure they stay pending, and the timer tries again after another interval.
        """
        self._stop_timer()
        try:
            self._share_commit(self._flush)
        except StoreClosedError:
            return
        except Exception as error:
            try:
                self._start_timer()  # first, because a logging handler may raise
            except StoreClosedError:  # another thread has closed the store just now, and reports its last flush
                return
            self._log_timer(error)
        else:
            self._timer_failed = False

    def _log_timer(self, error: Exception) -> None:
        """Log `error`, unless the timer has logged one since its last successful flush."""
        if not self._timer_failed:
            self._timer_failed = True
            logger().error("flush_interval could not flush %s, its changes stay pending: %s", self.db_path, error)

    # -- the commit

    def _share_commit(self, flush: Callable[[], None]) -> None:
        """Call `flush` with the lock. Do not, if a commit of another thread takes all changes that are pending now.

        Threads that flush at once thus share commits. While a thread commits, the others wait for that commit, and not
        for the lock. Then those whose changes it took return, and one of the rest commits for all of the rest.
        """
        self._environment.check_process()  # before the lock, which in a child of C code a thread of the parent may have
        if self._environment.lock._is_owned():  # in a transaction or a signal handler: the others wait for this thread
            flush()
            return
        begun, ours = self._flushes_begun, Lock()
        with ours:
            while (other := self._current_flush) is not None:
                # Its thread may wait for this one: for a transaction of this thread on another file, for example.
                if not other.acquire(timeout=FOLLOWED_SECONDS):
                    break
                other.release()
                if self._current_flush is other:  # of this thread, which a signal handler interrupts as it waits
                    self._current_flush = None
                if self._flushed > begun:
                    return
            self._current_flush = ours
            try:
                with self._environment.lock:
                    if self._flushed <= begun:
                        flush()
            finally:
                if self._current_flush is ours:
                    self._current_flush = None

    def _flush(self) -> None:
        """Commit the pending changes, unless this thread is within a commit or a transaction."""
        environment = self._environment
        with environment.lock:
            if not environment.committing and environment.transaction is None:
                environment.close_collected()  # their changes were accepted before
                if self._write_buffer:
                    self._commit_pending()
            elif self._own_transaction() is not None:
                self._pending_bytes = 0  # the changes of a transaction are counted, but do not wait for a flush

    def _commit_pending(self) -> None:
        """Commit the pending changes, then drop them from the buffer."""
        environment = self._environment
        environment.committing = True
        try:
            self._flushes_begun = number = self._flushes_begun + 1
            changes = self.write_buffer.copy()
            self._commit(changes)
            self._flushed = number
            self._drop(changes)
        except Exception:
            self._flush_failed = True
            raise
        finally:
            environment.committing = False

    def _commit_emptied(self, interval: Interval) -> None:
        """Delete the rows of `interval` in one transaction, then drop the pending changes in it."""
        environment = self._environment
        environment.check_process()
        # Not within the `try`: in CPython 3.13 an interrupt at the end of a turn of such a loop skips `finally`.
        pending = {key: data for key, data in self.write_buffer.copy().items() if interval.contains(key)}
        environment.committing = True
        try:
            self._commit({}, emptied=interval)
            self._drop(pending)
        finally:
            environment.committing = False

    def _drop(self, changes: Changes) -> None:
        """Take committed `changes` out of the buffer, unless their keys were changed again since.

        The bytes of a change are an object of their own, as each pickle is. Another serializer may give the same object
        again: then its bytes are in the file.
        """
        buffer = self.write_buffer
        for key, data in changes.items():
            if buffer[key] is data:
                del buffer[key]  # in one step with the comparison, because `put` adds changes without the lock
        self._count_pending()

    # -- within a commit or a transaction

    def _own_transaction(self) -> TransactionBuffer | None:
        """Return the transaction that this thread has open on this store, unless it is committing."""
        pending: Any = self._pending
        if pending is self._write_buffer:
            return None
        pending.check()
        return pending if pending.is_mine() and not pending.committing else None

    def _check_no_commit(self) -> None:
        """Raise RuntimeError if this thread is within a transaction, or a signal handler within a commit."""
        environment = self._environment
        if environment.transaction is not None:
            environment.transaction.check()  # which ends one that another thread has abandoned
        if environment.transaction is not None:
            raise RuntimeError(
                f"this thread has a transaction open on {self.db_path}, which commits at its end: call this after it"
            )
        if environment.committing:
            raise RuntimeError(f"this thread is within a commit to {self.db_path}: call this again after it")
