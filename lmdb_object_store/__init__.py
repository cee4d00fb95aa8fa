"""A dict that stays on disk: `LmdbObjectStore`, a MutableMapping of Python objects in an LMDB file."""

from ._errors import ConflictError, FlushError, StoreClosedError
from ._store import LmdbObjectStore

__all__ = ["ConflictError", "FlushError", "LmdbObjectStore", "StoreClosedError"]
__version__ = "1.0.0"
