"""ManyMixin: what a store does with many keys at once, and with all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from itertools import chain
from pickle import HIGHEST_PROTOCOL
from pickle import dumps as pickled
from typing import TYPE_CHECKING, Any, TypeVar, overload

import lmdb

from .._buffer.pending import BufferMixin
from .._buffer.scan import FIRST_PAGE, scan
from .._environment import read
from .._environment.environment import MISSING
from .._environment.read import Page, Rows
from .._errors import closed, note_key
from .._keys.codec import EMPTY
from .._keys.interval import Interval
from .._values.serializing import MAX_VALUE_BYTES, too_large

if TYPE_CHECKING:
    from typing import Literal

K = TypeVar("K")
V = TypeVar("V")


class ManyMixin(BufferMixin, MutableMapping[K, V]):
    """Provides `get_many`, `put_many`, `update`, `len` and the scan. Needs the attributes and the methods below.

    `_open_pages` has the keys of the page that each iterator is in. `close` replaces it, and empties these.
    """

    _fixed: dict[str, Any]
    _is_closed: bool
    _open_pages: dict[object, list[Any]]

    @abstractmethod
    def _check_writable(self) -> None:
        """Raise if the store is closed or read-only."""

    @abstractmethod
    def _load_all(self, rows: dict[bytes, bytes]) -> dict[bytes, V]:
        """`rows` with values in place of their bytes."""

    @overload
    def get_many(
        self, keys: Iterable[K], *, decode_keys: Literal[False] = False, decode_not_found: bool | None = None
    ) -> tuple[dict[bytes, V], list[K]]: ...
    @overload
    def get_many(
        self, keys: Iterable[K], *, decode_keys: Literal[True], decode_not_found: bool | None = None
    ) -> tuple[dict[K, V], list[K]]: ...
    @overload
    def get_many(
        self, keys: Iterable[K], *, decode_keys: bool, decode_not_found: bool | None = None
    ) -> tuple[dict[Any, V], list[K]]: ...
    def get_many(
        self, keys: Iterable[Any], *, decode_keys: bool = False, decode_not_found: bool | None = None
    ) -> tuple[dict[Any, V], list[Any]]:
        """The items of `keys` that are there, by key in bytes, and those of `keys` that are not, as given.

        One read transaction for all. With `decode_keys` the found keys are as iteration gives them (str, or bytes
        where a key is no text; or what the `KeyEncoding` decodes), with `decode_not_found` (None: as `decode_keys`)
        those not found too. ValueError without `key_encoding`.
        """
        decode_missing = decode_keys if decode_not_found is None else decode_not_found
        if (decode_keys or decode_missing) and self._fixed["key_encoding"] is None:
            raise ValueError(
                "keys can be decoded only where key_encoding is set: open the store with key_encoding='utf-8', say"
            )
        keys = list(keys)
        encode, plain = self._codec.encode, self._plain
        stored_keys = [key if type(key) is bytes and 0 < len(key) <= plain else encode(key) for key in keys]
        rows: dict[bytes, Any]
        if self._pending:
            if any(stored not in self._pending for stored in stored_keys):
                self._flush_before_read()
            rows = self._find_many(stored_keys)
        else:
            rows = dict(zip(stored_keys, read.lookup_many(self._environment, stored_keys)))
            if None in rows.values():
                rows = {stored: data for stored, data in rows.items() if data is not None}
        found: dict[Any, V] = self._load_all(rows)
        missing = [] if len(rows) == len(keys) else [key for key, k in zip(keys, stored_keys) if k not in rows]
        if decode_keys or EMPTY in found:
            given_back = self._codec.decode if decode_keys else self._codec.to_bytes
            found = {given_back(stored): value for stored, value in found.items()}
        if decode_missing:
            missing = [key if isinstance(key, str) else self._codec.decode(self._codec.encode(key)) for key in missing]
        return found, missing

    def _find_many(self, stored_keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Those of `stored_keys` that are there, with their values, in the order asked for. One read transaction."""
        rows = {key: self._pending.get(key, MISSING) for key in stored_keys}
        unknown = [key for key, data in rows.items() if data is MISSING]
        if unknown:
            rows.update(zip(unknown, read.lookup_many(self._environment, unknown)))
        return {key: data for key, data in rows.items() if data is not None}

    def put_many(self, items: Mapping[K, V] | Iterable[tuple[K, V]]) -> None:
        """Store all of `items` in one transaction, at once: all, or none where this raises.

        Pending changes are flushed before, in a transaction of their own. All items are held pickled
        in memory meanwhile. The last of several values for one key counts. Within a transaction they are part of it.
        """
        self._check_writable()
        pairs = items.items() if isinstance(items, Mapping) else items
        self._commit_many(self._changes_of(pairs))

    def _changes_of(self, pairs: Iterable[tuple[Any, Any]]) -> dict[bytes, bytes | None]:
        """The changes that store `pairs`, their values as bytes. Raises what `put` does."""
        encode, plain, direct, dumps = self._codec.encode_to_store, self._plain, self._direct, self._dumps
        changes: dict[bytes, bytes | None] = {}
        for key, value in pairs:
            stored = key if type(key) is bytes and 0 < len(key) <= plain else encode(key)
            if direct:
                try:
                    data = pickled(value, HIGHEST_PROTOCOL)
                except Exception as error:
                    note_key(error, key)
                    raise
            else:
                data = dumps(key, value)
            if len(data) > MAX_VALUE_BYTES:
                raise too_large(key, data)
            changes[stored] = data
        return changes

    def _commit_many(self, changes: dict[bytes, bytes | None]) -> None:
        with self._environment.lock:
            block = self._block()
            if block is not None:
                block.stage_many(changes)
                return
            self._refuse_in_commit()
            self._flush()
            self._environment.busy = True
            try:
                self._commit(changes)
                self._commits += 1
            finally:
                self._environment.busy = False

    if not TYPE_CHECKING:  # its many signatures are inherited

        def update(self, /, *others, **more):
            """Store what `dict.update` would, as so many single writes: what comes before an error is kept.

            They are committed together, as far as `batch_bytes` allows: `batch_size` counts at the end alone.
            """
            self._check_writable()  # where there is nothing to store, too
            if len(others) > 1:
                raise TypeError(f"update expected at most 1 argument, got {len(others)}")
            self._update(chain(*map(_pairs, others), more.items()))
            self._flush_if_full()

    # -- the scan

    def _pages(self, interval: Interval, *, reverse: bool, values: bool, first: int = FIRST_PAGE) -> Iterator[Rows]:
        """Every page of `interval` in order, with what is pending laid over it."""
        if self._is_closed:  # before the first page is asked for
            raise closed(self.db_path)

        def read_page(low: bytes, high: bytes | None, limit: int) -> Page:
            if self._hides_file():
                return {} if values else [], True
            return read.page(self._environment, low, high, limit, reverse=reverse, values=values)

        return scan(read_page, self._changes, interval.low, interval.high, reverse=reverse, first=first)

    def _until_close(
        self,
        pages: Iterator[Any],
        decode_page: Callable[[list[bytes]], Iterable[K]],
        loaded: Callable[[Iterable[tuple[bytes, bytes]]], Iterator[V]] | None = None,
    ) -> Iterator[Iterable[Any]]:
        """The keys of each of `pages`, with their values where there is `loaded`, for an iterator to go through.

        StoreClosedError once the store is closed: at the next row, because `close` empties the keys of the page that
        an iterator is in. To ask at each row would cost a loop over keys a third of its time.
        """
        open_pages = self._open_pages
        try:
            for page in pages:
                stored = page if type(page) is list else list(page)
                keys = decode_page(stored)
                open_pages[pages] = keys if type(keys) is list else stored
                if open_pages is not self._open_pages:  # another thread has closed the store just now
                    break
                yield keys if loaded is None else zip(keys, loaded(page.items()))
                if open_pages is not self._open_pages:
                    break
            else:
                return
        finally:
            open_pages.pop(pages, None)
        raise closed(self.db_path)

    def _changes(self) -> dict[bytes, bytes | None]:
        return self._pending.copy()

    def _hides_file(self) -> bool:
        """Whether the transaction that this thread has open has emptied the store."""
        pending: Any = self._pending
        return pending is not self._write_buffer and pending.own() and pending.emptied

    def _is_empty(self, interval: Interval) -> bool:
        rows, _ = read.page(self._environment, interval.low, interval.high, 1, reverse=False, values=False)
        return not rows

    def __len__(self) -> int:
        # Inherited, it would count row by row.
        if not self._pending:
            try:
                entries: int = self._environment.stat()["entries"]
                return entries
            except lmdb.Error:
                pass
        self._flush_before_read()
        if self._hides_file():
            return sum(data is not None for data in self._changes().values())
        return read.count(self._environment, self._pending.copy())


def _pairs(other: Any) -> Iterable[tuple[Any, Any]]:
    # What `dict.update` takes.
    if isinstance(other, Mapping):
        return other.items()
    return ((key, other[key]) for key in other.keys()) if hasattr(other, "keys") else other  # noqa: SIM118  # no mapping
