"""The opening of a file by LMDB, with all that is checked before and after."""

from __future__ import annotations

import time
from typing import Any

import lmdb

from .._errors import gone
from .access import create_lock_file, explain, open_lmdb
from .checks import check_opened, make_durable
from .lock_file import ProcessLocks
from .options import Options
from .paths import check_begun, check_length, creation_mode, data_file, lmdb_path

# Seconds that an opening, or a read, goes on trying while LMDB's reader table is full or its map is being outgrown.
PATIENCE = 10.0
# How often a file is opened whose lock file is replaced as it is opened.
_ATTEMPTS = 100


def opened(path: str, options: Options, locks: ProcessLocks, least: int, create: bool) -> lmdb.Environment:
    """Open the file at `path`, whose last transaction has the number `least` or a later one.

    LMDB's errors, with the way out. lmdb.CorruptedError where it is truncated, lmdb.IncompatibleError where it is made
    for another program, lmdb.Error where it is another file than before, or was replaced.
    """
    for attempt in range(_ATTEMPTS):
        handle = _opened(path, options, locks, least, create, last=attempt == _ATTEMPTS - 1)
        if handle is not None:
            return handle
    raise AssertionError("the last attempt gives a handle, or raises")


def _opened(
    path: str, options: Options, locks: ProcessLocks, least: int, create: bool, last: bool
) -> lmdb.Environment | None:
    """The handle; None where the lock file was replaced meanwhile, and this is not the `last` attempt."""
    known = locks.identity()
    handle = _open_lmdb(path, options, create)
    kept = False
    try:
        info = handle.info()
        check_length(data_file(path, options), info["last_pgno"], handle.stat()["psize"])
        if info["last_txnid"] < least:  # another file, of the same number
            raise gone(path)
        if locks.take_over(handle, known) or last:
            check_opened(handle, path, options, locks)
            if info["last_txnid"] == 0:
                make_durable(handle, path, options)
            kept = True
    except lmdb.Error:
        if last or not locks.lock_file_is_deleted():
            raise
    finally:
        if not kept:
            handle.close()
            locks.close_lock_file()
    return handle if kept else None


def _open_lmdb(path: str, options: Options, create: bool) -> lmdb.Environment:
    mode = creation_mode(path, options)
    create_lock_file(path, options, mode)
    to_open: Any = lmdb_path(path, options)  # bytes too
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return open_lmdb(to_open, **{**options, "mode": mode, "create": create})
        except lmdb.MapResizedError:  # another process grows the file at this very moment
            if time.monotonic() > deadline:
                raise
        except lmdb.Error as error:
            check_begun(path, options, error)
            explain(path, options, error)
            raise
