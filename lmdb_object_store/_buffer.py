"""BufferMixin: changes that wait in memory, and the flush that commits them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import lmdb

from ._codec import weight
from ._environment import Environment
from ._errors import StoreClosedError, check_limit, closed, logger


class BufferMixin(ABC):
    """Provides `_stage`, `_flush` and what builds on them. Needs the attributes and the method below.

    `write_buffer` is the dict of pending changes, always the same object: stored key to pickled value,
    None for a deletion. A change leaves it only once it is committed.
    """

    autoflush_on_read: bool
    db_path: str
    _environment: Environment
    _is_closed: bool

    @abstractmethod
    def _commit(self, changes: Mapping[bytes, bytes | None], *, empty_first: bool = False) -> None:
        """Write `changes` in one transaction, all or none, into an emptied file where `empty_first`.

        Called with the environment's lock held, and `busy`.
        """

    def _start_buffer(self, batch_size: int | None, batch_bytes: int) -> None:
        if batch_size is not None:
            check_limit("batch_size", batch_size)
        check_limit("batch_bytes", batch_bytes)
        self.batch_size = batch_size
        self.batch_bytes = batch_bytes
        self.write_buffer: dict[bytes, bytes | None] = {}
        self._pending_bytes = 0
        # What was staged while the last commit was under way (a signal handler may write): it outlives that commit.
        self._meanwhile: dict[bytes, bytes | None] = {}
        # Whether the caller was told of a failed flush: None if none has failed since the last change.
        self._failure_told: bool | None = None

    def _stage(self, key: bytes, data: bytes | None, at_count: int | None = None) -> None:
        """Accept a change; flush where the buffer has reached a threshold. Its errors leave the change pending.

        `at_count` stands in for `batch_size`.
        """
        environment = self._environment
        with environment.lock:
            if self._is_closed:
                raise closed(self.db_path)
            buffer = self.write_buffer
            more = len(key) if data is None else len(key) + len(data)
            if key in buffer:
                more -= weight(key, buffer[key])
            buffer[key] = data
            if environment.busy:
                self._meanwhile[key] = data
            self._pending_bytes += more
            self._failure_told = None
            count = at_count or self.batch_size
            if (count is not None and len(buffer) >= count) or self._pending_bytes >= self.batch_bytes:
                self._flush()

    def _flush_if_full(self) -> None:
        """Flush where the buffer has reached `batch_size`."""
        with self._environment.lock:
            if self.batch_size is not None and len(self.write_buffer) >= self.batch_size:
                self._flush()

    def _stage_removal(self, key: bytes, data: bytes) -> None:
        """Stage the deletion of a row that the caller gets in return; where the flush it sets off fails, it stays."""
        with self._environment.lock:
            if self._environment.busy:  # no flush, then
                self._stage(key, None)
                return
            self._meanwhile = {}
            try:
                self._stage(key, None)
            except BaseException:
                if key not in self._meanwhile and not self._is_closed:
                    self.write_buffer[key] = data
                    self._pending_bytes += len(data)
                raise

    def _refuse_in_commit(self) -> None:
        """RuntimeError in a signal handler, or a finaliser, amid this very thread's commit. Needs the lock."""
        if self._environment.busy:
            raise RuntimeError(f"this thread is in the midst of a commit to {self.db_path}: call this again after it")

    def _flush(self) -> None:
        """Commit what is pending, unless a commit of this very thread is under way."""
        with self._environment.lock:
            if not self._environment.busy:
                self._environment.close_orphans()  # what they hold was accepted before
                if self.write_buffer:
                    self._commit_and_clear()

    def _commit_and_clear(self, *, empty_first: bool = False) -> None:
        """Commit what is pending, and drop it from the buffer; with `empty_first`, drop it and empty the file."""
        environment = self._environment
        environment.busy = True  # before the copy: what a signal handler stages in between is then in both
        self._meanwhile = {}
        try:
            self._commit({} if empty_first else self.write_buffer.copy(), empty_first=empty_first)
            if environment.busy:  # else a handler forked, and in this child the buffer holds the child's own changes
                try:
                    self.write_buffer.clear()
                finally:
                    self.write_buffer.update(self._meanwhile)
                self._pending_bytes = sum(weight(key, data) for key, data in self._meanwhile.copy().items())
                self._failure_told = None
        except Exception:
            if not empty_first:
                self._failure_told = True
            raise
        except BaseException:
            if empty_first and not environment.handle().stat()["entries"]:
                # An interrupt after the commit: what was pending goes too, or it would come back.
                for key in self.write_buffer.keys() - self._meanwhile.keys():
                    del self.write_buffer[key]
                self._pending_bytes = sum(weight(key, data) for key, data in self.write_buffer.copy().items())
            raise
        finally:
            environment.busy = False

    def _flush_before_read(self) -> None:
        """Flush for a read. A failure is logged, since the read's answer is right without; it is not tried again
        until there is something new to write."""
        if not self.autoflush_on_read or not self.write_buffer or self._failure_told is not None:
            return
        try:
            self._flush()
        except StoreClosedError:
            raise
        except (lmdb.Error, OSError) as error:
            self._failure_told = False
            logger().warning("a read could not flush %s, its changes stay pending: %s", self.db_path, error)

    def _forget_pending(self) -> None:
        """Drop what is pending: this process is a fork, and it belongs to the parent."""
        self.write_buffer.clear()
        self._pending_bytes = 0
        self._failure_told = None
