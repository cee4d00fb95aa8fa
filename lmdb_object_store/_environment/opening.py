"""Open a file with LMDB, and check it before and after."""

from __future__ import annotations

import os
import time
from typing import Any

import lmdb

from .._errors import gone
from .access import create_lock_file, explain
from .checks import check_opened, make_durable
from .lock_file import ProcessLocks
from .options import Options
from .paths import check_begun, check_length, creation_mode, data_file, lmdb_path

# An opening or a read tries for this many seconds while LMDB's reader table is full, or while the map is outgrown.
RETRY_SECONDS = 10.0
# Attempts to open a file while its lock file is replaced again and again.
_ATTEMPTS = 100


def open_file(path: str, options: Options, locks: ProcessLocks, least: int, create: bool) -> lmdb.Environment:
    """Open the file at `path`, whose last transaction has the number `least` or a greater one.

    LMDB's errors, with what to do. lmdb.CorruptedError if the file is truncated, lmdb.IncompatibleError if a store
    cannot use it, lmdb.Error if it is another file than before, or was replaced.
    """
    attempts = _ATTEMPTS
    while True:
        attempts -= 1
        known = locks.identity()
        handle = _open_with_advice(path, options, create)
        kept = False
        try:
            info = handle.info()
            check_length(data_file(path, options), info["last_pgno"], handle.stat()["psize"])
            if info["last_txnid"] < least:  # another file, for which the file system used the same number again
                raise gone(path)
            if locks.take_over(handle, known) or not attempts:  # else the lock file was replaced meanwhile
                check_opened(handle, path, options, locks)
                if info["last_txnid"] == 0:
                    make_durable(handle, path, options)
                kept = True
                return handle
        except lmdb.Error:
            if not attempts or not locks.lock_file_is_deleted():
                raise
        finally:
            if not kept:
                handle.close()
                locks.close_lock_file()


def _open_with_advice(path: str, options: Options, create: bool) -> lmdb.Environment:
    """Open the file. Add to LMDB's errors what caused them and what to do."""
    mode = creation_mode(path, options)
    create_lock_file(path, options, mode)
    lmdb_options = {**options, "mode": mode, "create": create}
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            return _open_without_dead_readers(lmdb_path(path, options), lmdb_options)
        except lmdb.MapResizedError:  # another process grows the file at this moment
            if time.monotonic() > deadline:
                raise
        except lmdb.Error as error:
            check_begun(path, options, error)
            explain(path, options, error)
            raise


def _open_without_dead_readers(path: Any, options: Options) -> lmdb.Environment:
    """Return `lmdb.open(path, **options)`. First free the readers of a killed process that had this process's id.

    A container whose process 1 was killed starts another process 1. `reader_check` skips the caller's own id, so the
    dead readers would keep old pages from being used again. LMDB frees all readers of an id when it closes a file.
    This process has no readers yet, and LMDB refuses a second process of the same id.
    """
    handle = lmdb.open(path, **options)
    process = str(os.getpid())
    # After a heading there is a line for each reader: process id, thread, transaction.
    if not any(line.split()[0] == process for line in handle.readers().splitlines()):
        return handle
    try:
        handle.begin().abort()  # LMDB frees only as much of the table as its last new reader has seen
    finally:
        handle.close()
    return lmdb.open(path, **options)
