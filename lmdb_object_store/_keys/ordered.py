"""OrderedKeys: simple Python objects as keys, in their natural order. Pure: knows neither LMDB nor threads.

The encoding is a file format, which docs/keys.md describes, and never changes. It is the format of FoundationDB's tuple
layer (design/tuple.md in its repository), with user type codes for the types in `ordered_times`.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError
from typing import Any

from .interval import Interval

_BYTES, _STR, _TUPLE, _ZERO, _FLOAT, _FALSE, _TRUE = 0x01, 0x02, 0x05, 0x14, 0x21, 0x26, 0x27
_MAX_INT_BYTES = 255  # the number of bytes is one byte
_INLINE = 8  # an int of at most this many bytes has their number in its type code
_HEADS = [bytes([_ZERO + size]) for size in range(-_INLINE, _INLINE + 1)]
_NEGATIVE, _POSITIVE = _ZERO - _INLINE - 1, _ZERO + _INLINE + 1

_double = Struct(">d")
_word = Struct(">Q")
_code_and_word = Struct(">BQ")
_SIGN = 1 << 63
_ALL = (1 << 64) - 1

_from_bytes = int.from_bytes
_NO_KEY = (ValueError, KeyError, IndexError, OverflowError, StructError)


class OrderedKeys:
    """Keys of None, bool, int, float, str, bytes, datetime, date, UUID and tuples of these, in their natural order.

    Use it as `LmdbObjectStore(path, key_encoding=OrderedKeys())`. Keys of one type are in Python's own order, and equal
    keys are one key. The type is part of the key: `1`, `1.0` and `True` are three keys. The order of types is None,
    bytes, str, tuple, int, float, bool, UUID, date, datetime, datetime with a time zone. A key comes back equal and
    of the same type. A datetime with a time zone comes back in UTC.
    """

    __module__ = "lmdb_object_store"

    def encode(self, key: Any) -> bytes:
        """Return the bytes of `key`, which FoundationDB's tuple layer gives for `(key,)`.

        TypeError for other types, subclasses included. ValueError for NaN, a lone surrogate, an int of more than 255
        bytes, and a datetime that is not equal to itself in UTC.
        """
        return b"\0" if key is None else _ENCODERS[type(key)](key)

    def decode(self, data: bytes) -> Any:
        """Return the key whose encoding is `data`. ValueError if there is no such key."""
        if data == b"\0":
            return None
        try:
            key, end = _DECODERS[data[0]](data, 1)
            if end == len(data):
                return key
        except _NO_KEY:
            pass
        raise ValueError(f"0x{data.hex()} is the encoding of no key")

    def prefix_range(self, prefix: Any) -> tuple[bytes, bytes | None]:
        """Return the bounds of the encodings of all keys that begin with `prefix`: a str, bytes or a tuple.

        The lower bound is inclusive, the upper one exclusive; None is the end. TypeError for other types.
        """
        kind = type(prefix)
        if kind not in (str, bytes, tuple):
            raise TypeError(f"keys begin with str, bytes or a tuple, not with {kind.__name__}: ask for a range")
        head = self.encode(prefix)[:-1]
        if kind is tuple:
            # No element begins with 0xff. After the NUL that ends the last element of `prefix`, 0xff means that the
            # element goes on: such a key does not begin with `prefix`.
            return head, head + b"\xff"
        interval = Interval.of_prefix(head)
        return interval.low, interval.high

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


# -- encoding


class _Known(dict[Any, Any]):
    """Encoders by type, or decoders by type code. If one is missing, import `ordered_times`, which is slow."""

    def __missing__(self, missing: Any) -> Any:
        from .ordered_times import DECODERS, ENCODERS

        _ENCODERS.update(ENCODERS)
        _DECODERS.update(DECODERS)
        if missing in self:
            return self[missing]
        if self is _DECODERS:
            raise KeyError(missing)
        raise TypeError(
            "a key is None, a bool, int, float, str, bytes, datetime, date or UUID, or a tuple of these, not "
            f"{missing.__name__}: convert it. A subclass of one of these, such as a named tuple, must be converted too."
        )


def _none(_: None) -> bytes:
    return b"\0\xff"  # in a tuple, where a NUL alone is the end


def _bytes(value: bytes) -> bytes:
    return b"\x01%b\0" % value.replace(b"\0", b"\0\xff")


def _str(value: str) -> bytes:
    try:
        if "\0" not in value:
            return f"\x02{value}\0".encode()
        return b"\x02%b\0" % value.encode().replace(b"\0", b"\0\xff")
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate is no character, and cannot be encoded") from None


def _tuple(value: tuple[Any, ...]) -> bytes:
    return b"\x05%b\0" % b"".join([_ENCODERS[type(item)](item) for item in value])


def _int(value: int) -> bytes:
    size = (value.bit_length() + 7) >> 3
    if size > _INLINE:
        return _long(value, size)
    if value < 0:
        return _HEADS[_INLINE - size] + (value + (1 << 8 * size) - 1).to_bytes(size, "big")
    return _HEADS[_INLINE + size] + value.to_bytes(size, "big")


def _long(value: int, size: int) -> bytes:
    if size > _MAX_INT_BYTES:
        raise ValueError(f"an int of {size} bytes; at most {_MAX_INT_BYTES} can be encoded")
    if value < 0:
        return bytes((_NEGATIVE, size ^ 0xFF)) + (value + (1 << 8 * size) - 1).to_bytes(size, "big")
    return bytes((_POSITIVE, size)) + value.to_bytes(size, "big")


def _float(value: float) -> bytes:
    if value != value:
        raise ValueError("NaN is not equal to itself, so it cannot be looked up")
    (bits,) = _word.unpack(_double.pack(value + 0.0))  # -0.0 + 0.0 is 0.0: equal keys are one key
    return _code_and_word.pack(_FLOAT, bits ^ (_ALL if bits & _SIGN else _SIGN))


def _bool(value: bool) -> bytes:
    return b"\x27" if value else b"\x26"


_ENCODERS = _Known({type(None): _none, bytes: _bytes, str: _str, tuple: _tuple, int: _int, float: _float, bool: _bool})

# -- decoding. Bytes that no key is encoded to raise one of `_NO_KEY`, or end beyond the data.


def _read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    end = data.index(0, at)
    while data[end + 1 : end + 2] == b"\xff":
        end = data.index(0, end + 2)
    return data[at:end].replace(b"\0\xff", b"\0"), end + 1


def _read_str(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    if data[end + 1 : end + 2] != b"\xff":
        return data[at:end].decode(), end + 1
    text, end = _read_bytes(data, at)
    return text.decode(), end


def _read_int(data: bytes, at: int) -> tuple[int, int]:
    size = data[at - 1] - _ZERO
    if size > 0:
        return _positive(data, at, size)
    return _negative(data, at, -size) if size else (0, at)


def _read_long(data: bytes, at: int) -> tuple[int, int]:
    read, size = (_positive, data[at]) if data[at - 1] == _POSITIVE else (_negative, data[at] ^ 0xFF)
    if size <= _INLINE:
        raise ValueError("too short for this code")
    return read(data, at + 1, size)


def _positive(data: bytes, at: int, size: int) -> tuple[int, int]:
    if data[at] == 0:
        raise ValueError("more bytes than needed")
    return _from_bytes(data[at : at + size], "big"), at + size


def _negative(data: bytes, at: int, size: int) -> tuple[int, int]:
    if data[at] == 0xFF:
        raise ValueError("more bytes than needed")
    return _from_bytes(data[at : at + size], "big") - (1 << 8 * size) + 1, at + size


def _read_float(data: bytes, at: int) -> tuple[float, int]:
    (bits,) = _word.unpack_from(data, at)
    (value,) = _double.unpack(_word.pack(bits ^ (_SIGN if bits & _SIGN else _ALL)))
    if value != value or bits == _SIGN - 1:
        raise ValueError("NaN or -0.0")
    return value, at + 8


def _read_tuple(data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
    # Without recursion, so that a stored key can be read however deep the stack is. Text without NULs and positive ints
    # are decoded inline, because a call for each takes a quarter of the time.
    outer: list[list[Any]] = []
    items: list[Any] = []
    while True:
        code = data[at]
        at += 1
        if code == _STR and data[(end := data.index(0, at)) + 1] != 0xFF:
            items.append(data[at:end].decode())
            at = end + 1
        elif _ZERO < code < _POSITIVE and data[at]:
            end = at + code - _ZERO
            items.append(_from_bytes(data[at:end], "big"))
            at = end
        elif code == _TUPLE:
            outer.append(items)
            items = []
        elif code:
            item, at = _DECODERS[code](data, at)
            items.append(item)
        elif data[at : at + 1] == b"\xff":
            items.append(None)
            at += 1
        elif outer:
            inner, items = tuple(items), outer.pop()
            items.append(inner)
        else:
            return tuple(items), at


_DECODERS = _Known(
    {
        _BYTES: _read_bytes,
        _STR: _read_str,
        _TUPLE: _read_tuple,
        **dict.fromkeys(range(_NEGATIVE + 1, _POSITIVE), _read_int),
        **dict.fromkeys((_NEGATIVE, _POSITIVE), _read_long),
        _FLOAT: _read_float,
        _FALSE: lambda data, at: (False, at),
        _TRUE: lambda data, at: (True, at),
    }
)
