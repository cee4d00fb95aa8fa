"""Environment: an open LMDB file with its gate, its lock and its map. All stores of this process on it share it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import lmdb

from .._errors import closed, gone, log_in_thread
from .forks import Process, leave_as_it_is, let_open_again
from .gate import Begin, Gate
from .lock_file import ProcessLocks
from .locks import Lock
from .opening import RETRY_SECONDS, open_file
from .options import Options, check_shared
from .paths import check_file, identity
from .stores import Stores

if TYPE_CHECKING:
    from .timer import FlushTimer

T = TypeVar("T")
MISSING: Any = object()

# True if CPython's global lock lets only one thread run at a time, so that no other thread runs during a call into C.
HAS_GIL = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()

# Readers of one file at a time, in all processes. The first process that opens it sets this. LMDB's own is 126.
MAX_READERS = 1024


class OpenTransaction(Protocol):
    """The open transaction of a store, as its environment sees it."""

    owner: int  # the id of the thread that opened it

    def end(self) -> None:
        """Roll it back, in its own thread."""

    def check(self) -> None:
        """Roll back if the `with` statement is gone. Otherwise raise an error if the transaction cannot go on."""

    def after_fork(self) -> None:
        """Leave it to the parent: this process is a fork."""


class Environment(Gate, Stores):
    """An open file and its stores. `registry.py` gives each store its environment.

    `begin` begins a read transaction, and `stat` returns LMDB's figures: see `Gate`. A thread holds `lock` while it
    writes, moves the map, opens or closes. While it is `committing`, its signal handlers and finalisers may read and
    add changes, but must not commit.
    """

    def __init__(self, path: str, options: Options, process: Process) -> None:
        super().__init__()
        self.path = path
        self.check_process = process.check
        self._handle = None
        self.options = {"max_readers": MAX_READERS, **options}
        self.lock = Lock()
        self.close_gate()
        self.committing = False
        # The open transaction of a store, if there is one. Its thread holds `lock` until it ends.
        self.transaction: OpenTransaction | None = None
        # Counts how often the file was closed. LMDB's transactions of an earlier generation have ended.
        self.generation = 0
        self.closed = False
        # The thread for `flush_interval`, while a store has a change that it will flush.
        self.timer: FlushTimer | None = None
        self.identity: tuple[int, int] | None = None
        # The number of LMDB's last transaction when the file was closed. Numbers only grow.
        self.last_transaction = 0
        self.max_key_size = 0
        self.process_locks = ProcessLocks(path, self.options)
        # When a write last checked that the data file was not deleted: seconds of `time.monotonic`.
        self.data_file_checked_at = 0.0

    # -- reads that LMDB refused

    def repeat(self, read: Callable[[Begin], T]) -> T:
        """Return `read(begin)`, called under the lock, so its errors are not those of a moved map.

        Adopts a map that another process has grown. Waits 10 s while the reader table is full. Opens the file again if
        its lock file was replaced.
        """
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            with self.lock:
                self.check_process()
                self.reopen_if_lock_file_is_deleted()
                try:
                    if self.process_locks.begin_read():
                        return read(self.handle().begin)
                    continue
                except lmdb.PanicError as error:
                    self.reopen_after_panic(error)
                    continue
                except (lmdb.MapResizedError, lmdb.ReadersFullError) as error:
                    if time.monotonic() > deadline:
                        raise
                    if isinstance(error, lmdb.MapResizedError):
                        self.resize(0)
                        continue
                    self.process_locks.check_readers(self.handle())
                finally:
                    self.process_locks.end_read()
            time.sleep(0.001)  # until a slot of the reader table is free, which no event announces

    # -- the handle; all of these need the lock

    def handle(self) -> lmdb.Environment:
        """Return LMDB's environment. Open the file again if a fork or a failed resize has closed it."""
        self.check_process()
        if self.closed:
            raise closed(self.path)
        if self._handle is None:
            self.open(create=False)
        assert self._handle is not None
        return self._handle

    def open(self, *, create: bool) -> None:
        """Open the file. lmdb.CorruptedError if it is truncated.

        lmdb.Error if the file was replaced since the first opening, or is missing: LMDB would create a new one.
        """
        if self.identity not in (None, identity(self.path, self.options)):
            raise gone(self.path)
        check_file(self.path, self.options)
        try:
            handle = open_file(self.path, self.options, self.process_locks, self.last_transaction, create)
        except BaseException:
            self.process_locks.close()
            raise
        self._handle = handle
        self.options["map_size"] = handle.info()["map_size"]
        self.max_key_size = handle.max_key_size()
        self.identity = identity(self.path, self.options)
        self.open_gate()

    def reopen_if_lock_file_is_deleted(self) -> None:
        """Close the file and open it again if its lock file was deleted or replaced."""
        if self._handle is not None and self.process_locks.lock_file_is_deleted():
            self.reopen()

    def reopen(self) -> None:
        """Close the file and open it again, with the lock file that is there now."""
        log_in_thread(
            "the lock file of %s was deleted or replaced while the store was open. The file is opened again. Leave the "
            "lock file alone while any process has the store open",
            self.path,
        )
        self._close()
        self.open(create=False)
        self.process_locks.wait_for_reads()

    def reopen_after_panic(self, error: lmdb.PanicError) -> None:
        """Open the file again. LMDB refuses to use an environment that failed to write a meta page."""
        log_in_thread("%s is opened again after a failed write to the disk: %s", self.path, error)
        self.suspend()
        self.handle()  # opens the file, and raises an error that persists

    def suspend(self) -> None:
        """Close the file. The next use opens it again."""
        try:
            self._close()
        finally:
            self.process_locks.close()

    def leave_to_parent(self) -> None:
        """Leave LMDB's environment to the parent: this process is a fork."""
        self.close_gate()
        self.generation += 1
        self.timer = None  # a thread of the parent
        handle, self._handle = self._handle, None
        if handle is not None:
            leave_as_it_is(handle)
            let_open_again()
        self.process_locks.close_lock_file(release=False)
        self.process_locks.close(release=False)

    def _close(self) -> None:
        self.close_gate()
        self.generation += 1
        if self._handle is not None:
            try:  # noqa: SIM105  # contextlib is slow to import
                self.last_transaction = self._handle.info()["last_txnid"]
            except lmdb.Error:  # the user closed it by `store.env.close()`
                pass
        # In one statement, so that an interrupt cannot leave the handle open and unreachable.
        handle, self._handle = self._handle, None
        try:
            if handle is not None:
                handle.close()
        finally:
            self.process_locks.close_lock_file()

    def resize(self, size: int) -> None:
        """Set the size of the map in bytes. 0 adopts the size that another process has given the file.

        LMDB's error if the process has not enough address space. LMDB's environment is unusable then, so the next use
        opens the file again at the old size.
        """
        handle = self.handle()
        self.close_gate()
        try:
            handle.set_mapsize(size)
        except lmdb.MemoryError:
            self.suspend()
            raise
        else:
            self.options["map_size"] = handle.info()["map_size"]
        finally:
            self.open_gate()

    # -- another store

    def share(self, options: Options) -> None:
        """Share the open file with a store of these `options`. ValueError if they contradict those of the first store.

        The map grows to a larger `map_size`.
        """
        check_shared(self.path, self.options, options)
        with self.lock:
            self.handle()
            if not self.options.get("readonly") and options.get("map_size", 0) > self.options["map_size"]:
                self.resize(options["map_size"])
            self.close_collected()
