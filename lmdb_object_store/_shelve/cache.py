"""CacheMixin: the values that a store keeps, and which of them have changed."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import lmdb

from .._buffer.attributes import Limit
from .._buffer.state import RefusingBuffer
from .._environment.environment import MISSING
from .._environment.stores import undisturbed
from .._errors import StoreClosedError, logger
from .._keys.interval import Interval
from .._mapping.keyed import KeyedMixin

K = TypeVar("K")
V = TypeVar("V")


class _Cached:
    """A value that is kept, and its bytes as they were stored last."""

    __slots__ = ("row", "value")

    def __init__(self, value: Any, row: bytes) -> None:
        self.value = value
        self.row = row


Cache = OrderedDict[bytes, _Cached]


class CacheMixin(KeyedMixin[K, V]):
    """Provides the reads of values that are kept, and `_keep`, `_write_back` and `_evict`. Stands left of the store.

    Values are serialized and loaded with nothing held, as everywhere.
    """

    max_cached: Limit[int | None] = Limit(optional=True)

    def _start_cache(self, max_cached: int | None) -> None:
        self._max_cached = max_cached
        # By stored key, the least recently used first. It changes under the environment's lock, but for that order.
        self._cache: Cache = OrderedDict()

    # -- reading: what is kept, else what is stored, which is kept from then on

    def _load(self, stored: bytes, data: Any, strings: Iterable[Any] = ()) -> V:
        while True:
            entry = self._cache.get(stored)
            if entry is None:
                entry = _Cached(super()._load(stored, data), data)
                with self._environment.lock:
                    row = self._find(stored)
                    if row == data:
                        entry = self._cache.setdefault(stored, entry)
                if row is None or row == data:
                    break
            else:
                row = data if entry.row == data else self._row_of_another(stored, entry)
                if row is None or row == entry.row:
                    self._touch(stored)
                    break
            data = row  # it has been written meanwhile
        self._evict()
        return entry.value  # type: ignore[no-any-return]  # it is a V

    def _row_of_another(self, stored: bytes, entry: _Cached) -> bytes | None:
        """What another process or store has written in place of the row of `entry`, which is dropped then.

        None if there is no such row, or the value of `entry` has changed as well, and goes on to be given.
        """
        with self._environment.lock:
            row = self._find(stored)
            if self._cache.get(stored) is not entry:
                return row
        if row is None or row == entry.row or self._changed(stored, entry) is not None:
            return None
        with self._environment.lock:
            if self._cache.get(stored) is entry:
                del self._cache[stored]
        return row

    def _loaded(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[V]:
        return (self._load(stored, data) for stored, data in rows)

    def _load_all(self, rows: dict[bytes, bytes]) -> dict[bytes, V]:
        return dict(zip(rows, self._loaded(rows.items())))

    # -- what is kept; with the lock held

    def _drop_cached(self, interval: Interval) -> None:
        for stored, _ in _items(self._cache):
            if interval.contains(stored):
                self._cache.pop(stored, None)

    def _keep(self, stored: bytes, value: Any, row: Any) -> None:
        self._cache[stored] = _Cached(value, row)
        self._touch(stored)

    def _touch(self, stored: bytes) -> None:
        if self._max_cached is not None:
            try:  # noqa: SIM105  # contextlib is slow to import
                self._cache.move_to_end(stored)
            except KeyError:  # dropped by another thread
                pass

    # -- what has changed

    def _write_back(self, write: Callable[[bytes, _Cached], None]) -> Exception | None:
        """`write` each that is kept. Gives the error of the first whose value cannot be serialized."""
        failure: Exception | None = None
        for stored, entry in [] if self._writes_back_already() else _items(self._cache):
            try:
                write(stored, entry)
            except Exception as error:
                if isinstance(self._accept, RefusingBuffer):  # closed meanwhile, by what wrote back itself
                    break
                failure = failure or self._unwritable(stored, error)
        return failure

    def _writes_back_already(self) -> bool:
        """Whether this flush is that of a value which holds the store, and is serialized to be written back.

        The stack tells, and no flag, which an interrupt could leave behind.
        """
        frame = sys._getframe(2)  # of what has called `_write_back`
        while frame.f_back is not None:
            frame = frame.f_back
            if frame.f_code is CacheMixin._write_back.__code__ and frame.f_locals["self"] is self:
                return True
        return False

    def _write(self, stored: bytes, entry: _Cached) -> None:
        """Stage the value of `entry`, if it has changed; flush nothing."""
        row = entry.row
        data = self._changed(stored, entry)
        if data is None:
            return
        with self._environment.lock:
            # Else it has been replaced or deleted, or written by another thread. A signal handler may come between.
            while self._cache.get(stored) is entry and entry.row is row:
                if self._stage_if_unchanged(stored, self._pending.get(stored, MISSING), self._commits, data):
                    entry.row = data

    def _hand_over(self, stored: bytes, entry: _Cached) -> None:
        # As `_write`, for a finaliser, which must not wait for the lock, and needs none: no other thread has the store.
        data = self._changed(stored, entry)
        if data is not None:
            self.write_buffer[stored] = data

    def _changed(self, stored: bytes, entry: _Cached) -> bytes | None:
        """What the value of `entry` is serialized to; None if it has not changed since it was stored."""
        key, row = self._codec.to_bytes(stored), entry.row
        data = self._dumps(key, entry.value)
        return None if data == row or data == self._dumps(key, self._loads(row)) else data

    def _unwritable(self, stored: bytes, error: Exception) -> RuntimeError:
        key = self._codec.shown(stored)
        failure = RuntimeError(f"the changed value of key {key} of {self.db_path} was not stored: {error}")
        failure.__cause__ = error
        return failure

    def _evict(self) -> None:
        """Write and drop the least recently used, as long as there are more than `max_cached`."""
        if self._max_cached is None or len(self._cache) <= self._max_cached:
            return
        while self._max_cached is not None and len(self._cache) > self._max_cached:
            oldest = _first(self._cache)
            if oldest is None:  # closed by another thread
                return
            stored, entry = oldest
            try:
                self._write(stored, entry)
            except Exception:
                if self._is_closed:
                    raise
                self._touch(stored)  # it is kept beyond the bound, and the next flush tells
                break
            with self._environment.lock:
                if self._cache.get(stored) is entry:
                    del self._cache[stored]
        try:
            self._flush_if_full()
        except StoreClosedError:
            raise
        except (lmdb.Error, OSError) as error:  # a read must not fail for it
            logger().warning("%s could not be flushed, its changes stay pending: %s", self.db_path, error)


# The order of a cache changes without the lock, amid these calls too.


def _first(cache: Cache) -> tuple[bytes, _Cached] | None:
    return undisturbed(lambda: next(iter(cache.items()), None))


def _items(cache: Cache) -> list[tuple[bytes, _Cached]]:
    return undisturbed(lambda: list(cache.items()))
