"""The few errors that a caller would catch apart, and how a key is shown in a message."""

from __future__ import annotations

from collections.abc import Mapping

import lmdb

_SHOWN = 48  # characters of a key that a message quotes


def shown(key: object) -> str:
    """`key` as a message quotes it: text in quotes, other bytes as ``0x…``, cut to a readable length."""
    if isinstance(key, (bytes, bytearray, memoryview)):
        data = bytes(key[: 4 * _SHOWN]) if len(key) > 4 * _SHOWN else bytes(key)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = "\0"
        if not text.isprintable():
            digits = data[: _SHOWN // 2].hex()
            cut = len(key) > _SHOWN // 2
            return f"0x{digits}… ({len(key)} bytes)" if cut else f"0x{digits}"
        key = text
    if isinstance(key, str) and len(key) > _SHOWN:
        return f"{key[:_SHOWN]!r}… ({len(key)} characters)"
    return repr(key) if isinstance(key, str) else repr(key)[:_SHOWN]


class StoreClosedError(lmdb.Error, ValueError):
    """The store was used after `close()`.

    An `lmdb.Error` as every failure of the database is, and a `ValueError` as a closed `shelve` raises.
    """


class FlushError(RuntimeError):
    """The last flush of a store failed as it closed; `pending` holds what is not in the file.

    `pending` maps stored keys to pickled values, or to None for a deletion.
    The cause is chained (``__cause__``).
    """

    def __init__(self, message: str, pending: Mapping[bytes, bytes | None] | None = None) -> None:
        super().__init__(message)
        self.pending: dict[bytes, bytes | None] = dict(pending or {})


class KeyNotFoundError(KeyError):
    """A missing key: `args` holds the caller's key alone, as a dict's `KeyError` does."""

    def __str__(self) -> str:
        return f"Key not found: {shown(self.args[0])}"
