"""keys(), values() and items(): live, ordered views that read by pages, and test many elements in one read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Set, ValuesView
from itertools import islice
from typing import Any, Protocol, TypeVar

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T", covariant=True)
T2 = TypeVar("T2")

_BATCH = 1024  # elements of another set that one read transaction looks up


class Scanned(Protocol):
    """What the views need of their store."""

    def _scan_keys(self, *, reverse: bool = False) -> Iterator[Any]: ...
    def _scan_items(self, *, reverse: bool = False) -> Iterator[tuple[Any, Any]]: ...
    def _rows_of(self, keys: list[Any]) -> list[tuple[Any, bytes | None]]: ...
    def _load(self, stored: bytes, data: bytes) -> Any: ...
    def _norm_key(self, key: Any) -> bytes: ...


class _View:
    """The methods that the views have in common."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Else `store["k"] = other.keys()` would store a handle to all of `other`. A dict's views refuse it as well.
        raise TypeError(
            f"cannot pickle {type(self).__name__!r} object: it is a view of a store. Give list(view), or dict(view) "
            "for items()."
        )


class _BatchedSet(_View, Set[T]):
    """The operations for which `collections.abc.Set` would look up each element of the other set by itself."""

    @abstractmethod
    def _among(self, elements: list[Any]) -> Iterator[Any]:
        """Those of `elements` that are in this set, with one read."""

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> set[Any]:
        return set(it)

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

    def __lt__(self, other: Set[Any]) -> bool:
        return NotImplemented if not isinstance(other, Set) else len(self) < len(other) and self <= other

    def __gt__(self, other: Set[Any]) -> bool:
        return NotImplemented if not isinstance(other, Set) else len(self) > len(other) and self >= other

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        return not any(True for _ in self._shared_with(other))


class StoreKeys(_BatchedSet[K], KeysView[K]):
    """The keys, in order of the stored keys. Iterating unpickles nothing."""

    _mapping: Scanned

    def __reversed__(self) -> Iterator[K]:
        return self._mapping._scan_keys(reverse=True)

    def _among(self, elements: list[Any]) -> Iterator[Any]:
        return (key for key, data in self._mapping._rows_of(elements) if data is not None)


class StoreItems(_BatchedSet[tuple[K, V]], ItemsView[K, V]):
    """The pairs of key and value, in order of the stored keys. A value is unpickled as its pair is reached."""

    _mapping: Scanned

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._scan_items()

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._scan_items(reverse=True)

    def __contains__(self, item: object) -> bool:
        # Inherited, it would take any two elements for a pair, and fail on what cannot be taken apart.
        return isinstance(item, tuple) and len(item) == 2 and super().__contains__(item)

    def _among(self, elements: list[Any]) -> Iterator[Any]:
        pairs = [pair for pair in elements if isinstance(pair, tuple) and len(pair) == 2]
        rows = self._mapping._rows_of([key for key, _ in pairs])
        for pair, (key, data) in zip(pairs, rows):
            if data is not None and self._mapping._load(self._mapping._norm_key(key), data) == pair[1]:
                yield pair


class StoreValues(_View, ValuesView[V]):
    """The values, in order of the stored keys. Each is unpickled as it is reached."""

    _mapping: Scanned

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._scan_items())

    def __reversed__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._scan_items(reverse=True))

    def __contains__(self, value: object) -> bool:
        # Inherited, it would read key by key.
        return any(found is value or found == value for found in self)
