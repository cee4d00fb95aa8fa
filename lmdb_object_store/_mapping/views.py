"""Live, ordered views of keys, values and items. They read in pages, and look up many elements in one read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Set, ValuesView
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .ordered import OrderedMapping

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T", covariant=True)
T2 = TypeVar("T2")

_BATCH = 1024  # elements of another set that one read transaction looks up


class _View:
    """The methods that the views have in common."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # `store["k"] = other.keys()` would store a handle to all of `other`. The views of a dict refuse it too.
        raise TypeError(
            f"cannot pickle {type(self).__name__!r} object: it is a view of a store. Give list(view), or dict(view) "
            "for items()."
        )


class _BatchedSet(_View, Set[T]):
    """A set whose operations look up the elements of the other set in batches, and not one by one as inherited."""

    @abstractmethod
    def _among(self, elements: list[Any]) -> Iterator[Any]:
        """Yield the `elements` that are in this set, with one read."""

    def _shared_with(self, other: Iterable[Any]) -> Iterator[Any]:
        elements = iter(other)
        while batch := list(islice(elements, _BATCH)):
            yield from self._among(batch)

    def __and__(self, other: Iterable[Any]) -> set[T]:
        return set(self._shared_with(other)) if isinstance(other, Iterable) else NotImplemented

    def __rand__(self, other: Iterable[T2]) -> set[T2]:
        return set(self._shared_with(other)) if isinstance(other, Iterable) else NotImplemented

    def __sub__(self, other: Iterable[Any]) -> set[T]:
        if isinstance(other, _BatchedSet):
            return other.__rsub__(self)
        return NotImplemented if not isinstance(other, Iterable) else set(super().__sub__(set(other)))

    def __rsub__(self, other: Iterable[T2]) -> set[T2]:
        if not isinstance(other, Iterable):
            return NotImplemented
        elements = set(other)
        return elements - set(self._shared_with(elements))

    def __le__(self, other: Set[Any]) -> bool:
        return other >= self if isinstance(other, _BatchedSet) else super().__le__(other)

    def __ge__(self, other: Set[Any]) -> bool:
        if not isinstance(other, Set):
            return NotImplemented
        return len(self) >= len(other) and sum(1 for _ in self._shared_with(other)) == len(other)

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        return not any(True for _ in self._shared_with(other))


class StoreKeys(_BatchedSet[K], KeysView[K]):
    """The keys, in order of the stored keys. Iterating unpickles nothing."""

    _mapping: OrderedMapping[Any, Any]

    def __reversed__(self) -> Iterator[K]:
        return self._mapping._scan_keys(reverse=True)

    def _among(self, elements: list[Any]) -> Iterator[Any]:
        return (key for key, data in self._mapping._rows_of(elements) if data is not None)


class StoreItems(_BatchedSet[tuple[K, V]], ItemsView[K, V]):
    """The pairs of key and value, in order of the stored keys. A value is unpickled as its pair is reached."""

    _mapping: OrderedMapping[Any, Any]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._scan_items()

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._scan_items(reverse=True)

    def __contains__(self, item: object) -> bool:
        # The inherited method fails for an object that is no pair.
        return isinstance(item, tuple) and len(item) == 2 and super().__contains__(item)

    def _among(self, elements: list[Any]) -> Iterator[Any]:
        pairs = [pair for pair in elements if isinstance(pair, tuple) and len(pair) == 2]
        rows, store = self._mapping._rows_of([key for key, _ in pairs]), self._mapping._source()
        for pair, (key, data) in zip(pairs, rows):
            if data is not None and store._load(store._codec.encode(key), data) == pair[1]:
                yield pair


class StoreValues(_View, ValuesView[V]):
    """The values, in order of the stored keys. Each is unpickled as it is reached."""

    _mapping: OrderedMapping[Any, Any]

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._scan_items())

    def __reversed__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._scan_items(reverse=True))

    def __contains__(self, value: object) -> bool:
        # The inherited method would read key by key.
        return any(found is value or found == value for found in self)
