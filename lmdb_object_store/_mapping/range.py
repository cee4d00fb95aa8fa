"""StoreRange: the part of a store between two bounds, as a mapping."""

from __future__ import annotations

from typing import Any, overload

from .._environment.environment import MISSING
from .._errors import KeyNotFoundError, shown
from .._keys.codec import KeyCodec
from .._keys.interval import Interval
from .keyed import D, K, KeyedMixin, V
from .ordered import OrderedMapping


class StoreRange(OrderedMapping[K, V]):
    """A live mapping of the items of a store whose keys are in an interval. It holds only a reference to the store.

    A key outside is missing, and to store it is a ValueError.
    """

    __module__ = "lmdb_object_store"

    def __init__(self, store: KeyedMixin[K, V], interval: Interval) -> None:
        self._store = store
        self._interval = interval

    def _source(self) -> KeyedMixin[K, V]:
        return self._store

    def _within(self, interval: Interval) -> StoreRange[K, V]:
        return StoreRange(self._store, interval)

    @property
    def _codec(self) -> KeyCodec:
        return self._store._codec

    def __len__(self) -> int:
        # LMDB does not count the rows of an interval, so they are read.
        self._store._flush_before_read()
        return sum(map(len, self._store._pages(self._interval, reverse=False, values=False)))

    def __getitem__(self, key: K) -> V:
        value = self.get(key, MISSING)
        if value is MISSING:
            raise KeyNotFoundError(key)
        return value  # type: ignore[no-any-return]  # MISSING is Any

    @overload
    def get(self, key: K, default: None = None) -> V | None: ...
    @overload
    def get(self, key: K, default: V | D) -> V | D: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of `key`, or `default`, also for a key outside. Flushes and fails as the store's `get`."""
        stored = self._codec.encode(key)
        return self._store._value(stored, default) if self._interval.contains(stored) else default

    def __contains__(self, key: Any) -> bool:
        stored = self._codec.encode(key)
        return self._interval.contains(stored) and self._store._find(stored) is not None

    def __setitem__(self, key: K, value: V) -> None:
        self._check_inside(key)
        self._store.put(key, value)

    def __delitem__(self, key: K) -> None:
        if not self._interval.contains(self._codec.encode(key)):
            raise KeyNotFoundError(key)
        del self._store[key]

    @overload
    def pop(self, key: K) -> V: ...
    @overload
    def pop(self, key: K, default: V | D) -> V | D: ...
    def pop(self, key: K, default: Any = MISSING) -> Any:
        """Remove `key` and return its value; `default`, or KeyError, if it is missing or outside. Atomic."""
        inside = self._interval.contains(self._codec.encode(key))
        value = self._store.pop(key, default) if inside else default
        if value is MISSING:
            raise KeyNotFoundError(key)
        return value

    @overload
    def setdefault(self: StoreRange[K, V | None], key: K, default: None = None) -> V | None: ...
    @overload
    def setdefault(self, key: K, default: V) -> V: ...
    def setdefault(self, key: K, default: Any = None) -> Any:
        """Return the value of `key`, after storing `default` if it is missing. ValueError for a key outside. Atomic."""
        self._check_inside(key)
        return self._store.setdefault(key, default)

    def _check_inside(self, key: Any) -> None:
        if not self._interval.contains(self._codec.encode(key)):
            raise ValueError(
                f"key {shown(key)} is outside of this part of the store, which is {self._bounds()}: "
                "write it to the store itself"
            )

    def _bounds(self) -> str:
        low, high = self._interval.low, self._interval.high
        lowest = self._bound(low, at="from", beyond="after") if low else "from the first key"
        return lowest if high is None else f"{lowest} {self._bound(high, at='to below', beyond='to')}"

    def _bound(self, bound: bytes, *, at: str, beyond: str) -> str:
        # `Interval.between` may have put the bound just beyond a key: then that key is shown.
        codec, key = self._codec, bound[:-1]
        if key and bound[-1:] == b"\0" and codec.is_key(key):
            return f"{beyond} {codec.shown(key)}"
        return f"{at} {codec.shown(bound)}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._bounds()} of {self._store!r}>"
