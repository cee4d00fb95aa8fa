"""What the classes of a store share."""

from __future__ import annotations

from typing import Any, Protocol

from .._keys.interval import Interval


class Pending(Protocol):
    """What waits to be written: a dict, or what stands in for it. None is a deletion."""

    def get(self, key: bytes, default: Any = None, /) -> Any: ...
    def copy(self) -> dict[bytes, bytes | None]: ...
    def __contains__(self, key: Any, /) -> bool: ...
    def __len__(self) -> int: ...


class OpenTransaction(Pending, Protocol):
    """The open transaction of a store, which stands in for its buffer meanwhile."""

    committing: bool
    emptied: bool

    def own(self) -> bool: ...
    def clear(self, interval: Interval) -> None: ...
    def stage_many(self, changes: dict[bytes, bytes | None]) -> None: ...
    def stage_if_unchanged(self, key: bytes, pending: Any, data: bytes | None) -> bool: ...
    def __setitem__(self, key: bytes, data: bytes | None) -> None: ...


def weight(key: bytes, data: bytes | None) -> int:
    """Bytes of a pending change: its key, and its value unless it is a deletion."""
    return len(key) + (0 if data is None else len(data))
