"""A dict that stays on disk: `LmdbObjectStore`, a MutableMapping of Python objects in an LMDB file."""

from ._errors import FlushError, StoreClosedError
from ._store import LmdbObjectStore
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._encoding import KeyEncoding, StoredKey
    from ._ordered_keys import OrderedKeys

__all__ = ["FlushError", "KeyEncoding", "LmdbObjectStore", "OrderedKeys", "StoreClosedError", "StoredKey"]
__version__ = "1.0.0"

if not TYPE_CHECKING:  # for whose reader all of these names are there

    def __getattr__(name):
        """Import what most programs have no use for when it is asked for."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import _encoding

        return getattr(_encoding, name)

    def __dir__():
        return sorted({*globals(), *__all__})
