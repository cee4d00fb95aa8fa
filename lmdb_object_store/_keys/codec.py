"""KeyCodec: keys as stored keys, and stored keys as keys. Pure: knows neither LMDB nor threads."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

from .._errors import shown

# The stored key of the empty key, which LMDB cannot store. It consists of NULs, so that it sorts before every key that
# has another byte, as the empty key does.
EMPTY = b"\0" * 511

_LOSSLESS = frozenset({"utf-8", "ascii"})  # text that was decoded strictly always encodes back to the same bytes


def _normalizer(form: Any) -> Callable[[str], str]:
    from unicodedata import normalize  # imported late, because most stores do not need it

    if form not in ("NFC", "NFD", "NFKC", "NFKD"):
        wrong = ValueError if isinstance(form, str) else TypeError
        raise wrong(f"str_normalize must be 'NFC', 'NFD', 'NFKC' or 'NFKD', not {form!r}")
    return partial(normalize, form)


class KeyCodec:
    """Encode the keys of one store, and decode its stored keys."""

    __slots__ = ("encoding", "errors", "lossless", "max_size", "normalize", "raw_key_limit", "unstorable")

    def __init__(self, encoding: str | None, errors: str, normalize: Any, max_size: int) -> None:
        self.encoding = encoding
        self.errors = errors
        self.normalize = _normalizer(normalize) if normalize else None
        self.max_size = max_size
        # Keys of 1 to this many bytes are stored as they are.
        self.raw_key_limit = min(max_size, len(EMPTY) - 1)
        # The reserved key EMPTY is looked up as this key, which is too long for any file.
        self.unstorable = b"\0" * (max_size + 1)
        self.lossless = (
            encoding is not None and errors == "strict" and not normalize and codecs.lookup(encoding).name in _LOSSLESS
        )

    @staticmethod
    def check(encoding: str | None, errors: str, normalize: Any) -> None:
        """Raise LookupError for an unknown encoding or error handler, ValueError for an unknown normal form."""
        if encoding is not None:
            "".encode(encoding)
        if not isinstance(errors, str):
            raise TypeError(f"key_errors must be the name of an error handler, such as 'strict', not {errors!r}")
        codecs.lookup_error(errors)
        if normalize:
            _normalizer(normalize)

    def encode(self, key: Any) -> bytes:
        """Return the stored key of `key`. TypeError for an object that cannot be a key of this store.

        A key too long to store is returned as it is, so that a look-up does not find it.
        """
        if type(key) is bytes:
            data = key
        elif isinstance(key, str):
            data = self._encode_text(key)
        elif isinstance(key, (bytes, bytearray, memoryview)):
            data = memoryview(key).tobytes()
        elif key is None:
            raise TypeError("Key cannot be None.")
        else:
            raise self._no_key(key)
        return data if 0 < len(data) < len(EMPTY) else self.replaced(data)

    def _no_key(self, key: object) -> TypeError:
        """Return the error for a key of a wrong type."""
        kinds = "bytes-like" if self.encoding is None else "bytes-like or str"
        text = f"Key must be {kinds}; got {type(key).__name__}."
        if isinstance(key, slice):
            return TypeError(f"{text} For a part of the store call range(minimum, maximum).")
        wanted = "bytes" if self.encoding is None else "str"
        return TypeError(
            f"{text} Convert it to {wanted}, or make a store with key_encoding=OrderedKeys(), "
            "which takes numbers, dates and tuples."
        )

    def replaced(self, data: bytes) -> bytes:
        """Return the stored key for the key `data`, which is empty or has at least 511 bytes."""
        if not data:
            return EMPTY
        return self.unstorable if data == EMPTY else data

    def _encode_text(self, key: str) -> bytes:
        if self.encoding is None:
            raise TypeError("str keys are not allowed (set key_encoding='utf-8' etc. to enable).")
        if self.normalize:
            key = self.normalize(key)
        try:
            return str.encode(key, self.encoding, self.errors)
        except UnicodeEncodeError as error:
            error.reason += f" (key {shown(key)}; another key_encoding or key_errors would take it)"
            raise

    def encode_bound(self, bound: Any) -> bytes:
        """Return the bytes of a key that is a bound or a prefix: `b""` for the empty key. TypeError as for a key."""
        data = self.encode(bound)
        return b"" if data is EMPTY else EMPTY if data is self.unstorable else data

    def prefix_bounds(self, prefix: Any) -> tuple[bytes, bytes | None] | None:
        """Return the bounds of the keys that begin with `prefix`; None: those whose bytes begin with its bytes."""
        return None

    def encode_to_store(self, key: Any) -> bytes:
        """Return the stored key of `key`, for a write. ValueError for a key that LMDB cannot store."""
        data = self.encode(key)
        if len(data) <= self.max_size:
            return data
        if data is self.unstorable:
            raise ValueError(
                f"the key of {len(EMPTY)} NUL bytes is reserved: it stands for the empty key in the file. "
                "Use any other key."
            )
        raise ValueError(
            f"key {shown(key)} is {len(data)} bytes long; this file takes keys of at most {self.max_size}: "
            "shorten it, or store under a digest of it"
        )

    def encode_own(self, key: Any) -> bytes | None:
        """Return the stored key of `key`, or None if `decode` never returns such an object."""
        try:
            stored = self.encode(key)
        except (TypeError, ValueError):
            return None
        own = self.decode(stored)
        return stored if type(own) is type(key) and own == key else None

    def is_key(self, stored: bytes) -> bool:
        """Return True if `stored` may be the stored key of a key."""
        return True

    def to_bytes(self, stored: bytes) -> bytes:
        """Return the bytes of the key whose stored key is `stored`."""
        return b"" if stored == EMPTY else stored

    def shown(self, stored: bytes) -> str:
        """Return the key whose stored key is `stored`, as a message quotes it."""
        return shown(self.to_bytes(stored))

    def decode(self, stored: bytes) -> Any:
        """Return the key whose stored key is `stored`: text if that encodes back to `stored`, else bytes."""
        data = b"" if stored == EMPTY else stored
        if self.encoding is None:
            return data
        try:
            text = data.decode(self.encoding, self.errors)
            if self.lossless or self.encode(text) == stored:
                return text
        except (UnicodeError, TypeError):  # TypeError: from an error handler that can only encode
            pass
        return data

    def decode_page(self, stored_keys: Collection[bytes]) -> Iterable[Any]:
        """Return the keys of a page of stored keys, which are in ascending or descending order."""
        # EMPTY sorts with the keys that begin with NUL. If it is in the page, such a key is at one end.
        first_and_last: Any = stored_keys  # a dict or a list: both can be reversed, unlike other collections
        if stored_keys and next(iter(stored_keys))[0] and next(reversed(first_and_last))[0]:
            if self.encoding is None:
                return stored_keys
            if self.lossless:
                try:
                    return [key.decode(self.encoding) for key in stored_keys]
                except UnicodeDecodeError:
                    pass
        return map(self.decode, stored_keys)
