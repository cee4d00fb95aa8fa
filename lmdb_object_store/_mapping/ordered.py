"""OrderedMapping: all that follows from a scan of the rows of an interval in order. The whole store is one as well."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from .._buffer.reading import ReadingMixin
from .._errors import closed
from .._keys.interval import Interval
from .views import StoreItems, StoreKeys, StoreValues

if TYPE_CHECKING:
    from .range import StoreRange

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
S = TypeVar("S", bound="OrderedMapping[Any, Any]")

# How many keys IPython is given at most to complete one, and how long they may take.
_COMPLETIONS = 1000
_COMPLETION_SECONDS = 0.1


class OrderedMapping(MutableMapping[K, V]):
    """The rows of `_interval` of the store `_source()`. Needs both."""

    _interval: Interval

    @abstractmethod
    def _source(self) -> ReadingMixin:
        """The store. A call, since a store that held itself in an attribute would not be collected at once."""

    @abstractmethod
    def _within(self, interval: Interval) -> StoreRange[K, V]:
        """The mapping of the rows of `interval`, which is part of this one's."""

    # -- iteration and views

    def _scan_keys(self, *, reverse: bool = False) -> Iterator[K]:
        store = self._source()
        store._flush_before_read()
        pages = store._pages(self._interval, reverse=reverse, values=False)
        return chain.from_iterable(_until_close(store, pages, store._codec.decode_page))

    def _scan_items(self, *, reverse: bool = False) -> Iterator[tuple[K, V]]:
        store = self._source()
        store._flush_before_read()
        pages = store._pages(self._interval, reverse=reverse, values=True)
        return chain.from_iterable(_until_close(store, pages, store._codec.decode_page, store._loaded))

    def __iter__(self) -> Iterator[K]:
        return self._scan_keys()

    def __reversed__(self) -> Iterator[K]:
        return self._scan_keys(reverse=True)

    def __bool__(self) -> bool:
        # By `len`, it would count.
        return any(self._source()._pages(self._interval, reverse=False, values=False, first=1))

    def keys(self) -> StoreKeys[K]:
        """A live view of the keys, in order."""
        return StoreKeys(self)

    def values(self) -> StoreValues[V]:
        """A live view of the values, in order of their keys."""
        return StoreValues(self)

    def items(self) -> StoreItems[K, V]:
        """A live view of the items, in order of their keys."""
        return StoreItems(self)

    def __eq__(self, other: object) -> bool:
        # Inherited, it would hold both mappings in memory, and before it knew that their lengths differ.
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        theirs = other if isinstance(other, dict) else dict(other.items())
        return all(key in theirs and theirs[key] == value for key, value in self.items())

    __hash__ = None  # type: ignore[assignment]  # as a dict

    def copy(self) -> dict[K, V]:
        """All items in a dict. (`copy.copy` gives a second handle to the same file.)"""
        return dict(self.items())

    def __or__(self, other: Mapping[K2, V2]) -> dict[K | K2, V | V2]:
        return _merged(self, other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Mapping[K2, V2]) -> dict[K | K2, V | V2]:
        return _merged(other, self) if isinstance(other, Mapping) else NotImplemented

    def __ior__(self: S, other: Mapping[K, V] | Iterable[tuple[K, V]]) -> S:  # type: ignore[misc]  # wider than `|`, as dict's
        self.update(other)
        return self

    def _ipython_key_completions_(self) -> list[Any]:
        """Return the first keys, which IPython offers after `store["` and a tab. Flush nothing."""
        store, keys = self._source(), list[Any]()
        deadline = monotonic() + _COMPLETION_SECONDS
        try:
            for stored in chain.from_iterable(store._pages(self._interval, reverse=False, values=False)):
                if len(keys) == _COMPLETIONS or monotonic() > deadline:
                    break
                keys.append(store._codec.decode(stored))
        except Exception:
            pass  # IPython would print it into the line that the user types
        return keys

    # -- parts, by order

    def irange(
        self,
        minimum: Any = None,
        maximum: Any = None,
        inclusive: tuple[bool, bool] = (True, True),
        reverse: bool = False,
    ) -> Iterator[K]:
        """The keys from `minimum` to `maximum` in order, or in the opposite order; None leaves that end open.

        `inclusive` says of each bound whether it is inside itself; `reverse` does not swap them. Bounds need not be
        keys that are there; TypeError for what can be no key. Read in pages, the first after one descent; flushes
        first as iteration does.
        """
        return self._within(self._between(minimum, maximum, inclusive))._scan_keys(reverse=reverse)

    def range(
        self, minimum: Any = None, maximum: Any = None, inclusive: tuple[bool, bool] = (True, True)
    ) -> StoreRange[K, V]:
        """A live mapping of the items from `minimum` to `maximum`, which are as in `irange`. Reads nothing itself."""
        return self._within(self._between(minimum, maximum, inclusive))

    def prefix(self, prefix: Any) -> StoreRange[K, V]:
        """A live mapping of the items whose keys, once encoded, begin with `prefix`, encoded as a key is.

        Under a `KeyEncoding` with a `prefix_range` that says which keys begin so: with OrderedKeys, all tuples that
        begin with the elements of a tuple, and all text that begins with a text. TypeError for what can be no key.
        Reads nothing itself.
        """
        codec = self._source()._codec
        bounds = codec.prefix_bounds(prefix)
        return self._within(self._part(Interval(*bounds) if bounds else Interval.of_prefix(codec.encode_bound(prefix))))

    def _between(self, minimum: Any, maximum: Any, inclusive: tuple[bool, bool]) -> Interval:
        if not isinstance(inclusive, (tuple, list)) or len(inclusive) != 2:
            raise TypeError(f"inclusive must be a pair of bools, for minimum and for maximum, not {inclusive!r}")
        encode = self._source()._codec.encode_bound
        low, high = (None if bound is None else encode(bound) for bound in (minimum, maximum))
        return self._part(Interval.between(low, high, inclusive))

    def _part(self, interval: Interval) -> Interval:
        return self._interval & interval.cut(self._source()._codec.max_size + 1)

    # -- the ends, and all of it

    def peekitem(self, *, last: bool = True) -> tuple[K, V]:
        """The last item in key order, or the first. KeyError if there is none. Flushes first as iteration does."""
        store = self._source()
        store._flush_before_read()
        row = self._end_row(last)
        if row is None:
            raise KeyError("peekitem(): there is no item")
        stored, data = row
        return store._codec.decode(stored), store._load(stored, data)

    def popitem(self, *, last: bool = True) -> tuple[K, V]:
        """Remove and return the last item in key order, or the first. KeyError if there is none. As safe as `pop`."""
        store = self._source()
        store._check_writable()
        while (row := self._end_row(last)) is not None:
            stored, data = row
            item = store._codec.decode(stored), store._load(stored, data)
            with store._environment.lock:
                if store._replace_row(stored, data, None):
                    return item
        raise KeyError("popitem(): there is no item")

    def _end_row(self, last: bool) -> tuple[bytes, bytes] | None:
        store = self._source()
        pages = store._pages(self._interval, reverse=last, values=False, first=1)
        for stored in chain.from_iterable(pages):
            data = store._find(stored)
            if data is not None:  # else another thread has deleted it just now
                return stored, data
        return None

    def _rows_of(self, keys: list[Any]) -> list[tuple[Any, bytes | None]]:
        # What iteration never gives is in no view, as it is in no set of its elements: a text key as bytes, a number.
        store, inside = self._source(), self._interval.contains
        encoded = [(key, store._codec.encode_own(key)) for key in keys]
        rows = store._find_many(stored for _, stored in encoded if stored is not None and inside(stored))
        return [(key, None if stored is None else rows.get(stored)) for key, stored in encoded]

    def clear(self) -> None:
        """Delete everything, pending changes included, in one transaction. What is pending outside stays so.

        Within a transaction it is part of that, and holds the keys of a part of the store in memory.
        """
        store = self._source()
        store._check_writable()
        with store._environment.lock:
            transaction = store._own_transaction()
            if transaction is not None:
                transaction.clear(self._interval)
                return
            store._check_no_commit()
            store._environment.close_collected()
            store._commit_emptied(self._interval)


def _merged(first: Mapping[Any, Any], second: Mapping[Any, Any]) -> dict[Any, Any]:
    # By items: `dict(store)` would read key by key.
    return dict(chain(first.items(), second.items()))


def _until_close(
    store: Any,
    pages: Iterator[Any],
    decode_page: Callable[[list[bytes]], Iterable[Any]],
    loaded: Callable[[Iterable[tuple[bytes, bytes]]], Iterator[Any]] | None = None,
) -> Iterator[Iterable[Any]]:
    """The keys of each of `pages`, with their values where there is `loaded`, for an iterator to go through.

    StoreClosedError once the store is closed: at the next row, because `close` empties the keys of the page that
    an iterator is in. To ask at each row would cost a loop over keys a third of its time.
    """
    open_pages = store._open_pages
    try:
        for page in pages:
            stored = page if type(page) is list else list(page)
            keys = decode_page(stored)
            open_pages[pages] = keys if type(keys) is list else stored
            if open_pages is not store._open_pages:  # another thread has closed the store just now
                break
            yield keys if loaded is None else zip(keys, loaded(page.items()))
            if open_pages is not store._open_pages:
                break
        else:
            return
    finally:
        open_pages.pop(pages, None)
    raise closed(store.db_path)
