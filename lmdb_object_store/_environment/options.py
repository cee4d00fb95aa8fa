"""The options of `lmdb.open` that a store takes. Pure functions."""

from __future__ import annotations

import os
import sys
from typing import Any

from .._errors import check_limit

Options = dict[str, Any]

# The permissions of new files, which every `mode` includes.
PRIVATE = 0o600
# Options that all stores of one file must have in common, with LMDB's defaults.
_SHARED: Options = {
    "subdir": True, "readonly": False, "metasync": True, "sync": True, "map_async": False, "readahead": True,
    "writemap": False, "meminit": True, "max_dbs": 0, "max_spare_txns": 0, "lock": True,
}  # fmt: skip
# The largest numbers that py-lmdb takes. Its own errors do not name the option.
_MOST = {"map_size": sys.maxsize, **dict.fromkeys(("max_readers", "max_dbs", "max_spare_txns"), 2**31 - 1)}
# The options of the store itself. A misspelt one arrives here as an option of LMDB.
_STORES = (
    "batch_size", "batch_bytes", "flush_interval", "autoflush_on_read", "key_encoding", "key_errors", "str_normalize",
    "max_map_size", "serializer",
)  # fmt: skip
_ALL = _SHARED.keys() | {"map_size", "max_readers", "mode", "create", "lib_version"}


def absolute_path(path: str | os.PathLike[str] | os.PathLike[bytes] | bytes, name: str) -> str:
    """Return `path`, the argument `name`, as an absolute path. ValueError if it names no place on the disk.

    Programs that come from SQLite pass ":memory:", its name for a database in memory.
    """
    text = os.fsdecode(path)
    if not text:
        raise ValueError(f"{name} is empty: give the path of the store's folder")
    if text == ":memory:" or text.startswith("file::memory:"):
        raise ValueError(
            f"{name} {text!r} is no path: LMDB has no store in memory. Use a folder made by tempfile, on Linux in "
            f"/dev/shm, or a dict. A folder of this name is './{text}'."
        )
    return os.path.abspath(text)


def check_options(options: Options) -> None:
    """Raise TypeError or ValueError for an option that `lmdb.open` would refuse. LMDB does not say which one."""
    for name in sorted(options.keys() - _ALL):
        raise TypeError(f"neither the store nor lmdb.open has an option {name}{_hint(name)}")
    for name in sorted(_MOST.keys() & options.keys()):
        if options[name] != 0:  # 0: LMDB's default
            check_limit(name, options[name], _MOST[name])
    if "mode" in options:
        _check_mode(options["mode"])


def _check_mode(mode: object) -> None:
    """Raise unless the permissions `mode` let the owner open the files again, after a fork for example."""
    hint = "give octal permissions that let the owner read and write, such as 0o600, or 0o660 to include a group"
    if not isinstance(mode, int):
        raise TypeError(f"mode must be an int, not {mode!r}: {hint}")
    if mode & ~0o177 != PRIVATE:
        raise ValueError(f"mode is {mode:#o}: {hint}")


def _hint(name: str) -> str:
    if name in ("writeback", "max_cached"):
        return ": it is an option of lmdb_object_store.open, with writeback=True"
    from difflib import get_close_matches  # slow to import

    similar = get_close_matches(name, [*_STORES, *_ALL], n=1)
    return f"; did you mean {similar[0]}?" if similar else ""


def check_shared(path: str, ours: Options, theirs: Options) -> None:
    """Raise ValueError if the file at `path`, which is open with `ours`, cannot be opened with `theirs` too."""
    for name, default in _SHARED.items():
        our, their = ours.get(name, default), theirs.get(name, default)
        if our != their:
            raise ValueError(
                f"{path} is already open in this process with {name}={our!r}, which {name}={their!r} contradicts: "
                "open it with the same options, or close the other store first"
            )


def waits_for_disk(options: Options) -> bool:
    """Return True if a commit is on the disk when it returns."""
    return all(options.get(name, _SHARED[name]) == _SHARED[name] for name in ("sync", "metasync", "map_async"))
