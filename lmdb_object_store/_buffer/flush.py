"""FlushMixin: the commit of the changes that wait in memory."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping
from typing import Any

import lmdb

from .._environment.environment import Environment
from .._environment.gate import BeginToWrite
from .._errors import StoreClosedError, logger
from .._keys.interval import Interval
from .state import OpenTransaction, Pending, weight


# No mixin has the base `ABC`: no class could then have a store and a base of `(MutableMapping, ABC)` as its bases,
# such as the `BaseStorage` of requests-cache.
class FlushMixin(metaclass=ABCMeta):
    """Provides `_flush` and what builds on it. Needs the attributes and the methods below.

    `write_buffer` is the dict of pending changes, always the same object: stored key to pickled value,
    None for a deletion. A change leaves it only once it is committed.
    `_pending` is what a read looks into before the file: that dict, or the open transaction.
    `_pending_bytes`: what the changes take, which the thresholds bound. `_commits`: how many commits they have had.
    `_failure_told`: whether the caller was told of a failed flush; None if none has failed since the last change.
    """

    autoflush_on_read: bool
    db_path: str
    _batch_bytes: int
    _batch_size: int | None
    _commits: int
    _environment: Environment
    _failure_told: bool | None
    _pending: Pending
    _pending_bytes: int
    _write_buffer: dict[bytes, bytes | None]

    @property
    def write_buffer(self) -> dict[bytes, bytes | None]:
        """The pending changes: stored key to pickled value, or None for a deletion. To look at, not to write to."""
        return self._write_buffer

    @abstractmethod
    def _commit(
        self, changes: Mapping[bytes, bytes | None], *, emptied: Interval | None = None, begin: BeginToWrite = ...
    ) -> None:
        """Write `changes` in one transaction, all or none, once every row of `emptied` is deleted in it.

        Called with the environment's lock held, while it is `committing` or a transaction is open.
        """

    @abstractmethod
    def _deletions_at_once(self) -> int | None:
        """How many deletions are flushed together at most; None for any number."""

    @abstractmethod
    def _is_empty(self, interval: Interval) -> bool:
        """Whether the file has no row of `interval`."""

    def _flush_if_full(self, at_count: int | None = None) -> None:
        """Flush where the buffer has reached a threshold. `at_count` stands in for `batch_size`."""
        with self._environment.lock:
            count = at_count or self._batch_size
            buffer, deletions = self.write_buffer, self._deletions_at_once()
            if (
                (count is not None and len(buffer) >= count)
                or self._pending_bytes >= self._batch_bytes
                or (deletions is not None and len(buffer) >= deletions and not any(buffer.values()))
            ):
                self._flush()

    def _refuse_in_commit(self) -> None:
        """RuntimeError in a signal handler, or a finaliser, amid this very thread's commit. Needs the lock."""
        environment = self._environment
        if environment.transaction is not None:
            environment.transaction.own()  # which ends one that was left in another thread
        if environment.transaction is not None:
            raise RuntimeError(
                f"this thread has a transaction open on {self.db_path}, which commits at its end: call this after it"
            )
        if environment.committing:
            raise RuntimeError(f"this thread is in the midst of a commit to {self.db_path}: call this again after it")

    def _block(self) -> OpenTransaction | None:
        """The transaction that this thread has open on this store, unless it is committing."""
        pending: Any = self._pending
        if pending is self._write_buffer:
            return None
        return pending if pending.own() and not pending.committing else None

    def _flush(self) -> None:
        """Commit what is pending, unless a commit of this very thread is under way."""
        with self._environment.lock:
            if not self._environment.committing and self._environment.transaction is None:
                self._environment.check_process()  # a child must not commit what its parent had pending
                self._environment.close_collected()  # what they hold was accepted before
                if self.write_buffer:
                    self._commit_pending()
            elif self._block() is not None:
                self._pending_bytes = 0  # what was put into a transaction was counted, but does not wait for a flush

    def _commit_pending(self) -> None:
        """Commit what is pending, and drop it from the buffer."""
        environment = self._environment
        changes: dict[bytes, bytes | None] = {}
        environment.committing = True
        try:
            changes = self.write_buffer.copy()
            self._commit(changes)
            self._commits += 1
            self._drop(changes)
        except Exception:
            if self.write_buffer == changes:  # nothing new has come
                self._failure_told = True
            raise
        finally:
            environment.committing = False

    def _commit_emptied(self, interval: Interval) -> None:
        """Delete the rows of `interval`, and drop what is pending in it."""
        environment = self._environment
        environment.check_process()
        changes = _inside(interval, self.write_buffer.copy())
        environment.committing = True
        try:
            self._commit({}, emptied=interval)
            self._commits += 1
            self._drop(changes)
        except lmdb.Error:
            raise
        except BaseException:
            # An interrupt, or a handler's error, perhaps after the commit: what was pending would come back.
            if self._is_empty(interval):
                self._drop(changes)
            raise
        finally:
            environment.committing = False

    def _drop(self, changes: dict[bytes, bytes | None]) -> None:
        """Take `changes` out of the buffer, and nothing that was put under the same keys since they were copied.

        But for the very same bytes, which another serializer than pickle may give again: they are in the file then.
        """
        buffer = self.write_buffer
        for key, data in changes.items():
            if key in buffer and buffer[key] is data:  # each pickle is an object of its own
                del buffer[key]  # in one step with the comparison
        self._pending_bytes = sum(weight(key, data) for key, data in buffer.copy().items())

    def _flush_before_read(self) -> None:
        """Flush for a read. A failure is logged, since the read's answer is right without; it is not tried again
        until there is something new to write."""
        if not self.autoflush_on_read or not self._write_buffer or self._failure_told is not None:
            return
        if self._environment.transaction is not None:
            return  # readers do not wait for a transaction
        try:
            self._flush()
        except StoreClosedError:
            raise
        except (lmdb.Error, OSError) as error:
            self._failure_told = False
            logger().warning("a read could not flush %s, its changes stay pending: %s", self.db_path, error)


def _inside(interval: Interval, changes: dict[bytes, bytes | None]) -> dict[bytes, bytes | None]:
    # Not within a `try`, whose handlers an interrupt of such a loop passes by in CPython 3.13.
    return {key: data for key, data in changes.items() if interval.contains(key)}
