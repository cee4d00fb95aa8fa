"""The locks that keep processes apart, where LMDB's own can be lost.

LMDB keeps processes apart by POSIX record locks on its lock file. A process loses all of them as soon as any code in
it closes a descriptor of that file: a backup tool, a checksum, a walk through the folder. The next process that opens
the store then takes it for unused, and begins the lock file again under those that are at work. A lock file that is
deleted or replaced has the same effect.

Locks of open file descriptions are not lost in this way (fcntl(2), F_OFD_SETLK), and keep LMDB in other processes out
as well. These are held:

- On the lock file byte 0, which says that the file is in use, and the byte of the process id, which says that this
  process has readers. They take over from LMDB's.
- On the data file byte 0, during each write transaction. Processes with different lock files do not write at the same
  time.
- On the data file byte 1, shared, during each read that takes longer than a look-up of a few keys. A process with a new
  lock file does not see the readers by an old one, and waits for them before it writes over their pages.

Only Linux has them. The descriptor of the lock file must be closed after LMDB's environment, not before: to close it
would lose the locks that LMDB has.
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

from .paths import data_file, lock_file

if sys.platform == "linux":
    from fcntl import F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_RDLCK, F_SETLK, F_UNLCK, F_WRLCK, fcntl

    # struct flock: type, whence, start, length, process id
    _FLOCK = struct.Struct("hhqqi4x")

    def _byte(kind: int, at: int) -> bytes:
        return _FLOCK.pack(kind, os.SEEK_SET, at, 1, 0)

    _ALL = _FLOCK.pack(F_UNLCK, os.SEEK_SET, 0, 0, 0)  # releases all of a file


# Bytes of the data file.
_WRITE, _READ = 0, 1
# A byte of the lock file that stands for no process. Who holds it may look for dead processes.
_READERS = 1 << 62
_PROBE = _READERS + 1
# Seconds to wait for readers by an old lock file. Readers in a loop leave no gap.
_MOMENT = 0.2

Identity = tuple[int, int]


class ProcessLocks:
    """These locks for the environment at `path`. Where the system has none, they do nothing.

    `keep_others_from_writing` waits for the write transactions of other processes, and lets signal handlers run
    meanwhile. `let_others_write` ends that, and may be called without need. Both are single calls into C: no interrupt
    comes between such a call and its effect.
    """

    keep_others_from_writing: Callable[[], Any]
    let_others_write: Callable[[], Any]
    _share_reading: Callable[[], Any]
    _end_reading: Callable[[], Any]
    _data_status: Callable[[], os.stat_result]
    _lock_status: Callable[[], os.stat_result]

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        self._path = path
        self._options = options
        # That of the lock file is kept for as long as LMDB has it open, also where it locks nothing. File objects, as
        # another thread may use one that a fork closes: the number of a descriptor could be that of another file then.
        self._lock_file: FileIO | None = None
        self._data_file: FileIO | None = None
        self.held = False  # whether these locks keep other processes apart
        self._reads: list[None] = []  # an item for each read that is under way
        self._reset()

    def _reset(self) -> None:
        self.keep_others_from_writing = self.let_others_write = int  # does nothing
        self._share_reading = self._end_reading = int
        self._data_status = self._lock_status = partial(os.stat, os.sep)  # of what is not deleted

    # -- with the file, which LMDB opens before and closes before

    def take_over(self, handle: lmdb.Environment, known: Identity | None) -> bool:
        """Take over the locks of `handle`, and let LMDB forget the readers of processes that died.

        `known` is the lock file that was there before. Return False if LMDB should open a file to be written again, as
        its lock file was replaced just now.
        """
        if not self._options.get("lock", True):
            return True
        readonly = bool(self._options.get("readonly"))
        if sys.platform == "linux":
            if self._data_file is None:
                self._open_data_file(readonly)
            try:
                self._lock_file = FileIO(lock_file(self._path, self._options), "r+")
            except OSError:  # deleted just now, or on a read-only mount, where LMDB works without locks
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
            # LMDB has locked the byte of the process as it opened the file, and never looks at it again.
            if not _is_locked(file, process):
                return not _tells_locks(file)  # if it does, this is another file than LMDB has locked
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
            # By number, which takes less time: nobody closes it meanwhile, as that takes the environment's lock.
            self.keep_others_from_writing = partial(fcntl, file.fileno(), F_OFD_SETLKW, _byte(F_WRLCK, _WRITE))
            self.let_others_write = unlock

    # A child that another thread has just forked, to start a program, holds the same locks until it executes that. So
    # they are released, and not just closed; but by a child that C code has forked, whose locks are the parent's. Calls
    # into C alone come before the attributes are changed: after an interrupt a second call finishes the first.

    def close_lock_file(self, release: bool = True) -> None:
        """Let others take the file for unused. LMDB must have closed it."""
        file = self._lock_file
        if file is not None:
            try:
                if release:
                    fcntl(file, F_OFD_SETLK, _ALL)
            except (OSError, ValueError):  # a file system without such locks; closed by a call that was interrupted
                pass
            finally:
                file.close()
        self._lock_file, self.held = None, False

    def close(self, release: bool = True) -> None:
        """Release what is held on the data file."""
        file = self._data_file
        if file is not None:
            try:
                if release:
                    fcntl(file, F_OFD_SETLK, _ALL)
            except (OSError, ValueError):  # as above
                pass
            finally:
                file.close()
        self._data_file = None
        self._reads.clear()
        self._reset()

    # -- readers

    def check_readers(self, handle: lmdb.Environment) -> int:
        """Let LMDB forget the readers of processes that died, and return how many there were."""
        try:
            self._lock_readers(True)
            return handle.reader_check()
        finally:
            self._lock_readers(False)

    def _lock_readers(self, lock: bool) -> None:
        # A process whose lock is just being taken over looks dead to others.
        if self._lock_file is not None:
            try:  # noqa: SIM105  # contextlib takes a tenth of this package's import
                fcntl(self._lock_file, F_OFD_SETLKW, _byte(F_WRLCK if lock else F_UNLCK, _READERS))
            except OSError:  # a file system without such locks
                pass

    def begin_read(self) -> bool:
        """Announce a read to processes with a new lock file. Return False if there is one: the read would be unseen."""
        self._reads.append(None)
        try:
            self._share_reading()
        except (OSError, ValueError):  # closed just now, as another thread forks
            return False
        return not self.lock_file_is_deleted()

    def end_read(self) -> None:
        """End what `begin_read` has begun."""
        del self._reads[-1:]
        if not self._reads:
            try:  # noqa: SIM105  # contextlib takes a tenth of this package's import
                self._end_reading()
            except (OSError, ValueError):  # closed just now
                pass

    def wait_for_reads(self) -> None:
        """Wait a moment for the reads that other processes have announced."""
        if self._data_file is None:
            return
        deadline = time.monotonic() + _MOMENT
        while True:
            try:
                fcntl(self._data_file, F_OFD_SETLK, _byte(F_WRLCK, _READ))
                break
            except (BlockingIOError, PermissionError):  # there are readers
                if time.monotonic() > deadline:
                    break
            except OSError:  # a file that is open to read, and never written to; a file system without such locks
                break
            time.sleep(0.001)  # for another process; to wait in the system might take for as long as there are readers
        self._end_reading()

    # -- the lock file

    def identity(self) -> Identity | None:
        """Return what tells the lock file that is there now from others, or None if there is none."""
        try:
            return _identity(os.stat(lock_file(self._path, self._options)))
        except OSError:
            return None

    def lock_file_is_deleted(self) -> bool:
        """Return True if the lock file was deleted or replaced since it was opened: other processes use another one.

        Not where the data file is gone as well, which nobody else can use then.
        """
        return self.held and _is_deleted(self._lock_status) and not self.data_file_is_deleted()

    def lock_file_is_another(self) -> bool:
        """Return True if other processes use another lock file, also where the one that is open was moved aside."""
        return self.identity() != _identity(self._lock_status())

    def data_file_is_deleted(self) -> bool:
        """Return True if the data file was deleted, or another one was put in its place: commits to it would vanish."""
        return _is_deleted(self._data_status)

    def delete_lock_file(self) -> None:
        """Have all processes open the file again, with a lock file that LMDB begins."""
        try:  # noqa: SIM105  # as above
            os.unlink(lock_file(self._path, self._options))
        except FileNotFoundError:
            pass


def _is_locked(file: FileIO, at: int) -> bool:
    """Return True if this process, or another one, has a lock of any kind on the byte `at`."""
    kind: int = _FLOCK.unpack(fcntl(file, F_OFD_GETLK, _byte(F_WRLCK, at)))[0]
    return kind != F_UNLCK


def _tells_locks(file: FileIO) -> bool:
    """Return True if the file system tells a lock of an open file description of a POSIX lock of its process."""
    fcntl(file, F_SETLK, _byte(F_RDLCK, _PROBE))
    try:
        return _is_locked(file, _PROBE)
    finally:
        fcntl(file, F_SETLK, _byte(F_UNLCK, _PROBE))


def _is_deleted(status: Callable[[], os.stat_result]) -> bool:
    try:
        return not status().st_nlink
    except OSError:  # closed just now, as another thread forks
        return False


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino
