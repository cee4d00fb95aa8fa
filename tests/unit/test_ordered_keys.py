"""OrderedKeys by itself: the bytes that it gives forever, their order, decoding and refused keys."""

from __future__ import annotations

import enum
import math
import pickle
import struct
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.ordered_keys import (
    EPOCH,
    SCALARS,
    UTC,
    any_aware,
    begins,
    floats,
    ints,
    keys,
    parts_of,
    place,
    same,
    some_bytes,
    texts,
    tuples,
)

from lmdb_object_store import OrderedKeys

ordered = OrderedKeys()

# The file format: a row here is never changed, since there are files with these bytes.
FROZEN: list[tuple[Any, str]] = [
    (None, "00"),
    (b"", "0100"),
    (b"\0", "0100ff00"),
    (b"foo\0bar", "01666f6f00ff62617200"),
    (b"\xff\xff", "01ffff00"),
    ("", "0200"),
    ("F\u00d4O\0bar", "0246c3944f00ff62617200"),
    ("a", "026100"),
    ("日本\U0001f4a9", "02e697a5e69cacf09f92a900"),
    ((), "0500"),
    ((None,), "0500ff00"),
    ((b"foo\0bar", None, ()), "0501666f6f00ff6261720000ff050000"),
    (("user", 42), "05027573657200152a00"),
    (((),), "05050000"),
    (((None, (1,)), "a"), "050500ff051501000002610000"),
    (-(2**2040) + 1, "0b00" + "00" * 255),
    (-(2**64), "0bf6feffffffffffffffff"),
    (-(2**64) + 1, "0c0000000000000000"),
    (-(2**56), "0cfeffffffffffffff"),
    (-5551212, "11ab4b93"),
    (-65536, "11feffff"),
    (-65535, "120000"),
    (-256, "12feff"),
    (-255, "1300"),
    (-1, "13fe"),
    (0, "14"),
    (1, "1501"),
    (255, "15ff"),
    (256, "160100"),
    (5551212, "1754b46c"),
    (2**32, "190100000000"),
    (2**64 - 1, "1cffffffffffffffff"),
    (2**64, "1d09010000000000000000"),
    (2**2040 - 1, "1dff" + "ff" * 255),
    (-math.inf, "21000fffffffffffff"),
    (-42.0, "213fbaffffffffffff"),
    (0.0, "218000000000000000"),
    (5e-324, "218000000000000001"),
    (1.0, "21bff0000000000000"),
    (math.inf, "21fff0000000000000"),
    (False, "26"),
    (True, "27"),
    (UUID("01234567-89ab-cdef-0123-456789abcdef"), "300123456789abcdef0123456789abcdef"),
    (date(1, 1, 1), "407ff506c6"),
    (date(1970, 1, 1), "4080000000"),
    (date(2024, 5, 1), "4080004d84"),
    (date(9999, 12, 31), "40802cc0a0"),
    (datetime(1, 1, 1), "417f23400100d44000"),
    (datetime(1969, 12, 31, 23, 59, 59, 999999), "417fffffffffffffff"),
    (datetime(2024, 5, 1, 12, 30, 15, 250), "4180061763a607e4ba"),
    (datetime(9999, 12, 31, 23, 59, 59, 999999), "418384440ccc735fff"),
    (datetime(1970, 1, 1, tzinfo=UTC), "428000000000000000"),
    (datetime(2024, 5, 1, 12, 30, tzinfo=timezone(timedelta(hours=2))), "4280061761f7fbba00"),
]


@pytest.mark.parametrize(("key", "data"), FROZEN, ids=[data[:40] for _, data in FROZEN])
def test_encode_frozen_keys_gives_the_same_bytes(key: Any, data: str) -> None:
    """The encoding is a file format, which never changes, and each key comes back from its bytes."""
    assert ordered.encode(key).hex() == data
    assert ordered.decode(bytes.fromhex(data)) == key
    assert type(ordered.decode(bytes.fromhex(data))) is type(key)


def test_frozen_keys_are_in_order() -> None:
    """The rows above stand in the order of their bytes, which is that of the keys."""
    rows = [data for _, data in FROZEN if not data.startswith(("01", "02", "05"))]
    assert rows == sorted(rows)


# -- keys


