"""A dict that stays on disk: `LmdbObjectStore`, a MutableMapping of Python objects in an LMDB file."""

from ._errors import FlushError, StoreClosedError
from ._store import LmdbObjectStore
from ._typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._stats import StoreStats

__all__ = ["FlushError", "LmdbObjectStore", "StoreClosedError", "StoreStats"]
__version__ = "1.0.0"


def __getattr__(name: str) -> Any:
    # The one public name whose module is slow to import.
    if name != "StoreStats":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._stats import StoreStats

    return StoreStats
