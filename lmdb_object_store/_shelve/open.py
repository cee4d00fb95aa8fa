"""open(): open a store as `shelve.open` and `dbm.open` open a file."""

from __future__ import annotations

import errno
import os
from typing import Any

import lmdb

from .._environment.access import refusal
from .._environment.options import absolute_path
from .._environment.paths import data_file, is_store
from .._errors import ReadonlyStoreError
from .._store import LmdbObjectStore
from .._values.serializing import by_protocol


def open(
    filename: str | os.PathLike[str] | os.PathLike[bytes] | bytes,
    flag: str = "c",
    protocol: int | None = None,
    writeback: bool = False,
    **options: Any,
) -> LmdbObjectStore[str, Any]:
    """Open the store at `filename` as `shelve.open` does: keys are str, and writes wait for `sync` or `close`.

    `flag` is "r" to read a store, "w" to write to one, "c" to make it if there is none. "n" begins with an empty
    store: it empties an LMDB store, in one transaction, and no other file. `protocol` is that of pickle; None is the
    highest. With `writeback` the store keeps the very objects that are read and stored, and writes changed ones at
    `sync`, `flush` and `close`. `max_cached` bounds their number: see `WritebackStore` for the cost. Other options go
    to `LmdbObjectStore`, with `key_encoding="utf-8"` and `autoflush_on_read=False` by default. `flush_interval` bounds
    the seconds that a write waits.

    With "n" and "c" an empty file, as `tempfile.mkstemp` makes one, becomes the store's data file. Such a store is
    found again later: for a file `subdir=False` is the default.

    FileNotFoundError if "r" or "w" find no store. FileExistsError or NotADirectoryError if something else is in its
    place: it is left as it is. PermissionError if it belongs to another user, or "r" may not write to the lock file.
    """
    path = absolute_path(filename, "filename")
    if "subdir" not in options and _is_single_file(path):
        options["subdir"] = False
    _check_place(path, flag, options)
    if protocol is not None:
        if "serializer" in options:
            raise TypeError("protocol is for pickle: leave it out if you pass a serializer")
        options["serializer"] = by_protocol(protocol)
    options = {"key_encoding": "utf-8", "autoflush_on_read": False, **options}
    kind: type[LmdbObjectStore[str, Any]] = LmdbObjectStore
    if writeback:
        from .writeback import WritebackStore as kind
    try:
        store = kind(path, readonly=flag == "r", **options)
    except lmdb.ReadonlyError as error:
        file, reason = path, str(error)
        if flag == "r":
            file, reason = refusal(path, {**options, "readonly": True})
        raise ReadonlyStoreError(errno.EACCES, reason, file) from error
    if flag == "n":
        try:
            store.clear()
        except BaseException:
            store.close()
            raise
    return store


def _is_single_file(path: str) -> bool:
    """Return True if `path` is a store in one file, or an empty file to begin one in."""
    return os.path.isfile(path) and (not _size(path) or is_store(path))


def _check_place(path: str, flag: str, options: dict[str, Any]) -> None:
    """Raise unless `path` is a place for `flag`. Create nothing, not even a lock file as LMDB would."""
    if flag not in ("r", "w", "c", "n"):
        raise ValueError(f"flag must be 'r', 'w', 'c' or 'n', not {flag!r}")
    file = data_file(path, options)
    if _size(file):  # a process that was killed while it made a store leaves an empty file
        if not is_store(file):
            raise FileExistsError(errno.EEXIST, "not a file of LMDB, and left as it is", file)
        return
    if flag == "n":
        if os.path.isdir(path) and not {"data.mdb", "lock.mdb"}.issuperset(os.listdir(path)):
            raise FileExistsError(errno.EEXIST, "a folder of other files, which flag 'n' leaves alone", path)
    else:
        from dbm import whichdb  # slow to import

        if shelf := whichdb(path):
            hint = (
                f"a shelf of {shelf}: `lmdb-object-store import-shelve` copies its items into a store at another path"
            )
            raise FileExistsError(errno.EEXIST, hint, path)
    if flag in ("r", "w"):
        raise FileNotFoundError(errno.ENOENT, "no store to open; flag 'c' makes one", path)
    if file != path and os.path.exists(path) and not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, "a file, where the store's folder would be", path)


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except PermissionError:  # there may be a store of another user
        raise
    except (OSError, ValueError):
        return 0
