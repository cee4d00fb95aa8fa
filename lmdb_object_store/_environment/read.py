"""Reads in a fresh read transaction: one key, many keys, a page of rows, the count.

A read runs without a lock. LMDB refuses it if the map has moved, or if another process has grown the map. The read is
then repeated under the environment's lock (`Environment.repeat`). No transaction outlives its function, because a
transaction that is merely referenced keeps its slot in LMDB's reader table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, takewhile
from operator import getitem
from typing import Any

import lmdb

from .._errors import StoreClosedError
from .._values.large import LARGE, parts
from .environment import HAS_GIL, Environment
from .gate import Begin
from .locks import T

# True if nothing else runs within a call of `cut`. From 3.12 on, CPython's garbage collector, and so user code, runs
# only between byte codes, and not when an object is created.
_COPIES_AT_ONCE = HAS_GIL and sys.version_info >= (3, 12)

# Stored keys in order, with their values unless only keys are asked for.
Rows = dict[bytes, bytes] | list[bytes]
# A page of rows, and True if it is the last page.
Page = tuple[Rows, bool]

# A page with values ends with the row that takes it to this many bytes.
PAGE_BYTES = 1 << 20

# Reads of at most so many keys, or rows without large values, are shorter than a commit of another process. So they
# are not announced (`ProcessLocks.begin_read`), which takes 3 µs.
_FEW_KEYS, _FEW_ROWS = 4, 64


def _read(environment: Environment, read: Callable[[Begin], T], few: bool = False) -> T:
    try:
        if few:
            return read(environment.begin)
        locks = environment.process_locks
        try:
            if locks.begin_read():
                return read(environment.begin)
        finally:
            locks.end_read()
    except StoreClosedError:
        raise
    except lmdb.Error:
        pass
    return environment.repeat(read)


def lookup(environment: Environment, key: bytes) -> bytes | None:
    """Return the stored value of `key`, or None."""
    try:
        return environment.begin().get(key)
    except StoreClosedError:
        raise
    except lmdb.Error:
        return environment.repeat(lambda begin: begin().get(key))


def lookup_large(environment: Environment, key: bytes) -> tuple[bytes | bytearray | None, list[Any]]:
    """Return the stored value of `key` in the parts of `parts`, each copied once. None if there is no value."""
    data, strings = _read(environment, lambda begin: _parts(begin, key))
    return (data, strings) if data else (lookup(environment, key), [])


def _parts(begin: Begin, key: bytes) -> tuple[bytes | bytearray, list[Any]]:
    """Copy a value in parts out of LMDB's memory, which is valid until the map moves or the transaction ends.

    Each part is looked up and copied in one call of `next`. CPython switches threads, and runs signal handlers and
    finalisers, only between byte codes, and none lies between the look-up and the copy. During the look-up py-lmdb
    keeps the map in place until it holds the GIL again.
    """
    with begin(buffers=True) as txn:
        get = txn.get

        def cut(make: type, start: int, stop: int | None, *arguments: str) -> Any:
            views = map(getitem, map(get, (key,), (b"",)), (slice(start, stop),))
            return next(map(make, views, *[(argument,) for argument in arguments]))

        try:
            return parts(cut)
        except UnicodeDecodeError:  # damaged: unpickling the whole value reports that
            return cut(bytes, 0, None), []


def is_large(size: int) -> bool:
    """Return True if `lookup_large` reads a value of `size` bytes faster than `lookup`."""
    return _COPIES_AT_ONCE and size >= LARGE


def lookup_many(environment: Environment, keys: list[bytes]) -> list[bytes | None]:
    """Return the stored values of `keys`, None for a missing one, from one transaction."""
    return _read(environment, lambda begin: list(map(begin().get, keys)), len(keys) <= _FEW_KEYS)


def count(environment: Environment, changes: Mapping[bytes, bytes | None]) -> int:
    """Return the number of keys that the file will have once `changes` are flushed. One look-up for each change."""

    def read(begin: Begin) -> int:
        with begin() as txn:
            total: int = txn.stat()["entries"]
            for key, data in changes.items():
                total += (data is not None) - (txn.get(key) is not None)
            return total

    return _read(environment, read, len(changes) <= _FEW_ROWS)


def page(environment: Environment, low: bytes, high: bytes | None, limit: int, *, reverse: bool, values: bool) -> Page:
    """Return the first `limit` rows with `low` <= key < `high`, and True if there are no more.

    With `reverse`, the last rows, the last one first. Takes one look-up, then goes row by row. A bound may be one byte
    longer than any stored key.
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
    """Return the page, or None if the file may have large values and `large` is false."""
    with begin() as txn:
        has_large = values and txn.stat()["overflow_pages"]
        if has_large and not large:
            return None
        cursor: Any = txn.cursor()  # whose types know keys and pairs, but not a choice between them
        if not (_seek_last(cursor, high) if reverse else cursor.set_range(low) if low else cursor.first()):
            return {} if values else [], True
        # Pairs of key and value, or keys alone.
        rows: Iterator[Any] = cursor.iterprev(True, values) if reverse else cursor.iternext(True, values)
        bound = (low or None) if reverse else high
        if bound is not None:
            # The bound's own method compares, which saves a call of a Python function for each row.
            end: Any = (bound,) if values else bound  # (key,) < (key, value)
            rows = takewhile(end.__le__ if reverse else end.__gt__, rows)
        if has_large:
            return _page_of_large(rows, limit)
        # Each row is at most half a page of the file, so the rows need no limit in bytes.
        found: Rows = dict(islice(rows, limit)) if values else list(islice(rows, limit))
        return found, len(found) < limit


def _page_of_large(pairs: Iterator[tuple[bytes, bytes]], limit: int) -> Page:
    rows: dict[bytes, bytes] = {}
    size = 0
    for key, data in islice(pairs, limit):
        rows[key] = data
        size += len(data)
        if size >= PAGE_BYTES:
            return rows, False
    return rows, len(rows) < limit


def _seek_last(cursor: lmdb.Cursor[bytes], high: bytes | None) -> bool:
    if high is None or not cursor.set_range(high):
        return cursor.last()
    return cursor.prev()
