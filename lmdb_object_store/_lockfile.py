"""The locks that keep processes apart, where LMDB's own can be lost.

LMDB keeps processes apart by POSIX record locks on its lock file. A process loses all of them as soon as any code in
it closes a descriptor of that file: a backup tool, a checksum, a walk through the folder. The next process that opens
the store then takes it for unused, and begins the lock file again under those that are at work. A lock file that is
deleted or replaced has the same effect.

Locks of open file descriptions are not lost in this way (fcntl(2), F_OFD_SETLK). Two of them are held beside LMDB's:

- one that shares byte 0 of the lock file, as LMDB does: nobody takes the file for unused while it is held;
- one on the data file, during each write transaction: processes with different lock files do not write at once.

Only Linux has them. The descriptor of the lock file must be closed after LMDB's environment, not before: to close it
would lose LMDB's locks.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from functools import partial

from ._datafile import data_file, lock_file
from ._typing import Any

if sys.platform == "linux":
    from fcntl import F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_RDLCK, F_UNLCK, F_WRLCK, fcntl

    # struct flock: type, whence, start, length, process id
    _FLOCK = struct.Struct("hhqqi4x")

    def _byte(kind: int, at: int) -> bytes:
        return _FLOCK.pack(kind, os.SEEK_SET, at, 1, 0)


class ProcessLocks:
    """Those locks for the environment at `path`. Where the system has none, its methods do nothing.

    `keep_others_from_writing` waits for the write transactions of other processes, and lets signal handlers run
    meanwhile. `let_others_write` ends that, and may be called without need. On Linux both are single calls into C: no
    interrupt comes between such a call and its effect.
    """

    keep_others_from_writing: Callable[[], Any]
    let_others_write: Callable[[], Any]

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        self._path = path
        self._options = options
        self._lock_file: int | None = None  # the descriptors
        self._data_file: int | None = None
        self._identity: tuple[int, int] | None = None  # of the lock file; None where nothing can be told
        self._reset()

    def _reset(self) -> None:
        self.keep_others_from_writing = self.let_others_write = int  # does nothing

    def watch(self) -> None:
        """Begin, once LMDB has opened the file and has its locks. Does nothing where the system has no such locks."""
        if sys.platform != "linux":
            return
        try:
            self._watch_lock_file()
            if self._data_file is None and not self._options.get("readonly"):
                self._data_file = os.open(data_file(self._path, self._options), os.O_RDWR)
                release = partial(fcntl, self._data_file, F_OFD_SETLK, _byte(F_UNLCK, 0))
                release()
                self.keep_others_from_writing = partial(fcntl, self._data_file, F_OFD_SETLKW, _byte(F_WRLCK, 0))
                self.let_others_write = release
        except OSError:  # of a file system without such locks
            pass

    def _watch_lock_file(self) -> None:
        self._lock_file = fd = os.open(lock_file(self._path, self._options), os.O_RDONLY)
        # The byte of its process id says that a process has readers.
        self._query: Callable[[], Any] = partial(fcntl, fd, F_OFD_GETLK, _byte(F_WRLCK, os.getpid()))
        if self._has_lock():  # else LMDB works without locks, on a read-only mount for example
            fcntl(fd, F_OFD_SETLK, _byte(F_RDLCK, 0))
            self._identity = _identity(os.fstat(fd))

    def _has_lock(self) -> bool:
        try:
            kind: int = _FLOCK.unpack(self._query())[0]
        except OSError:  # closed by a signal handler that forks
            return True
        return kind != F_UNLCK

    def lost(self) -> str:
        """Return why LMDB's locks do not keep other processes out any more, or "" if they do, or nothing can tell."""
        if self._identity is None:
            return ""
        path = lock_file(self._path, self._options)
        try:
            replaced = _identity(os.stat(path)) != self._identity
        except OSError:
            replaced = True
        if replaced:
            return f"{path} was deleted or replaced"
        return "" if self._has_lock() else f"this process has closed {path}, as what reads or copies the folder does"

    def close_lock_file(self) -> None:
        """Let others take the file for unused. LMDB must have closed it."""
        fd, self._lock_file, self._identity = self._lock_file, None, None
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Release what is held on the data file."""
        self._reset()
        fd, self._data_file = self._data_file, None
        if fd is not None:
            os.close(fd)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
