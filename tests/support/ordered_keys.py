"""Keys of every type that OrderedKeys takes, as strategies, and their order."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

UTC = timezone.utc

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
    """Return the documented order as a Python key: by type, then by the key."""
    if type(key) is tuple:
        return 3, [place(item) for item in key]
    if key is None:
        return 0, 0
    if type(key) is datetime:
        return (9, key) if key.utcoffset() is None else (10, key.astimezone(UTC))
    return [None, bytes, str, tuple, int, float, bool, UUID, date].index(type(key)), key


def same(one: Any, other: Any) -> bool:
    """Return True if both are equal, and of the same types through and through."""
    if type(one) is tuple and type(other) is tuple:
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def parts_of(key: Any) -> st.SearchStrategy[Any]:
    """Return a strategy of the parts that `key` begins with."""
    return st.integers(0, len(key)).map(lambda count: key[:count])


def begins(key: Any, prefix: Any) -> bool:
    """Return True if `key` begins with the prefix in the model."""
    if type(key) is not type(prefix):
        return False
    return place(key[: len(prefix)]) == place(prefix) if type(key) is tuple else key.startswith(prefix)
