"""Interval: the stored keys from one to another. Pure: knows neither LMDB nor threads."""

from __future__ import annotations

from .codec import EMPTY


class Interval:
    """The stored keys from `low`, inclusive, to `high`, exclusive. `b""` as `low` and None as `high` are no bounds."""

    __slots__ = ("high", "low")

    def __init__(self, low: bytes = b"", high: bytes | None = None) -> None:
        self.low: bytes = low
        self.high: bytes | None = high

    @classmethod
    def between(cls, minimum: bytes | None, maximum: bytes | None, inclusive: tuple[bool, bool]) -> Interval:
        """Return the interval from `minimum` to `maximum`, the bytes of keys. None is no bound.

        `inclusive` says of each bound if the bound itself is inside. The empty key is compared as it is stored.
        """
        with_minimum, with_maximum = inclusive
        low, high = b"", None
        if minimum is not None:
            low = (minimum or EMPTY) + (b"" if with_minimum else b"\0")
        if maximum is not None:
            high = (maximum or EMPTY) + (b"\0" if with_maximum else b"")
        return cls(low, high)

    @classmethod
    def of_prefix(cls, prefix: bytes) -> Interval:
        """Return the interval of the stored keys that begin with `prefix`."""
        head = prefix.rstrip(b"\xff")  # 0xff has no successor, so the byte before it is raised
        return cls(prefix, head[:-1] + bytes([head[-1] + 1]) if head else None)

    def cut(self, size: int) -> Interval:
        """Return the interval with its bounds cut to `size` bytes. Shorter keys stay inside or outside."""
        return Interval(self.low[:size], None if self.high is None else self.high[:size])

    def __and__(self, other: Interval) -> Interval:
        highs = [high for high in (self.high, other.high) if high is not None]
        return Interval(max(self.low, other.low), min(highs) if highs else None)

    def contains(self, stored: bytes) -> bool:
        """Return True if the stored key is inside."""
        return self.low <= stored and (self.high is None or stored < self.high)


WHOLE = Interval()
