"""FlushMixin: when pending changes are committed, and what leaves the buffer then."""

from __future__ import annotations

from typing import Any

import lmdb

from .._environment.options import waits_for_disk
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


class FlushMixin(ResizeMixin):
    """Provides `flush` and `sync`, and the flushes that a full buffer or a read sets off."""

    def flush(self) -> None:
        """Commit the pending changes in one transaction. lmdb.Error if that fails: then all of them stay pending."""
        self._check_writable()
        self._environment.check_process()  # before the lock, which in a child of C code a thread of the parent may have
        with self._environment.lock:
            self._check_no_commit()
            self._flush()

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

    def _flush_if_full(self, at_count: int | None = None) -> None:
        """Flush if the buffer has reached a threshold. `at_count` stands in for `batch_size`."""
        with self._environment.lock:
            count = at_count or self._batch_size
            buffer, deletions = self.write_buffer, self._deletions_at_once()
            if (
                (count is not None and len(buffer) >= count)
                or self._pending_bytes >= self._batch_bytes
                or (deletions is not None and len(buffer) >= deletions and not any(buffer.values()))
            ):
                self._flush()

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
            self._flush()
        except StoreClosedError:
            raise
        except (lmdb.Error, OSError) as error:
            logger().warning("a read could not flush %s, its changes stay pending: %s", self.db_path, error)
            return
        # A logging handler is user code, which must not run under the lock. A read in a signal handler may hold it.
        if is_small and not self._environment.lock._is_owned() and next(self._small_commits) == HINT_AFTER:
            logger().info(
                "%s: %d reads have each committed a few changes first, which can make a program 20 times as slow. With "
                "autoflush_on_read=False, reads see pending changes without a commit. batch_size, flush() and close() "
                "commit them, and other processes see them from then on",
                self.db_path,
                HINT_AFTER,
            )

    def _flush(self) -> None:
        """Commit the pending changes, unless this thread is within a commit or a transaction."""
        with self._environment.lock:
            if not self._environment.committing and self._environment.transaction is None:
                self._environment.check_process()  # a child must not commit the pending changes of its parent
                self._environment.close_collected()  # their changes were accepted before
                if self.write_buffer:
                    self._commit_pending()
            elif self._own_transaction() is not None:
                self._pending_bytes = 0  # the changes of a transaction are counted, but do not wait for a flush

    def _commit_pending(self) -> None:
        """Commit the pending changes, then drop them from the buffer."""
        environment = self._environment
        environment.committing = True
        try:
            changes = self.write_buffer.copy()
            self._commit(changes)
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
        self._pending_bytes = total_weight(buffer.copy())

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
