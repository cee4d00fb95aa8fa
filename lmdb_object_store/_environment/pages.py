"""Read the pages of a data file without LMDB: its meta pages, its free pages and its named databases.

The layout is that of LMDB's mdb.c. LMDB has no calls for this.
"""

from __future__ import annotations

import os
import struct
import sys
from collections import namedtuple
from collections.abc import Iterator
from typing import BinaryIO

# By data version (1: LMDB 0.9, 3: LMDB 1.0): bytes of a page's header, and where offsets in a page begin.
_LAYOUTS = {1: (16, 0), 3: (24, 24)}
# A meta page from the magic number on. The record of LMDB's list of free pages comes before the record of the items.
_META = struct.Struct("=II 16x I 4x QQQ 8x Q 8x QQQ 8x Q QQ")
_NUMBER, _FLAGS_AND_KEY = struct.Struct("=Q"), struct.Struct("=HH")
_MAGIC = 0xBEEFC0DE
NO_PAGE = 0xFFFFFFFFFFFFFFFF
# Flags of a page: it is a branch. Of a node: its data is on overflow pages, or it is a named database.
_BRANCH, _BIG, _NAMED = 0x01, 0x01, 0x02
# Bytes of the record of a database, and the offset in a node of the byte of its flags.
_RECORD = 48
_AT_FLAGS = 4 if sys.byteorder == "little" else 5
_SMALLEST_PAGE, _LARGEST_PAGE = 256, 65536
# A tree of at most this many pages is read in full when the file is opened. That takes 0.05 ms.
_FEW_PAGES = 4

# The fields of a meta page. `list_pages` and `list_root` belong to LMDB's list of free pages, the others to the items.
# `tree_pages` does not count the `large_pages` of large values. The last commit has the greater of the two `Meta`.
Meta = namedtuple("Meta", "transaction version page_size list_pages list_root tree_pages large_pages root last_page")


def page_size_of(file: BinaryIO) -> int:
    """Return the page size of the data file `file`, or 0 if it is not a file of LMDB."""
    meta = meta_of(file.read(_SMALLEST_PAGE))
    return meta.page_size if meta else 0


def newest_meta(file: BinaryIO, page_size: int) -> Meta:
    """Return the meta page of the last commit. ValueError if the file has no meta page."""
    return max(filter(None, (meta_of(page) for page in meta_pages(file, page_size))))


def meta_pages(file: BinaryIO, page_size: int) -> list[bytes]:
    """Return the two pages that should be meta pages."""
    file.seek(0)
    data = file.read(2 * page_size).ljust(2 * page_size, b"\0")  # LMDB accepts a file that ends within them
    return [data[:page_size], data[page_size:]]


def meta_of(page: bytes) -> Meta | None:
    """Return the fields of the meta page `page`, or None if it is not a meta page."""
    if len(page) < _SMALLEST_PAGE:
        return None
    for header, _ in _LAYOUTS.values():
        (
            magic, version, page_size, list_branch, list_leaf, list_large, list_root,
            branch, leaf, large, root, last_page, transaction,
        ) = _META.unpack_from(page, header)  # fmt: skip
        if magic == _MAGIC:
            list_pages = list_branch + list_leaf + list_large
            return Meta(
                transaction, version, page_size, list_pages, list_root, branch + leaf, large, root, last_page
            )  # fmt: skip
    return None


def is_begun(file: BinaryIO) -> bool:
    """Return True if `file` is a new file whose meta pages were lost in part.

    LMDB writes two meta pages of transaction 0, and syncs them with the first commit. A power cut before that commit
    can leave zeros in their place.
    """
    half = os.fstat(file.fileno()).st_size // 2
    if not _SMALLEST_PAGE <= half <= _LARGEST_PAGE:
        return False
    pages = meta_pages(file, half)
    new = [meta for page in pages if (meta := meta_of(page)) and meta.page_size == half and meta.transaction == 0]
    zeros = sum(not any(page) for page in pages)
    if zeros < 2:
        return zeros == len(new) == 1
    from mmap import PAGESIZE  # slow to import, and rarely needed

    return half <= PAGESIZE  # the largest page of a new file