@given(keys)
@example(-0.0)
@example(datetime(2020, 10, 25, 2, 30, fold=1))
def test_decode_encoded_key_gives_it_back_property(key: Any) -> None:
    """Each key comes back equal and of the same type."""
    assert same(ordered.decode(ordered.encode(key)), key)


@pytest.mark.parametrize("kind", SCALARS)
def test_encode_keys_of_one_type_keeps_their_order_property(kind: str) -> None:
    """Within a type the order of the bytes is Python's own, and equal keys have the same bytes."""

    @given(SCALARS[kind], SCALARS[kind])
    def compared(one: Any, other: Any) -> None:
        first, second = ordered.encode(one), ordered.encode(other)
        assert (first == second) is (one == other)
        assert one is None or (first < second) is (one < other)

    compared()


@given(keys, keys)
@example(("a",), ("a\0",))
@example(("a", None), ("a\0",))
@example((None,), ())
@example((1, 1.0), (1, True))
def test_encode_any_keys_keeps_their_order_property(one: Any, other: Any) -> None:
    """Across types, and in tuples, the order of the bytes is the documented one, and no two keys have the same."""
    first, second = ordered.encode(one), ordered.encode(other)
    assert (first < second, first == second) == (place(one) < place(other), place(one) == place(other))


@given(st.lists(ints | texts, min_size=2, max_size=2).map(tuple), st.lists(ints | texts, max_size=4).map(tuple))
def test_encode_tuples_keeps_pythons_order_property(one: Any, other: Any) -> None:
    """The order of the bytes is Python's own for two tuples that Python compares."""
    try:
        less = one < other
    except TypeError:  # an int and a str
        return
    assert (ordered.encode(one) < ordered.encode(other)) is less


@given(st.data(), tuples | texts | some_bytes, keys)
def test_prefix_bounds_keys_that_begin_with_it_property(data: st.DataObject, key: Any, other: Any) -> None:
    """The range of a prefix has the bytes of those keys that begin with it, and of no others."""
    prefix = data.draw(parts_of(key))
    low, high = ordered.prefix_range(prefix)
    for one in (key, prefix, other, (*prefix, other) if type(prefix) is tuple else prefix + prefix):
        inside = low <= ordered.encode(one) and (high is None or ordered.encode(one) < high)
        assert inside is begins(one, prefix), one


@pytest.mark.parametrize(
    ("prefix", "key", "inside"),
    [
        (("a",), ("a\0",), False),
        ((b"a",), (b"a\0b", 1), False),
        (("a",), ("a", None), True),
        (((1,),), ((1, None),), False),
        ((None,), (None, None), True),
        ((), (), True),
        ((), "a", False),
        (b"\xff", b"\xff\xff", True),
        (b"", b"\xff" * 9, True),
        ("a\0", "a\0\0", True),
        ("", b"a", False),
    ],
)
def test_prefix_that_looks_alike_is_another(prefix: Any, key: Any, inside: bool) -> None:
    """A key of which only the bytes begin alike is not found: a text followed by NUL, a tuple followed by None."""
    low, high = ordered.prefix_range(prefix)
    assert high is not None
    assert (low <= ordered.encode(key) < high) is inside


@pytest.mark.parametrize("key", [None, 1, 1.5, True, date(2024, 5, 1), UUID(int=1), [1]])
def test_prefix_of_a_key_that_begins_no_other_is_refused(key: Any) -> None:
    """Only text, bytes and tuples have keys that begin with them."""
    with pytest.raises(TypeError, match=f"not with {type(key).__name__}: ask for a range"):
        ordered.prefix_range(key)


# -- bytes that are no key's


def leads_back_or_is_refused(data: bytes) -> None:
    """Return True if `data` is the very encoding of the key that it decodes to, or a ValueError."""
    try:
        key = ordered.decode(data)
    except ValueError:
        return
    assert ordered.encode(key) == data


@given(st.binary(max_size=12) | st.lists(st.sampled_from([0, 1, 2, 5, 11, 12, 19, 20, 21, 28, 29, 255])).map(bytes))
def test_decode_any_bytes_leads_back_or_is_refused_property(data: bytes) -> None:
    """Bytes of whatever origin are given back as a key that leads to them, or not at all."""
    leads_back_or_is_refused(data)


