"""KeyedMixin: reads and writes of one key, as a dict does them."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, TypeVar, overload

import lmdb

from .._buffer.reading import ReadingMixin
from .._environment.environment import MISSING
from .._errors import KeyNotFoundError
from .._values.large import LARGE
from .._values.serializing import loads

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")


class KeyedMixin(ReadingMixin, MutableMapping[K, V]):
    """Provides `[]`, `get`, `in`, `del`, `pop`, `setdefault` and the like."""

    # `[]`, `get` and `in` each repeat the code for a short key of bytes that is not pending, because a call costs as
    # much as LMDB's look-up. A key that LMDB refuses there, such as the empty one, takes the long path.

    def __getitem__(self, key: K) -> V:
        if (
            type(key) is bytes
            and len(key) <= self._short_read_limit  # type: ignore[arg-type]  # K need not be bytes
            and not (self._pending and (self.autoflush_on_read or key in self._pending))
        ):
            try:
                data = self._environment.begin().get(key)  # type: ignore[call-overload]  # K need not be bytes
            except lmdb.Error:
                pass
            else:
                if data is None:
                    raise KeyNotFoundError(key)
                if len(data) >= LARGE:
                    self._expect_size(len(data))
                try:
                    return loads(data)  # type: ignore[no-any-return]  # it is a V
                except Exception as error:
                    raise self._unreadable(key, data, error) from error  # type: ignore[arg-type]  # bytes
        value = self._value(self._codec.encode(key), MISSING)
        if value is MISSING:
            raise KeyNotFoundError(key)
        return value  # type: ignore[no-any-return]  # it is a V

    @overload
    def get(self, key: K, default: None = None) -> V | None: ...
    @overload
    def get(self, key: K, default: V | D) -> V | D: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of `key`, or `default`. RuntimeError, its cause chained, if it cannot be unpickled."""
        if (
            type(key) is bytes
            and len(key) <= self._short_read_limit
            and not (self._pending and (self.autoflush_on_read or key in self._pending))
        ):
            try:
                data = self._environment.begin().get(key)
            except lmdb.Error:
                pass
            else:
                if data is None:
                    return default
                if len(data) >= LARGE:
                    self._expect_size(len(data))
                try:
                    return loads(data)
                except Exception as error:
                    raise self._unreadable(key, data, error) from error
        return self._value(self._codec.encode(key), default)

    def __contains__(self, key: Any) -> bool:
        if type(key) is bytes and len(key) <= self._raw_key_limit and key not in self._pending:
            try:
                return self._environment.begin().get(key) is not None
            except lmdb.Error:
                pass
        return self._find(self._codec.encode(key)) is not None

    def exists(self, key: K, *, flush: bool | None = None) -> bool:
        """Return True if `key` exists. `flush` True flushes first, False never, None as `autoflush_on_read` says."""
        stored = self._codec.encode(key)
        if flush and self.write_buffer:
            self.flush()
        return (self._fetch if flush is None else self._find)(stored) is not None

    def __delitem__(self, key: K) -> None:
        stored = self._codec.encode(key)
        self._check_writable()
        with self._environment.lock:
            if self._find(stored) is None:
                raise KeyNotFoundError(key)
            self._add(stored, None)

    def delete(self, key: K) -> None:
        """Delete `key`, in memory until the next flush. No error if it does not exist: no look-up."""
        stored = self._codec.encode(key)
        self._check_writable()
        self._add(stored, None)

    # -- a read and a write as one step among threads: unpickled with nothing held, then compared under the lock

    @overload
    def pop(self, key: K) -> V: ...
    @overload
    def pop(self, key: K, default: V | D) -> V | D: ...
    def pop(self, key: K, default: Any = MISSING) -> Any:
        """Remove `key` and return its value; `default`, or KeyError, if it is missing. Never flushes first.

        If this raises, the item still exists, also if its value cannot be unpickled (RuntimeError).
        """
        stored = self._codec.encode(key)
        self._check_writable()
        while (data := self._find(stored)) is not None:
            value = self._load(stored, data)
            with self._environment.lock:
                if self._replace_row(stored, data, None):
                    return value
        if default is MISSING:
            raise KeyNotFoundError(key)
        return default

    @overload
    def setdefault(self: KeyedMixin[K, V | None], key: K, default: None = None) -> V | None: ...
    @overload
    def setdefault(self, key: K, default: V) -> V: ...
    def setdefault(self, key: K, default: Any = None) -> Any:
        """Return the value of `key`, after storing `default` if it is missing. Never flushes first."""
        stored = self._codec.encode_to_store(key)
        self._check_writable()
        new: bytes | None = None
        while (data := self._find(stored)) is None:
            new = new or self._dumps(key, default)
            with self._environment.lock:
                if self._replace_row(stored, None, new):
                    self._keep(stored, default, new)
                    return default
        return self._load(stored, data)
