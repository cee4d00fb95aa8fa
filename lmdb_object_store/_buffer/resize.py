"""ResizeMixin: the commit of changes, in a map that grows until they fit."""

from __future__ import annotations

from collections.abc import Mapping

import lmdb

from .._environment.environment import Environment
from .._environment.gate import BeginToWrite
from .._environment.write import pages_kept, write
from .._keys.interval import Interval
from .state import StoreState, total_weight

MIN_GROWTH = 64 * 1024 * 1024


def next_map_size(current: int, cap: int | None, needed: int, page: int) -> int | None:
    """Return the size in bytes to grow a map of `current` bytes to, or None if it is at its `cap`.

    The map grows by steps of max(2x, +64 MiB), which the contract names, until it holds `needed` bytes or meets `cap`.
    Sizes are whole pages of `page` bytes: a step is rounded up, the cap is rounded down.
    """
    limit = None if cap is None else cap // page * page
    size = current
    while size == current or size < needed:
        step = -(-max(2 * size, size + MIN_GROWTH) // page) * page
        if limit is not None and step >= limit:
            return limit if limit > current else None
        size = step
    return size


class ResizeMixin(StoreState):
    """Provides `_commit`, the one place that commits changes and grows the map for them."""

    def _commit(
        self,
        changes: Mapping[bytes, bytes | None],
        *,
        emptied: Interval | None = None,
        begin: BeginToWrite | None = None,
    ) -> None:
        """Delete the rows of `emptied`, then write `changes`, all in one LMDB transaction. Needs the lock.

        `begin` begins the transaction, by default one of its own. It is called again after the map has grown.
        MapFullError at `max_map_size`, LMDB's own errors otherwise: then the file is unchanged.
        """
        environment = self._environment
        try:
            while True:
                try:
                    write(environment, changes, emptied, self._max_map_size, begin)
                    self._commits += 1
                    self._committed_changes += len(changes)
                    return
                except lmdb.MapFullError as error:
                    self._make_room(environment, environment.handle(), changes, error)
                except lmdb.MapResizedError:  # another process has grown the file
                    environment.resize(0)
                except lmdb.PanicError as error:
                    environment.reopen_after_panic(error)
        finally:
            environment.process_locks.let_others_write()

    def _make_room(
        self,
        environment: Environment,
        handle: lmdb.Environment,
        changes: Mapping[bytes, bytes | None],
        error: lmdb.MapFullError,
    ) -> None:
        """Free the pages that dead readers pin, or else grow the map. MapFullError if it is at its cap."""
        if environment.process_locks.check_readers(handle):
            return
        stat, current = handle.stat(), handle.info()["map_size"]
        page = stat["psize"]
        # The least that the file must hold at the commit: the old pages and the new rows, side by side.
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        needed = max(current, pages * page + total_weight(changes))
        size = next_map_size(current, self._max_map_size, needed, page)
        if size is None:
            kept = pages_kept(current, self._max_map_size, page) * page
            raise lmdb.MapFullError(
                f"the map of {environment.path} is full: it has {current} bytes, max_map_size is {self._max_map_size}, "
                f"and this write needs more than {needed} beside the {kept} that are kept to delete with. Nothing was "
                "written. Delete pending keys that do not fit, delete something else, and flush (open readers keep "
                "space from being used), or raise max_map_size"
            ) from error
        environment.resize(size)

    def _deletions_at_once(self) -> int | None:
        """Return how many deletions are flushed together at most, near the cap of the map. None: any number.

        A deletion may change two pages and those above them, and each of these needs a free page.
        """
        if self._max_map_size is None:
            return None
        environment = self._environment
        with environment.lock:
            size, page = environment.options["map_size"], environment.handle().stat()["psize"]
        kept = pages_kept(size, self._max_map_size, page)
        return max(1, kept // 6) if kept else None
