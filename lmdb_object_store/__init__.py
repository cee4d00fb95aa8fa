"""A dict that stays on disk: `LmdbObjectStore`, a MutableMapping of Python objects in an LMDB file."""

try:
    import lmdb as _lmdb  # noqa: F401  # lmdb's error in a sub-interpreter says only that cffi is missing
except ImportError as _error:
    if "subinterpreters" in f"{_error} {_error.__context__}":
        raise ImportError(
            "py-lmdb cannot be imported in a sub-interpreter that has a lock of its own: use threads or processes"
        ) from _error
    raise

from typing import TYPE_CHECKING

from ._errors import ConflictError, FlushError, KeyNotFoundError, ReadonlyStoreError, StoreClosedError
from ._mapping.range import StoreRange
from ._store import LmdbObjectStore
from ._transactions.context import Transaction
from ._values.serializing import Serializer

if TYPE_CHECKING:
    from ._environment.stats import StoreStats
    from ._keys.custom import KeyEncoding, StoredKey
    from ._keys.ordered import OrderedKeys
    from ._shelve.open import open as open
    from ._shelve.writeback import WritebackStore

# `open` is left out: `from lmdb_object_store import *` must not replace Python's own function.
__all__ = [
    "ConflictError",
    "FlushError",
    "KeyEncoding",
    "KeyNotFoundError",
    "LmdbObjectStore",
    "OrderedKeys",
    "ReadonlyStoreError",
    "Serializer",
    "StoreClosedError",
    "StoreRange",
    "StoreStats",
    "StoredKey",
    "Transaction",
    "WritebackStore",
]
__version__ = "1.0.0"

# Names that most programs do not use, by module: imported at the first use.
_LATE = {
    "KeyEncoding": "_keys.custom",
    "OrderedKeys": "_keys.ordered",
    "StoreStats": "_environment.stats",
    "StoredKey": "_keys.custom",
    "WritebackStore": "_shelve.writeback",
    "open": "_shelve.open",
}

if not TYPE_CHECKING:  # a type checker reads the imports above

    def __getattr__(name):
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f".{_LATE[name]}", __name__), name)

    def __dir__():
        return sorted({*globals(), *__all__, *_LATE})
