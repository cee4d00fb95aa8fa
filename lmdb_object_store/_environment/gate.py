"""Gate: how reads reach LMDB. Straight while the map stays where it is, under the lock while it may move."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lmdb

from .forks import watch_uwsgi
from .locks import Lock

if TYPE_CHECKING:
    from lmdb import Transaction

    Begin = Callable[..., Transaction[bytes]]
    BeginToWrite = Callable[[], Transaction[bytes]]
else:
    Begin = BeginToWrite = Callable


class Gate(ABC):
    """Provides `begin` and `stat`, which are LMDB's own methods while the gate is open. Needs the attributes below."""

    begin: Begin
    stat: Callable[[], Any]
    lock: Lock  # or what stands in for it while a transaction is open
    # Leaves all open files, and what is pending, to the parent if this process is its fork by C code.
    check_process: Callable[[], None]
    _handle: lmdb.Environment | None
    _is_forked_by_c: bool

    @abstractmethod
    def handle(self) -> lmdb.Environment:
        """Return LMDB's environment. Needs the lock."""

    def _begin_under_lock(self, **options: Any) -> Transaction[bytes]:
        with self.lock:
            return self._checked_handle().begin(**options)

    def _stat_under_lock(self) -> Any:
        with self.lock:
            return self._checked_handle().stat()

    def _checked_handle(self) -> lmdb.Environment:
        handle = self.handle()
        if self._is_forked_by_c:
            self.open_gate()  # if this is a worker now
        return handle

    def close_gate(self) -> None:
        """Make new reads wait for the lock, which the caller holds.

        py-lmdb aborts a write transaction only once no call is in flight: readers in a tight loop
        would keep it waiting forever. A map that moves under them would cost each an error.
        """
        self._is_forked_by_c = False
        self.begin = self._begin_under_lock
        self.stat = self._stat_under_lock

    def open_gate(self) -> None:
        """Let reads go straight to LMDB again. In a process that uWSGI forks they go on to pass `handle`."""
        self._is_forked_by_c = watch_uwsgi(self.check_process)
        if self._handle is not None and not self._is_forked_by_c:
            self.begin = self._handle.begin
            self.stat = self._handle.stat
