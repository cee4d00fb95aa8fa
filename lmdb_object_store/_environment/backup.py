"""Copy the file of an environment. The copy gets its name only when it is complete."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import nullcontext, suppress

import lmdb

from .access import has_locks
from .checks import sync_folder
from .environment import Environment
from .paths import data_file, lmdb_path

# Attempts to copy a file without locks while another program writes to it.
_ATTEMPTS = 5


def part_of(target: str) -> str:
    """Return a new path beside `target`, for a copy that is not complete."""
    return f"{target}.{os.urandom(4).hex()}.part"


def backup(environment: Environment, target: str, part: str, compact: bool) -> None:
    """Copy the file to `part`, then rename the copy to `target`. FileExistsError if `target` exists."""
    _refuse_existing(target)
    subdir = environment.options.get("subdir", True)
    source = data_file(environment.path, environment.options)
    try:
        if subdir:
            os.mkdir(part, 0o700)
        copy = data_file(part, environment.options)
        fd = _create(copy)
        try:
            _copy(environment, fd, compact, _whole(copy))
            shutil.copymode(source, copy)  # before the sync, which includes it
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


def _create(copy: str) -> int:
    return os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)


def discard(part: str) -> None:
    """Delete an incomplete copy."""
    shutil.rmtree(part, ignore_errors=True)
    for file in (part, _whole(part)):
        with suppress(OSError):
            os.unlink(file)


def _whole(copy: str) -> str:
    # A copy that includes the free pages. `copy` is made from it.
    return f"{copy}.whole"


def _copy(environment: Environment, fd: int, compact: bool, whole: str) -> None:
    """Write a snapshot of the file to `fd`. `whole` is the path of an intermediate copy, which is needed without locks.

    A compact copy holds no lock: py-lmdb moves the map, or closes the environment, only while no call is in flight. A
    copy that is not compact waits in LMDB for the end of a write, and the abort of a write waits for the copy. So that
    copy holds the lock that a write needs.
    """
    while True:
        with environment.lock:
            handle = environment.handle()
            if not has_locks(handle):
                return _copy_without_locks(environment, fd, compact, whole)
        try:
            with nullcontext() if compact else environment.lock:
                handle.copyfd(fd, compact)
            if not environment.process_locks.lock_file_is_deleted():
                return
            with environment.lock:  # writers with a new lock file have not seen this copy
                environment.reopen_if_lock_file_is_deleted()
        except lmdb.MapResizedError:  # another process has grown the file
            with environment.lock:
                environment.resize(0)
        except lmdb.PanicError as error:
            with environment.lock:
                environment.reopen_after_panic(error)
        except lmdb.Error:
            with environment.lock:
                if environment.handle() is handle:
                    raise
        _empty(fd)  # this copy does not count


def _copy_without_locks(environment: Environment, fd: int, compact: bool, whole: str) -> None:
    """Write the file to `fd` if LMDB uses no locks, on a read-only mount for example. Needs the environment's lock.

    A compact copy is made from a copy of all pages, at `whole`. LMDB follows the pointers in pages to leave out free
    pages. A writer does not see this reader and reuses its pages, which ended in SIGSEGV.
    """
    if not compact:
        return _copy_at_rest(environment, fd)
    try:
        pages = _create(whole)
        try:
            _copy_at_rest(environment, pages)
        finally:
            os.close(pages)
        with lmdb.open(lmdb_path(whole, {"subdir": False}), subdir=False, readonly=True, lock=False) as handle:
            handle.copyfd(fd, True)
    finally:
        with suppress(OSError):
            os.unlink(whole)


def _copy_at_rest(environment: Environment, fd: int) -> None:
    """Write all pages of the file to `fd`. lmdb.Error if another program commits during each attempt.

    The copy is whole if no commit ends during it. An unfinished write transaction writes only to new pages and to pages
    that were free before the newest commit (mdb_page_alloc, mdb_find_oldest).
    """
    for _ in range(_ATTEMPTS):
        _empty(fd)
        handle = environment.handle()
        before = handle.info()["last_txnid"]
        try:
            handle.copyfd(fd, False)
        except lmdb.MapResizedError:  # another process has grown the file
            environment.resize(0)
            continue
        if handle.info()["last_txnid"] == before:
            return
    raise lmdb.Error(
        f"{environment.path} cannot be copied here: it is open without locks, and another program wrote to it during "
        f"each of {_ATTEMPTS} attempts. Copy it where its lock file can be written to, or while nothing writes to it."
    )


def _empty(fd: int) -> None:
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)


def _publish(part: str, target: str) -> None:
    if not os.path.isdir(part):
        try:
            os.link(part, target)  # unlike a rename, never replaces a file that came meanwhile
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
