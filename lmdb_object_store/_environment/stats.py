"""StoreStats: figures of a store. Not imported before they are asked for, since `dataclasses` is slow to import."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .environment import Environment
from .paths import data_file


@dataclass(frozen=True)
class StoreStats:
    """Figures of a store and its file at one moment. Bytes are bytes, all else are counts.

    `entries` are those in the file; `pending` are the keys whose changes wait in memory. `map_size` is what the file
    may grow to before the map does. Of the `file_bytes`, `used_bytes` are those of pages that hold entries, and the
    rest is free for later writes; a compact backup takes little more than them. `depth` is the number of pages from
    the root to an entry, 0 where there is none. `branch_pages` hold the way to entries, `leaf_pages` entries, and
    `overflow_pages` values that are larger than about half a page of `page_bytes`. `readers` are the read
    transactions that are open in all processes, of which a store's own are short. One of a process that was killed
    counts until LMDB looks for those, which each opening of the file and each full map sets off.
    """

    __module__ = "lmdb_object_store"

    entries: int
    pending: int
    map_size: int
    used_bytes: int
    file_bytes: int
    page_bytes: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    readers: int


def measured(environment: Environment, pending: int) -> StoreStats:
    """The figures of `environment`, and `pending`. Needs the lock."""
    handle = environment.handle()
    stat = handle.stat()
    pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    return StoreStats(
        entries=stat["entries"],
        pending=pending,
        map_size=handle.info()["map_size"],
        used_bytes=pages * stat["psize"],
        file_bytes=os.stat(data_file(environment.path, environment.options)).st_size,
        page_bytes=stat["psize"],
        depth=stat["depth"],
        branch_pages=stat["branch_pages"],
        leaf_pages=stat["leaf_pages"],
        overflow_pages=stat["overflow_pages"],
        # py-lmdb tells of them in text alone: a line for each place in the table, with a dash for one that is idle.
        readers=sum(line.rpartition(" ")[2].isdigit() for line in handle.readers().splitlines()),
    )
