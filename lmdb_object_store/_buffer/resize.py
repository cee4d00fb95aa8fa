"""ResizeMixin: one write transaction, in a map grown until it fits."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import lmdb

from .._environment.checks import check_named
from .._environment.environment import Environment
from .._environment.gate import BeginToWrite
from .._keys.interval import WHOLE, Interval
from .state import weight

if TYPE_CHECKING:
    from lmdb import Cursor, Transaction

MIN_GROWTH = 64 * 1024 * 1024

# So many changes are written in key order where the file has ten times as many keys: neighbours then share its pages,
# which takes a fifth less time. In a smaller file, or for fewer changes, sorting costs more time than it saves.
SORTED_FROM = 4096


def next_map_size(current: int, cap: int | None, needed: int, page: int) -> int | None:
    """The size to grow a map of `current` bytes to; None where it is at its cap.

    By steps of max(2x, +64 MiB), the contract's, until it holds `needed` bytes or meets `cap`.
    Whole pages of `page` bytes: steps are rounded up, the cap is rounded down.
    """
    limit = None if cap is None else cap // page * page
    size = current
    while size == current or size < needed:
        step = -(-max(2 * size, size + MIN_GROWTH) // page) * page
        if limit is not None and step >= limit:
            return limit if limit > current else None
        size = step
    return size


def pages_kept(current: int, cap: int | None, page: int) -> int:
    """Pages of `page` bytes that what is stored must leave free in a map of `current` bytes, as it cannot grow by them.

    LMDB copies each page that it changes, and may not use the old one before the next commit but one: without free
    pages nothing can be deleted. An eighth of the map at its cap, up to 8 MiB in pages of 4 KiB; of a tiny map as much
    as two deletions of one key take.
    """
    if cap is None:
        return 0
    pages, size = max(cap, current) // page, current // page
    return max(0, min(max(pages // 8, 16), pages // 4, 2048) - (pages - size))


class ResizeMixin(metaclass=ABCMeta):
    """Provides `_commit`. Needs the two attributes below."""

    _max_map_size: int | None
    _environment: Environment

    def _commit(
        self,
        changes: Mapping[bytes, bytes | None],
        *,
        emptied: Interval | None = None,
        begin: BeginToWrite | None = None,
    ) -> None:
        """Write `changes` (None deletes) in one transaction, all or none, once every row of `emptied` is deleted in it.

        `begin` begins it, by default as a transaction of its own. It may be called several times, as the transaction is
        begun again after the map has grown.
        MapFullError at the cap, LMDB's own errors otherwise: then the file is as it was.
        Needs the environment's lock, and it to be `busy`.
        """
        environment = self._environment
        begin = begin or environment.begin_write
        try:
            while True:
                sleeps = environment.sleeps
                try:
                    try:
                        return _write(environment, changes, emptied, self._max_map_size, begin)
                    except lmdb.MapFullError as error:
                        self._make_room(environment, environment.handle(), changes, error)
                    except lmdb.MapResizedError:
                        environment.resize(0)
                except (lmdb.MemoryError, lmdb.LockError):
                    raise
                except lmdb.PanicError as error:
                    environment.reopen_after_panic(error)
                except lmdb.Error:
                    # A handler that forks closes the environment under this very transaction: again, on the new one.
                    if environment.sleeps == sleeps:
                        raise
        finally:
            environment.process_locks.let_others_write()

    def _deletions_at_once(self) -> int | None:
        # Near the cap, so many as find free pages: each may change two and those above them, and so do the next ones.
        if self._max_map_size is None:
            return None
        environment = self._environment
        size, page = environment.options["map_size"], environment.handle().stat()["psize"]
        kept = pages_kept(size, self._max_map_size, page)
        return max(1, kept // 6) if kept else None

    def _make_room(
        self,
        environment: Environment,
        handle: lmdb.Environment,
        changes: Mapping[bytes, bytes | None],
        error: lmdb.MapFullError,
    ) -> None:
        if environment.process_locks.check_readers(handle):
            return  # a dead process pinned pages, which are free now
        stat, current = handle.stat(), handle.info()["map_size"]
        # A lower bound of what the file must hold at the commit: old pages and new rows, side by side.
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        needed = max(current, pages * stat["psize"] + sum(weight(key, data) for key, data in changes.items()))
        size = next_map_size(current, self._max_map_size, needed, stat["psize"])
        if size is None:
            kept = pages_kept(current, self._max_map_size, stat["psize"]) * stat["psize"]
            raise lmdb.MapFullError(
                f"the map of {environment.path} is full: it has {current} bytes, max_map_size is {self._max_map_size}, "
                f"and this write needs more than {needed} beside the {kept} that are kept to delete with; none of it "
                "is in the file: take back what does not fit, delete something, and flush (readers that are open keep "
                "space from being used), or raise max_map_size"
            ) from error
        environment.resize(size)


def _write(
    environment: Environment,
    changes: Mapping[bytes, bytes | None],
    emptied: Interval | None,
    cap: int | None,
    begin: BeginToWrite,
) -> None:
    txn = begin()
    try:
        if not environment.busy:
            return txn.abort()  # a child that a signal handler has forked: the changes are the parent's to write
        if emptied is WHOLE:
            handle = environment.handle()
            # Another program may have added databases since the file was opened, and LMDB would lose their pages.
            check_named(handle, environment.path, environment.options)
            txn.drop(handle.open_db(txn=txn), delete=False)
        elif emptied is not None:
            _empty(txn.cursor(), emptied)
        rows: Iterable[tuple[bytes, bytes | None]] = changes.items()
        if len(changes) >= SORTED_FROM and txn.stat()["entries"] >= 10 * len(changes):
            keys = sorted(changes)  # keys alone: pairs take several times as long
            rows = zip(keys, [changes[key] for key in keys])
        if None in changes.values():
            for key, data in rows:
                if data is None:
                    txn.delete(key)
                else:
                    txn.put(key, data)
        else:
            txn.cursor().putmulti(rows)  # type: ignore[arg-type]  # 15 % faster than one by one
        if cap is not None and any(changes.values()):
            _check_free_pages(txn, environment.options["map_size"], cap)
        txn.commit()  # not by a `with` block, which ends quietly where the environment was closed meanwhile
    except BaseException:
        environment.shut()
        txn.abort()
        raise
    finally:
        del txn  # a kept exception must not keep a transaction
        environment.unshut()


def _check_free_pages(txn: Transaction[bytes], map_size: int, cap: int) -> None:
    """Raise lmdb.MapFullError unless the pages stay free that are kept to delete with."""
    stat = txn.stat()
    # The few pages of LMDB's list of free pages are counted as free.
    used: int = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    free = map_size // stat["psize"] - 2 - used  # two hold what LMDB knows of the file
    if (kept := pages_kept(map_size, cap, stat["psize"])) > max(free, 0):
        raise lmdb.MapFullError(f"{kept} pages are kept free, to delete with")


def _empty(cursor: Cursor[bytes], interval: Interval) -> None:
    """Delete the rows of `interval`. One descent, then row by row."""
    found = cursor.set_range(interval.low) if interval.low else cursor.first()
    while found and (interval.high is None or cursor.key() < interval.high):
        cursor.delete()  # which moves on to the next row
        found = bool(cursor.key())
