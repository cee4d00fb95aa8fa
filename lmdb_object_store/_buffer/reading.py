"""ReadingMixin: pending changes first, then the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .._environment import read
from .._environment.environment import MISSING
from .._environment.read import Page, Rows
from .._errors import closed
from .._keys.interval import Interval
from .._values.serializing import loads, remedy
from .pending import BufferMixin
from .scan import FIRST_PAGE, scan
from .state import Changes


class ReadingMixin(BufferMixin):
    """Provides the reads of rows and of their values, and changes that depend on what was read.

    A read looks into the pending changes first and into the file second. A flush drops a change only after its commit,
    so a row that a flush moves in between is never missed.
    """

    # -- rows

    def _find(self, stored: bytes) -> bytes | None:
        """Return the bytes of the row `stored`, or None. Flush nothing."""
        data = self._pending.get(stored, MISSING)
        return read.lookup(self._environment, stored) if data is MISSING else data

    def _fetch(self, stored: bytes) -> bytes | None:
        """Return the bytes of the row `stored`, or None. Flush first if it is not pending."""
        data = self._pending.get(stored, MISSING)
        if data is MISSING:
            self._flush_before_read()
            data = read.lookup(self._environment, stored)
        return data  # type: ignore[no-any-return]  # MISSING is Any

    def _find_many(self, stored_keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the rows of `stored_keys` that exist, in the order asked for. One read transaction."""
        rows = {key: self._pending.get(key, MISSING) for key in stored_keys}
        unknown = [key for key, data in rows.items() if data is MISSING]
        if unknown:
            rows.update(zip(unknown, read.lookup_many(self._environment, unknown)))
        return {key: data for key, data in rows.items() if data is not None}

    def _pages(self, interval: Interval, *, reverse: bool, values: bool, first: int = FIRST_PAGE) -> Iterator[Rows]:
        """Yield every page of `interval` in order, pending changes included. Nothing is open between two pages."""
        if self._is_closed:  # before the first page is asked for
            raise closed(self.db_path)

        def read_page(low: bytes, high: bytes | None, limit: int) -> Page:
            if self._is_emptied():
                return {} if values else [], True
            return read.page(self._environment, low, high, limit, reverse=reverse, values=values)

        return scan(read_page, self._changes, interval.low, interval.high, reverse=reverse, first=first)

    def _changes(self) -> Changes:
        return self._pending.copy()

    def _is_emptied(self) -> bool:
        """Return True if this thread's open transaction has emptied the store."""
        pending: Any = self._pending
        if pending is self._write_buffer:
            return False
        pending.check()
        return bool(pending.is_mine() and pending.emptied)

    # -- values. Nothing is held while a value is unpickled.

    def _value(self, stored: bytes, default: Any) -> Any:
        """Return the value of `stored`, or `default`. Flush first if it is not pending."""
        data = self._pending.get(stored, MISSING)
        if data is MISSING:
            self._flush_before_read()
            if self._expects_large:
                return self._large_value(stored, default)
            data = read.lookup(self._environment, stored)
        if data is None:
            return default
        self._expect_size(len(data))
        return self._load(stored, data)

    def _large_value(self, stored: bytes, default: Any) -> Any:
        data, strings = read.lookup_large(self._environment, stored)
        if data is None:
            return default
        self._expect_size(len(data) + sum(map(len, strings)))
        return self._load(stored, data, strings)

    def _expect_size(self, size: int) -> None:
        """Expect the next value to be as large as this one, of `size` bytes."""
        self._expects_large = self._is_pickled and read.is_large(size)
        self._short_read_limit = self._raw_key_limit if self._is_pickled and not self._expects_large else 0

    def _load(self, stored: bytes, data: bytes | bytearray, strings: Iterable[Any] = ()) -> Any:
        """Return the value whose bytes are `data`. RuntimeError, its cause chained, if it cannot be unpickled."""
        try:
            value = self._loads(data, buffers=strings) if strings else self._loads(data)
        except Exception as error:
            raise self._unreadable(stored, data, error) from error
        return value

    def _loaded(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[Any]:
        """Yield the values of `rows`, each as it is asked for."""
        loads = self._loads
        for stored, data in rows:
            try:
                value = loads(data)
            except Exception as error:
                raise self._unreadable(stored, data, error) from error
            yield value

    def _load_all(self, rows: dict[bytes, bytes]) -> dict[bytes, Any]:
        """Return `rows` with values in place of their bytes."""
        try:
            return dict(zip(rows, map(self._loads, rows.values())))
        except Exception:
            return dict(zip(rows, self._loaded(rows.items())))  # which names the key of the value

    def _unreadable(self, stored: bytes, data: bytes | bytearray, error: Exception) -> RuntimeError:
        how = "unpickle" if self._loads is loads else "deserialize"
        where = "buffered" if self._pending.get(stored) is data else "DB"
        text = f"Failed to {how} {where} key {self._codec.shown(stored)}: {error}"
        # Buffered bytes are as this store's own serializer has made them.
        if where == "DB" and (more := remedy(self.serializer, data, error)):
            text = text.rstrip(".") + more
        return RuntimeError(text)

    # -- changes that depend on a read: unpickled with nothing held, then compared under the lock

    def _replace_row(self, stored: bytes, old: bytes | None, new: bytes | None) -> bool:
        """Add the change `new` if the row of `stored` still is `old` (None: absent). Needs the lock.

        Return True if the change was added. If this raises, for example in the flush that it starts, an `old` row still
        exists: a caller that takes a row gets the row or an error.
        """
        try:
            if not self._compare_and_add(stored, old, new):
                return False
            self._flush_if_full()
        except BaseException:
            if old is not None and not self._is_closed:
                self._compare_and_add(stored, None, old)
            raise
        return True

    def _compare_and_add(self, stored: bytes, old: bytes | None, new: bytes | None) -> bool:
        commits = self._commits
        pending = self._pending.get(stored, MISSING)
        found = read.lookup(self._environment, stored) if pending is MISSING else pending
        return found == old and self._add_if_unchanged(stored, pending, commits, new)
