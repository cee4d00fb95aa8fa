"""OrderedMapping: all that follows from a scan of rows in order, iteration, views, comparison and both ends."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from itertools import chain

from . import _scan
from ._codec import KeyCodec, loads
from ._environment import Environment
from ._typing import Any, TypeVar
from ._views import StoreItems, StoreKeys, StoreValues

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
S = TypeVar("S", bound="OrderedMapping[Any, Any]")


class OrderedMapping(MutableMapping[K, V]):
    """Needs the attributes and methods below."""

    _environment: Environment
    _codec: KeyCodec

    @abstractmethod
    def _pages(self, *, reverse: bool, values: bool, first: int = _scan.FIRST_PAGE) -> Iterator[_scan.Rows]:
        """Every page of the stored rows in order, with what is pending laid over them."""

    @abstractmethod
    def _flush_before_read(self) -> None:
        """Flush where a read does."""

    @abstractmethod
    def _refuse_in_commit(self) -> None:
        """RuntimeError amid this very thread's commit."""

    @abstractmethod
    def _commit_pending(self, *, empty_first: bool = False) -> None:
        """With `empty_first`, drop what is pending and empty the file."""

    @abstractmethod
    def _check_writable(self) -> None:
        """Raise if the store is closed or read-only."""

    @abstractmethod
    def _find(self, stored: bytes) -> bytes | None:
        """The row of `stored`, pending or in the file."""

    @abstractmethod
    def _find_many(self, stored_keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The rows of those of `stored_keys` that are there."""

    @abstractmethod
    def _load(self, stored: bytes, data: bytes) -> V:
        """`data` unpickled."""

    @abstractmethod
    def _unreadable(self, stored: bytes, data: bytes, error: Exception) -> RuntimeError:
        """The error for a value that cannot be unpickled."""

    @abstractmethod
    def _swap(self, stored: bytes, old: bytes | None, new: bytes | None) -> bool:
        """Stage `new` if the row of `stored` still is `old`; whether. Needs the lock."""

    # -- iteration and views

    def _scan_keys(self, *, reverse: bool = False) -> Iterator[K]:
        self._flush_before_read()
        return chain.from_iterable(map(self._codec.decode_page, self._pages(reverse=reverse, values=False)))

    def _scan_items(self, *, reverse: bool = False) -> Iterator[tuple[K, V]]:
        self._flush_before_read()
        return self._load_pages(self._pages(reverse=reverse, values=True))

    def _load_pages(self, pages: Iterator[Any]) -> Iterator[tuple[K, V]]:
        for page in pages:
            for key, (stored, data) in zip(self._codec.decode_page(page), page.items()):
                try:
                    value = loads(data)
                except Exception as error:
                    raise self._unreadable(stored, data, error) from error
                yield key, value

    def __iter__(self) -> Iterator[K]:
        return self._scan_keys()

    def __reversed__(self) -> Iterator[K]:
        return self._scan_keys(reverse=True)

    def __bool__(self) -> bool:
        # By `len`, it would look up every pending change.
        return any(self._pages(reverse=False, values=False, first=1))

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

    # -- the ends, and all of it

    def popitem(self, *, last: bool = True) -> tuple[K, V]:
        """Remove and return the last item in key order, or the first. KeyError if there is none. As safe as `pop`."""
        self._check_writable()
        while (row := self._end_row(last)) is not None:
            stored, data = row
            value = self._load(stored, data)
            with self._environment.lock:
                if self._end_row(last) == row and self._swap(stored, data, None):
                    return self._codec.decode(stored), value
        raise KeyError("popitem(): the store is empty")

    def _end_row(self, last: bool) -> tuple[bytes, bytes] | None:
        for stored in chain.from_iterable(self._pages(reverse=last, values=False, first=1)):
            data = self._find(stored)
            if data is not None:  # else another thread has deleted it just now
                return stored, data
        return None

    def _rows_of(self, keys: list[Any]) -> list[tuple[Any, bytes | None]]:
        # What iteration never gives is in no view, as it is in no set of its elements: a text key as bytes, a number.
        encoded = [(key, self._codec.encode_own(key)) for key in keys]
        rows = self._find_many(stored for _, stored in encoded if stored is not None)
        return [(key, None if stored is None else rows.get(stored)) for key, stored in encoded]

    def clear(self) -> None:
        """Delete everything, pending changes included, in one transaction."""
        self._check_writable()
        with self._environment.lock:
            self._refuse_in_commit()
            self._environment.close_orphans()
            self._commit_pending(empty_first=True)


def _merged(first: Mapping[Any, Any], second: Mapping[Any, Any]) -> dict[Any, Any]:
    # By items: `dict(store)` would read key by key.
    return dict(chain(first.items(), second.items()))
