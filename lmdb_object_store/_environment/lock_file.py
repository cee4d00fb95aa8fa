"""Locks between processes that are not lost as LMDB's own can be.

LMDB keeps processes apart by POSIX record locks on its lock file. A process loses all of them as soon as any code in
it closes a descriptor of that file: a backup tool, a checksum, a walk through the folder. The next process that opens
the store takes it for unused, and begins the lock file again while other processes use it. A lock file that is deleted
or replaced has the same effect.

Locks of open file descriptions are not lost in this way (fcntl(2), F_OFD_SETLK), and LMDB in other processes respects
them. These are held:

- Byte 0 of the lock file: the file is in use. The byte of the process id: this process has readers. Both replace LMDB's
  own locks.
- Byte 0 of the data file, during each write transaction. Processes with different lock files do not write at the same
  time.
- Byte 1 of the data file, shared, during each read that takes longer than a look-up of a few keys. A process with a new
  lock file does not see the readers of an old one, and waits for them before it reuses their pages.

Only Linux has such locks. The descriptor of the lock file must be closed after LMDB's environment, because its close
drops LMDB's own locks.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from io import FileIO
from typing import Any

import lmdb

from .options import Options
from .paths import data_file, lock_file

if sys.platform == "linux":
    from fcntl import F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_RDLCK, F_SETLK, F_UNLCK, F_WRLCK, fcntl

    # struct flock: type, whence, start, length, process id
    _FLOCK = struct.Struct("hhqqi4x")

    def _byte(kind: int, at: int) -> bytes:
        return _FLOCK.pack(kind, os.SEEK_SET, at, 1, 0)

    _ALL = _FLOCK.pack(F_UNLCK, os.SEEK_SET, 0, 0, 0)  # unlocks the whole file


# Bytes of the data file.
_WRITE, _READ = 0, 1
# A byte of the lock file that is no process id. Its holder may look for dead readers, or replace LMDB's locks.
_READERS = 1 << 62
_PROBE = _READERS + 1
# Seconds to wait for readers by an old lock file. Readers in a loop leave no gap, so the wait has a limit.
_READERS_SECONDS = 0.2

Identity = tuple[int, int]


class ProcessLocks:
    """The locks of the environment at `path`. They do nothing on a system without such locks.

    `keep_others_from_writing` waits for the write transactions of other processes. Signal handlers run meanwhile.
    `let_others_write` unlocks, and may be called at any time. Both are single calls into C, so that no interrupt comes
    between the call and its effect.
    """

    keep_others_from_writing: Callable[[], Any]
    let_others_write: Callable[[], Any]
    _share_reading: Callable[[], Any]
    _end_reading: Callable[[], Any]
    _data_status: Callable[[], os.stat_result]
    _lock_status: Callable[[], os.stat_result]

    def __init__(self, path: str, options: Options) -> None:
        self._path = path
        self._options = options
        # The lock file stays open as long as LMDB has it open, because its close drops LMDB's locks. File objects,
        # because another thread may use one that a fork closes: its number could belong to another file by then.
        self._lock_file: FileIO | None = None
        self._data_file: FileIO | None = None
        self.held = False  # True while the locks of the lock file are held
        self._reads: list[None] = []  # an item for each read that is under way
        self._reset()

    def _reset(self) -> None:
        self.keep_others_from_writing = self.let_others_write = int  # `int()` does nothing
        self._share_reading = self._end_reading = int
        self._data_status = self._lock_status = partial(os.stat, os.sep)  # the root folder is never deleted

    # -- open and close, each after LMDB does

    def take_over(self, handle: lmdb.Environment, known: Identity | None) -> bool:
        """Replace LMDB's locks of `handle`, and free the readers of dead processes.

        `known` is the identity of the lock file before LMDB opened it. Return False if the lock file was replaced
        meanwhile and LMDB must open the file again. A read-only store goes on.
        """
        if not self._options.get("lock", True):
            return True
        readonly = bool(self._options.get("readonly"))
        if sys.platform == "linux":
            if self._data_file is None:
                self._open_data_file(readonly)
            try:
                self._lock_file = FileIO(lock_file(self._path, self._options), "r+")
            except OSError:  # deleted meanwhile, or on a read-only mount, where LMDB uses no locks
                return readonly
        try:
            self._lock_readers(True)
            taken = self._lock_file is None or self._take_over(self._lock_file)
            handle.reader_check()
        finally:
            self._lock_readers(False)
        if not readonly and self.identity() != known:
            self.wait_for_reads()
        return taken or readonly

    def _take_over(self, file: FileIO) -> bool:
        process = os.getpid()
        try:
            # LMDB locked the byte of the process id as it opened the file, and never checks it again.
            if not _is_locked(file, process):
                return not _shows_own_locks(file)  # True: the file system does not show LMDB's lock
            fcntl(file, F_OFD_SETLK, _byte(F_RDLCK, 0))
            fcntl(file, F_SETLK, _byte(F_UNLCK, process))
            fcntl(file, F_OFD_SETLK, _byte(F_RDLCK, process))
        except OSError:  # a file system without such locks
            return True
        self._lock_status = partial(os.fstat, file.fileno())
        self.held = True
        return True

    def _open_data_file(self, readonly: bool) -> None:
        self._data_file = file = FileIO(data_file(self._path, self._options), "r" if readonly else "r+")
        self._data_status = partial(os.fstat, file.fileno())
        unlock = partial(fcntl, file.fileno(), F_OFD_SETLK, _byte(F_UNLCK, _WRITE))
        try:
            unlock()
        except OSError:  # a file system without such locks
            return
        self._share_reading = partial(fcntl, file, F_OFD_SETLKW, _byte(F_RDLCK, _READ))
        self._end_reading = partial(fcntl, file, F_OFD_SETLK, _byte(F_UNLCK, _READ))
        if not readonly:
            # By number, which is faster. Only a holder of the environment's lock closes the file.
            self.keep_others_from_writing = partial(fcntl, file.fileno(), F_OFD_SETLKW, _byte(F_WRLCK, _WRITE))
            self.let_others_write = unlock

    # A child that another thread forks to start a program shares the locks until it executes the program. So the locks
    # are released, and the files not just closed. A child of C code releases nothing, as the locks are the parent's.
    # The attributes change after the calls into C, so that a second call finishes one that was interrupted.

    def close_lock_file(self, release: bool = True) -> None:
        """Release the locks of the lock file, and close it. LMDB must have closed it before."""
        _close(self._lock_file, release)
        self._lock_file, self.held = None, False

    def close(self, release: bool = True) -> None:
        """Release the locks of the data file, and close it."""
        _close(self._data_file, release)
        self._data_file = None
        self._reads.clear()
        self._reset()

    # -- readers

    def check_readers(self, handle: lmdb.Environment) -> int:
        """Free the readers of dead processes. Return how many there were."""
        try:
            self._lock_readers(True)
            return handle.reader_check()
        finally:
            self._lock_readers(False)

    def _lock_readers(self, lock: bool) -> None:
        # A process whose lock is being replaced looks dead to other processes.
        if self._lock_file is not None:
            try:  # noqa: SIM105  # contextlib is slow to import
                fcntl(self._lock_file, F_OFD_SETLKW, _byte(F_WRLCK if lock else F_UNLCK, _READERS))
            except OSError:  # a file system without such locks
                pass

    def begin_read(self) -> bool:
        """Announce a read to processes with a new lock file. Return False if one may have missed it."""
        self._reads.append(None)
        try:
            self._share_reading()
        except (OSError, ValueError):  # another thread forks, which has closed the file
            return False
        return not self.lock_file_is_deleted()

    def end_read(self) -> None:
        """End a read that `begin_read` has announced."""
        del self._reads[-1:]
        if not self._reads:
            try:  # noqa: SIM105  # contextlib is slow to import
                self._end_reading()
            except (OSError, ValueError):  # closed by a fork
                pass

    def wait_for_reads(self) -> None:
        """Wait at most 0.2 s for the reads that other processes have announced."""
        if self._data_file is None:
            return
        deadline = time.monotonic() + _READERS_SECONDS
        while True:
            try:
                fcntl(self._data_file, F_OFD_SETLK, _byte(F_WRLCK, _READ))
                break
            except (BlockingIOError, PermissionError):  # there are readers
                if time.monotonic() > deadline:
                    break
            except OSError:  # the file is open read-only, or its file system has no such locks
                break
            time.sleep(0.001)  # F_OFD_SETLKW could wait forever while there are readers
        self._end_reading()

    # -- the lock file

    def identity(self) -> Identity | None:
        """Return device and inode of the lock file that is there now, or None if there is none."""
        try:
            return _identity(os.stat(lock_file(self._path, self._options)))
        except OSError:
            return None

    def lock_file_is_deleted(self) -> bool:
        """Return True if the lock file was deleted or replaced since it was opened: other processes use another one.

        Return False if the data file is deleted as well, because no other process can use it then.
        """
        return self.held and _is_deleted(self._lock_status) and not self.data_file_is_deleted()

    def lock_file_is_another(self) -> bool:
        """Return True if other processes use another lock file, also if the open one was moved aside."""
        return self.identity() != _identity(self._lock_status())

    def data_file_is_deleted(self) -> bool:
        """Return True if the data file was deleted or replaced, so that commits to it would vanish."""
        return _is_deleted(self._data_status)

    def delete_lock_file(self) -> None:
        """Delete the lock file, so that all processes open the file again, with a new one."""
        try:  # noqa: SIM105  # contextlib is slow to import
            os.unlink(lock_file(self._path, self._options))
        except FileNotFoundError:
            pass


def _close(file: FileIO | None, release: bool) -> None:
    if file is None:
        return
    try:
        if release:
            fcntl(file, F_OFD_SETLK, _ALL)
    except (OSError, ValueError):  # no such locks here; or closed by a call that was interrupted
        pass
    finally:
        file.close()


def _is_locked(file: FileIO, at: int) -> bool:
    """Return True if any process, this one included, has a lock of any kind on the byte `at`."""
    kind: int = _FLOCK.unpack(fcntl(file, F_OFD_GETLK, _byte(F_WRLCK, at)))[0]
    return kind != F_UNLCK


def _shows_own_locks(file: FileIO) -> bool:
    """Return True if the file system shows a POSIX lock of a process to a descriptor of the same process."""
    fcntl(file, F_SETLK, _byte(F_RDLCK, _PROBE))
    try:
        return _is_locked(file, _PROBE)
    finally:
        fcntl(file, F_SETLK, _byte(F_UNLCK, _PROBE))


def _is_deleted(status: Callable[[], os.stat_result]) -> bool:
    try:
        return not status().st_nlink
    except OSError:  # another thread forks, which has closed the file
        return False


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino
