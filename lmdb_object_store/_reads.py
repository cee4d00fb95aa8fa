"""One look-up, many look-ups, one page, the count: what a fresh read transaction answers.

Each runs without a lock. What LMDB refuses because the map moved, or was left behind by another
process, is read again under the environment's lock (`Environment.repeat`).
No transaction outlives its function, not even in an exception's traceback: one that is merely
referenced keeps its reader slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import lmdb

from ._environment import Begin, Environment, T, fresh
from ._errors import StoreClosedError
from ._scan import Page

if TYPE_CHECKING:
    from lmdb import Cursor

MISSING: Any = object()

# A page with values ends with the row that takes it to this many bytes.
PAGE_BYTES = 1 << 20


def _read(environment: Environment, read: Callable[[Begin], T]) -> T:
    try:
        return fresh(read, environment.begin)
    except StoreClosedError:
        raise
    except lmdb.Error:
        return environment.repeat(read)


def lookup(environment: Environment, key: bytes) -> bytes | None:
    """The value stored under `key`, or None."""
    try:
        return environment.begin().get(key)
    except StoreClosedError:
        raise
    except lmdb.Error:
        return environment.repeat(lambda begin: begin().get(key))


def find_many(
    environment: Environment, pending: Mapping[bytes, bytes | None], keys: Iterable[bytes]
) -> dict[bytes, bytes]:
    """Those of `keys` that are there, with their values, in the order asked for: pending, else in one transaction."""
    rows = {key: pending.get(key, MISSING) for key in keys}
    unknown = [key for key, data in rows.items() if data is MISSING]
    if unknown:
        rows.update(zip(unknown, _read(environment, lambda begin: list(map(begin().get, unknown)))))
    return {key: data for key, data in rows.items() if data is not None}


def count(environment: Environment, pending: Mapping[bytes, bytes | None]) -> int:
    """How many keys the file will have once `pending` is flushed. One look-up for each pending change."""
    changes = dict(pending)  # before the file is read: see _scan.scan

    def read(begin: Begin) -> int:
        txn = begin()
        total = txn.stat()["entries"]
        for key, data in changes.items():
            total += (data is not None) - (txn.get(key) is not None)
        return total

    return _read(environment, read)


def page(environment: Environment, after: bytes | None, limit: int, *, reverse: bool, values: bool) -> Page:
    """At most `limit` rows beyond `after`, and whether they are the last. One descent, then row by row."""
    return _read(environment, lambda begin: _page(begin, after, limit, reverse, values))


def _page(begin: Begin, after: bytes | None, limit: int, reverse: bool, values: bool) -> Page:
    txn = begin()
    cursor = txn.cursor()
    if not _seek(cursor, after, reverse):
        return {}, True
    if not values:
        keys = cursor.iterprev(values=False) if reverse else cursor.iternext(values=False)
        rows = dict.fromkeys(islice(keys, limit), b"")
    elif txn.stat()["overflow_pages"]:
        return _page_of_large(cursor, limit, reverse)
    else:  # each row fits half a page of the file: so many of them are small
        rows = dict(islice(cursor.iterprev() if reverse else cursor.iternext(), limit))
    return rows, len(rows) < limit


def _page_of_large(cursor: Cursor[bytes], limit: int, reverse: bool) -> Page:
    rows: dict[bytes, bytes] = {}
    size = 0
    for key, data in islice(cursor.iterprev() if reverse else cursor.iternext(), limit):
        rows[key] = data
        size += len(data)
        if size >= PAGE_BYTES:
            return rows, False
    return rows, len(rows) < limit


def _seek(cursor: Cursor[bytes], after: bytes | None, reverse: bool) -> bool:
    if not reverse:
        # A key may be one byte too long to store and still be sought.
        return cursor.first() if after is None else cursor.set_range(after + b"\0")
    if after is None or not cursor.set_range(after):
        return cursor.last()
    return cursor.prev()
