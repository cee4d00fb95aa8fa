"""Keys as the command line takes and shows them. Pure functions."""

from __future__ import annotations

import warnings
from ast import literal_eval
from typing import Any

from .._keys.codec import KeyCodec
from .._keys.custom import StoredKey
from .._keys.ordered import OrderedKeys

_HEX = "0x"  # begins a key's bytes in hexadecimal: a key without printable text, or whose text begins with "0x"
_ORDERED = "ordered"


def encoding(name: str) -> Any:
    """Return the `key_encoding` of that name: `OrderedKeys()` for "ordered", else the name of a text encoding."""
    return OrderedKeys() if name == _ORDERED else name


def parse(text: str, key_encoding: Any) -> Any:
    """Return the key that `text` means: `0x` and pairs of hexadecimal digits are stored bytes, all else is text.

    With `OrderedKeys` a literal of Python is its value: a number, a tuple, None, quoted text.
    """
    if text.startswith(_HEX):
        try:
            return StoredKey(bytes.fromhex(text[len(_HEX) :]))
        except ValueError:
            pass
    if isinstance(key_encoding, OrderedKeys):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler warns of text that is no literal
                return literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass
    return text


def show(codec: KeyCodec, stored: bytes, key_encoding: Any) -> str:
    """Return the text of the key whose stored key is `stored`, on one line. `parse` gives the same key."""
    key = codec.decode(stored)
    for text in (key if isinstance(key, str) else repr(key), repr(key)):
        if text and text.isprintable() and _stored(codec, parse(text, key_encoding)) == stored:
            return text
    return _HEX + codec.to_bytes(stored).hex()


def _stored(codec: KeyCodec, key: Any) -> bytes | None:
    try:
        return codec.encode(key)
    except (TypeError, ValueError):
        return None
