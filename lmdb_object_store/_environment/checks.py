"""Checks of a file that LMDB has just opened: whether a store can use it. And what makes a new file durable."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any

import lmdb

from .._errors import shown
from .lock_file import ProcessLocks
from .pages import named_databases, newest_meta
from .paths import data_file, lock_file

if TYPE_CHECKING:
    from lmdb import Transaction

# Attempts to see the transaction numbers of a file between two commits, a millisecond apart.
_ATTEMPTS = 50
# Errors of a file system that cannot sync a folder, FUSE and SMB for example, and of a folder that may not be read.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES}
# Names of databases that a message lists.
_LISTED = 10


def check_opened(handle: lmdb.Environment, path: str, options: dict[str, Any], locks: ProcessLocks) -> None:
    """Raise lmdb.Error if the file at `path` was replaced, lmdb.IncompatibleError if it is not made for a store."""
    while True:
        try:
            _check_replaced(handle, path, options, locks)
            with handle.begin() as transaction:
                _check_flags(handle, transaction, path)
                check_named(handle, path, options)
            return
        except lmdb.MapResizedError:  # another process has just grown the file
            handle.set_mapsize(0)


def _check_replaced(handle: lmdb.Environment, path: str, options: dict[str, Any], locks: ProcessLocks) -> None:
    """Raise lmdb.Error if another file was put in the place of the data file while a process had it open.

    The lock file has the number of the last transaction, and LMDB finds its meta page by that. The file at hand must
    have the same number. It is one ahead within a commit, after the end of a process that was killed there, and where
    the lock file was begun during a commit: such a lock file is deleted.
    """
    for _ in range(_ATTEMPTS):
        stored = handle.info()["last_txnid"]
        with handle.begin() as transaction:
            locked = transaction.id()
        if stored <= locked <= handle.info()["last_txnid"]:
            return
        time.sleep(0.001)  # for the end of a commit, which no event announces
    if stored == locked + 1:
        if options.get("readonly"):
            return  # cannot be told from a commit, and the older meta page is whole
        try:
            locks.keep_others_from_writing()
            # This waits for the end of a longer commit. If its process was killed, LMDB mends the number.
            alone = handle.begin(write=True)
            try:
                stored, locked = handle.info()["last_txnid"], alone.id() - 1
            finally:
                alone.abort()
            if stored == locked:
                return
            if stored == locked + 1 and locks.held:
                locks.delete_lock_file()
        finally:
            locks.let_others_write()
    raise replaced(path, options, stored, locked)


def replaced(path: str, options: dict[str, Any], stored: int, locked: int) -> lmdb.Error:
    """The error for a data file whose last transaction, `stored`, is not the one in the lock file, `locked`."""
    return lmdb.Error(
        f"{data_file(path, options)} was replaced while a process had it open: its last transaction is {stored}, but "
        f"{locked} in the lock file. Nothing was changed. Close the store in all processes, delete "
        f"{lock_file(path, options)}, and open it again"
    )


def _check_flags(handle: lmdb.Environment, transaction: Transaction[bytes], path: str) -> None:
    # py-lmdb opens such a database as if it had no flags: keys are not found, and loops over them do not end.
    flags = handle.open_db(txn=transaction).flags()
    if any(flags.values()):
        names = ", ".join(f"MDB_{name.replace('_', '').upper()}" for name, is_set in flags.items() if is_set)
        raise lmdb.IncompatibleError(
            f"the database in {path} has the flag {names}, by which its keys or values have another order. Another "
            "program made it, or py-lmdb before 1.1 with `open_db(None, …)`. A store cannot use it. Nothing was "
            "changed. Open it with that program, and copy its items into a new store"
        )


def check_named(handle: lmdb.Environment, path: str, options: dict[str, Any]) -> None:
    """Raise lmdb.IncompatibleError if the file at `path` has named databases. A transaction must be open.

    A store takes their records for values, and `clear` would destroy them.
    """
    page_size = handle.stat()["psize"]
    # A descriptor: an object of Python's would give a ResourceWarning where an interrupt of `clear` comes as it opens.
    fd = os.open(data_file(path, options), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        data = open(fd, "rb", buffering=0, closefd=False)  # noqa: SIM115  # it owns nothing
        while True:  # until no commit came in between, from which a transaction without locks keeps no page
            meta = newest_meta(data, page_size)
            names = named_databases(data, page_size, meta)
            if not names or newest_meta(data, page_size) == meta:
                break
    finally:
        os.close(fd)
    if names:
        listed = ", ".join(map(shown, names[:_LISTED]))
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        raise lmdb.IncompatibleError(
            f"{path} has named databases, which a store cannot use: {listed}{more}. Nothing was changed. Open it with "
            "the program that made them, or give the store another path"
        )


# -- a new file


def make_durable(handle: lmdb.Environment, path: str, options: dict[str, Any]) -> None:
    """Have a file that nobody has committed to on the disk, with its entry in the folder.

    LMDB syncs the file alone. A power cut could then take away the file, and all commits with it. A process that was
    killed may have begun the file, so this does not depend on who has.
    """
    if options.get("readonly") or not options.get("sync", True) or options.get("map_async"):
        return
    handle.sync(True)
    folder = os.path.dirname(os.path.realpath(data_file(path, options)))
    sync_folder(folder)
    if options.get("subdir", True):
        sync_folder(os.path.dirname(folder))


def sync_folder(folder: str) -> None:
    """Have the entries of `folder` on the disk. Does nothing where the system or the file system cannot do that."""
    if os.name == "nt":  # where a folder cannot be opened
        return
    try:
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
