"""LmdbObjectStore: opening, the whole and the end. What it does with keys is in the classes it is made of."""

from __future__ import annotations

import os
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import lmdb

from . import _lifecycle
from ._buffer.pending import BufferMixin
from ._buffer.state import RefusingBuffer, refuse_readonly
from ._environment import access, read
from ._environment.environment import Environment
from ._environment.options import absolute_path
from ._environment.registry import UnopenedEnvironment, acquire, release
from ._errors import check_limit, closed
from ._keys.codec import KeyCodec
from ._keys.interval import WHOLE, Interval
from ._mapping.bulk import BulkMixin
from ._mapping.keyed import KeyedMixin
from ._mapping.maintenance import MaintenanceMixin
from ._mapping.ordered import OrderedMapping
from ._mapping.range import StoreRange
from ._transactions.context import TransactionMixin
from ._values import serializing
from ._values.serializing import Serializer

if TYPE_CHECKING:
    from ._keys.custom import KeyEncoding

if TYPE_CHECKING:
    # A type checker brings `typing_extensions` along, which has defaults for older Pythons too.
    from typing_extensions import TypeVar as _TypeVarWithDefault

    K = _TypeVarWithDefault("K", default=Any)
    V = _TypeVarWithDefault("V", default=Any)
else:
    K = TypeVar("K")
    V = TypeVar("V")
S = TypeVar("S", bound="LmdbObjectStore[Any, Any]")

# A pickled store carries these: options that can change while it is open, and options that are fixed then.
_SETTABLE = ("batch_size", "batch_bytes", "autoflush_on_read", "max_map_size")
_FIXED = ("db_path", "key_encoding", "key_errors", "str_normalize")


