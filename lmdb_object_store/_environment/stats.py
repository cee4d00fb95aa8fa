"""StoreStats: figures of a store. Imported late, because `dataclasses` is slow to import."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .environment import Environment
from .paths import data_file


@dataclass(frozen=True)
class StoreStats:
    """Figures of a store and its file at one moment. `map_size` is in bytes; fields without a unit are counts.

    `entries` are in the file. `pending` are the keys whose changes wait in memory. The file can grow to `map_size`
    before the map grows. `used_bytes` of the `file_bytes` are pages that hold entries, and the rest is free for later
    writes. A compact backup takes little more than `used_bytes`. `depth` is the number of pages from the root to an
    entry, 0 in an empty file. `branch_pages` lead to entries, `leaf_pages` hold entries, and `overflow_pages` hold
    values that are larger than about half a page of `page_bytes`. `readers` are the open read transactions of all
    processes. A reader of a killed process counts until the file is opened again or the map is full.

    `commits` are those of this store in this process since it was opened. `changes` are the writes and deletions in
    them. A key that is written twice before a commit is one change. The rows that `clear` deletes do not count.
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
    commits: int
    changes: int


def measured(environment: Environment, *, pending: int, commits: int, changes: int) -> StoreStats:
    """Return the figures of `environment`, with those of a store. Needs the lock."""
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
        # py-lmdb lists readers only as text: a line for each slot of the table, with a dash if it is idle.
        readers=sum(line.rpartition(" ")[2].isdigit() for line in handle.readers().splitlines()),
        commits=commits,
        changes=changes,
    )
