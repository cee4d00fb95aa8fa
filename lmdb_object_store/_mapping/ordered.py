"""OrderedMapping: iteration, views, ranges and both ends of an interval of keys, which may be the whole store."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from .._buffer.reading import ReadingMixin
from .._errors import closed
from .._keys.interval import Interval
from .views import K, StoreItems, StoreKeys, StoreValues, V

if TYPE_CHECKING:
    from .range import StoreRange

K2 = TypeVar("K2")
V2 = TypeVar("V2")
S = TypeVar("S", bound="OrderedMapping[Any, Any]")

# The most keys that IPython is offered, and the seconds to find them.
_COMPLETIONS = 1000
_COMPLETION_SECONDS = 0.1


class OrderedMapping(MutableMapping[K, V]):
    """A mapping of the rows of the store `_source()` whose keys are in `_interval`."""

    _interval: Interval

    @abstractmethod
    def _source(self) -> ReadingMixin:
        """Return the store. A method, because a store that refers to itself is not collected at once."""

    @abstractmethod
    def _within(self, interval: Interval) -> StoreRange[K, V]:
        """Return the mapping of the rows of `interval`, which is a part of this one."""

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
        # One row is enough. `len` would count a range.
        return any(self._source()._pages(self._interval, reverse=False, values=False, first=1))

    def keys(self) -> StoreKeys[K]:
        """Return a live view of the keys, in order."""
        return StoreKeys(self)

    def values(self) -> StoreValues[V]:
        """Return a live view of the values, in order of their keys."""
        return StoreValues(self)

    def items(self) -> StoreItems[K, V]:
        """Return a live view of the items, in order of their keys."""
        return StoreItems(self)

    def __eq__(self, other: object) -> bool:
        # Lengths first, then item by item. The inherited method would hold both mappings in memory.
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        theirs = other if isinstance(other, dict) else dict(other.items())
        return all(key in theirs and theirs[key] == value for key, value in self.items())

    __hash__ = None  # type: ignore[assignment]  # as for a dict

    def copy(self) -> dict[K, V]:
        """Return all items in a dict. `copy.copy` gives another store on the file."""
        return dict(self.items())

    def __or__(self, other: Mapping[K2, V2]) -> dict[K | K2, V | V2]:
        return _merged(self, other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Mapping[K2, V2]) -> dict[K | K2, V | V2]:
        return _merged(other, self) if isinstance(other, Mapping) else NotImplemented

    def __ior__(self: S, other: Mapping[K, V] | Iterable[tuple[K, V]]) -> S:  # type: ignore[misc]  # wider than `|`, as for a dict
        self.update(other)
        return self

    def _ipython_key_completions_(self) -> list[Any]:
        """Return the first keys, which IPython offers after `store["` and a tab. Flushes nothing."""
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
        """Iterate over the keys from `minimum` to `maximum` in order, or with `reverse` in the opposite order.

        None leaves an end open. `inclusive` says of each bound if the bound itself is inside; `reverse` does not swap
        them. Bounds need not exist as keys. TypeError for an object that cannot be a key. Flushes first, as iteration
        does. Keys are read in pages, the first after one descent of the tree.
        """
        return self._within(self._between(minimum, maximum, inclusive))._scan_keys(reverse=reverse)

    def range(
        self, minimum: Any = None, maximum: Any = None, inclusive: tuple[bool, bool] = (True, True)
    ) -> StoreRange[K, V]:
        """Return a live mapping of the items from `minimum` to `maximum`, as in `irange`. Reads nothing itself."""
        return self._within(self._between(minimum, maximum, inclusive))

    def prefix(self, prefix: Any) -> StoreRange[K, V]:
        """Return a live mapping of the items whose encoded keys begin with `prefix`, encoded as a key is.

        A `KeyEncoding` with a `prefix_range` decides itself. With OrderedKeys, a tuple is a prefix of the tuples that
        begin with its elements, and a text of the texts that begin with it. TypeError for an object that cannot be a
        key. Reads nothing itself.
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

    # -- the first and the last item, and all items

    def peekitem(self, *, last: bool = True) -> tuple[K, V]:
        """Return the last item in key order, or the first. KeyError if there is none. Flushes as iteration does."""
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
            if data is not None:  # else another thread has just deleted it
                return stored, data
        return None

    def _rows_of(self, keys: list[Any]) -> list[tuple[Any, bytes | None]]:
        # A view contains only keys in the form in which iteration gives them: no text key as bytes, no number.
        store, inside = self._source(), self._interval.contains
        encoded = [(key, store._codec.encode_own(key)) for key in keys]
        rows = store._find_many(stored for _, stored in encoded if stored is not None and inside(stored))
        return [(key, None if stored is None else rows.get(stored)) for key, stored in encoded]

    def clear(self) -> None:
        """Delete all items, pending ones included, in one transaction. Pending changes of other keys stay pending.

        Within a transaction the deletion is a part of it. The keys of a range are held in memory then.
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
    # `dict(store)` would read key by key.
    return dict(chain(first.items(), second.items()))


def _until_close(
    store: Any,
    pages: Iterator[Any],
    decode_page: Callable[[list[bytes]], Iterable[Any]],
    loaded: Callable[[Iterable[tuple[bytes, bytes]]], Iterator[Any]] | None = None,
) -> Iterator[Iterable[Any]]:
    """Yield the keys of each of `pages`, with their values if there is `loaded`.

    StoreClosedError at the next row once the store is closed: `close` empties the page that an iterator is in. A check
    at each row would cost a loop over keys a third of its time.
    """
    open_pages = store._open_pages
    try:
        for page in pages:
            stored = page if type(page) is list else list(page)
            keys = decode_page(stored)
            open_pages[pages] = keys if type(keys) is list else stored
            if open_pages is not store._open_pages:  # another thread has just closed the store
                break
            yield keys if loaded is None else zip(keys, loaded(page.items()))
            if open_pages is not store._open_pages:
                break
        else:
            return
    finally:
        open_pages.pop(pages, None)
    raise closed(store.db_path)
