"""The files of an environment: their paths, their permissions, and checks before LMDB opens them."""

from __future__ import annotations

import errno
import os
import stat

import lmdb

from .options import PRIVATE, Options
from .pages import is_begun, lacks_free_pages_alone, newest_meta, page_size_of

# Bytes of each reader in the lock file, and of the rest of a new lock file and data file.
_READER, _FIRST_PAGES = 64, 3 * 4096


def data_file(path: str, options: Options) -> str:
    """Return the path of the data file of the environment at `path`."""
    return os.path.join(path, "data.mdb") if options.get("subdir", True) else path


def lock_file(path: str, options: Options) -> str:
    """Return the path of the lock file of the environment at `path`."""
    return os.path.join(path, "lock.mdb") if options.get("subdir", True) else f"{os.path.realpath(path)}-lock"


def identity(path: str, options: Options) -> tuple[int, int] | None:
    """Return device and inode of the data file of the environment at `path`, or None if it does not exist."""
    try:
        status = os.stat(data_file(path, options))
    except OSError:
        return None
    return status.st_dev, status.st_ino


def creation_mode(path: str, options: Options) -> int:
    """Return the `mode` for lmdb.open. The umask applies to it as to any mode.

    LMDB uses it for a new folder too, so everyone who may read gets the right to enter the folder. New files get no
    right to execute. If `options` have no mode, a lost lock file gets the permissions of the data file, which others
    may share.
    """
    mode: int | None = options.get("mode")
    if mode is None:
        try:
            mode = os.stat(data_file(path, options)).st_mode & 0o666 | PRIVATE
        except OSError:
            mode = PRIVATE
    return mode | (mode & 0o444) >> 2


def lmdb_path(path: str, options: Options) -> str | bytes:
    """Return the path to pass to LMDB for `path`.

    With `subdir=False`, symbolic links are followed. LMDB places the lock file beside the path that it gets, so
    processes that open one file by two paths would not see each other.
    """
    if not options.get("subdir", True):
        path = os.path.realpath(path)
    try:
        path.encode()
    except UnicodeEncodeError:  # it came from bytes that are not UTF-8
        return os.fsencode(path)
    return path


def place(path: str) -> tuple[str, bool]:
    """Return the path and the `subdir` by which all processes open the store at `path`.

    The data file of a folder has its lock file in the folder. A data file that was made with `subdir=False` has the
    lock file beside it. Processes that use different lock files do not see each other, and overwrite each other's
    commits.
    """
    is_folder = os.path.isdir(path)
    real = os.path.join(path, "data.mdb") if is_folder else path
    if not is_folder or os.path.islink(real):
        real = os.path.realpath(real)
    folder, name = os.path.split(real)
    chosen, subdir = path, True
    if name == "data.mdb" and os.path.exists(os.path.join(folder, "lock.mdb")):
        chosen = folder
    elif os.path.isfile(real):
        if os.path.exists(f"{real}-lock"):
            chosen, subdir = real, False
        elif not is_folder:
            chosen, subdir = (folder, True) if name == "data.mdb" else (path, False)
    return path if chosen == path or chosen == os.path.realpath(path) else chosen, subdir


def check_path(path: str, options: Options) -> None:
    """Raise lmdb.InvalidError if other processes open the store at `path` by another path, with another lock file."""
    if not options.get("lock", True):
        return
    chosen, subdir = place(path)
    if chosen != path:
        raise lmdb.InvalidError(
            f"{path} is the store at {chosen}, and has another lock file: processes that open it by different paths "
            f"overwrite each other's commits. Open {chosen}{'' if subdir else ' with subdir=False'}"
        )


def check_file(path: str, options: Options) -> None:
    """Raise if LMDB would hang at the file at `path`, change it or be killed by it.

    lmdb.InvalidError for a pipe or a device, or for a file in place of a folder. lmdb.CorruptedError for a truncated
    file that a writable map would first extend. OSError if the disk has no room for the lock file: LMDB maps the lock
    file, and a write to it would be a SIGBUS.
    """
    file = data_file(path, options)
    try:
        status = os.stat(file)
    except NotADirectoryError:  # `check_path` has refused the data file of a folder before
        advice = "subdir=False opens it" if os.path.isfile(path) and is_store(path) else "take another path"
        raise lmdb.InvalidError(f"{path} is a file, where the store's folder would be: {advice}") from None
    except OSError:
        return _check_room(os.path.dirname(file), options)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise lmdb.InvalidError(f"{file} is neither a file nor a directory: it cannot hold a store")
    if options.get("writemap") and not options.get("readonly") and status.st_size:
        with open(file, "rb") as data:
            if page_size := page_size_of(data):  # else LMDB refuses the file
                check_length(file, newest_meta(data, page_size).last_page, page_size)
    if not os.path.exists(lock_file(path, options)):
        _check_room(os.path.dirname(file), options)


def _check_room(folder: str, options: Options) -> None:
    if not options.get("lock", True) or not hasattr(os, "statvfs"):  # Windows has no statvfs
        return
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    needed = _FIRST_PAGES + _READER * options["max_readers"]
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < needed:
        raise OSError(errno.ENOSPC, f"no room for the {needed} bytes that LMDB writes as it opens a file", folder)


def check_begun(path: str, options: Options, error: lmdb.Error) -> None:
    """Raise lmdb.InvalidError with what to do if LMDB raised `error` because the file holds nothing yet."""
    file = data_file(path, options)
    if options.get("readonly") and os.path.isfile(file) and not os.path.getsize(file):
        raise lmdb.InvalidError(
            f"{file} is empty, so there is nothing to read: open it without readonly=True to create a store in it"
        ) from error
    if isinstance(error, lmdb.InvalidError):
        with open(file, "rb") as data:
            begun = is_begun(data)
        if begun:
            raise lmdb.InvalidError(
                f"{file} was begun and holds nothing: a power cut or a crash came before its first commit reached the "
                f"disk. Delete it and {lock_file(path, options)}, and open the store again to make a new one"
            ) from error


def is_store(path: str) -> bool:
    """Return True if the file at `path` begins as a data file of LMDB."""
    with open(path, "rb") as file:
        try:
            newest_meta(file, 4096)  # pages of any size have the same beginning
        except ValueError:
            return is_begun(file)
    return True


def check_length(path: str, last_page: int, page_size: int) -> None:
    """Raise lmdb.CorruptedError if the file at `path` lacks pages. A read of a missing page would be a SIGBUS.

    Takes two system calls if the file is as long as its `last_page` says. A shorter file may be whole, because LMDB
    does not write free pages at the end of a file. Its list of free pages must name all missing pages.
    """
    claimed = (last_page + 1) * page_size
    if (size := os.stat(path).st_size) >= claimed:
        return
    with open(path, "rb") as file:
        while True:  # until no commit came in between
            meta = newest_meta(file, page_size)
            whole = lacks_free_pages_alone(file, page_size, meta)
            if newest_meta(file, page_size) == meta:
                break
    if not whole:
        raise lmdb.CorruptedError(
            f"{path} is truncated: it has {size} bytes of the {claimed} that its contents take. Nothing was changed. "
            "Restore it from a copy"
        )
