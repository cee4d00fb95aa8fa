"""OrderedKeys by itself: the bytes that it gives, for ever; their order; what comes back; what is refused."""

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

from lmdb_object_store import OrderedKeys

ordered = OrderedKeys()
UTC = timezone.utc

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
def test_the_bytes_for_ever(key: Any, data: str) -> None:
    """The encoding is a file format, which never changes, and each key comes back from its bytes."""
    assert ordered.encode(key).hex() == data
    assert ordered.decode(bytes.fromhex(data)) == key
    assert type(ordered.decode(bytes.fromhex(data))) is type(key)


def test_the_table_is_in_order() -> None:
    """The rows above stand in the order of their bytes, which is that of the keys."""
    rows = [data for _, data in FROZEN if not data.startswith(("01", "02", "05"))]
    assert rows == sorted(rows)


# -- keys

EPOCH = datetime(2020, 1, 1)


class Zone(tzinfo):
    """An hour ahead of UTC, in the summer of 2020 two."""

    begins, ends = datetime(2020, 3, 29, 2), datetime(2020, 10, 25, 2)  # an hour is skipped, an hour repeated

    def utcoffset(self, time: datetime | None) -> timedelta:
        assert time is not None
        wall = time.replace(tzinfo=None)
        if self.begins <= wall < self.begins + timedelta(hours=1):
            summer = time.fold == 1
        elif self.ends <= wall < self.ends + timedelta(hours=1):
            summer = time.fold == 0
        else:
            summer = self.begins < wall < self.ends
        return timedelta(hours=2 if summer else 1)

    def dst(self, time: datetime | None) -> timedelta:
        return self.utcoffset(time) - timedelta(hours=1)

    def tzname(self, time: datetime | None) -> str:
        return "here"


zones = st.sampled_from([UTC, timezone(timedelta(hours=-11)), timezone(timedelta(minutes=330, seconds=7)), Zone()])
naive = st.datetimes() | st.integers(-3, 3).map(lambda n: EPOCH + timedelta(microseconds=n))
near_changes = st.sampled_from([Zone.begins, Zone.ends]).flatmap(
    lambda change: st.integers(-90, 90).map(lambda minutes: change + timedelta(minutes=minutes))
)
any_aware = st.builds(
    lambda time, zone, fold: time.replace(tzinfo=zone, fold=fold),
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)) | near_changes,
    zones,
    st.integers(0, 1),
)
aware = any_aware.filter(lambda time: time.astimezone(UTC) == time)
sizes = st.integers(0, 2040).flatmap(lambda bits: st.integers(-3, 3).map(lambda more: 2**bits + more))
ints = st.integers(-300, 300) | (sizes | sizes.map(lambda n: -n)).filter(lambda n: abs(n) < 2**2040)
few = st.text("\0\1aé\uffff\U0001f4a9", max_size=4)
texts = few | st.text(st.characters(exclude_categories=["Cs"]))
some_bytes = st.lists(st.sampled_from([0, 1, 97, 254, 255]), max_size=4).map(bytes) | st.binary()
floats = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, 5e-324, -5e-324])

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "None": st.none(),
    "bytes": some_bytes,
    "str": texts,
    "int": ints,
    "float": floats,
    "bool": st.booleans(),
    "UUID": st.uuids(),
    "date": st.dates(),
    "datetime": naive,
    "datetime with a zone": aware,
}
scalars = st.one_of(*SCALARS.values())
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=6)
tuples = st.lists(keys, max_size=4).map(tuple)


def place(key: Any) -> tuple[int, Any]:
    """The documented order as one of Python's own: by type, then by the key."""
    if type(key) is tuple:
        return 3, [place(item) for item in key]
    if key is None:
        return 0, 0
    if type(key) is datetime:
        return (9, key) if key.utcoffset() is None else (10, key.astimezone(UTC))
    return [None, bytes, str, tuple, int, float, bool, UUID, date].index(type(key)), key


def same(one: Any, other: Any) -> bool:
    """Whether both are equal, and of the same types through and through."""
    if type(one) is tuple and type(other) is tuple:
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(keys)
@example(-0.0)
@example(datetime(2020, 10, 25, 2, 30, fold=1))
def test_round_trip_property(key: Any) -> None:
    """Each key comes back equal and of the same type."""
    assert same(ordered.decode(ordered.encode(key)), key)


@pytest.mark.parametrize("kind", SCALARS)
def test_order_within_a_type_property(kind: str) -> None:
    """Within a type the order of the bytes is Python's own, and what is equal has the same bytes."""

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
def test_order_property(one: Any, other: Any) -> None:
    """Across types, and in tuples, the order of the bytes is the documented one, and no two keys have the same."""
    first, second = ordered.encode(one), ordered.encode(other)
    assert (first < second, first == second) == (place(one) < place(other), place(one) == place(other))


@given(st.lists(ints | texts, min_size=2, max_size=2).map(tuple), st.lists(ints | texts, max_size=4).map(tuple))
def test_tuples_are_in_pythons_order_property(one: Any, other: Any) -> None:
    """Where Python compares two tuples, the order of the bytes is its own."""
    try:
        less = one < other
    except TypeError:  # an int and a str
        return
    assert (ordered.encode(one) < ordered.encode(other)) is less


