"""A copy of an environment's file that has its name only once it is complete."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import nullcontext, suppress

import lmdb

from ._checks import sync_folder
from ._datafile import data_file
from ._environment import Environment


def part_of(target: str) -> str:
    """A new name beside `target`, for a copy that is not complete."""
    return f"{target}.{os.urandom(4).hex()}.part"


def backup(environment: Environment, target: str, part: str, compact: bool) -> None:
    """Copy the file to `target`, by way of `part`. FileExistsError if there is something at `target`."""
    _refuse_existing(target)
    subdir = environment.options.get("subdir", True)
    source = data_file(environment.path, environment.options)
    try:
        if subdir:
            os.mkdir(part, 0o700)
        copy = data_file(part, environment.options)
        fd = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            _copy(environment, fd, compact)
            shutil.copymode(source, copy)  # before the sync, which has it on the disk too
            os.fsync(fd)
        finally:
            os.close(fd)
        if subdir:
            shutil.copymode(environment.path, part)
            sync_folder(part)
        _publish(part, target)
    except BaseException:
        discard(part)
        raise
    sync_folder(os.path.dirname(target))


def discard(part: str) -> None:
    """Delete what there is of an incomplete copy."""
    shutil.rmtree(part, ignore_errors=True)
    with suppress(OSError):
        os.unlink(part)


def _copy(environment: Environment, fd: int, compact: bool) -> None:
    """Write the file to `fd`, one snapshot of it.

    No lock is held meanwhile: py-lmdb lets the map move, and the environment be closed, only once no call is in
    flight. A copy that is not compact waits in LMDB for the end of a write, whose abort waits for the copy: so that
    one does hold the lock of those who write.
    """
    while True:
        with environment.lock:
            handle = environment.handle()
        try:
            with nullcontext() if compact else environment.lock:
                return handle.copyfd(fd, compact)
        except lmdb.MapResizedError:  # another process has grown the file
            with environment.lock:
                environment.resize(0)
        except lmdb.Error:
            with environment.lock:
                if environment.handle() is handle:
                    raise
        os.ftruncate(fd, 0)  # a fork has closed the file before the copy began
        os.lseek(fd, 0, os.SEEK_SET)


def _publish(part: str, target: str) -> None:
    if not os.path.isdir(part):
        try:
            os.link(part, target)  # unlike a rename, it never replaces what has come there meanwhile
        except FileExistsError:
            raise
        except OSError:
            pass  # a file system without hard links
        else:
            os.unlink(part)
            return
    _refuse_existing(target)
    os.rename(part, target)


def _refuse_existing(target: str) -> None:
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "a backup replaces nothing, and there is something at", target)
