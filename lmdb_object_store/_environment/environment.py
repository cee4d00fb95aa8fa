"""Environment: an open LMDB file, shared by all stores of this process that have it open. Its gate, lock and map."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import lmdb

from .._errors import closed, gone, log_in_thread
from .forks import Process, leave_as_it_is, let_open_again
from .gate import Begin, Gate
from .lock_file import ProcessLocks
from .locks import Lock
from .opening import PATIENCE, opened
from .options import Options, check_shared
from .paths import check_place, identity
from .stores import Stores

T = TypeVar("T")
MISSING: Any = object()

# Whether threads take turns by CPython's global lock, and so none comes between two steps of one call into C.
HAS_GIL = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()

# Readers of one file at a time, in all processes; the first to open it decides. LMDB's own 126 is soon used up.
MAX_READERS = 1024


class OpenTransaction(Protocol):
    """A transaction of a store."""

    owner: int  # the thread that opened it

    def end(self) -> None:
        """Undo it, in its own thread."""

    def check(self) -> None:
        """Roll back if the `with` statement is gone. Otherwise raise an error if the transaction cannot go on."""

    def after_fork(self) -> None:
        """Leave it to the parent: this process is a fork."""


class Environment(Gate, Stores):
    """An open file and the stores that live on it (see _registry for how they come together).

    `begin` starts a read transaction, `stat` tells what LMDB's does. They are the gate: LMDB's own methods while the
    map stays where it is, methods that wait for `lock` while it may move, and that raise after the close.
    `lock` is held by whoever writes, moves the map, opens or closes. While its holder is `committing`, a signal handler
    or a finaliser of the same thread may read and write, and must not commit.
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
        # The transaction that is open, if any. Its thread has `lock` until it ends.
        self.transaction: OpenTransaction | None = None
        # Counts how often the file was closed: LMDB's transactions of an earlier generation are gone.
        self.generation = 0
        self.closed = False
        self.identity: tuple[int, int] | None = None
        # The last one when the file was closed: LMDB counts them up.
        self.last_transaction = 0
        self.max_key_size = 0
        self.process_locks = ProcessLocks(path, self.options)
        # When a write last checked that the data file still has its name, in seconds of `time.monotonic`.
        self.data_file_checked_at = 0.0

    # -- reads that met an error

    def repeat(self, read: Callable[[Begin], T]) -> T:
        """`read(begin)` again under the lock, where nothing can move the map: its errors are real ones.

        Adopts a map that another process has grown. Waits while the reader table is full. Opens the file again where
        its lock file was replaced.
        """
        deadline = time.monotonic() + PATIENCE
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
            time.sleep(0.001)  # for a slot of the reader table, which no event announces

    # -- the handle; call these with the lock held

    def handle(self) -> lmdb.Environment:
        """LMDB's environment; opened again if a fork or a failed resize closed it."""
        self.check_process()
        if self.closed:
            raise closed(self.path)
        if self._handle is None:
            self.open(create=False)
        assert self._handle is not None
        return self._handle

    def open(self, *, create: bool) -> None:
        """Open the file. lmdb.CorruptedError where it is truncated.

        The second time, lmdb.Error where it is another one, which LMDB would have made anew.
        """
        if self.identity not in (None, identity(self.path, self.options)):
            raise gone(self.path)
        check_place(self.path, self.options)
        try:
            handle = opened(self.path, self.options, self.process_locks, self.last_transaction, create)
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
            "the lock file of %s was deleted or replaced while the store was open, so the file is opened again: leave "
            "the lock file alone, or close the store in all processes before",
            self.path,
        )
        self._close()
        self.open(create=False)
        self.process_locks.wait_for_reads()

    def reopen_after_panic(self, error: lmdb.PanicError) -> None:
        """Open the file again: LMDB refuses to use an environment once it has failed to write a meta page."""
        log_in_thread("%s is opened again after a failed write to the disk: %s", self.path, error)
        self.suspend()
        self.handle()  # which reads: an error that the new handle has too is raised here

    def suspend(self) -> None:
        """Close the file; the next use opens it again."""
        try:
            self._close()
        finally:
            self.process_locks.close()

    def leave_to_parent(self) -> None:
        """Forget what LMDB has open: this process is a fork by C code."""
        self.close_gate()
        self.generation += 1
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
            try:  # noqa: SIM105  # contextlib takes a tenth of this package's import
                self.last_transaction = self._handle.info()["last_txnid"]
            except lmdb.Error:  # closed from outside
                pass
        # Nothing in between: an interrupt would leave it open, and out of reach.
        handle, self._handle = self._handle, None
        try:
            if handle is not None:
                handle.close()
        finally:
            self.process_locks.close_lock_file()

    def resize(self, size: int) -> None:
        """Give the map `size` bytes; 0 adopts the size that another process gave the file.

        Where LMDB cannot map that much, its environment is dead: it is opened again at the old size
        at the next use, and LMDB's error is raised.
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

    # -- the stores that share it

    def admit(self, options: Options) -> None:
        """Check a further opening's options against those in force, and grow to its map size."""
        check_shared(self.path, self.options, options)
        with self.lock:
            self.handle()
            if not self.options.get("readonly") and options.get("map_size", 0) > self.options["map_size"]:
                self.resize(options["map_size"])
            self.close_collected()
