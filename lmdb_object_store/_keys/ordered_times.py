"""Dates, times and UUIDs as keys of `OrderedKeys`. Their modules are slow to import. Part of the file format; pure."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from struct import Struct
from typing import Any
from uuid import UUID

_UUID, _DATE, _NAIVE, _AWARE = 0x30, 0x40, 0x41, 0x42

# Days and microseconds are counted from 1970-01-01. Earlier ones are negative, so all are shifted to be unsigned.
_day = Struct(">BI")
_microsecond = Struct(">BQ")
_DAY_ZERO, _MICROSECOND_ZERO = 1 << 31, 1 << 63
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _encode_uuid(value: UUID) -> bytes:
    return b"\x30" + value.bytes


def _decode_uuid(data: bytes, at: int) -> tuple[UUID, int]:
    return UUID(bytes=data[at : at + 16]), at + 16


def _encode_date(value: date) -> bytes:
    return _day.pack(_DATE, value.toordinal() - _EPOCH_DAY + _DAY_ZERO)


def _decode_date(data: bytes, at: int) -> tuple[date, int]:
    _, days = _day.unpack_from(data, at - 1)
    return date.fromordinal(days - _DAY_ZERO + _EPOCH_DAY), at + 4


def _encode_datetime(value: datetime) -> bytes:
    # `fold` is not encoded. Without a time zone, two datetimes that differ in `fold` alone are equal. With one, they
    # are refused below.
    if value.utcoffset() is None:
        return _microsecond.pack(_NAIVE, _microseconds(value - _EPOCH))
    try:
        utc = value.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError(f"{value} is before the year 1 or after 9999 in UTC, which would be stored") from None
    if utc != value:
        raise ValueError(
            f"{value} is in an hour that its time zone repeats or skips, so it is not equal to its UTC time, which "
            "would be stored: use key.astimezone(timezone.utc)"
        )
    return _microsecond.pack(_AWARE, _microseconds(utc - _EPOCH_UTC))


def _microseconds(since: timedelta) -> int:
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds + _MICROSECOND_ZERO


def _decode_datetime(data: bytes, at: int) -> tuple[datetime, int]:
    code, microseconds = _microsecond.unpack_from(data, at - 1)
    since = timedelta(microseconds=microseconds - _MICROSECOND_ZERO)
    return (_EPOCH if code == _NAIVE else _EPOCH_UTC) + since, at + 8


ENCODERS: dict[Any, Any] = {UUID: _encode_uuid, date: _encode_date, datetime: _encode_datetime}
DECODERS: dict[Any, Any] = {
    _UUID: _decode_uuid,
    _DATE: _decode_date,
    _NAIVE: _decode_datetime,
    _AWARE: _decode_datetime,
}
