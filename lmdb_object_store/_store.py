"""LmdbObjectStore: the constructor and the mapping protocol. What each call does is in the modules it names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from functools import partial
from itertools import chain

import lmdb

from . import _lifecycle, _reads, _scan
from ._buffer import BufferMixin, Shut
from ._codec import EMPTY, KeyCodec, dumps, loads
from ._environment import MISSING, Detached, Environment
from ._errors import KeyNotFoundError, check_limit, closed, shown
from ._large import LARGE
from ._registry import acquire, release
from ._resize import ResizeMixin
from ._typing import TYPE_CHECKING, Any, TypeVar, overload
from ._views import StoreItems, StoreKeys, StoreValues

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
S = TypeVar("S", bound="LmdbObjectStore[Any, Any]")

# What a pickled store carries besides the limits of its buffer.
_CARRIED = (
    "db_path",
    "autoflush_on_read",
    "key_encoding",
    "key_errors",
    "str_normalize",
    "max_map_size",
    "_lmdb_kwargs",
)


class LmdbObjectStore(ResizeMixin, BufferMixin, MutableMapping[K, V]):
    """A dict of pickled objects in the LMDB file at `db_path`, safe in threads, after forks, beside other processes.

    Writes wait in memory until there are `batch_size` of them (None: any number) or `batch_bytes` bytes, or until
    `flush`, `close`, the end of the `with` block, the collection of the store or the exit of the interpreter commits
    them, all in one transaction. With `autoflush_on_read` a read that must look into the file flushes first; every
    read sees what is pending in any case. Keys are bytes-like, and str where `key_encoding` names an encoding (then
    `key_errors` and `str_normalize` apply as to `str.encode` and `unicodedata.normalize`). Order is that of the
    stored keys' bytes.

    `max_map_size` (bytes) bounds the growth of the map, which is by max(2x, +64 MiB) whenever a write does not
    fit. All else goes to `lmdb.open`; `max_readers` is 1024 unless given. Stores of one process on one file share
    one LMDB environment: ValueError where their options contradict each other.

    Values are unpickled: never open a file from a source that you do not trust.
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str] | bytes,
        batch_size: int | None = 1000,
        *,
        batch_bytes: int = 64 * 1024 * 1024,
        autoflush_on_read: bool = True,
        key_encoding: str | None = None,
        key_errors: str = "strict",
        str_normalize: str | None = None,
        max_map_size: int | None = None,
        **lmdb_kwargs: Any,
    ) -> None:
        KeyCodec.check(key_encoding, key_errors, str_normalize)
        if max_map_size is not None:
            check_limit("max_map_size", max_map_size)
        self._start_buffer(batch_size, batch_bytes)
        self.db_path: str = os.path.abspath(os.fsdecode(db_path))
        self.autoflush_on_read = autoflush_on_read
        self.key_encoding = key_encoding
        self.key_errors = key_errors
        self.str_normalize = str_normalize
        self.max_map_size = max_map_size
        self._lmdb_kwargs = lmdb_kwargs
        self._start_reading()
        self._attach()

    def _start_reading(self) -> None:
        # Keys of 1 to this many bytes are stored as they are: they need no codec. None does until there is a file.
        self._plain = 0
        self._readonly = bool(self._lmdb_kwargs.get("readonly"))
        if self._readonly:
            self._accept = Shut(partial(_refuse_readonly, self.db_path))
        # Whether the value that was read last was large, as the next is then expected to be.
        self._large = False
        # Keys of up to this many bytes are read the short way: none where a large value is expected.
        self._short = 0

    def _attach(self) -> Environment:
        environment = acquire(self.db_path, self._lmdb_kwargs, self)
        try:
            self._codec = KeyCodec(self.key_encoding, self.key_errors, self.str_normalize, environment.max_key_size)
            self._is_closed = False
            self._environment = environment
            self._plain = self._short = self._codec.plain
        except BaseException:
            release(environment, self)
            raise
        _lifecycle.watch_multiprocessing()
        return environment

    def __getstate__(self) -> dict[str, Any]:
        """Flush; path and options alone are pickled."""
        if self._is_closed:
            raise closed(self.db_path)
        if not self._readonly and not isinstance(self._environment, Detached):
            self.flush()
        return {name: getattr(self, name) for name in (*_CARRIED, "batch_size", "batch_bytes")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A handle that opens its file when it is first used: in a worker, say, that it was sent to."""
        self._start_buffer(state["batch_size"], state["batch_bytes"])
        for name in _CARRIED:
            setattr(self, name, state[name])
        self._start_reading()
        self._environment = Detached(self._attach)  # type: ignore[assignment]  # stands in for it
        self._codec = Detached(lambda: self._attach() and self._codec)  # type: ignore[assignment]
        self._is_closed = False

    # -- names kept from the first implementation of this interface

    _DELETION_SENTINEL = None

    @property
    def env(self) -> lmdb.Environment:
        """The LMDB environment. Another one after a fork; leave no transaction of your own open on it."""
        with self._environment.lock:
            return self._environment.handle()

    def _norm_key(self, key: Any) -> bytes:
        return self._codec.encode(key)

    # -- one key

    def _find(self, stored: bytes) -> bytes | None:
        # Pending first, file second: a flush drops a change only after its commit, so none is missed.
        data = self.write_buffer.get(stored, MISSING)
        return _reads.lookup(self._environment, stored) if data is MISSING else data

    def _fetch(self, stored: bytes) -> bytes | None:
        data = self.write_buffer.get(stored, MISSING)
        if data is MISSING:
            self._flush_before_read()
            data = _reads.lookup(self._environment, stored)
        return data  # type: ignore[no-any-return]

    def _value(self, stored: bytes, default: Any) -> Any:
        data = self.write_buffer.get(stored, MISSING)
        if data is MISSING:
            self._flush_before_read()
            if self._large:
                return self._large_value(stored, default)
            data = _reads.lookup(self._environment, stored)
        if data is None:
            return default
        self._expect(len(data))
        return self._load(stored, data)

    def _large_value(self, stored: bytes, default: Any) -> Any:
        data, strings = _reads.lookup_large(self._environment, stored)
        if data is None:
            return default
        self._expect(len(data) + sum(map(len, strings)))
        return self._load(stored, data, strings)

    def _expect(self, size: int) -> None:
        # The next value is expected to be as large as this one, of `size` bytes.
        self._large = _reads.is_large(size)
        self._short = 0 if self._large else self._plain

    def _load(self, stored: bytes, data: bytes | bytearray, strings: Iterable[Any] = ()) -> V:
        try:
            value: V = loads(data, buffers=strings)
        except Exception as error:
            raise self._unreadable(stored, data, error) from error
        return value

    def _unreadable(self, stored: bytes, data: bytes | bytearray, error: Exception) -> RuntimeError:
        where = "buffered" if self.write_buffer.get(stored) is data else "DB"
        return RuntimeError(f"Failed to unpickle {where} key {shown(self._codec.to_bytes(stored))}: {error}")

    # `[]`, `get` and `in` each have the common case written out, a short key of bytes that is not pending: a call
    # would cost as much as LMDB's look-up does. Whatever LMDB refuses there, an empty key too, goes the long way.

    def __getitem__(self, key: K) -> V:
        if (
            type(key) is not bytes
            or len(key) > self._short  # type: ignore[arg-type]
            or (self.write_buffer and (self.autoflush_on_read or key in self.write_buffer))
        ):
            value = self._value(self._codec.encode(key), MISSING)
        else:
            try:
                data = self._environment.begin().get(key)  # type: ignore[call-overload]
            except lmdb.Error:
                value = self._value(self._codec.encode(key), MISSING)
            else:
                if data is None:
                    raise KeyNotFoundError(key)
                if len(data) >= LARGE:
                    self._expect(len(data))
                try:
                    return loads(data)  # type: ignore[no-any-return]
                except Exception as error:
                    raise self._unreadable(key, data, error) from error  # type: ignore[arg-type]
        if value is MISSING:
            raise KeyNotFoundError(key)
        return value  # type: ignore[no-any-return]

    @overload
    def get(self, key: K, default: None = None) -> V | None: ...
    @overload
    def get(self, key: K, default: V | D) -> V | D: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """The value of `key`, or `default`. RuntimeError, its cause chained, if the value cannot be unpickled."""
        if (
            type(key) is not bytes
            or len(key) > self._short
            or (self.write_buffer and (self.autoflush_on_read or key in self.write_buffer))
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
        if type(key) is bytes and len(key) <= self._plain and key not in self.write_buffer:
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

    if TYPE_CHECKING:

        def put(self, key: K, obj: V) -> None: ...
        def __setitem__(self, key: K, obj: V) -> None: ...
    else:
        __setitem__ = BufferMixin.put

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

    def popitem(self, *, last: bool = True) -> tuple[K, V]:
        """Remove and return the last item in key order, or the first. KeyError if there is none. As safe as `pop`."""
        self._check_writable()
        while (row := self._end_row(last)) is not None:
            stored, data = row
            value = self._load(stored, data)
            with self._environment.lock:
                if self._swap(stored, data, None):
                    return self._codec.decode(stored), value
        raise KeyError("popitem(): the store is empty")

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
        pending = self.write_buffer.get(stored, MISSING)
        found = _reads.lookup(self._environment, stored) if pending is MISSING else pending
        return found == old and self._stage_if_unchanged(stored, pending, commits, new)

    def _end_row(self, last: bool) -> tuple[bytes, bytes] | None:
        for stored in chain.from_iterable(self._pages(reverse=last, values=False, first=1)):
            data = self._find(stored)
            if data is not None:  # else another thread has deleted it just now
                return stored, data
        return None

    @overload
    def setdefault(self: LmdbObjectStore[K, V | None], key: K, default: None = None) -> V | None: ...
    @overload
    def setdefault(self, key: K, default: V) -> V: ...
    def setdefault(self, key: K, default: Any = None) -> Any:
        """The value of `key`; `default` is stored first if there is none. Never flushes first."""
        stored = self._codec.encode_to_store(key)
        self._check_writable()
        new: bytes | None = None
        while (data := self._find(stored)) is None:
            new = new or dumps(key, default)
            with self._environment.lock:
                if self._swap(stored, None, new):
                    return default
        return self._load(stored, data)

    # -- many keys

    def get_many(
        self, keys: Iterable[Any], *, decode_keys: bool = False, decode_not_found: bool | None = None
    ) -> tuple[dict[Any, V], list[Any]]:
        """The items of `keys` that are there, by key in bytes, and those of `keys` that are not, as given.

        One read transaction for all. With `decode_keys` the found keys are str, with `decode_not_found` (None:
        as `decode_keys`) those not found; a key that is no text stays bytes. ValueError without `key_encoding`.
        """
        decode_missing = decode_keys if decode_not_found is None else decode_not_found
        if (decode_keys or decode_missing) and self.key_encoding is None:
            raise ValueError("keys can be decoded only where key_encoding is set")
        keys = list(keys)
        encode, plain = self._codec.encode, self._plain
        stored_keys = [key if type(key) is bytes and 0 < len(key) <= plain else encode(key) for key in keys]
        rows: Iterable[bytes | None]
        if self.write_buffer:
            if any(stored not in self.write_buffer for stored in stored_keys):
                self._flush_before_read()
            rows = map(self._find_many(stored_keys).get, stored_keys)
        else:
            rows = _reads.lookup_many(self._environment, stored_keys)
        found: dict[Any, V] = {}
        missing: list[Any] = []
        try:
            for key, stored, data in zip(keys, stored_keys, rows):
                if data is None:
                    missing.append(key)
                elif stored not in found:  # asked for twice
                    found[stored] = loads(data)
        except Exception as error:
            raise self._unreadable(stored, data or b"", error) from error
        if decode_keys or EMPTY in found:
            given_back = self._codec.decode if decode_keys else self._codec.to_bytes
            found = {given_back(stored): value for stored, value in found.items()}
        if decode_missing:
            missing = [key if isinstance(key, str) else self._codec.decode(self._codec.encode(key)) for key in missing]
        return found, missing

    def _find_many(self, stored_keys: Iterable[bytes]) -> dict[bytes, bytes]:
        return _reads.find_many(self._environment, self.write_buffer, stored_keys)

    def _rows_of(self, keys: list[Any]) -> list[tuple[Any, bytes | None]]:
        # What iteration never gives is in no view, as it is in no set of its elements: a text key as bytes, a number.
        encoded = [(key, self._codec.encode_own(key)) for key in keys]
        rows = self._find_many(stored for _, stored in encoded if stored is not None)
        return [(key, None if stored is None else rows.get(stored)) for key, stored in encoded]

    def put_many(self, items: Mapping[K, V] | Iterable[tuple[K, V]]) -> None:
        """Store all of `items` in one transaction, at once: all, or none where this raises.

        Pending changes are flushed before, in a transaction of their own. All items are held pickled
        in memory meanwhile. The last of several values for one key counts.
        """
        self._check_writable()
        pairs = items.items() if isinstance(items, Mapping) else items
        changes = self._codec.pickled(pairs)
        with self._environment.lock:
            self._refuse_in_commit()
            self._flush()
            self._environment.busy = True
            try:
                self._commit(changes)
                self._commits += 1
            finally:
                self._environment.busy = False

    if not TYPE_CHECKING:  # its many signatures are inherited

        def update(self, /, *others, **more):
            """Store what `dict.update` would, as so many single writes: what comes before an error is kept.

            They are committed together, as far as `batch_bytes` allows: `batch_size` counts at the end alone.
            """
            self._check_writable()  # where there is nothing to store, too
            if len(others) > 1:
                raise TypeError(f"update expected at most 1 argument, got {len(others)}")
            self._update(chain(*map(_pairs, others), more.items()))
            self._flush_if_full()

    def clear(self) -> None:
        """Delete everything, pending changes included, in one transaction."""
        self._check_writable()
        with self._environment.lock:
            self._refuse_in_commit()
            self._environment.close_orphans()
            self._commit_pending(empty_first=True)

    def flush(self) -> None:
        """Commit what is pending, in one transaction. lmdb.Error where that fails: then all of it stays pending."""
        self._check_writable()
        with self._environment.lock:
            self._refuse_in_commit()
            self._flush()

    def _check_writable(self) -> None:
        if self._is_closed:
            raise closed(self.db_path)
        if self._readonly:
            _refuse_readonly(self.db_path)

    # -- the whole

    def _pages(self, *, reverse: bool, values: bool, first: int = _scan.FIRST_PAGE) -> Iterator[_scan.Rows]:
        if self._is_closed:  # before the first page is asked for
            raise closed(self.db_path)

        def read_page(after: bytes | None, limit: int) -> _scan.Page:
            return _reads.page(self._environment, after, limit, reverse=reverse, values=values)

        return _scan.scan(read_page, self.write_buffer, reverse=reverse, first=first)

    def _scan_keys(self, *, reverse: bool = False) -> Iterator[K]:
        self._flush_before_read()
        return chain.from_iterable(map(self._codec.decode_page, self._pages(reverse=reverse, values=False)))

    def _scan_items(self, *, reverse: bool = False) -> Iterator[tuple[K, V]]:
        self._flush_before_read()
        return self._load_pages(self._pages(reverse=reverse, values=True))

    def _load_pages(self, pages: Iterator[Any]) -> Iterator[tuple[K, V]]:
        for page in pages:
            for key, (stored, data) in zip(self._codec.decode_page(page), page.items()):
                try:
                    value = loads(data)
                except Exception as error:
                    raise self._unreadable(stored, data, error) from error
                yield key, value

    def __iter__(self) -> Iterator[K]:
        return self._scan_keys()

    def __reversed__(self) -> Iterator[K]:
        return self._scan_keys(reverse=True)

    def __len__(self) -> int:
        if not self.write_buffer:
            try:
                entries: int = self._environment.stat()["entries"]
                return entries
            except lmdb.Error:
                pass
        self._flush_before_read()
        return _reads.count(self._environment, self.write_buffer)

    def __bool__(self) -> bool:
        # By `len`, it would look up every pending change.
        return any(self._pages(reverse=False, values=False, first=1))

    def keys(self) -> StoreKeys[K]:
        """A live view of the keys, in order."""
        return StoreKeys(self)

    def values(self) -> StoreValues[V]:
        """A live view of the values, in order of their keys."""
        return StoreValues(self)

    def items(self) -> StoreItems[K, V]:
        """A live view of the items, in order of their keys."""
        return StoreItems(self)

    def __eq__(self, other: object) -> bool:
        # Inherited, it would hold both mappings in memory, and before it knew that their lengths differ.
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        theirs = other if isinstance(other, dict) else dict(other.items())
        return all(key in theirs and theirs[key] == value for key, value in self.items())

    __hash__ = None  # type: ignore[assignment]  # as a dict

    def copy(self) -> dict[K, V]:
        """All items in a dict. (`copy.copy` gives a second handle to the same file.)"""
        return dict(self.items())

    def __or__(self, other: Mapping[K2, V2]) -> dict[K | K2, V | V2]:
        return _merged(self, other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Mapping[K2, V2]) -> dict[K | K2, V | V2]:
        return _merged(other, self) if isinstance(other, Mapping) else NotImplemented

    def __ior__(self: S, other: Mapping[K, V] | Iterable[tuple[K, V]]) -> S:  # type: ignore[misc]  # wider than `|`, as dict's
        self.update(other)
        return self

    def __repr__(self) -> str:
        name = f"{type(self).__name__} {self.db_path!r}"
        if isinstance(self._environment, Detached):
            return f"<{name}: {'closed' if self._is_closed else 'not opened yet'}>"
        try:
            stored = _reads.count(self._environment, {})
        except lmdb.Error as error:
            return f"<{name}: {error}>"
        return f"<{name}: {stored} stored, {len(self.write_buffer)} pending>"

    # -- the end

    def close(self, strict: bool = False) -> None:
        """Flush and close; a second call does nothing. With `strict` a failed flush is raised as FlushError after
        the close, else it is logged. The file closes with the last store of this process that has it open."""
        _lifecycle.close(self, strict)

    def __enter__(self: S) -> S:
        if self._is_closed:
            raise closed(self.db_path)
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        _lifecycle.leave(self, failed=exc_type is not None)

    def __del__(self) -> None:
        _lifecycle.collect(self)


def _refuse_readonly(path: str) -> None:
    raise lmdb.ReadonlyError(f"the store at {path} is open read-only")


def _pairs(other: Any) -> Iterable[tuple[Any, Any]]:
    # What `dict.update` takes.
    if isinstance(other, Mapping):
        return other.items()
    return ((key, other[key]) for key in other.keys()) if hasattr(other, "keys") else other  # noqa: SIM118


def _merged(first: Mapping[Any, Any], second: Mapping[Any, Any]) -> dict[Any, Any]:
    # By items: `dict(store)` would read key by key.
    return dict(chain(first.items(), second.items()))