@given(st.data(), keys)
def test_decode_damaged_key_is_noticed_property(data: st.DataObject, key: Any) -> None:
    """A key with one byte changed, cut off or added leads back to its bytes, or is refused."""
    good = ordered.encode(key)
    at, byte = data.draw(st.integers(0, len(good))), data.draw(st.integers(0, 255).map(lambda n: bytes([n])))
    for bad in (good[:at] + byte + good[at + 1 :], good[:at], good[:at] + byte + good[at:]):
        leads_back_or_is_refused(bad)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "no code"),
        ("0000", "more after None"),
        ("0161", "no end"),
        ("016100ff", "no end"),
        ("01610000", "more after it"),
        ("02ff00", "not UTF-8"),
        ("02eda08000", "a lone surrogate"),
        ("05", "no end"),
        ("051501", "no end"),
        ("050500", "no end"),
        ("0300", "another code"),
        ("1500", "more bytes than needed"),
        ("05150000", "more bytes than needed, in a tuple"),
        ("13ff", "more bytes than needed"),
        ("16", "too short"),
        ("1601", "too short"),
        ("1d08ffffffffffffffff", "more than needed, as FoundationDB's Python binding packs 2**64 - 1"),
        ("0bf70000000000000000", "and its negative"),
        ("1d0900ffffffffffffffff", "more bytes than needed"),
        ("1d09", "too short"),
        ("203dd7ffff", "a float of 32 bits"),
        ("217fffffffffffffff", "-0.0"),
        ("21fff8000000000000", "NaN"),
        ("210007ffffffffffff", "negative NaN"),
        ("21bff0", "too short"),
        ("25", "another code"),
        ("3001", "too short"),
        ("33" + "00" * 12, "a versionstamp"),
        ("4000000000", "a day before the year 1"),
        ("40ffffffff", "a day after 9999"),
        ("41ffffffffffffffff", "a time after 9999"),
        ("420000000000000000", "a time before the year 1"),
        ("4080", "too short"),
        ("ff", "another code"),
    ],
)
def test_decode_bytes_of_no_key_is_refused(data: str, why: str) -> None:
    """Bytes of other programs, and damaged ones, are a ValueError and not another key."""
    with pytest.raises(ValueError, match=f"^0x{data} is the encoding of no key$"):
        ordered.decode(bytes.fromhex(data))


def test_decode_tuple_of_any_depth_is_read() -> None:
    """Any written key can be read, however deep it is nested. A tuple too deep for Python is not written."""
    depth = 5_000
    data = b"\5" * depth + b"\0" * depth
    key = ordered.decode(data)
    for _ in range(depth - 1):
        (key,) = key
    assert key == ()


# -- what is one key, and what is refused


def test_encode_equal_keys_of_two_types_gives_two_keys() -> None:
    """`1`, `1.0` and `True` are three keys here, as in the tuple layer; one in a dict."""
    assert len({ordered.encode(key) for key in (1, 1.0, True)}) == 3
    assert len({ordered.encode(key) for key in ((1,), (1.0,), (True,))}) == 3
    assert len({ordered.encode(key) for key in ("a", b"a", ("a",), (("a",),))}) == 4


def test_encode_negative_zero_is_zero() -> None:
    """-0.0 is equal to 0.0, so they are one key, and 0.0 is what comes back."""
    assert ordered.encode(-0.0) == ordered.encode(0.0)
    assert math.copysign(1, ordered.decode(ordered.encode((-0.0,)))[0]) == 1


@given(any_aware)
def test_encode_one_moment_in_two_zones_is_one_key_property(time: datetime) -> None:
    """A moment is one key in all time zones, and comes back in UTC. A time that Python holds unequal is refused."""
    utc = time.astimezone(UTC)
    if utc == time:
        assert ordered.encode(time) == ordered.encode(utc)
        assert ordered.decode(ordered.encode(time)).tzinfo is UTC
    else:
        with pytest.raises(ValueError, match=r"repeats or skips.* use key\.astimezone\(timezone\.utc\)"):
            ordered.encode(time)


def test_encode_fold_makes_no_two_keys() -> None:
    """Times without a zone that differ in `fold` alone are equal, and one key."""
    assert ordered.encode(EPOCH.replace(fold=1)) == ordered.encode(EPOCH)


def test_encode_zone_without_an_offset_is_naive() -> None:
    """A time whose zone tells no offset is, as for Python, one without a zone."""

    class Nowhere(tzinfo):
        def utcoffset(self, time: datetime | None) -> None:
            return None

        dst = tzname = utcoffset

    assert ordered.encode(EPOCH.replace(tzinfo=Nowhere())) == ordered.encode(EPOCH)


