"""Keys under an object that encodes and decodes them, in place of the name of a text encoding."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Protocol

from .._errors import shown
from .codec import EMPTY, KeyCodec
from .ordered import OrderedKeys


class KeyEncoding(Protocol):
    """What `key_encoding` takes beside the name of a text encoding. It may be called in several threads at once.

    It may have a third method, `prefix_range(prefix) -> (low, high)`: from which bytes, inclusive, to which, exclusive
    (None: the end), keys that begin with `prefix` are encoded. Without it, a prefix is the keys whose bytes begin with
    those of the prefix.
    """

    def encode(self, key: Any, /) -> bytes:
        """The bytes of `key`, other than those of any other key. TypeError or ValueError for what is no key."""

    def decode(self, data: bytes, /) -> Any:
        """The key whose bytes `data` is. ValueError for what is no key's bytes, and was written by something else."""


KeyEncoding.__module__ = "lmdb_object_store"  # in the class, a type checker would take it for a part of the protocol


class StoredKey(bytes):
    """A key of the file that `key_encoding` has not written: its bytes.

    Iteration gives it, so that no item is hidden, and each method takes it, so that the item can be read and deleted.
    It equals no key but another `StoredKey`.
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
    """The rules by which a `KeyEncoding`'s keys become the keys of a file, and back. All keys go through it."""

    __slots__ = ("_decode", "_encode", "_exact", "_prefix_range", "key_encoding")

    def __init__(self, encoding: Any, errors: str, normalize: Any, max_size: int) -> None:
        super().__init__(None, errors, normalize, max_size)
        self.key_encoding = encoding
        self._encode = encoding.encode
        self._decode = encoding.decode
        self._prefix_range = getattr(encoding, "prefix_range", None)
        # Whether `decode` gives no key but one that leads back, and need not be held against it.
        self._exact = type(encoding) is OrderedKeys
        self.plain = 0

    @staticmethod
    def check(encoding: Any, errors: str, normalize: Any) -> None:
        """Raise TypeError for what is no `KeyEncoding`, ValueError for options that are for text alone."""
        methods = [getattr(encoding, name, None) for name in ("encode", "decode")]
        if isinstance(encoding, type) or not all(map(callable, methods)):
            raise TypeError(
                "key_encoding must be the name of an encoding, an object (no class) with encode(key) and "
                f"decode(data), or None, not {shown(encoding)}"
            )
        if errors != "strict" or normalize:
            raise ValueError("key_errors and str_normalize are for text encodings; key_encoding is an object here")

    def encode(self, key: Any) -> bytes:
        """As the inherited one. TypeError or ValueError, by the same name, for what `key_encoding` refuses."""
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

    def _refusal(self, what: str, key: Any, error: Exception) -> Exception:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        return kind(f"{what} {shown(key)} cannot be encoded by {shown(self.key_encoding)}: {error}")

    def decode(self, stored: bytes) -> Any:
        """The key to give back for `stored`: one that leads back to it, else a `StoredKey`."""
        data = self.to_bytes(stored)
        try:
            key = self._decode(data)
            if self._exact or self.encode(key) == stored:
                return key
        except (MemoryError, RuntimeError):  # no matter of the key: RecursionError is one
            raise
        except Exception:
            pass
        return StoredKey(data)

    def decode_page(self, stored_keys: Collection[bytes]) -> Iterable[Any]:
        """`decode` of each of `stored_keys`."""
        if self._exact:
            try:
                return list(map(self._decode, stored_keys))
            except ValueError:
                pass
        return map(self.decode, stored_keys)

    def prefix_bounds(self, prefix: Any) -> tuple[bytes, bytes | None] | None:
        """As the inherited one."""
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
        """As the inherited one."""
        return type(self.decode(stored)) is not StoredKey

    def shown(self, stored: bytes) -> str:
        """As the inherited one."""
        return shown(self.decode(stored))
