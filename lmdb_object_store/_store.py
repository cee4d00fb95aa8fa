"""LmdbObjectStore: construction, pickling and close. Reads and writes are in the classes that it combines."""

from __future__ import annotations

import os
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import lmdb

from . import _lifecycle
from ._buffer.attributes import check_attributes, own_attributes
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
    # A type checker brings `typing_extensions` along, which has defaults for older Pythons too.
    from typing_extensions import TypeVar as _TypeVarWithDefault

    from ._keys.custom import KeyEncoding

    K = _TypeVarWithDefault("K", default=Any)
    V = _TypeVarWithDefault("V", default=Any)
else:
    K = TypeVar("K")
    V = TypeVar("V")
S = TypeVar("S", bound="LmdbObjectStore[Any, Any]")

# A pickled store carries these: options that can change while it is open, and options that are fixed then.
_SETTABLE = ("batch_size", "batch_bytes", "flush_interval", "autoflush_on_read", "max_map_size")
_FIXED = ("db_path", "key_encoding", "key_errors", "str_normalize")


class LmdbObjectStore(
    KeyedMixin[K, V],
    BulkMixin[K, V],
    TransactionMixin[K, V],
    OrderedMapping[K, V],
    MaintenanceMixin,
):
    """A dict of pickled objects in the LMDB file at `db_path`, safe in threads, after forks, beside other processes.

    Writes wait in memory until there are `batch_size` of them (None: any number) or `batch_bytes` bytes. These commit
    them too, all in one transaction: `flush`, `close`, the end of the `with` block, the collection of the store, the
    exit of the interpreter. With `flush_interval` no change waits for much longer than that many seconds. With
    `autoflush_on_read` a read that must look into the file flushes first. Every read sees the pending writes in any
    case.

    Keys are bytes-like. They are str too if `key_encoding` names an encoding; `key_errors` and `str_normalize` apply as
    to `str.encode` and `unicodedata.normalize`. A `KeyEncoding` such as `OrderedKeys()` takes keys of other types. Keys
    are in the order of their stored bytes.

    `serializer` turns values into bytes and back: `pickle` with its highest protocol, the module `json`, or any object
    with `dumps(obj)`, which returns bytes or str, and `loads(data)`, which gets bytes. The file does not say which one
    wrote it. RuntimeError for a value that `loads` refuses.

    `max_map_size` (bytes) bounds the growth of the map, by max(2x, +64 MiB) whenever a write does not fit. All other
    options go to `lmdb.open`; `max_readers` is 1024 unless given, and `mode`, the permissions of new files, is 0o600.
    A new folder can be entered by those who may read the files. Stores of one process on one file share one LMDB
    environment: ValueError if their options contradict each other.

    Values are unpickled unless another serializer is given: never open a file from a source that you do not trust.
    """

    __module__ = "lmdb_object_store"

    def __init__(
        self,
        db_path: str | os.PathLike[str] | bytes,
        batch_size: int | None = 1000,
        *,
        batch_bytes: int = 64 * 1024 * 1024,
        flush_interval: float | None = None,
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
        # From here on only LMDB can refuse. A closed store whose __init__ is called again stays closed until then.
        self._start_buffer(batch_size, batch_bytes, flush_interval)
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
        self._raw_key_limit = 0
        self._readonly = bool(self._lmdb_kwargs.get("readonly"))
        if self._readonly:
            self._sink = RefusingBuffer(partial(refuse_readonly, self.db_path))
        serializer = self._fixed["serializer"]
        self._is_pickled = serializer is pickle
        self._dumps = serializing.dumps_of(serializer)
        self._loads = serializer.loads
        self._expects_large = False
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
            check_attributes(type(self), state["attributes"])
        return reduced

    def __getstate__(self) -> dict[str, Any]:
        """Flush. Return path and options, and a subclass's own attributes as "attributes"."""
        if self._is_closed:
            raise closed(self._fixed["db_path"])
        _lifecycle.check_carried(self._fixed["key_encoding"])
        if not self._readonly and not isinstance(self._environment, UnopenedEnvironment):
            self.flush()
        state = self._options()
        return {**state, "attributes": own_attributes(self, state)}

    def _options(self) -> dict[str, Any]:
        options = {name: self._fixed[name] for name in _FIXED}
        options.update((name, getattr(self, name)) for name in (*_SETTABLE, "_lmdb_kwargs"))
        return {**options, "serializer": serializing.pickled_form(self._fixed["serializer"])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a store that opens its file at the first use, for example in a worker process."""
        self._check_unopened()
        self._start_buffer(state["batch_size"], state["batch_bytes"], state.get("flush_interval"))  # 1.0 had none
        for name in ("autoflush_on_read", "max_map_size", "_lmdb_kwargs"):
            setattr(self, name, state[name])
        serializer = serializing.from_pickled_form(state["serializer"])
        self._fix(**{name: state[name] for name in _FIXED}, serializer=serializer)
        self._start_reading()
        self._environment = UnopenedEnvironment(self._attach)  # type: ignore[assignment]  # a stand-in
        self._codec = UnopenedEnvironment(lambda: self._attach() and self._codec)  # type: ignore[assignment]  # a stand-in
        self._is_closed = False
        for name, value in state.get("attributes", {}).items():  # version 1.0 pickled none
            setattr(self, name, value)

    # -- names kept from version 0.1.0

    _DELETION_SENTINEL = None

    @property
    def env(self) -> lmdb.Environment:
        """The LMDB environment: another object after a fork. Leave no transaction of your own open on it."""
        with self._environment.lock:
            return self._environment.handle()

    def _norm_key(self, key: Any) -> bytes:
        return self._codec.encode(key)

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
        """Flush and close. A second call does nothing.

        With `strict` a failed flush is raised as FlushError after the close, else it is logged. RecursionError and
        MemoryError leave the store open: call `close` again with more room. The file closes with the last store of this
        process that has it open.
        """
        _lifecycle.close(self, strict)

    def __enter__(self: S) -> S:
        if self._is_closed:
            raise closed(self.db_path)
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        self.close(strict=exc_type is None)

    def __del__(self) -> None:
        collect = getattr(_lifecycle, "collect", None)
        if collect is not None:  # else the interpreter is ending, and has closed all stores
            collect(self)


def _codec_class(key_encoding: object) -> Any:  # the class of a KeyCodec
    if key_encoding is None or isinstance(key_encoding, str):
        return KeyCodec
    from ._keys.custom import EncodedKeys  # rarely needed

    return EncodedKeys