def parts_of(key: Any) -> st.SearchStrategy[Any]:
    """What `key` begins with."""
    return st.integers(0, len(key)).map(lambda count: key[:count])


def begins(key: Any, prefix: Any) -> bool:
    """The model of a prefix."""
    if type(key) is not type(prefix):
        return False
    return place(key[: len(prefix)]) == place(prefix) if type(key) is tuple else key.startswith(prefix)


@given(st.data(), tuples | texts | some_bytes, keys)
def test_prefix_property(data: st.DataObject, key: Any, other: Any) -> None:
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
def test_prefixes_that_look_alike(prefix: Any, key: Any, inside: bool) -> None:
    """What only its bytes begin alike is not found: a text that goes on with a NUL, a tuple that goes on with None."""
    low, high = ordered.prefix_range(prefix)
    assert high is not None
    assert (low <= ordered.encode(key) < high) is inside


@pytest.mark.parametrize("key", [None, 1, 1.5, True, date(2024, 5, 1), UUID(int=1), [1]])
def test_what_begins_no_other_key(key: Any) -> None:
    """Only text, bytes and tuples have keys that begin with them."""
    with pytest.raises(TypeError, match=f"not with {type(key).__name__}: ask for a range"):
        ordered.prefix_range(key)


# -- bytes that are no key's


def leads_back_or_is_refused(data: bytes) -> None:
    """Whether `data` is the very encoding of the key that it decodes to, or a ValueError."""
    try:
        key = ordered.decode(data)
    except ValueError:
        return
    assert ordered.encode(key) == data


@given(st.binary(max_size=12) | st.lists(st.sampled_from([0, 1, 2, 5, 11, 12, 19, 20, 21, 28, 29, 255])).map(bytes))
def test_what_is_decoded_leads_back_property(data: bytes) -> None:
    """Bytes of whatever origin are given back as a key that leads to them, or not at all."""
    leads_back_or_is_refused(data)


@given(st.data(), keys)
def test_damage_is_noticed_property(data: st.DataObject, key: Any) -> None:
    """So are those of a key with one byte changed, cut off or added."""
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
def test_bytes_of_no_key(data: str, why: str) -> None:
    """What other programs may have written, and damage, is a ValueError and not another key."""
    with pytest.raises(ValueError, match=f"^0x{data} is the encoding of no key$"):
        ordered.decode(bytes.fromhex(data))


def test_a_tuple_of_any_depth_is_read() -> None:
    """Whatever was written can be read, however deep it is nested; what Python cannot follow is not written."""
    depth = 5_000
    data = b"\5" * depth + b"\0" * depth
    key = ordered.decode(data)
    for _ in range(depth - 1):
        (key,) = key
    assert key == ()


# -- what is one key, and what is refused


def test_the_type_is_part_of_the_key() -> None:
    """`1`, `1.0` and `True` are three keys here, as in the tuple layer; one in a dict."""
    assert len({ordered.encode(key) for key in (1, 1.0, True)}) == 3
    assert len({ordered.encode(key) for key in ((1,), (1.0,), (True,))}) == 3
    assert len({ordered.encode(key) for key in ("a", b"a", ("a",), (("a",),))}) == 4


def test_negative_zero_is_zero() -> None:
    """-0.0 is equal to 0.0, so they are one key, and 0.0 is what comes back."""
    assert ordered.encode(-0.0) == ordered.encode(0.0)
    assert math.copysign(1, ordered.decode(ordered.encode((-0.0,)))[0]) == 1


@given(any_aware)
def test_one_moment_is_one_key_property(time: datetime) -> None:
    """A moment is one key in all time zones, and comes back in UTC; what Python holds unequal to it is refused."""
    utc = time.astimezone(UTC)
    if utc == time:
        assert ordered.encode(time) == ordered.encode(utc)
        assert ordered.decode(ordered.encode(time)).tzinfo is UTC
    else:
        with pytest.raises(ValueError, match=r"repeats or skips.* use key\.astimezone\(timezone\.utc\)"):
            ordered.encode(time)


def test_fold_makes_no_two_keys() -> None:
    """Times without a zone that differ in `fold` alone are equal, and one key."""
    assert ordered.encode(EPOCH.replace(fold=1)) == ordered.encode(EPOCH)


def test_a_zone_without_an_offset_is_none() -> None:
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
def test_what_is_refused(key: Any, error: type[Exception], message: str) -> None:
    """What would not come back equal and of the same type is an error that says why."""
    with pytest.raises(error, match=message):
        ordered.encode(key)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_can_be_sent(protocol: int) -> None:
    """It is pickled by its public name."""
    data = pickle.dumps(ordered, protocol)
    assert b"_ordered_keys" not in data
    assert type(pickle.loads(data)) is OrderedKeys
    assert repr(pickle.loads(data)) == "OrderedKeys()"


# -- the tuple layer, from its specification alone


def from_specification(key: Any) -> bytes:
    """FoundationDB's design/tuple.md, word by word, for what it has a code for."""
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
def test_the_specification_property(key: Any) -> None:
    """A key is stored as the specification of the tuple layer packs the tuple of it alone."""
    assert ordered.encode(key) == from_specification(key)
