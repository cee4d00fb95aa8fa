"""The data file of an environment: which one it is, who may read it, and whether it has all its pages.

The layout is that of LMDB's mdb.c, for which nothing in its interface stands in.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from collections.abc import Iterator

import lmdb

from ._typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import BinaryIO

# By data version (1: LMDB 0.9, 3: LMDB 1.0): bytes of a page's header, and where offsets in a page begin.
_LAYOUTS = {1: (16, 0), 3: (24, 24)}
# From the magic number on; of the two databases in between, the page size, which the first has, that of free pages, and
# its root.
_META = struct.Struct("=II 16x I 36x Q 48x QQ")
_MAGIC = 0xBEEFC0DE
# Bytes of a reader's entry in the lock file, and of what is there beside them, with a new file's first pages.
_READER, _FIRST_PAGES = 64, 3 * 4096
_NO_PAGE = 0xFFFFFFFFFFFFFFFF
_PRIVATE = 0o600
_BRANCH, _BIG = 0x01, 0x01  # flags of a page, and of a node whose data is on pages of its own


def data_file(path: str, options: dict[str, Any]) -> str:
    """The path of the data file of the environment at `path`."""
    return os.path.join(path, "data.mdb") if options.get("subdir", True) else path


def lock_file(path: str, options: dict[str, Any]) -> str:
    """The path of the lock file of the environment at `path`."""
    return os.path.join(path, "lock.mdb") if options.get("subdir", True) else f"{os.path.realpath(path)}-lock"


def identity(path: str, options: dict[str, Any]) -> tuple[int, int] | None:
    """What tells the data file at `path` from any other; None if there is none yet."""
    try:
        status = os.stat(data_file(path, options))
    except OSError:
        return None
    return status.st_dev, status.st_ino


def check_mode(mode: object) -> None:
    """Raise unless `mode` is permissions with which the owner can open the files again, after a fork, say."""
    hint = "give permissions in octal that let the owner read and write: 0o600, say, or 0o660 for a group too"
    if not isinstance(mode, int):
        raise TypeError(f"mode must be an int, not {mode!r}: {hint}")
    if mode & ~0o177 != _PRIVATE:
        raise ValueError(f"mode is {mode:#o}: {hint}")


def creation_mode(path: str, options: dict[str, Any]) -> int:
    """The `mode` for lmdb.open, which the umask is taken off as from any.

    A new folder gets it as it is, and so it lets all enter who may read. New files get the rest of it. Where `options`
    have none, a lock file that was lost is made as open as the data file, which others may share.
    """
    mode: int | None = options.get("mode")
    if mode is None:
        try:
            mode = os.stat(data_file(path, options)).st_mode & 0o666 | _PRIVATE
        except OSError:
            mode = _PRIVATE
    return mode | (mode & 0o444) >> 2


def lmdb_path(path: str, options: dict[str, Any]) -> str | bytes:
    """The path by which LMDB is to open `path`.

    Of a file by itself that a symbolic link leads to, the file's own: LMDB has its lock file beside the path that it
    is given, and two processes that took two ways to one file would not know of each other.
    """
    if not options.get("subdir", True):
        path = os.path.realpath(path)
    try:
        path.encode()
    except UnicodeEncodeError:  # it came from bytes that are no text
        return os.fsencode(path)
    return path


def check_place(path: str, options: dict[str, Any]) -> None:
    """Raise for what LMDB would hang at, change or be killed by as it opens the file at `path`.

    lmdb.InvalidError for a pipe or a device, or a file in place of a folder; lmdb.CorruptedError for a truncated file
    that a writable map would first extend; OSError where the disk has no room for a lock file, which LMDB maps: to
    write to it would be a SIGBUS.
    """
    file = data_file(path, options)
    try:
        status = os.stat(file)
    except NotADirectoryError:
        raise lmdb.InvalidError(f"{path} is a file, where the store's folder would be: subdir=False opens it") from None
    except OSError:
        return _check_room(os.path.dirname(file), options)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise lmdb.InvalidError(f"{file} is neither a file nor a directory: it cannot hold a store")
    if options.get("writemap") and not options.get("readonly") and status.st_size:
        with open(file, "rb") as data:
            if page_size := _page_size(data):  # else LMDB tells that it is none of its files
                check_length(file, _newest_meta(data, page_size)[-1], page_size)
    if not os.path.exists(os.path.join(path, "lock.mdb") if options.get("subdir", True) else f"{file}-lock"):
        _check_room(os.path.dirname(file), options)


def _check_room(folder: str, options: dict[str, Any]) -> None:
    if not options.get("lock", True) or not hasattr(os, "statvfs"):  # Windows, where a drive may be missing, has none
        return
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    needed = _FIRST_PAGES + _READER * options["max_readers"]
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < needed:
        raise OSError(errno.ENOSPC, f"no room for the {needed} bytes that LMDB writes as it opens a file", folder)


def check_begun(path: str, options: dict[str, Any], error: lmdb.Error) -> None:
    """Raise lmdb.InvalidError where `error` came of opening an empty file to read: LMDB's words are no help then."""
    file = data_file(path, options)
    if options.get("readonly") and os.path.isfile(file) and not os.path.getsize(file):
        raise lmdb.InvalidError(
            f"{file} is empty, so there is nothing to read: open it without readonly=True to make a store of it"
        ) from error


