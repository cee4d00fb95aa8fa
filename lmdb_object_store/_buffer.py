"""BufferMixin: changes that wait in memory, and the flush that commits them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import lmdb

from ._environment import Environment
from ._errors import StoreClosedError
from ._resize import weight


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
        """Write `changes` in one transaction, all or none, into an emptied file where `empty_first`."""

    def _start_buffer(self, batch_size: int, batch_bytes: int) -> None:
        for name, limit in (("batch_size", batch_size), ("batch_bytes", batch_bytes)):
            if not isinstance(limit, int):
                raise TypeError(f"{name} must be an int, not {limit!r}")
            if limit < 1:
                raise ValueError(f"{name} must be at least 1, not {limit}")
        self.batch_size = batch_size
        self.batch_bytes = batch_bytes
        self.write_buffer: dict[bytes, bytes | None] = {}
        self._pending_bytes = 0
        # What is staged while a commit is under way (a signal handler may write): it outlives the commit.
        self._meanwhile: dict[bytes, bytes | None] | None = None
        # Whether the caller was told of a failed flush: None if none has failed since the last change.
        self._failure_told: bool | None = None

    def _stage(self, key: bytes, data: bytes | None) -> None:
        """Accept a change; flush where the buffer has reached a threshold. Its errors leave the change pending."""
        with self._environment.lock:
            if self._is_closed:
                raise StoreClosedError(f"the store at {self.db_path} is closed")
            buffer = self.write_buffer
            if key in buffer:
                self._pending_bytes -= weight((key, buffer[key]))
            buffer[key] = data
            if self._meanwhile is not None:
                self._meanwhile[key] = data
            self._pending_bytes += weight((key, data))
            self._failure_told = None
            if len(buffer) >= self.batch_size or self._pending_bytes >= self.batch_bytes:
                self._flush()

    def _stage_removal(self, key: bytes, data: bytes) -> None:
        """Stage the deletion of a row that the caller gets in return; where the flush it sets off fails, it stays."""
        with self._environment.lock:
            try:
                self._stage(key, None)
            except BaseException:
                self.write_buffer[key] = data
                self._pending_bytes += len(data)
                raise

    def _flush(self) -> None:
        """Commit what is pending, unless a commit of this very thread is under way."""
        with self._environment.lock:
            if self.write_buffer and not self._environment.busy:
                self._commit_and_clear(self.write_buffer.copy())

    def _commit_and_clear(self, changes: Mapping[bytes, bytes | None], *, empty_first: bool = False) -> None:
        """Commit `changes`, then drop all that was pending when the commit began."""
        meanwhile: dict[bytes, bytes | None] = {}
        self._meanwhile = meanwhile
        try:
            self._commit(changes, empty_first=empty_first)
            try:
                self.write_buffer.clear()
            finally:
                self.write_buffer.update(meanwhile)
            self._pending_bytes = sum(weight(change) for change in meanwhile.items())
            self._failure_told = None
        except BaseException:
            self._failure_told = True
            raise
        finally:
            self._meanwhile = None

    def _flush_before_read(self) -> None:
        """Flush for a read. A failure is logged, since the read's answer is right without; it is not tried again
        until there is something new to write."""
        if not self.autoflush_on_read or not self.write_buffer or self._failure_told is not None:
            return
        try:
            self._flush()
        except lmdb.Error as error:
            self._failure_told = False
            logger().warning("a read could not flush %s, its changes stay pending: %s", self.db_path, error)

    def _forget_pending(self) -> None:
        """Drop what is pending: this process is a fork, and it belongs to the parent."""
        self.write_buffer.clear()
        self._pending_bytes = 0
        self._failure_told = None


def logger() -> Any:
    """The package's logger; `logging` is imported when there is something to log."""
    import logging

    return logging.getLogger(__package__)
