"""Intervals of keys, held against a model."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from support.intervals import Cut, bounds, inside, keys, limits, sides

from lmdb_object_store._keys.codec import EMPTY, KeyCodec
from lmdb_object_store._keys.interval import WHOLE, Interval


@given(cut=limits | st.tuples(bounds, bounds, sides), key=keys)
@example(cut=(None, b"", (True, False)), key=b"")
def test_contains_key_as_the_model_does_property(cut: Cut, key: bytes) -> None:
    """An interval contains what the model does, also once its bounds are cut to a length that LMDB can look for."""
    interval = Interval.of_prefix(cut) if isinstance(cut, bytes) else Interval.between(*cut)
    for one in (interval, interval.cut(512), interval & WHOLE, WHOLE & interval.cut(512)):
        assert one.contains(key or EMPTY) is inside(key, cut)
    assert max(len(interval.cut(512).low), len(interval.cut(512).high or b"")) <= 512


@given(prefix=st.binary(max_size=3), key=st.binary(max_size=4))
def test_prefix_interval_contains_keys_that_begin_with_it_property(prefix: bytes, key: bytes) -> None:
    """The interval of a prefix is the keys that begin with it."""
    assert Interval.of_prefix(prefix).contains(key) is key.startswith(prefix)


@given(bound=limits, size=st.sampled_from([511, 1978]))
@example(bound=EMPTY, size=1978)
def test_encode_bound_of_bytes_leaves_it_property(bound: bytes, size: int) -> None:
    """A bound of bytes is compared as it is: neither the empty key nor its stand-in is replaced, as in a key."""
    assert KeyCodec(None, "strict", None, size).encode_bound(bound) == bound
