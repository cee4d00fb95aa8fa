"""Keys in text, as the command line takes and shows them: the only place that knows how. Pure functions."""

from __future__ import annotations

from ._codec import KeyCodec

_HEX = "0x"  # what is no printable text, and text that begins so, is shown as the key's bytes in hexadecimal


def parse(text: str) -> str | bytes:
    """The key that `text` means: `0x` and pairs of hexadecimal digits are bytes, all else is text."""
    if text.startswith(_HEX):
        try:
            return bytes.fromhex(text[len(_HEX) :])
        except ValueError:
            pass
    return text


def show(codec: KeyCodec, stored: bytes) -> str:
    """The key of the row `stored`, on one line; `parse` leads back to it."""
    key = codec.decode(stored)
    if isinstance(key, str) and key and key.isprintable() and not key.startswith(_HEX):
        return key
    return _HEX + codec.to_bytes(stored).hex()
