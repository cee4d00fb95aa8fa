"""Interval: from which stored key to which. Pure: knows neither LMDB nor threads."""

from __future__ import annotations

from .codec import EMPTY


class Interval:
    """The keys from `low`, inclusive, to `high`, exclusive; None: without an end. `b""` is below all other keys.

    In the file they lie from `low` to `stop`, but for a stand-in of the empty key, which is the one that can be
    `astray`: inside the interval and beyond its bounds in the file, or the other way about. That is so where a bound
    is made of NULs alone.
    """

    __slots__ = ("astray", "has_empty", "high", "low", "stop")

    def __init__(self, low: bytes = b"", high: bytes | None = None) -> None:
        self.low = low
        self.high = high
        self.has_empty = not low and (high is None or high > b"")
        self.stop = max(high, EMPTY + b"\0") if self.has_empty and high is not None else high
        self.astray = self.stop != high or (not self.has_empty and low <= EMPTY and (high is None or high > EMPTY))

    @classmethod
    def between(cls, minimum: bytes | None, maximum: bytes | None, inclusive: tuple[bool, bool]) -> Interval:
        """From `minimum` to `maximum` (None: without an end), each of which is inside if `inclusive` says so."""
        with_minimum, with_maximum = inclusive
        low = b"" if minimum is None else minimum if with_minimum else minimum + b"\0"
        high = None if maximum is None else maximum + b"\0" if with_maximum else maximum
        return cls(low, high)

    @classmethod
    def of_prefix(cls, prefix: bytes) -> Interval:
        """The keys that begin with `prefix`."""
        head = prefix.rstrip(b"\xff")  # what cannot be counted up is left to the byte before it
        return cls(prefix, head[:-1] + bytes([head[-1] + 1]) if head else None)

    def cut(self, size: int) -> Interval:
        """The same for keys of fewer than `size` bytes, with bounds of no more: they do not reach what is cut off."""
        return Interval(self.low[:size], None if self.high is None else self.high[:size])

    def __and__(self, other: Interval) -> Interval:
        highs = [high for high in (self.high, other.high) if high is not None]
        return Interval(max(self.low, other.low), min(highs) if highs else None)

    def contains(self, stored: bytes) -> bool:
        """Whether the key that `stored` stands for is inside."""
        if stored == EMPTY:
            return self.has_empty
        return self.low <= stored and (self.high is None or stored < self.high)

    def sifted(self, rows: dict[bytes, bytes] | list[bytes]) -> dict[bytes, bytes] | list[bytes]:
        """A page of the file, without what is not inside: keys made of NULs alone, at one of its ends."""
        if not rows or min(next(iter(rows)), next(reversed(rows))) > EMPTY:
            return rows
        inside = filter(self.contains, rows)
        return {key: rows[key] for key in inside} if isinstance(rows, dict) else list(inside)


WHOLE = Interval()
