"""MaintenanceMixin: a copy of the file, and its figures. Their code is imported at the first use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._buffer.flush import FlushMixin

if TYPE_CHECKING:
    from .._environment.stats import StoreStats


class MaintenanceMixin(FlushMixin):
    """Provides `backup` and `stats`."""

    def backup(self, path: str | os.PathLike[str] | bytes, compact: bool = True) -> None:
        """Copy the file, as it is at the beginning, to `path`, where nothing may exist yet.

        Flushes this store first. The copy has the same layout (`subdir`) and permissions. It gets its name once
        it is complete and on the disk. Until then it is `path.XXXXXXXX.part`, which a killed process leaves behind.
        With `compact` free pages are left out. Without it no store of this process can commit during the copy; this is
        needed only for a damaged file, which LMDB cannot compact.

        Reads and commits go on during the copy. A map that has to grow, a failed write and a fork wait for its end, and
        reads with them. An interrupt takes effect at its end. Without LMDB's locks (a read-only mount, lock=False) the
        file is copied again if another program commits during the copy; lmdb.Error after five attempts.
        FileExistsError if there is something at `path`, OSError or lmdb.Error if it cannot be written.
        """
        from .._environment.backup import backup, part_of

        if not self._readonly:
            self.flush()
        with self._environment.lock:  # opens the file of an unpickled store
            environment = self._environment
        target = os.path.abspath(os.fsdecode(path))
        backup(environment, target, part_of(target), compact)

    def stats(self) -> StoreStats:
        """Return figures of the file and of this store. Flushes and unpickles nothing.

        Takes some 0.05 ms for a file of any size. Waits for a commit or a transaction of another thread.
        """
        from .._environment.stats import measured

        with self._environment.lock:
            environment = self._environment
            return measured(
                environment, pending=len(self._pending), commits=self._commits, changes=self._committed_changes
            )
