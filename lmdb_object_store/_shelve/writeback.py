"""WritebackStore: construction, writes, transactions, flush and close of a store that keeps its values."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from threading import get_ident
from typing import Any

from .._errors import FlushError, check_limit, logger
from .._keys.interval import Interval
from .cache import Cache, CachingStore, K, V


class WritebackStore(CachingStore[K, V]):
    """A store that keeps in memory each value that is read or stored, and gives that very object again.

    `sync`, `flush`, `close`, the end of the `with` block, pickling, collection and exit write the values that have
    changed. For that, each kept value is serialized and compared to the stored bytes. If they differ, the stored value
    is loaded and serialized once more, since equal values may have different bytes. A flush that a threshold or a read
    starts does not look for changes. Each kept value takes the memory of the object and of its serialized form.

    `max_cached` bounds the number of kept values (None: no bound). Beyond it, the value least recently read or stored
    is written, if it has changed, and dropped. Later changes of a dropped object are lost.

    A transaction begins by writing earlier changes, and commits the changes that are made within it. A rollback drops
    all kept values. A read of a value waits for a transaction of another thread.

    If another process or store has written a key, its value is read again. A kept value that has changed as well
    is written over it. Changed values are written before a fork, and the child starts with no kept values.
    """

    __module__ = "lmdb_object_store"

    def __init__(
        self,
        db_path: str | os.PathLike[str] | bytes,
        batch_size: int | None = 1000,
        *,
        max_cached: int | None = None,
        **options: Any,
    ) -> None:
        self._check_unopened()
        if options.get("readonly"):
            raise ValueError("a read-only store has no writeback: leave out writeback=True, or open the store to write")
        if max_cached is not None:
            check_limit("max_cached", max_cached)
        self._start_cache(max_cached)
        super().__init__(db_path, batch_size, **options)

    _writeback = True

    def _start_reading(self) -> None:
        super()._start_reading()
        self._is_pickled = False  # values go through the cache

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "max_cached": self._max_cached}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._check_unopened()
        self._start_cache(state["max_cached"])
        super().__setstate__(state)

    def _forget_pending(self) -> None:
        super()._forget_pending()
        self._cache.clear()
        self._writing_back = None  # in a fork: a thread of the parent, whose id a new thread may get

    # -- writing: keep the stored value, drop a deleted one

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
            self._add(stored, data, at_count)
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

        changes = self._changes_of(noted())
        with self._environment.lock:
            self._commit_many(changes)
            for stored, value in values.items():
                self._keep(stored, value, changes[stored])
        self._evict()

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value of `key`. Store and keep `default` first if there is none. Never flush first."""
        value = super().setdefault(key, default)
        self._evict()
        return value

    def _add(self, key: bytes, data: bytes | None, at_count: int | None = None) -> None:
        with self._environment.lock:
            if data is None:
                self._cache.pop(key, None)
            super()._add(key, data, at_count)

    def _replace_row(self, stored: bytes, old: bytes | None, new: bytes | None) -> bool:
        done = super()._replace_row(stored, old, new)
        if done and new is None:
            self._cache.pop(stored, None)
        return done

    def _commit_emptied(self, interval: Interval) -> None:
        super()._commit_emptied(interval)
        self._cache.drop(interval)

    # -- transactions

    def _write_back_changes(self) -> None:
        failure = self._write_back(self._write)
        if failure is not None:
            raise failure

    def _drop_kept(self) -> None:
        self._cache.clear()  # without the lock, which is released just then: this must not fail

    def _drop_kept_in(self, interval: Interval) -> None:
        self._cache.drop(interval)

    # -- flush and the end

    def flush(self) -> None:
        """Commit the pending changes and the changed values, in one transaction.

        lmdb.Error if that fails: then all of it stays pending. RuntimeError that names the key if a changed value
        cannot be serialized: then all others are written.
        """
        self._check_writable()
        failure = self._write_back(self._write)
        super().flush()
        if failure is not None:
            raise failure

    def close(self, strict: bool = False) -> None:
        """Flush as `flush` does, and close.

        A value that cannot be serialized is a FlushError with `strict`, else it is logged. RuntimeError if the
        recursion limit or the memory keeps a value from being serialized: the store stays open.
        """
        if self._writing_back == get_ident():  # a signal handler, whose close would lose the other changed values
            raise RuntimeError(f"this thread is writing values back to {self.db_path}: call close() again after it")
        failure = self._write_back(self._write)
        if failure is not None and isinstance(failure.__cause__, (RecursionError, MemoryError)):
            super().flush()  # the other values
            raise failure  # a caller with more room can write it
        try:
            super().close(strict)
        except FlushError:
            self._log(failure)
            raise
        if failure is not None and strict:
            raise FlushError(str(failure)) from failure
        self._log(failure)

    def __del__(self) -> None:
        cache = getattr(self, "_cache", None)  # None: its constructor failed
        try:
            if cache:
                self._log(self._write_back(self._write_unlocked))
        finally:
            if cache:
                self._cache = Cache()  # else `close` would look through the values again, with the lock held
            super().__del__()

    def _log(self, failure: Exception | None) -> None:
        if failure is not None:
            logger().error("%s", failure, exc_info=failure)
