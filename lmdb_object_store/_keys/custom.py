"""KeyEncoding, an object that encodes and decodes keys, and the codec of a store that has one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Protocol

from .._errors import shown
from .codec import EMPTY, KeyCodec
from .ordered import OrderedKeys


class KeyEncoding(Protocol):
    """An object for the option `key_encoding`. Several threads may call it at once.

    It may have a third method, `prefix_range(prefix) -> (low, high)`: the bounds of the bytes of all keys that begin
    with `prefix`. `low` is inclusive, `high` is exclusive, and None as `high` is the end. Without this method, a prefix
    finds the keys whose bytes begin with the bytes of the prefix.
    """

    def encode(self, key: Any, /) -> bytes:
        """Return the bytes of `key`, which no other key has. TypeError or ValueError if `key` is no key."""

    def decode(self, data: bytes, /) -> Any:
        """Return the key whose bytes are `data`. ValueError if `data` belongs to no key."""


KeyEncoding.__module__ = "lmdb_object_store"  # in the class, a type checker would take it for a part of the protocol


class StoredKey(bytes):
    """The bytes of a key in the file that `key_encoding` did not write.

    Iteration gives such keys, so that no item is hidden. Each method takes one, so that the item can be read and
    deleted. A `StoredKey` equals only another `StoredKey`.
    """

    __module__ = "lmdb_object_store"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredKey) and bytes.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return bytes.__hash__(self)

    def __repr__(self) -> str:
        return f"StoredKey({bytes(self)!r})"


class EncodedKeys(KeyCodec):
    """Encode the keys of a store by its `KeyEncoding`, and decode its stored keys."""

    __slots__ = ("_decode", "_encode", "_exact", "_prefix_range", "key_encoding")

    def __init__(self, encoding: Any, errors: str, normalize: Any, max_size: int) -> None:
        super().__init__(None, errors, normalize, max_size)
        self.key_encoding = encoding
        self._encode = encoding.encode
        self._decode = encoding.decode
        self._prefix_range = getattr(encoding, "prefix_range", None)
        # True if each decoded key is known to encode back to its bytes.
        self._exact = type(encoding) is OrderedKeys
        self.raw_key_limit = 0  # no key is stored as it is

    @staticmethod
    def check(encoding: Any, errors: str, normalize: Any) -> None:
        """Raise TypeError if `encoding` is no `KeyEncoding`, ValueError for options that are for text only."""
        methods = [getattr(encoding, name, None) for name in ("encode", "decode")]
        if isinstance(encoding, type) or not all(map(callable, methods)):
            raise TypeError(
                "key_encoding must be the name of an encoding, an object (no class) with encode(key) and "
                f"decode(data), or None, not {shown(encoding)}"
            )
        if errors != "strict" or normalize:
            raise ValueError("key_errors and str_normalize are for text encodings; key_encoding is an object here")

    def encode(self, key: Any) -> bytes:
        """Return the stored key of `key`. TypeError or ValueError if `key_encoding` raises one for it."""
        if type(key) is StoredKey:
            data = bytes(key)
        else:
            try:
                data = self._encode(key)
            except Exception as error:
                raise self._refusal("key", key, error) from error
            if type(data) is not bytes:
                raise TypeError(
                    f"{shown(self.key_encoding)} gave {type(data).__name__} for key {shown(key)}: it must give bytes"
                )
        return data if 0 < len(data) < len(EMPTY) else self.replaced(data)

    def _refusal(self, noun: str, key: Any, error: Exception) -> Exception:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        return kind(f"{noun} {shown(key)} cannot be encoded by {shown(self.key_encoding)}: {error}")

    def decode(self, stored: bytes) -> Any:
        """Return the key whose stored key is `stored`: a key that encodes back to `stored`, else a `StoredKey`."""
        data = self.to_bytes(stored)
        try:
            key = self._decode(data)
            if self._exact or self.encode(key) == stored:
                return key
        except (MemoryError, RuntimeError):  # no fault of the key. RecursionError is a RuntimeError.
            raise
        except Exception:
            pass
        return StoredKey(data)

    def decode_page(self, stored_keys: Collection[bytes]) -> Iterable[Any]:
        """Return the keys of a page of stored keys."""
        if self._exact:
            try:
                return list(map(self._decode, stored_keys))
            except ValueError:
                pass
        return map(self.decode, stored_keys)

    def prefix_bounds(self, prefix: Any) -> tuple[bytes, bytes | None] | None:
        """Return the bounds that the encoding's `prefix_range` gives; None if it has no such method."""
        if self._prefix_range is None or type(prefix) is StoredKey:
            return None
        try:
            low, high = self._prefix_range(prefix)
        except Exception as error:
            raise self._refusal("prefix", prefix, error) from error
        if not isinstance(low, bytes) or not (high is None or isinstance(high, bytes)):
            given = f"{type(low).__name__} and {type(high).__name__}"
            raise TypeError(f"{shown(self.key_encoding)} gave {given} for prefix {shown(prefix)}: they must be bytes")
        return low, high

    def is_key(self, stored: bytes) -> bool:
        """Return True if `stored` is the stored key of a key."""
        return type(self.decode(stored)) is not StoredKey

    def shown(self, stored: bytes) -> str:
        """Return the key whose stored key is `stored`, as a message quotes it."""
        return shown(self.decode(stored))
