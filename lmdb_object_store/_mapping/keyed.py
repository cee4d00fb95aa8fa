"""KeyedMixin: what a store does with one key."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

import lmdb

from .._buffer.pending import BufferMixin
from .._environment import read
from .._environment.environment import MISSING
from .._errors import KeyNotFoundError
from .._values.large import LARGE
from .._values.serializing import loads

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")


class KeyedMixin(BufferMixin, MutableMapping[K, V]):
    """Provides `[]`, `get`, `in`, `del`, `pop`, `setdefault` and the like. Needs the attributes and methods below.

    `_plain`: keys of 1 to this many bytes are stored as they are, and need no codec; 0 until the file is open.
    `_loads` makes a value of its bytes; `pickle.loads` alone does where the store is `_direct`.
    `_short`: keys of up to this many bytes are read the short way; none where `_large` expects a large value, nor
    where the store is not direct.
    """

    if TYPE_CHECKING:
        serializer: Any  # the reference lists it once, with the store's own attributes
    _loads: Callable[..., Any]
    _short: int
    _large: bool
    _is_closed: bool

    @abstractmethod
    def _check_writable(self) -> None:
        """Raise if the store is closed or read-only."""

    @abstractmethod
    def flush(self) -> None:
        """Commit what is pending."""

    # -- one key

    def _find(self, stored: bytes) -> bytes | None:
        # Pending first, file second: a flush drops a change only after its commit, so none is missed.
        data = self._pending.get(stored, MISSING)
        return read.lookup(self._environment, stored) if data is MISSING else data

    def _fetch(self, stored: bytes) -> bytes | None:
        data = self._pending.get(stored, MISSING)
        if data is MISSING:
            self._flush_before_read()
            data = read.lookup(self._environment, stored)
        return data  # type: ignore[no-any-return]  # MISSING is Any

    def _value(self, stored: bytes, default: Any) -> Any:
        data = self._pending.get(stored, MISSING)
        if data is MISSING:
            self._flush_before_read()
            if self._large:
                return self._large_value(stored, default)
            data = read.lookup(self._environment, stored)
        if data is None:
            return default
        self._expect(len(data))
        return self._load(stored, data)

    def _large_value(self, stored: bytes, default: Any) -> Any:
        data, strings = read.lookup_large(self._environment, stored)
        if data is None:
            return default
        self._expect(len(data) + sum(map(len, strings)))
        return self._load(stored, data, strings)

    def _expect(self, size: int) -> None:
        # The next value is expected to be as large as this one, of `size` bytes.
        self._large = self._direct and read.is_large(size)
        self._short = self._plain if self._direct and not self._large else 0

    def _load(self, stored: bytes, data: bytes | bytearray, strings: Iterable[Any] = ()) -> V:
        try:
            value: V = self._loads(data, buffers=strings) if strings else self._loads(data)
        except Exception as error:
            raise self._unreadable(stored, data, error) from error
        return value

    def _loaded(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[V]:
        """The values of `rows`, each when it is asked for."""
        loads = self._loads
        for stored, data in rows:
            try:
                value = loads(data)
            except Exception as error:
                raise self._unreadable(stored, data, error) from error
            yield value

    def _load_all(self, rows: dict[bytes, bytes]) -> dict[bytes, V]:
        try:
            return dict(zip(rows, map(self._loads, rows.values())))
        except Exception:
            return dict(zip(rows, self._loaded(rows.items())))  # which tells whose value it is

    def _unreadable(self, stored: bytes, data: bytes | bytearray, error: Exception) -> RuntimeError:
        how = "unpickle" if self._loads is loads else "deserialize"
        where = "buffered" if self._pending.get(stored) is data else "DB"
        text = f"Failed to {how} {where} key {self._codec.shown(stored)}: {error}"
        if where == "DB":  # what is buffered is as this store's own serializer has made it
            from .._values.serializing import remedy  # not before it is needed

            if more := remedy(self.serializer, data, error):
                text = text.rstrip(".") + more
        return RuntimeError(text)

    # `[]`, `get` and `in` each have the common case written out, a short key of bytes that is not pending: a call
    # would cost as much as LMDB's look-up does. Whatever LMDB refuses there, an empty key too, goes the long way.

    def __getitem__(self, key: K) -> V:
        if (
            type(key) is not bytes
            or len(key) > self._short  # type: ignore[arg-type]  # bytes, which K need not be
            or (self._pending and (self.autoflush_on_read or key in self._pending))
        ):
            value = self._value(self._codec.encode(key), MISSING)
        else:
            try:
                data = self._environment.begin().get(key)  # type: ignore[call-overload]  # likewise
            except lmdb.Error:
                value = self._value(self._codec.encode(key), MISSING)
            else:
                if data is None:
                    raise KeyNotFoundError(key)
                if len(data) >= LARGE:
                    self._expect(len(data))
                try:
                    return loads(data)  # type: ignore[no-any-return]  # it is a V
                except Exception as error:
                    raise self._unreadable(key, data, error) from error  # type: ignore[arg-type]  # bytes
        if value is MISSING:
            raise KeyNotFoundError(key)
        return value  # type: ignore[no-any-return]  # it is a V

    @overload
    def get(self, key: K, default: None = None) -> V | None: ...
    @overload
    def get(self, key: K, default: V | D) -> V | D: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """The value of `key`, or `default`. RuntimeError, its cause chained, if the value cannot be unpickled."""
        if (
            type(key) is not bytes
            or len(key) > self._short
            or (self._pending and (self.autoflush_on_read or key in self._pending))
        ):
            return self._value(self._codec.encode(key), default)
        try:
            data = self._environment.begin().get(key)
        except lmdb.Error:
            return self._value(self._codec.encode(key), default)
        if data is None:
            return default
        if len(data) >= LARGE:
            self._expect(len(data))
        try:
            return loads(data)
        except Exception as error:
            raise self._unreadable(key, data, error) from error

    def __contains__(self, key: Any) -> bool:
        if type(key) is bytes and len(key) <= self._plain and key not in self._pending:
            try:
                return self._environment.begin().get(key) is not None
            except lmdb.Error:
                pass
        return self._find(self._codec.encode(key)) is not None

    def exists(self, key: K, *, flush: bool | None = None) -> bool:
        """Whether `key` is there. `flush` True flushes first, False never does, None as `autoflush_on_read` says."""
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
            self._stage(stored, None)

    def delete(self, key: K) -> None:
        """Delete `key`, in memory until the next flush, without a look whether it is there."""
        stored = self._codec.encode(key)
        self._check_writable()
        self._stage(stored, None)

    # -- read and write as one step among threads: unpickled with nothing held, then compared under the lock

    @overload
    def pop(self, key: K) -> V: ...
    @overload
    def pop(self, key: K, default: V | D) -> V | D: ...
    def pop(self, key: K, default: Any = MISSING) -> Any:
        """Remove `key` and return its value; `default`, or KeyError, if it is not there. Never flushes first.

        If it raises, the item is still there: so too when its value cannot be unpickled (RuntimeError).
        """
        stored = self._codec.encode(key)
        self._check_writable()
        while (data := self._find(stored)) is not None:
            value = self._load(stored, data)
            with self._environment.lock:
                if self._swap(stored, data, None):
                    return value
        if default is MISSING:
            raise KeyNotFoundError(key)
        return default

    def _swap(self, stored: bytes, old: bytes | None, new: bytes | None) -> bool:
        """Stage `new` (None deletes) if the row of `stored` still is `old` (None: absent); whether. Needs the lock.

        Where this raises, the flush that it sets off included, an `old` row is there still: whoever takes a row has
        it or an error.
        """
        outermost = self._deleted is None
        if outermost:
            self._deleted = set()
        try:
            if not self._change(stored, old, new):
                return False
            self._flush_if_full()
            if new is None and not outermost:
                self._deleted.add(stored)  # type: ignore[union-attr]  # by a handler in the midst of another removal
        except BaseException:
            if old is not None and not self._is_closed and stored not in (self._deleted or ()):
                self._change(stored, None, old)
            raise
        finally:
            if outermost:
                self._deleted = None
        return True

    def _change(self, stored: bytes, old: bytes | None, new: bytes | None) -> bool:
        commits = self._commits
        pending = self._pending.get(stored, MISSING)
        found = read.lookup(self._environment, stored) if pending is MISSING else pending
        return found == old and self._stage_if_unchanged(stored, pending, commits, new)

    @overload
    def setdefault(self: KeyedMixin[K, V | None], key: K, default: None = None) -> V | None: ...
    @overload
    def setdefault(self, key: K, default: V) -> V: ...
    def setdefault(self, key: K, default: Any = None) -> Any:
        """The value of `key`; `default` is stored first if there is none. Never flushes first."""
        stored = self._codec.encode_to_store(key)
        self._check_writable()
        new: bytes | None = None
        while (data := self._find(stored)) is None:
            new = new or self._dumps(key, default)
            with self._environment.lock:
                if self._swap(stored, None, new):
                    self._keep(stored, default, new)
                    return default
        return self._load(stored, data)

    def _keep(self, stored: bytes, value: Any, row: bytes) -> None:
        """Give this very `value` from now on, which is stored as `row`, if the store is one that does so."""
