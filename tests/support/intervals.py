"""Keys that are prefixes and neighbours of each other, and the parts of a mapping that they bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from lmdb_object_store._keys.codec import EMPTY

# Prefixes and next neighbours of each other, at both ends of the order, as long as a key may be, not ASCII.
KEYS = [
    b"", b"\0", b"\0\0", b"\0" * 510, b"\0\1", b"\1", b"a", b"a\0", b"a\0b", b"ab", b"a\xff", b"a\xff\xff", b"b",
    "é".encode(), "日本".encode(), b"k" * 510, b"k" * 511, b"\xff", b"\xff\0", b"\xff\xff", b"\xff" * 511,
]  # fmt: skip
# Bounds that are no keys are included: some are too long, and one stands for another key.
BOUNDS = [*KEYS, b"aa", b"a\xfe", b"k" * 512, b"k" * 600, b"k" * 511 + b"z", b"\xff" * 600, b"\0" * 511, b"\0" * 600]
# By their place: as they are, they would make reports of a length that Hypothesis warns of.
keys = st.integers(0, len(KEYS) - 1).map(lambda place: KEYS[place])
limits = st.integers(0, len(BOUNDS) - 1).map(lambda place: BOUNDS[place])
bounds = st.none() | limits
sides = st.tuples(st.booleans(), st.booleans())
# How a part is made: by a prefix, or by two bounds and which of them are inside.
Cut = bytes | tuple[bytes | None, bytes | None, tuple[bool, bool]]
cuts = st.lists(limits | st.tuples(bounds, bounds, sides), max_size=2)


def inside(key: bytes, cut: Cut) -> bool:
    """Return True if `key` is in the part in the model, where the empty key is the 511 NUL bytes it is stored as."""
    key = key or EMPTY
    if isinstance(cut, bytes):
        return key.startswith(cut)
    minimum, maximum, (with_minimum, with_maximum) = cut
    minimum, maximum = (bound if bound is None else bound or EMPTY for bound in (minimum, maximum))
    above = minimum is None or minimum < key or (with_minimum and minimum == key)
    return above and (maximum is None or key < maximum or (with_maximum and maximum == key))


def part_of(mapping: Any, cuts: list[Cut]) -> Any:
    """Return the part of `mapping`, cut after cut."""
    for cut in cuts:
        mapping = mapping.prefix(cut) if isinstance(cut, bytes) else mapping.range(*cut)
    return mapping


def outcome(call: Callable[[], Any]) -> Any:
    """Return the result of `call`, or the class of its error."""
    try:
        return call()
    except (KeyError, ValueError) as error:
        return KeyError if isinstance(error, KeyError) else ValueError
