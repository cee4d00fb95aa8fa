"""WritebackStore: a store that keeps the objects it gives and takes, and writes those that have changed."""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import get_ident

import lmdb

from ._environment import MISSING
from ._errors import FlushError, StoreClosedError, check_limit, logger, shown
from ._interval import Interval
from ._store import LmdbObjectStore
from ._typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class _Cached:
    """A value that is kept, and its bytes as they were stored last."""

    __slots__ = ("row", "value")

    def __init__(self, value: Any, row: bytes) -> None:
        self.value = value
        self.row = row


Cache = OrderedDict[bytes, _Cached]


class WritebackStore(LmdbObjectStore[K, V]):
    """A store that keeps in memory each value that is read or stored, and gives that very object again.

    `sync`, `flush`, `close`, the end of the `with` block, pickling, collection and exit write those that have changed.
    For that each one is serialized and compared to what is stored; one that differs is loaded and serialized once
    more, since an equal value may be serialized otherwise. A flush that a threshold or a read sets off does not look
    for changes. Each kept value takes the memory of the object and of its serialized form.

    `max_cached` bounds their number (None: as many as there are). Past it the one least recently read or stored is
    written, if it has changed, and dropped: what is changed in it after that is lost.

    A value that another process or store has written is read anew, unless the one that is kept has changed: then that
    is written over it. A forked child starts with nothing kept: what has changed before, the parent writes.
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str] | bytes,
        batch_size: int | None = 1000,
        *,
        max_cached: int | None = None,
        **options: Any,
    ) -> None:
        if options.get("readonly"):
            raise ValueError("a read-only store can write nothing back: open it without writeback, or to be written")
        if max_cached is not None:
            check_limit("max_cached", max_cached)
        self._start_cache(max_cached)
        super().__init__(db_path, batch_size, **options)

    def _start_cache(self, max_cached: int | None) -> None:
        self.max_cached = max_cached
        # By stored key, the least recently used first. It changes under the environment's lock, but for that order.
        self._cache: Cache = OrderedDict()
        # The threads that are writing back, in which a value may be serialized that flushes this store.
        self._writing: set[int] = set()

    def _start_reading(self) -> None:
        super()._start_reading()
        self._direct = False  # what is read and stored goes through the cache

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "max_cached": self.max_cached}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._start_cache(state["max_cached"])
        super().__setstate__(state)

    def _forget_pending(self) -> None:
        super()._forget_pending()
        self._cache.clear()
        self._writing.clear()

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
        return entry.value  # type: ignore[no-any-return]

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

    # -- writing: what is stored is kept, what is deleted is not

    def put(self, key: K, obj: V) -> None:
        """Store `obj` under `key` as it is now, in memory until the next flush, and keep it: see the class."""
        self._put(key, obj)

    __setitem__ = put

    def _update(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        for key, value in pairs:
            self._put(key, value, at_count=sys.maxsize)

    def _put(self, key: Any, value: Any, at_count: int | None = None) -> None:
        stored = self._codec.encode_to_store(key)
        data = self._dumps(key, value)
        with self._environment.lock:
            self._check_writable()
            self._keep(stored, value, data)
            self._stage(stored, data, at_count)
        self._evict()

    def put_many(self, items: Mapping[K, V] | Iterable[tuple[K, V]]) -> None:
        """Store all of `items` in one transaction, at once, as the base class does, and keep their values."""
        self._check_writable()
        pairs = items.items() if isinstance(items, Mapping) else items
        values: dict[bytes, Any] = {}

        def noted() -> Iterator[tuple[Any, Any]]:
            for key, value in pairs:
                values[self._codec.encode_to_store(key)] = value
                yield key, value

        changes = self._codec.pickled(noted(), self._dumps)
        with self._environment.lock:
            self._commit_many(changes)
            for stored, value in values.items():
                self._keep(stored, value, changes[stored])
        self._evict()

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """The value of `key`; `default` is stored first if there is none, and kept. Never flushes first."""
        stored = self._codec.encode_to_store(key)
        self._check_writable()
        new: bytes | None = None
        while (data := self._find(stored)) is None:
            new = new or self._dumps(key, default)
            with self._environment.lock:
                if self._swap(stored, None, new):
                    self._keep(stored, default, new)
                    break
        value = default if data is None else self._load(stored, data)
        self._evict()
        return value

    def _stage(self, key: bytes, data: bytes | None, at_count: int | None = None) -> None:
        with self._environment.lock:
            if data is None:
                self._cache.pop(key, None)
            super()._stage(key, data, at_count)

    def _swap(self, stored: bytes, old: bytes | None, new: bytes | None) -> bool:
        done = super()._swap(stored, old, new)
        if done and new is None:
            self._cache.pop(stored, None)
        return done

    def _commit_emptied(self, interval: Interval) -> None:
        try:
            super()._commit_emptied(interval)
        except BaseException:
            if self._is_empty(interval):  # interrupted after the commit: what has changed would come back
                self._drop_cached(interval)
            raise
        self._drop_cached(interval)

    def _drop_cached(self, interval: Interval) -> None:
        for stored, _ in _items(self._cache):
            if interval.contains(stored):
                self._cache.pop(stored, None)

    def _keep(self, stored: bytes, value: Any, row: Any) -> None:
        self._cache[stored] = _Cached(value, row)
        self._touch(stored)

    def _touch(self, stored: bytes) -> None:
        if self.max_cached is not None:
            try:  # noqa: SIM105  # contextlib is slow to import
                self._cache.move_to_end(stored)
            except KeyError:  # dropped by another thread
                pass

    # -- writing back. Values are serialized with nothing held, as everywhere.

    def flush(self) -> None:
        """Commit what is pending and what has changed, in one transaction.

        lmdb.Error where that fails: then all of it stays pending. RuntimeError that names the key where a changed
        value cannot be serialized: then all others are written.
        """
        self._check_writable()
        failure = self._write_back(self._write)
        super().flush()
        if failure is not None:
            raise failure

    def close(self, strict: bool = False) -> None:
        """`flush` and close. A value that cannot be serialized is a FlushError with `strict`, else logged."""
        failure = self._write_back(self._write)
        try:
            super().close(strict)
        except FlushError:
            self._tell(failure)
            raise
        if failure is not None and strict:
            raise FlushError(str(failure)) from failure
        self._tell(failure)

    def __del__(self) -> None:
        try:
            if getattr(self, "_cache", None):  # None: its constructor failed
                self._tell(self._write_back(self._hand_over))
        finally:
            self._cache = OrderedDict()  # else the lock would be held as it is looked through again
            super().__del__()

    def _write_back(self, write: Callable[[bytes, _Cached], None]) -> Exception | None:
        """`write` each that is kept. Gives the error of the first whose value cannot be serialized."""
        thread = get_ident()
        if thread in self._writing:
            return None
        failure: Exception | None = None
        self._writing.add(thread)
        try:
            for stored, entry in _items(self._cache):
                try:
                    write(stored, entry)
                except Exception as error:
                    if self._is_closed:
                        raise
                    failure = failure or self._unwritable(stored, error)
        finally:
            self._writing.discard(thread)
        return failure

    def _write(self, stored: bytes, entry: _Cached) -> None:
        """Stage the value of `entry`, if it has changed; flush nothing."""
        row = entry.row
        data = self._changed(stored, entry)
        if data is None:
            return
        with self._environment.lock:
            # Else it has been replaced or deleted, or written by another thread. A signal handler may come between.
            while self._cache.get(stored) is entry and entry.row is row:
                if self._stage_if_unchanged(stored, self.write_buffer.get(stored, MISSING), self._commits, data):
                    entry.row = data

    def _hand_over(self, stored: bytes, entry: _Cached) -> None:
        # As `_write`, for a finaliser, which must not wait for the lock, and needs none: no other thread has the store.
        data = self._changed(stored, entry)
        if data is not None:
            self._accept[stored] = data

    def _changed(self, stored: bytes, entry: _Cached) -> bytes | None:
        """What the value of `entry` is serialized to; None if it has not changed since it was stored."""
        key, row = self._codec.to_bytes(stored), entry.row
        data = self._dumps(key, entry.value)
        return None if data == row or data == self._dumps(key, self._loads(row)) else data

    def _unwritable(self, stored: bytes, error: Exception) -> RuntimeError:
        key = shown(self._codec.to_bytes(stored))
        failure = RuntimeError(f"what has changed in the value of key {key} of {self.db_path} is not stored: {error}")
        failure.__cause__ = error
        return failure

    def _tell(self, failure: Exception | None) -> None:
        if failure is not None:
            logger().error("%s", failure, exc_info=failure)

    def _evict(self) -> None:
        """Write and drop the least recently used, as long as there are more than `max_cached`."""
        if self.max_cached is None or len(self._cache) <= self.max_cached:
            return
        while len(self._cache) > self.max_cached:
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
    while True:
        try:
            return next(iter(cache.items()), None)
        except RuntimeError:
            pass


def _items(cache: Cache) -> list[tuple[bytes, _Cached]]:
    while True:
        try:
            return list(cache.items())
        except RuntimeError:
            pass