def lacks_free_pages_alone(file: BinaryIO, page_size: int, meta: Meta) -> bool:
    """Return True if all pages beyond the end of `file` are free, or if the layout of the file is unknown."""
    if meta.version not in _LAYOUTS:
        return True
    present = os.fstat(file.fileno()).st_size // page_size
    try:
        lists = (
            struct.unpack(f"={count}Q", _read(file, begin, 8 * count))
            for count, begin in _free_lists(file, page_size, meta)
        )
        free = sum(present <= page <= meta.last_page for pages in lists for page in pages)
    except (EOFError, struct.error):
        return False
    return bool(free >= meta.last_page + 1 - present)


def named_databases(file: BinaryIO, page_size: int, meta: Meta) -> list[bytes]:
    """Return the names of the named databases of `file`, in order. A transaction must be open, so that pages stay.

    The flags of a node distinguish a named database from a value of the same bytes. A small tree is read in full. In a
    large tree that takes too long, so the pages of the file are counted first. Pages that neither belong to the items,
    nor to LMDB's list of free pages, nor are in that list, belong to named databases. An empty named database has no
    page, so it is not found in a large tree. In a damaged file nothing is found.
    """
    if meta.version not in _LAYOUTS:
        return []
    names = []
    try:
        if meta.tree_pages > _FEW_PAGES and not _has_other_pages(file, page_size, meta):
            return []
        for _, page, nodes in _leaves(file, page_size, meta.version, meta.root):
            for at in [at for at in nodes if page[at + _AT_FLAGS] & _NAMED]:  # almost always none
                *size, flags, key_size = struct.unpack_from("=HHHH", page, at)
                if flags == _NAMED and sum(size) == _RECORD:  # else it is a damaged node
                    names.append(page[at + 8 : at + 8 + key_size].removesuffix(b"\0"))  # LMDB 1.0 adds it
    except (EOFError, IndexError, struct.error):
        return []
    return sorted(names)


def _has_other_pages(file: BinaryIO, page_size: int, meta: Meta) -> bool:
    known = 2 + meta.tree_pages + meta.large_pages + meta.list_pages  # two meta pages
    free = sum(count for count, _ in _free_lists(file, page_size, meta))
    return bool(known + free <= meta.last_page)


def _free_lists(file: BinaryIO, page_size: int, meta: Meta) -> Iterator[tuple[int, int]]:
    """Yield the entries of LMDB's list of free pages: how many page numbers, and their offset in the file."""
    header, _ = _LAYOUTS[meta.version]
    for start, page, nodes in _leaves(file, page_size, meta.version, meta.list_root):
        for at in nodes:
            flags, key_size = _FLAGS_AND_KEY.unpack_from(page, at + 4)
            at += 8 + key_size
            (number,) = _NUMBER.unpack_from(page, at)  # the count, or the number of the page that has it
            if flags & _BIG:
                begin = number * page_size + header
                yield _NUMBER.unpack(_read(file, begin, 8))[0], begin + 8
            else:
                yield number, start + at + 8


def _leaves(file: BinaryIO, page_size: int, version: int, root: int) -> Iterator[tuple[int, bytes, list[int]]]:
    """Yield the leaves of a tree: the offset in the file, the bytes, and the offsets of the nodes in them."""
    header, base = _LAYOUTS[version]
    ahead, seen = [root] if root != NO_PAGE else [], set[int]()
    while ahead:
        number = ahead.pop()
        if number in seen:
            raise EOFError  # a cycle, so the file is damaged
        seen.add(number)
        page = _read(file, number * page_size, page_size)
        flags, lower = struct.unpack_from("=HH", page, header - 6)
        count = (lower - header + base) // 2
        nodes = [base + place for place in struct.unpack_from(f"={count}H", page, header)]
        if not flags & _BRANCH:
            yield number * page_size, page, nodes
            continue
        for at in nodes:
            low, high, top = struct.unpack_from("=HHH", page, at)
            if sys.byteorder == "big":
                low, high = high, low
            ahead.append(low | high << 16 | top << 32)


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    if start + size > os.fstat(file.fileno()).st_size:
        raise EOFError  # a damaged page can have an absurd number
    file.seek(start)
    return file.read(size)
