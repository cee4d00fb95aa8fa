"""CachingStore: a store that keeps the values it has loaded and stored, and adds changed ones to the buffer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from threading import get_ident
from typing import Any, TypeVar

import lmdb

from .._buffer.attributes import Limit
from .._buffer.state import RefusingBuffer
from .._environment.environment import MISSING
from .._environment.locks import undisturbed
from .._errors import StoreClosedError, logger
from .._keys.interval import Interval
from .._store import LmdbObjectStore

K = TypeVar("K")
V = TypeVar("V")


class Kept:
    """A kept value, and its bytes as they were stored last."""

    __slots__ = ("row", "value")

    def __init__(self, value: Any, row: bytes) -> None:
        self.value = value
        self.row = row


class Cache(OrderedDict[bytes, Kept]):
    """The kept values, the least recently used first.

    The store adds and removes entries under the environment's lock. `_touch` needs no lock, and neither does the
    garbage collector. Each method below therefore expects that the cache changes during the call.
    """

    def oldest(self) -> tuple[bytes, Kept] | None:
        """Return the least recently used entry; None if there is none."""
        return undisturbed(lambda: next(iter(self.items()), None))

    def entries(self) -> list[tuple[bytes, Kept]]:
        """Return all entries, the least recently used first."""
        return undisturbed(lambda: list(self.items()))

    def drop(self, interval: Interval) -> None:
        """Drop the entries whose stored keys are in `interval`."""
        for stored, _ in self.entries():
            if interval.contains(stored):
                self.pop(stored, None)


class CachingStore(LmdbObjectStore[K, V]):
    """Provide the reads of kept values, `_keep`, `_write_back` and `_evict`.

    Values are serialized and loaded with no lock held.
    """

    max_cached: Limit[int | None] = Limit(optional=True)

    def _start_cache(self, max_cached: int | None) -> None:
        self._max_cached = max_cached
        self._cache = Cache()
        self._writing_back: int | None = None  # the id of the thread that is in `_write_back`

    # -- reading: give the kept value, else load and keep the stored one

    def _load(self, stored: bytes, data: Any, strings: Iterable[Any] = ()) -> V:
        while True:
            kept = self._cache.get(stored)
            if kept is None:
                kept = Kept(super()._load(stored, data), data)
                with self._environment.lock:
                    row = self._find(stored)
                    if row == data:
                        kept = self._cache.setdefault(stored, kept)
                if row is None or row == data:
                    break
            else:
                row = data if kept.row == data else self._row_of_another(stored, kept)
                if row is None or row == kept.row:
                    self._touch(stored)
                    break
            data = row  # written while the value was loaded
        self._evict()
        return kept.value  # type: ignore[no-any-return]  # it is a V

    def _row_of_another(self, stored: bytes, kept: Kept) -> bytes | None:
        """Return the row that another process or store has written in place of that of `kept`, and drop `kept`.

        Return None if there is no such row, or if the value of `kept` has changed as well: then it stays.
        """
        with self._environment.lock:
            row = self._find(stored)
            if self._cache.get(stored) is not kept:
                return row
        if row is None or row == kept.row or self._changed(stored, kept) is not None:
            return None
        with self._environment.lock:
            if self._cache.get(stored) is kept:
                del self._cache[stored]
        return row

    def _loaded(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[V]:
        return (self._load(stored, data) for stored, data in rows)

    def _load_all(self, rows: dict[bytes, bytes]) -> dict[bytes, V]:
        return dict(zip(rows, self._loaded(rows.items())))

    def _keep(self, stored: bytes, value: Any, row: Any) -> None:
        self._cache[stored] = Kept(value, row)
        self._touch(stored)

    def _touch(self, stored: bytes) -> None:
        """Make `stored` the most recently used key. Do nothing if another thread has just dropped it."""
        if self._max_cached is not None:
            try:  # noqa: SIM105  # contextlib is slow to import
                self._cache.move_to_end(stored)
            except KeyError:
                pass

    # -- writing back the values that have changed

    def _write_back(self, write: Callable[[bytes, Kept], None]) -> Exception | None:
        """Call `write` for each kept value. Return the error of the first one that cannot be serialized.

        Do nothing if this thread is in a call: a value that refers to the store flushes it when it is pickled.
        """
        if self._writing_back == get_ident():
            return None
        failure: Exception | None = None
        try:
            self._writing_back = get_ident()
            for stored, kept in self._cache.entries():
                try:
                    write(stored, kept)
                except Exception as error:
                    if isinstance(self._sink, RefusingBuffer):  # closed and written back by another thread
                        break
                    if failure is None:
                        key = self._codec.shown(stored)
                        failure = RuntimeError(
                            f"the changed value of key {key} of {self.db_path} was not stored: {error}"
                        )
                        failure.__cause__ = error
        finally:
            self._writing_back = None  # another thread's id may go: that thread then serializes a value twice
        return failure

    def _write(self, stored: bytes, kept: Kept) -> None:
        """Add the value of `kept` to the buffer, if it has changed. Flush nothing."""
        row = kept.row
        data = self._changed(stored, kept)
        if data is None:
            return
        with self._environment.lock:
            # Stop if the value was replaced, deleted or written by another thread. A `put` of a signal handler, which
            # the lock does not keep out, may come first: then look again.
            while self._cache.get(stored) is kept and kept.row is row:
                if self._add_if_unchanged(stored, self._pending.get(stored, MISSING), self._commits, data):
                    kept.row = data

    def _write_unlocked(self, stored: bytes, kept: Kept) -> None:
        # As `_write`, for a finaliser. It must not wait for the lock, and no other thread has the store any more.
        data = self._changed(stored, kept)
        if data is not None:
            self.write_buffer[stored] = data

    def _changed(self, stored: bytes, kept: Kept) -> bytes | None:
        """Return the bytes of the value of `kept`, or None if it has not changed since it was stored."""
        key, row = self._codec.to_bytes(stored), kept.row
        data = self._dumps(key, kept.value)
        return None if data == row or data == self._dumps(key, self._loads(row)) else data

    def _evict(self) -> None:
        """Write and drop the least recently used values, as long as there are more than `max_cached`."""
        if self._max_cached is None or len(self._cache) <= self._max_cached:
            return
        while self._max_cached is not None and len(self._cache) > self._max_cached:
            oldest = self._cache.oldest()
            if oldest is None:  # closed by another thread
                return
            stored, kept = oldest
            try:
                self._write(stored, kept)
            except Exception:
                if self._is_closed:
                    raise
                self._touch(stored)  # it stays, beyond the bound, and the next flush raises
                break
            with self._environment.lock:
                if self._cache.get(stored) is kept:
                    del self._cache[stored]
        try:
            self._flush_if_full()
        except StoreClosedError:
            raise
        except (lmdb.Error, OSError) as error:  # a read must not fail for it
            logger().warning("%s could not be flushed, its changes stay pending: %s", self.db_path, error)
