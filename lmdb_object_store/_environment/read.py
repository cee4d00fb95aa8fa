"""One look-up, many look-ups, one page, the count: what a fresh read transaction answers.

Each runs without a lock. What LMDB refuses because the map moved, or was left behind by another
process, is read again under the environment's lock (`Environment.repeat`).
No transaction outlives its function, not even in an exception's traceback: one that is merely
referenced keeps its reader slot.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, takewhile
from operator import getitem
from typing import TYPE_CHECKING, Any

import lmdb

from .._errors import StoreClosedError
from .._values.large import LARGE, parts
from .environment import HAS_GIL, Environment, T, fresh
from .gate import Begin

if TYPE_CHECKING:
    from lmdb import Cursor

# Whether `cut` is a single step of the interpreter: with CPython's global lock, and from 3.12 on, where the
# garbage collector, and with it user code, does not run as an object is made, but between byte codes alone.
_COPIES_AT_ONCE = HAS_GIL and sys.version_info >= (3, 12)

# Stored keys in order, with their values unless only keys were asked for.
Rows = dict[bytes, bytes] | list[bytes]
# A page, and whether the file has none beyond it.
Page = tuple[Rows, bool]

# A page with values ends with the row that takes it to this many bytes.
PAGE_BYTES = 1 << 20


# Look-ups, and rows of a page without large values, that are so few that they take less time than a commit of another
# process. Such reads are not announced, which would take 3 µs.
_FEW_KEYS, _FEW_ROWS = 4, 64


def _read(environment: Environment, read: Callable[[Begin], T], few: bool = False) -> T:
    try:
        if few:
            return fresh(read, environment.begin)
        locks = environment.process_locks
        try:
            if locks.begin_read():
                return fresh(read, environment.begin)
        finally:
            locks.end_read()
    except StoreClosedError:
        raise
    except lmdb.Error:
        pass
    return environment.repeat(read)


def lookup(environment: Environment, key: bytes) -> bytes | None:
    """The value stored under `key`, or None."""
    try:
        return environment.begin().get(key)
    except StoreClosedError:
        raise
    except lmdb.Error:
        return environment.repeat(lambda begin: begin().get(key))


def lookup_large(environment: Environment, key: bytes) -> tuple[bytes | bytearray | None, list[Any]]:
    """The value stored under `key` in the parts of `parts`, each copied once; None where there is none."""
    data, strings = _read(environment, lambda begin: _parts(begin, key))
    return (data, strings) if data else (lookup(environment, key), [])


def _parts(begin: Begin, key: bytes) -> tuple[bytes | bytearray, list[Any]]:
    """LMDB's memory is valid until the map moves or the transaction ends. It is copied within the one call of `next`:
    CPython switches threads, and runs signal handlers and finalisers, between byte codes, of which there is none
    between LMDB's answer and the copy, and py-lmdb counts the look-up itself as under way until it holds the GIL.
    """
    get = begin(buffers=True).get

    def cut(make: type, start: int, stop: int | None, *arguments: str) -> Any:
        views = map(getitem, map(get, (key,), (b"",)), (slice(start, stop),))
        return next(map(make, views, *[(argument,) for argument in arguments]))

    try:
        return parts(cut)
    except UnicodeDecodeError:  # to be told as any other failure to unpickle
        return cut(bytes, 0, None), []


def is_large(size: int) -> bool:
    """Whether a value of `size` bytes is better read by `lookup_large` than by `lookup`."""
    return _COPIES_AT_ONCE and size >= LARGE


def lookup_many(environment: Environment, keys: list[bytes]) -> list[bytes | None]:
    """The values stored under `keys`, None for what is not there, from one transaction."""
    return _read(environment, lambda begin: list(map(begin().get, keys)), len(keys) <= _FEW_KEYS)


def count(environment: Environment, changes: Mapping[bytes, bytes | None]) -> int:
    """How many keys the file will have once `changes` are flushed. One look-up for each of them."""

    def read(begin: Begin) -> int:
        txn = begin()
        total = txn.stat()["entries"]
        for key, data in changes.items():
            total += (data is not None) - (txn.get(key) is not None)
        return total

    return _read(environment, read, len(changes) <= _FEW_ROWS)


def page(environment: Environment, low: bytes, high: bytes | None, limit: int, *, reverse: bool, values: bool) -> Page:
    """The first `limit` rows (the last ones, where `reverse`) from `low`, inclusive, to `high`, exclusive, and whether
    there are no more. One descent, then row by row. A bound may be one byte too long to store and still be sought.
    """
    if limit <= _FEW_ROWS:
        found = _read(environment, lambda begin: _page(begin, low, high, limit, reverse, values, False), few=True)
        if found is not None:
            return found
    found = _read(environment, lambda begin: _page(begin, low, high, limit, reverse, values, True))
    assert found is not None
    return found


def _page(
    begin: Begin, low: bytes, high: bytes | None, limit: int, reverse: bool, values: bool, large: bool
) -> Page | None:
    """That page; None where the file may have large values, and `large` says to read none of them."""
    txn = begin()
    has_large = values and txn.stat()["overflow_pages"]
    if has_large and not large:
        return None
    cursor = txn.cursor()
    if not (_seek_last(cursor, high) if reverse else cursor.set_range(low) if low else cursor.first()):
        return {} if values else [], True
    if not values:
        keys: Iterator[bytes] = cursor.iterprev(values=False) if reverse else cursor.iternext(values=False)
        # Compared by a method of the bound itself, as no function of ours is called for each row then.
        if reverse and low:
            keys = takewhile(low.__le__, keys)
        elif high is not None and not reverse:
            keys = takewhile(high.__gt__, keys)
        found = list(islice(keys, limit))
        return found, len(found) < limit
    pairs: Iterator[tuple[bytes, bytes]] = cursor.iterprev() if reverse else cursor.iternext()
    if reverse and low:
        pairs = takewhile((low,).__le__, pairs)  # a pair is greater than what it begins with
    elif high is not None and not reverse:
        pairs = takewhile((high,).__gt__, pairs)
    if has_large:
        return _page_of_large(pairs, limit)
    # Each row fits half a page of the file: so many of them are small.
    rows = dict(islice(pairs, limit))
    return rows, len(rows) < limit


def _page_of_large(pairs: Iterator[tuple[bytes, bytes]], limit: int) -> Page:
    rows: dict[bytes, bytes] = {}
    size = 0
    for key, data in islice(pairs, limit):
        rows[key] = data
        size += len(data)
        if size >= PAGE_BYTES:
            return rows, False
    return rows, len(rows) < limit


def _seek_last(cursor: Cursor[bytes], high: bytes | None) -> bool:
    if high is None or not cursor.set_range(high):
        return cursor.last()
    return cursor.prev()
