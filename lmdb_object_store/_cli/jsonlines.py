"""Stored rows as lines of JSON, and back. Nothing here runs code that a stored value names. Pure."""

from __future__ import annotations

import base64
import json
import pickle
import pickletools
from typing import Any

from .._errors import shown
from .._keys.codec import KeyCodec
from .._keys.custom import StoredKey

# The codes of pickles whose values are JSON. None of them calls, imports or names anything.
_SAFE_CODES = {
    "PROTO", "FRAME", "MARK", "STOP", "MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "NONE", "NEWTRUE",
    "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE",
    "BINUNICODE8", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS",
}  # fmt: skip
# Limits that every reader of JSON accepts, also the `json` of a Python with low limits.
_MAX_DEPTH = 100
_MAX_INT_BITS = 2048

# A row has one name of each pair.
_ROW = ({"key", "key_base64"}, {"value", "value_base64"})


def is_json(value: Any) -> bool:
    """Return True if `value` comes back from JSON with the same types, and no list or dict is in it twice."""
    ahead, seen = [(value, 0)], set[int]()
    while ahead:
        item, depth = ahead.pop()
        kind = type(item)
        if kind is dict or kind is list:
            if id(item) in seen or depth == _MAX_DEPTH or (kind is dict and not all(type(key) is str for key in item)):
                return False
            seen.add(id(item))
            ahead += [(inner, depth + 1) for inner in item]
            if kind is dict:
                ahead += [(inner, depth + 1) for inner in item.values()]
        elif kind is str:
            if not item.isascii() and any("\ud800" <= character <= "\udfff" for character in item):
                return False
        elif kind is float:
            if item - item != 0:  # infinite, or not a number
                return False
        elif kind is int:
            if item.bit_length() > _MAX_INT_BITS:
                return False
        elif item is not None and kind is not bool:
            return False
    return True


def json_of(data: bytes) -> tuple[Any] | None:
    """Return the value whose pickle is `data`, in a tuple, if it is JSON; else None.

    Only a pickle of safe codes is unpickled.
    """
    try:
        if not _is_safe(data):
            return None
        value = pickle.loads(data)
    except Exception:  # not a pickle
        return None
    return (value,) if is_json(value) else None


def _is_safe(data: bytes) -> bool:
    """Return True if all of `data` is one pickle, of the codes above alone."""
    end = None
    for code, argument, at in pickletools.genops(data):
        if code.name not in _SAFE_CODES:
            return False
        if code.name == "LONG_BINPUT" and (argument or 0) > len(data):
            return False  # the unpickler allocates memory for each number up to this one
        end = at
    return end == len(data) - 1


def to_line(codec: KeyCodec, stored: bytes, data: bytes, pickled: bool) -> str:
    """Return a row of the file as one line of JSON, in ASCII.

    The value is in base64 unless it is a pickle of JSON. With `pickled` False it is always in base64.
    """
    key, value = codec.decode(stored), json_of(data) if pickled else None
    in_text = isinstance(key, str) and is_json(key)
    row = {"key": key} if in_text else {"key_base64": base64.b64encode(codec.to_bytes(stored)).decode()}
    row.update({"value_base64": base64.b64encode(data).decode()} if value is None else {"value": value[0]})
    return json.dumps(row)


def from_line(line: str | bytes) -> tuple[Any, bytes | None, Any]:
    """Return the key of a line of `to_line`, the value's stored bytes or None, and the value or None.

    ValueError for any other line.
    """
    row = loads(line)
    names = set(row) if isinstance(row, dict) else set[str]()
    if len(names) != 2 or any(len(names & either) != 1 for either in _ROW):
        raise ValueError('not an object of "key" or "key_base64" and of "value" or "value_base64"')
    key = row["key"] if "key" in row else StoredKey(_bytes(row["key_base64"]))
    if not isinstance(key, (str, bytes)):
        raise ValueError(f"a key must be text, not {shown(key)}")
    return key, _bytes(row["value_base64"]) if "value_base64" in row else None, row.get("value")


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError(f"{shown(text)} is not base64")
    return base64.b64decode(text, validate=True)


def loads(text: str | bytes) -> Any:
    """Return the value of `text`, as `json.loads` does. ValueError for NaN and the like, which are not JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("too deeply nested") from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
