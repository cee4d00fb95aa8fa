"""Gate: a read calls LMDB directly while the map stays where it is, and waits for the lock while the map may move."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import lmdb

from .forks import watch_uwsgi
from .locks import Lock

Begin = Callable[..., "lmdb.Transaction[bytes]"]
BeginToWrite = Callable[[], "lmdb.Transaction[bytes]"]


class Gate(ABC):
    """Provides `begin` and `stat`, which are LMDB's own methods while the gate is open. Needs the attributes below."""

    begin: Begin
    stat: Callable[[], Any]
    lock: Lock  # a transaction's `TransactionLock` stands in for it while the transaction is open
    check_process: Callable[[], None]  # `Process.check`
    _handle: lmdb.Environment | None
    _makes_workers: bool  # True in a process of uWSGI that forks its workers

    @abstractmethod
    def handle(self) -> lmdb.Environment:
        """Return LMDB's environment. Needs the lock."""

    def _begin_under_lock(self, **options: Any) -> lmdb.Transaction[bytes]:
        with self.lock:
            return self._checked_handle().begin(**options)

    def _stat_under_lock(self) -> Any:
        with self.lock:
            return self._checked_handle().stat()

    def _checked_handle(self) -> lmdb.Environment:
        handle = self.handle()
        if self._makes_workers:
            self.open_gate()  # it stays closed unless this process is a worker now
        return handle

    def close_gate(self) -> None:
        """Make new reads wait for the lock, which the caller holds.

        py-lmdb aborts a write transaction only while no call is in flight. Readers in a tight loop leave no such time.
        If the map moves during a read, the read fails.
        """
        self._makes_workers = False
        self.begin = self._begin_under_lock
        self.stat = self._stat_under_lock

    def open_gate(self) -> None:
        """Let reads call LMDB directly. In a process that makes uWSGI's workers, each read still calls `handle`."""
        self._makes_workers = watch_uwsgi(self.check_process)
        if self._handle is not None and not self._makes_workers:
            self.begin = self._handle.begin
            self.stat = self._handle.stat