class Colour(enum.IntEnum):
    """An int that is more than an int."""

    RED = 1


class Point(NamedTuple):
    """A tuple that is more than a tuple."""

    x: int


class Moment(datetime):
    """A datetime that is more than a datetime."""


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (math.nan, ValueError, "NaN is not equal to itself"),
        ((1, -math.nan), ValueError, "NaN is not equal to itself"),
        ("\ud800", ValueError, "lone surrogate"),
        (("a\0\udfff",), ValueError, "lone surrogate"),
        (2**2040, ValueError, "an int of 256 bytes; at most 255"),
        (-(2**2040), ValueError, "an int of 256 bytes; at most 255"),
        (1 << 100_000, ValueError, "an int of 12501 bytes"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), ValueError, "before the year 1"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), ValueError, "after 9999"),
        (Colour.RED, TypeError, "not Colour:"),
        (type("Text", (str,), {})("a"), TypeError, "not Text:"),
        (Point(1), TypeError, "not Point: convert it"),
        (Moment(2024, 5, 1), TypeError, "not Moment:"),
        (bytearray(b"a"), TypeError, "not bytearray:"),
        (memoryview(b"a"), TypeError, "not memoryview:"),
        ([1], TypeError, "not list:"),
        ((1, {}), TypeError, "not dict:"),
        (1j, TypeError, "not complex:"),
        (timedelta(1), TypeError, "not timedelta:"),
    ],
    ids=lambda value: ascii(value)[:30] if isinstance(value, str) else type(value).__name__,
)
def test_encode_object_of_another_type_is_refused(key: Any, error: type[Exception], message: str) -> None:
    """A key that would not come back equal and of the same type is an error that says why."""
    with pytest.raises(error, match=message):
        ordered.encode(key)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_ordered_keys_leads_back(protocol: int) -> None:
    """An OrderedKeys is pickled by its public name."""
    data = pickle.dumps(ordered, protocol)
    assert b"_ordered_keys" not in data
    assert type(pickle.loads(data)) is OrderedKeys
    assert repr(pickle.loads(data)) == "OrderedKeys()"


# -- the tuple layer, from its specification alone


def from_specification(key: Any) -> bytes:
    """Encode by FoundationDB's design/tuple.md, word by word, for the types that it has a code for."""
    special: dict[Any, bytes] = {None: b"\0", False: b"\x26", True: b"\x27"}
    layer: dict[type, Callable[[Any], bytes]] = {
        type(None): special.__getitem__,
        bool: special.__getitem__,
        bytes: lambda value: b"\x01" + value.replace(b"\0", b"\0\xff") + b"\0",
        str: lambda value: b"\x02" + value.encode().replace(b"\0", b"\0\xff") + b"\0",
        tuple: lambda value: (
            b"\x05" + b"".join(b"\0\xff" if item is None else from_specification(item) for item in value) + b"\0"
        ),
        int: _int_from_specification,
        float: _float_from_specification,
        UUID: lambda value: b"\x30" + value.bytes,
    }
    return layer[type(key)](key)


def _int_from_specification(value: int) -> bytes:
    size = 0
    while abs(value) >= 256**size:
        size += 1
    magnitude = [abs(value) >> 8 * place & 0xFF for place in reversed(range(size))]
    digits = bytes(byte if value >= 0 else byte ^ 0xFF for byte in magnitude)  # one's complement
    if size <= 8:
        return bytes([0x14 + size if value >= 0 else 0x14 - size]) + digits
    return (bytes([0x1D, size]) if value >= 0 else bytes([0x0B, size ^ 0xFF])) + digits


def _float_from_specification(value: float) -> bytes:
    rep = struct.pack(">d", value)
    return b"\x21" + (bytes(byte ^ 0xFF for byte in rep) if rep[0] & 0x80 else bytes([rep[0] ^ 0x80]) + rep[1:])


in_layer = st.none() | some_bytes | texts | ints | floats.filter(lambda value: value or str(value) == "0.0")
in_layer |= st.booleans() | st.uuids()


@given(st.recursive(in_layer, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=6))
def test_encode_follows_the_specification_property(key: Any) -> None:
    """A key is stored as the specification of the tuple layer packs the tuple of it alone."""
    assert ordered.encode(key) == from_specification(key)
