"""A dict that stays on disk: `LmdbObjectStore`, a MutableMapping of Python objects in an LMDB file."""

from ._errors import FlushError, StoreClosedError
from ._open import open as open
from ._store import LmdbObjectStore

# Without `open`: what imports all names shall not have Python's own function replaced.
__all__ = ["FlushError", "LmdbObjectStore", "StoreClosedError"]
__version__ = "1.0.0"
