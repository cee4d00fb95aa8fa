"""Keys to bytes and back. Knows nothing of LMDB or threads."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

from .._errors import shown

# LMDB has no empty key: this one stands for it in the file. All NULs, so that
# it sorts where the empty key would among all keys that are not NULs alone.
EMPTY = b"\0" * 511

_LOSSLESS = frozenset({"utf-8", "ascii"})  # strict decoding that encodes back to the same bytes, always


def _normalizer(form: Any) -> Callable[[str], str]:
    from unicodedata import normalize  # not before it is needed: most stores have no use for it

    if form not in ("NFC", "NFD", "NFKC", "NFKD"):
        wrong = ValueError if isinstance(form, str) else TypeError
        raise wrong(f"str_normalize must be 'NFC', 'NFD', 'NFKC' or 'NFKD', not {form!r}")
    return partial(normalize, form)


class KeyCodec:
    """The rules by which the keys of one store become the keys of its file, and back."""

    __slots__ = ("encoding", "errors", "lossless", "max_size", "normalized", "plain", "unstorable")

    def __init__(self, encoding: str | None, errors: str, normalize: Any, max_size: int) -> None:
        self.encoding = encoding
        self.errors = errors
        self.normalized = _normalizer(normalize) if normalize else None
        self.max_size = max_size
        # Keys of 1 to this many bytes are stored as they are.
        self.plain = min(max_size, len(EMPTY) - 1)
        # What the stand-in itself is looked up as: a key that no file can hold.
        self.unstorable = b"\0" * (max_size + 1)
        self.lossless = (
            encoding is not None and errors == "strict" and not normalize and codecs.lookup(encoding).name in _LOSSLESS
        )

    @staticmethod
    def check(encoding: str | None, errors: str, normalize: Any) -> None:
        """Raise for an unknown encoding (LookupError), error handler (LookupError) or normal form (ValueError)."""
        if encoding is not None:
            "".encode(encoding)
        if not isinstance(errors, str):
            raise TypeError(f"key_errors must be the name of an error handler, such as 'strict', not {errors!r}")
        codecs.lookup_error(errors)
        if normalize:
            _normalizer(normalize)

    def encode(self, key: Any) -> bytes:
        """The stored key for `key`. TypeError for what is no key here; a key too long to store is returned as it is."""
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
        """Return the error for a key of another type, with the way out."""
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
        """The stored key for a key of the bytes `data`: the stand-in for the empty one, or what stands for that."""
        if not data:
            return EMPTY
        return self.unstorable if data == EMPTY else data

    def _encode_text(self, key: str) -> bytes:
        if self.encoding is None:
            raise TypeError("str keys are not allowed (set key_encoding='utf-8' etc. to enable).")
        if self.normalized:
            key = self.normalized(key)
        try:
            return str.encode(key, self.encoding, self.errors)
        except UnicodeEncodeError as error:
            error.reason += f" (key {shown(key)}; another key_encoding or key_errors would take it)"
            raise

    def encode_bound(self, bound: Any) -> bytes:
        """The bytes of `bound`, a key, where keys are compared: `b""` for the empty one. TypeError as for a key."""
        data = self.encode(bound)
        return b"" if data is EMPTY else EMPTY if data is self.unstorable else data

    def prefix_bounds(self, prefix: Any) -> tuple[bytes, bytes | None] | None:
        """Between which bytes the keys are that begin with `prefix`; None: those that begin with its bytes."""
        return None

    def encode_to_store(self, key: Any) -> bytes:
        """As `encode`, for a write: ValueError for a key that LMDB cannot hold."""
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
        """As `encode`, for a key in the form in which `decode` gives it; None for any other object."""
        try:
            stored = self.encode(key)
        except (TypeError, ValueError):
            return None
        own = self.decode(stored)
        return stored if type(own) is type(key) and own == key else None

    def is_key(self, stored: bytes) -> bool:
        """Return True if `stored` may be what this codec makes of a key."""
        return True

    def to_bytes(self, stored: bytes) -> bytes:
        """The key as bytes that `stored` stands for."""
        return b"" if stored == EMPTY else stored

    def shown(self, stored: bytes) -> str:
        """The key that `stored` stands for, as a message quotes it."""
        return shown(self.to_bytes(stored))

    def decode(self, stored: bytes) -> Any:
        """The key to give back for `stored`: str where `encoding` is set and the text leads back here, else bytes."""
        data = b"" if stored == EMPTY else stored
        if self.encoding is None:
            return data
        try:
            text = data.decode(self.encoding, self.errors)
            if self.lossless or self.encode(text) == stored:
                return text
        except (UnicodeError, TypeError):  # TypeError: an error handler that knows only how to encode
            pass
        return data

    def decode_page(self, stored_keys: Collection[bytes]) -> Iterable[Any]:
        """`decode` of each of `stored_keys`, which are in order, either way."""
        # The stand-in sorts with the keys that begin with NUL: at an end of the page, or it is not there.
        first_and_last: Any = stored_keys  # a dict or a list, which can be reversed, as not each Collection can
        if stored_keys and next(iter(stored_keys))[0] and next(reversed(first_and_last))[0]:
            if self.encoding is None:
                return stored_keys
            if self.lossless:
                try:
                    return [key.decode(self.encoding) for key in stored_keys]
                except UnicodeDecodeError:
                    pass
        return map(self.decode, stored_keys)