def is_store(path: str) -> bool:
    """Whether the file at `path` is LMDB's, by what it begins with."""
    with open(path, "rb") as file:
        try:
            _newest_meta(file, 4096)  # of any size, pages have the same beginning
        except ValueError:
            return False
    return True


def check_length(path: str, last_page: int, page_size: int) -> None:
    """Raise lmdb.CorruptedError where the file at `path` lacks pages: LMDB's first look at one would be a SIGBUS.

    Two system calls for a file that is as long as its `last_page` says. A shorter one may be whole:
    LMDB does not write pages at its end that are free. They are looked for in its list of those.
    """
    claimed = (last_page + 1) * page_size
    if (size := os.stat(path).st_size) >= claimed:
        return
    with open(path, "rb") as file:
        while True:  # until no commit of another process came in between
            meta = _newest_meta(file, page_size)
            whole = _lacks_free_pages_alone(file, page_size, meta)
            if _newest_meta(file, page_size) == meta:
                break
    if not whole:
        raise lmdb.CorruptedError(
            f"{path} is truncated: it has {size} bytes of the {claimed} that its contents take; nothing was changed: "
            "restore it from a copy"
        )


def _page_size(file: BinaryIO) -> int:
    # 0 where this is none of LMDB's files.
    data = file.read(4096)
    for header, _ in _LAYOUTS.values():
        if len(data) == 4096 and (meta := _META.unpack_from(data, header))[0] == _MAGIC:
            return int(meta[2])
    return 0


def _newest_meta(file: BinaryIO, page_size: int) -> tuple[int, int, int, int]:
    # Transaction, data version, root of the free pages, last page; the headers are as long as the version says.
    found = []
    for page in (0, 1):
        file.seek(page * page_size)
        data = file.read(page_size).ljust(page_size, b"\0")  # LMDB opens a file that ends in the midst of the second
        for header, _ in _LAYOUTS.values():
            magic, version, _, root, last, transaction = _META.unpack_from(data, header)
            if magic == _MAGIC:
                found.append((transaction, version, root, last))
                break
    return max(found)


def _lacks_free_pages_alone(file: BinaryIO, page_size: int, meta: tuple[int, int, int, int]) -> bool:
    _, version, root, last = meta
    if version not in _LAYOUTS:
        return True  # cannot be told
    present = os.fstat(file.fileno()).st_size // page_size
    try:
        free = sum(present <= page <= last for page in _free_pages(file, page_size, version, root))
    except (EOFError, struct.error):
        return False
    return free >= last + 1 - present


def _free_pages(file: BinaryIO, page_size: int, version: int, root: int) -> Iterator[int]:
    header, base = _LAYOUTS[version]
    ahead, seen = [root] if root != _NO_PAGE else [], set[int]()
    while ahead:
        number = ahead.pop()
        if number in seen:
            raise EOFError  # no tree
        seen.add(number)
        page = _read(file, number * page_size, page_size)
        flags, lower = struct.unpack_from("=HH", page, header - 6)
        for index in range((lower - header + base) // 2):
            at = base + struct.unpack_from("=H", page, header + 2 * index)[0]
            low, high, kind, key_size = struct.unpack_from("=HHHH", page, at)
            if sys.byteorder == "big":
                low, high = high, low
            if flags & _BRANCH:
                ahead.append(low | high << 16 | kind << 32)
                continue
            data = page[at + 8 + key_size :]
            if kind & _BIG:
                at = struct.unpack_from("=Q", data)[0] * page_size + header
                data = _read(file, at, low | high << 16)
            yield from struct.unpack_from(f"={struct.unpack_from('=Q', data)[0]}Q", data, 8)


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    if start + size > os.fstat(file.fileno()).st_size:
        raise EOFError  # also where a damaged page tells of absurd places
    file.seek(start)
    return file.read(size)
