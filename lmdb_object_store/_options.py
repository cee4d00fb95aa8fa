"""The options of LMDB that a store hands on to it; pure."""

from __future__ import annotations

from ._datafile import check_mode
from ._errors import check_limit
from ._typing import Any

Options = dict[str, Any]

# What two openings of one file cannot have differently, with LMDB's defaults.
_SHARED: Options = {
    "subdir": True, "readonly": False, "metasync": True, "sync": True, "map_async": False, "readahead": True,
    "writemap": False, "meminit": True, "max_dbs": 0, "max_spare_txns": 0, "lock": True,
}  # fmt: skip
# The store's own, of which a misspelt one is taken for one of LMDB's.
_STORES = (
    "batch_size", "batch_bytes", "autoflush_on_read", "key_encoding", "key_errors", "str_normalize", "max_map_size",
    "serializer",
)  # fmt: skip
_ALL = _SHARED.keys() | {"map_size", "max_readers", "mode", "create", "lib_version"}


def check_options(options: Options) -> None:
    """Raise TypeError or ValueError for what `lmdb.open` would not take; it does not say which option that is."""
    for name in sorted(options.keys() - _ALL):
        raise TypeError(f"neither the store nor lmdb.open has an option {name}{_hint(name)}")
    for name in options.keys() & {"map_size", "max_readers"}:
        if options[name] != 0:  # with which LMDB decides
            check_limit(name, options[name])
    if "mode" in options:
        check_mode(options["mode"])


def _hint(name: str) -> str:
    if name in ("writeback", "max_cached"):
        return ": it is one of lmdb_object_store.open, with writeback=True"
    from difflib import get_close_matches  # slow to import

    similar = get_close_matches(name, [*_STORES, *_ALL], n=1)
    return f"; did you mean {similar[0]}?" if similar else ""


def check_shared(path: str, ours: Options, theirs: Options) -> None:
    """Raise ValueError where the file at `path`, which is open with `ours`, cannot be opened with `theirs` too."""
    for name, default in _SHARED.items():
        our, their = ours.get(name, default), theirs.get(name, default)
        if our != their:
            raise ValueError(
                f"{path} is already open in this process with {name}={our!r}, which {name}={their!r} contradicts: "
                "open it with the same options, or close the other store first"
            )


def waits_for_disk(options: Options) -> bool:
    """Whether a commit is on the disk when it returns."""
    return all(options.get(name, _SHARED[name]) == _SHARED[name] for name in ("sync", "metasync", "map_async"))