class LmdbObjectStore(
    KeyedMixin[K, V],
    BulkMixin[K, V],
    TransactionMixin[K, V],
    OrderedMapping[K, V],
    MaintenanceMixin,
):
    """A dict of pickled objects in the LMDB file at `db_path`, safe in threads, after forks, beside other processes.

    Writes wait in memory until there are `batch_size` of them (None: any number) or `batch_bytes` bytes, or until
    `flush`, `close`, the end of the `with` block, the collection of the store or the exit of the interpreter commits
    them, all in one transaction. With `autoflush_on_read` a read that must look into the file flushes first; every
    read sees what is pending in any case. Keys are bytes-like, and str where `key_encoding` names an encoding (then
    `key_errors` and `str_normalize` apply as to `str.encode` and `unicodedata.normalize`); or whatever `key_encoding`
    takes, where it is a `KeyEncoding` such as `OrderedKeys()`. Order is that of the stored keys' bytes.

    `serializer` makes the bytes of a value and the value of bytes: `pickle` with its highest protocol, or anything
    with `dumps(obj)`, which gives bytes or str, and `loads(data)`, which gets bytes: the module `json`, an object of
    yours. Nothing in the file tells which one wrote it. A value that `loads` refuses is a RuntimeError.

    `max_map_size` (bytes) bounds the growth of the map, which is by max(2x, +64 MiB) whenever a write does not
    fit. All else goes to `lmdb.open`; `max_readers` is 1024 unless given, and `mode`, the permissions of new files,
    0o600 (a new folder lets in whoever may read them). Stores of one process on one file share one LMDB environment:
    ValueError where their options contradict each other.

    Values are unpickled, unless by another serializer: never open a file from a source that you do not trust.
    """

    __module__ = "lmdb_object_store"

    def __init__(
        self,
        db_path: str | os.PathLike[str] | bytes,
        batch_size: int | None = 1000,
        *,
        batch_bytes: int = 64 * 1024 * 1024,
        autoflush_on_read: bool = True,
        key_encoding: str | KeyEncoding | None = None,
        key_errors: str = "strict",
        str_normalize: str | None = None,
        max_map_size: int | None = None,
        serializer: Serializer = pickle,
        **lmdb_kwargs: Any,
    ) -> None:
        self._check_unopened()
        _codec_class(key_encoding).check(key_encoding, key_errors, str_normalize)
        if max_map_size is not None:
            check_limit("max_map_size", max_map_size)
        serializing.check(serializer)
        path = absolute_path(db_path, "db_path")
        # From here on nothing is refused but by LMDB: a closed store that is opened again stays closed then.
        self._start_buffer(batch_size, batch_bytes)
        self.autoflush_on_read = autoflush_on_read
        self._max_map_size = max_map_size
        self._lmdb_kwargs = lmdb_kwargs
        self._fix(
            db_path=path,
            key_encoding=key_encoding,
            key_errors=key_errors,
            str_normalize=str_normalize,
            serializer=serializer,
        )
        self._start_reading()
        self._attach()

    def _start_reading(self) -> None:
        self._open_pages: dict[object, list[Any]] = {}
        # Keys of 1 to this many bytes are stored as they are: they need no codec. None does until there is a file.
        self._raw_key_limit = 0
        self._readonly = bool(self._lmdb_kwargs.get("readonly"))
        if self._readonly:
            self._accept = RefusingBuffer(partial(refuse_readonly, self.db_path))
        # Whether pickle makes all of a value's bytes and all of a value: then it is called by itself.
        serializer = self._fixed["serializer"]
        self._is_pickled = serializer is pickle
        self._dumps = serializing.dumps_of(serializer)
        self._loads = serializer.loads
        # Whether the value that was read last was large, as the next is then expected to be.
        self._expects_large = False
        # Keys of up to this many bytes are read the short way: none where a large value is expected.
        self._short_read_limit = 0

    def _attach(self) -> Environment:
        fixed = self._fixed
        encoding = fixed["key_encoding"]
        environment = acquire(fixed["db_path"], self._lmdb_kwargs, self)
        try:
            rules = encoding, fixed["key_errors"], fixed["str_normalize"], environment.max_key_size
            self._codec = _codec_class(encoding)(*rules)
            self._environment = environment
            self._raw_key_limit = self._codec.raw_key_limit
            self._short_read_limit = self._raw_key_limit if self._is_pickled else 0
            self._is_closed = False
        except BaseException:
            release(environment, self)
            raise
        _lifecycle.watch_multiprocessing()
        if self._readonly or not environment.options.get("lock", True):
            self._warn_without_locks(environment)
        return environment

    def _warn_without_locks(self, environment: Environment) -> None:
        with environment.lock:
            unlocked = not access.has_locks(environment.handle())
        if unlocked:  # logged with nothing held: a logging handler is user code
            access.warn_without_locks(environment.path, environment.options)

    def __reduce_ex__(self, protocol: Any) -> Any:
        reduced = super().__reduce_ex__(protocol)
        state = reduced[2] if isinstance(reduced, tuple) and len(reduced) > 2 else None
        if isinstance(state, dict) and state.get("attributes"):
            from ._buffer.attributes import check_attributes  # not before it is needed: few subclasses have attributes

            check_attributes(type(self), state["attributes"])
        return reduced

    def __getstate__(self) -> dict[str, Any]:
        """Flush. Return path and options, and as "attributes" those that a subclass has of its own."""
        if self._is_closed:
            raise closed(self._fixed["db_path"])
        _lifecycle.check_carried(self._fixed["key_encoding"])
        if not self._readonly and not isinstance(self._environment, UnopenedEnvironment):
            self.flush()
        from ._buffer.attributes import own_attributes  # as above

        state = self._options()
        return {**state, "attributes": own_attributes(self, state)}

    def _options(self) -> dict[str, Any]:
        options = {name: self._fixed[name] for name in _FIXED}
        options.update((name, getattr(self, name)) for name in (*_SETTABLE, "_lmdb_kwargs"))
        return {**options, "serializer": serializing.pickled_form(self._fixed["serializer"])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a store that opens its file when it is first used: in a worker process that it was sent to."""
        self._check_unopened()
        self._start_buffer(state["batch_size"], state["batch_bytes"])
        for name in ("autoflush_on_read", "max_map_size", "_lmdb_kwargs"):
            setattr(self, name, state[name])
        serializer = serializing.from_pickled_form(state["serializer"])
        self._fix(**{name: state[name] for name in _FIXED}, serializer=serializer)
        self._start_reading()
        self._environment = UnopenedEnvironment(self._attach)  # type: ignore[assignment]  # stands in for it
        self._codec = UnopenedEnvironment(lambda: self._attach() and self._codec)  # type: ignore[assignment]  # likewise
        self._is_closed = False
        for name, value in state.get("attributes", {}).items():  # a handle in a queue may be of version 1.0
            setattr(self, name, value)

    # -- names kept from the first implementation of this interface

    _DELETION_SENTINEL = None

    @property
    def env(self) -> lmdb.Environment:
        """The LMDB environment. Another one after a fork; leave no transaction of your own open on it."""
        with self._environment.lock:
            return self._environment.handle()

    def _norm_key(self, key: Any) -> bytes:
        return self._codec.encode(key)

    # -- the whole

    if TYPE_CHECKING:

        def put(self, key: K, obj: V) -> None: ...
        def __setitem__(self, key: K, obj: V) -> None: ...
    else:
        __setitem__ = BufferMixin.put

    _interval = WHOLE

    def _source(self) -> LmdbObjectStore[K, V]:
        return self

    def _within(self, interval: Interval) -> StoreRange[K, V]:
        return StoreRange(self, interval)

    def __repr__(self) -> str:
        name = f"{type(self).__name__} {self.db_path!r}"
        if isinstance(self._environment, UnopenedEnvironment):
            return f"<{name}: {'closed' if self._is_closed else 'not opened yet'}>"
        try:
            stored = read.count(self._environment, {})
        except lmdb.Error as error:
            return f"<{name}: {error}>"
        return f"<{name}: {stored} stored, {len(self._pending)} pending>"

    # -- the end

    def close(self, strict: bool = False) -> None:
        """Flush and close; a second call does nothing. With `strict` a failed flush is raised as FlushError after
        the close, else it is logged. RecursionError and MemoryError leave the store open: call it again with more room.
        The file closes with the last store of this process that has it open."""
        _lifecycle.close(self, strict)

    def __enter__(self: S) -> S:
        if self._is_closed:
            raise closed(self.db_path)
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        _lifecycle.leave(self, failed=exc_type is not None)

    def __del__(self) -> None:
        collect = getattr(_lifecycle, "collect", None)
        if collect is not None:  # else the interpreter is ending, and has closed all stores
            collect(self)


def _codec_class(key_encoding: object) -> Any:  # type[KeyCodec], for what it is to be made of
    if key_encoding is None or isinstance(key_encoding, str):
        return KeyCodec
    from ._keys.custom import EncodedKeys  # not before it is needed: most stores have no use for it

    return EncodedKeys
