"""Check that a store can use a file that LMDB has just opened, and make a new file durable."""

from __future__ import annotations

import errno
import os
import time

import lmdb

from .._errors import shown
from .lock_file import ProcessLocks
from .options import Options
from .pages import named_databases, newest_meta
from .paths import data_file, lock_file

# Attempts to read the transaction numbers of a file between two commits, a millisecond apart.
_ATTEMPTS = 50
# Errors of a file system that cannot sync a folder, such as FUSE or SMB, and of a folder that may not be read.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES}
# A message lists at most this many names of databases.
_LISTED = 10


def check_opened(handle: lmdb.Environment, path: str, options: Options, locks: ProcessLocks) -> None:
    """Raise lmdb.Error if the file at `path` was replaced, lmdb.IncompatibleError if a store cannot use it."""
    while True:
        try:
            _check_replaced(handle, path, options, locks)
            with handle.begin() as transaction:
                _check_flags(handle, transaction, path)
                check_named(handle, path, options)
            return
        except lmdb.MapResizedError:  # another process has just grown the file
            handle.set_mapsize(0)


def _check_replaced(handle: lmdb.Environment, path: str, options: Options, locks: ProcessLocks) -> None:
    """Raise lmdb.Error if the data file was replaced while a process had it open.

    The lock file has the number of the last transaction, by which LMDB chooses the meta page. The data file must have
    the same number. The data file is one ahead during a commit, and after a process was killed in a commit. It is also
    one ahead if the lock file was begun during a commit. That lock file is deleted.
    """
    for _ in range(_ATTEMPTS):
        stored = handle.info()["last_txnid"]
        with handle.begin() as transaction:
            locked = transaction.id()
        if stored <= locked <= handle.info()["last_txnid"]:
            return
        time.sleep(0.001)  # until a commit ends, which no event announces
    if stored == locked + 1:
        if options.get("readonly"):
            return  # perhaps a commit is under way; the older meta page is whole
        try:
            locks.keep_others_from_writing()
            # This waits for the end of a longer commit. If its process was killed, LMDB corrects the number.
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


def replaced(path: str, options: Options, stored: int, locked: int) -> lmdb.Error:
    """Return the error for a data file whose last transaction is `stored`, while the lock file has `locked`."""
    return lmdb.Error(
        f"{data_file(path, options)} was replaced while a process had it open: its last transaction is {stored}, "
        f"and {locked} in the lock file. Nothing was changed. Close the store in all processes, delete "
        f"{lock_file(path, options)}, and open it again"
    )


def _check_flags(handle: lmdb.Environment, transaction: lmdb.Transaction[bytes], path: str) -> None:
    # py-lmdb opens a database with flags as if it had none: keys are not found, and loops over them do not end.
    flags = handle.open_db(txn=transaction).flags()
    if any(flags.values()):
        names = ", ".join(f"MDB_{name.replace('_', '').upper()}" for name, is_set in flags.items() if is_set)
        raise lmdb.IncompatibleError(
            f"the database in {path} has the flag {names}, which gives its keys or values another order, so a store "
            "cannot use it. Another program made it, or py-lmdb before 1.1 with `open_db(None, …)`. Nothing was "
            "changed. Open it with that program, and copy its items into a new store"
        )


def check_named(handle: lmdb.Environment, path: str, options: Options) -> None:
    """Raise lmdb.IncompatibleError if the file at `path` has named databases. A transaction must be open.

    A store would read their records as values, and `clear` would destroy them.
    """
    page_size = handle.stat()["psize"]
    # A descriptor, because a file object gives a ResourceWarning if an interrupt of `clear` comes as it is opened.
    fd = os.open(data_file(path, options), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        data = open(fd, "rb", buffering=0, closefd=False)  # noqa: SIM115  # `fd` is closed below
        while True:  # until no commit came in between: without locks, a commit may reuse the pages of this read
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


def make_durable(handle: lmdb.Environment, path: str, options: Options) -> None:
    """Sync a file that has no commits yet, and its entry in the folder.

    LMDB syncs only the file. A power cut could remove its entry from the folder, and lose all commits. A killed process
    may have begun the file, so each process that opens a file without commits does this.
    """
    if options.get("readonly") or not options.get("sync", True) or options.get("map_async"):
        return
    handle.sync(True)
    folder = os.path.dirname(os.path.realpath(data_file(path, options)))
    sync_folder(folder)
    if options.get("subdir", True):
        sync_folder(os.path.dirname(folder))


def sync_folder(folder: str) -> None:
    """Sync the entries of `folder`. Does nothing if the system or the file system cannot do that."""
    if os.name == "nt":  # Windows cannot open a folder
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
