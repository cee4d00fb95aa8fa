"""Begin a write transaction, and commit changes in one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import lmdb

from .._errors import gone
from .._keys.interval import WHOLE, Interval
from .checks import check_named, replaced
from .environment import Environment
from .gate import BeginToWrite

if TYPE_CHECKING:
    from lmdb import Cursor, Transaction

# This many changes are written in key order if the file has ten times as many keys. Neighbours then share pages, which
# takes a fifth less time. For fewer changes, or in a smaller file, sorting costs more time than it saves.
SORTED_FROM = 4096
# Attempts to begin a write transaction while the lock file is replaced again and again.
_ATTEMPTS = 100
# A write checks that the data file still has its name only if the last check is this many seconds ago. A check takes
# 1 µs, a fifth of the time before a commit. A commit just before the file was replaced is lost in any case.
_CHECK_SECONDS = 0.05


def begin_write(environment: Environment) -> Transaction[bytes]:
    """Begin a write transaction, once no other process has one open. Needs the lock.

    `process_locks.let_others_write` lets other processes write again. If the lock file was replaced, the file is first
    closed and opened again, which ends any open transaction. lmdb.Error if the data file was deleted or replaced.
    """
    locks = environment.process_locks
    for _ in range(_ATTEMPTS):
        handle = environment._handle or environment.handle()  # the flush has checked the process already
        locks.keep_others_from_writing()
        if (now := time.monotonic()) > environment.data_file_checked_at + _CHECK_SECONDS:
            environment.data_file_checked_at = now
            if locks.data_file_is_deleted():
                environment.data_file_checked_at = 0.0  # the next write checks again
                raise gone(environment.path)
        if locks.lock_file_is_deleted():
            environment.reopen()
            continue
        transaction = handle.begin(write=True)
        try:
            stored, locked = handle.info()["last_txnid"], transaction.id() - 1
            if stored == locked:
                return transaction
        except BaseException:  # the traceback of an interrupt would keep the transaction open
            transaction.commit()  # it is empty; an abort would wait until no read is under way
            raise
        transaction.commit()
        if not locks.held:
            break
        # LMDB takes the number `locked` from the lock file. Either other processes use another lock file, or this one
        # was begun while a process committed by an older one. The next commit would then replace the last one.
        if not locks.lock_file_is_another():
            if stored != locked + 1:
                break
            locks.delete_lock_file()
        environment.reopen()
    else:
        raise lmdb.LockError(
            f"the lock file of {environment.path} was deleted or replaced {_ATTEMPTS} times as a write transaction "
            "began. Nothing was written. Leave the lock file alone, and write again"
        )
    raise replaced(environment.path, environment.options, stored, locked)


def write(
    environment: Environment,
    changes: Mapping[bytes, bytes | None],
    emptied: Interval | None,
    cap: int | None,
    begin: BeginToWrite | None = None,
) -> None:
    """Delete the rows of `emptied`, write `changes` (None deletes), and commit. Needs the lock.

    `begin` begins the transaction, by default `begin_write`. After an error of LMDB nothing is written. MapFullError
    also if the map is near its `cap` (bytes) and too few pages would stay free for deletions.
    """
    txn = begin() if begin else begin_write(environment)
    try:
        if emptied is WHOLE:
            handle = environment.handle()
            # Another program may have added databases since the file was opened. LMDB would lose their pages.
            check_named(handle, environment.path, environment.options)
            txn.drop(handle.open_db(txn=txn), delete=False)
        elif emptied is not None:
            _empty(txn.cursor(), emptied)
        if None in changes.values():
            for key, data in _rows(txn, changes):
                if data is None:
                    txn.delete(key)
                else:
                    txn.put(key, data)
        elif changes:
            cursor = txn.cursor()
            cursor.last()
            # To compare one key takes 0.3 µs, and for most changes it shows that they cannot be appended.
            if next(iter(changes)) <= cursor.key() or not _append(cursor, changes):
                # 15 % faster than one by one.
                cursor.putmulti(_rows(txn, changes))  # type: ignore[arg-type]  # no value is None, as was looked at above
        if cap is not None and any(changes.values()):
            _check_free_pages(txn, environment.options["map_size"], cap)
        txn.commit()  # a `with` block would raise nothing if a fork has closed the environment
    except BaseException:
        # Twice, because an interrupt may come as `close_gate` is called. Without the abort, a cursor in a kept
        # traceback would keep the transaction open. Test: test_methods_interrupted_anywhere_leave_a_store_that_works.
        try:
            environment.close_gate()
        finally:
            try:
                environment.close_gate()
            finally:
                txn.abort()
        raise
    finally:
        del txn  # else the traceback of an exception keeps it open
        environment.open_gate()


def _empty(cursor: Cursor[bytes], interval: Interval) -> None:
    """Delete the rows of `interval`: one look-up, then row by row."""
    found = cursor.set_range(interval.low) if interval.low else cursor.first()
    while found and (interval.high is None or cursor.key() < interval.high):
        cursor.delete()  # moves to the next row
        found = bool(cursor.key())


def _append(cursor: Cursor[bytes], changes: Mapping[bytes, bytes | None]) -> bool:
    """Append `changes` in key order. Return False unless all keys are beyond the last key, which `cursor` is at.

    LMDB fills the pages with rows that are appended, and leaves a third of each page empty otherwise. None of `changes`
    is a deletion.
    """
    last = cursor.key()  # b"" if the file is empty
    keys = list(changes)
    # Several threads that each write keys in order end here. To sort their keys in vain would take a tenth of the time.
    if keys[-1] <= last:
        return False
    in_order = sorted(keys)
    if in_order[0] <= last:
        return False
    rows = changes.items() if in_order == keys else _pairs(changes, in_order)
    # LMDB silently skips a row that is not beyond the last row. If it did, the caller puts all rows again.
    added: int = cursor.putmulti(rows, append=True)[1]  # type: ignore[arg-type]  # the caller has looked: no value is None
    return added == len(keys)


def _rows(txn: Transaction[bytes], changes: Mapping[bytes, bytes | None]) -> Iterable[tuple[bytes, bytes | None]]:
    """Return the items of `changes`, in key order where that saves time."""
    if len(changes) >= SORTED_FROM and txn.stat()["entries"] >= 10 * len(changes):
        return _pairs(changes, sorted(changes))  # to sort pairs takes several times as long
    return changes.items()


def _pairs(changes: Mapping[bytes, bytes | None], keys: list[bytes]) -> Iterable[tuple[bytes, bytes | None]]:
    """Return the items of `changes` in the order of `keys`."""
    return zip(keys, [changes[key] for key in keys])


# -- a map at its cap


def pages_kept(current: int, cap: int | None, page: int) -> int:
    """Return how many pages of `page` bytes stay free in a map of `current` bytes near its `cap`.

    LMDB copies each page that it changes, and uses the old page again only two commits later. Without free pages
    nothing can be deleted. An eighth of a map at its cap stays free, at most 2,048 pages. In a tiny map it is as many
    pages as two deletions of one key take.
    """
    if cap is None:
        return 0
    pages, size = max(cap, current) // page, current // page
    return max(0, min(max(pages // 8, 16), pages // 4, 2048) - (pages - size))


def _check_free_pages(txn: Transaction[bytes], map_size: int, cap: int) -> None:
    """Raise lmdb.MapFullError unless as many pages stay free as `pages_kept` says."""
    stat = txn.stat()
    # The few pages of LMDB's list of free pages are counted as free.
    used: int = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    free = map_size // stat["psize"] - 2 - used  # two meta pages
    if (kept := pages_kept(map_size, cap, stat["psize"])) > max(free, 0):
        raise lmdb.MapFullError(f"{kept} pages are kept free for deletions")
