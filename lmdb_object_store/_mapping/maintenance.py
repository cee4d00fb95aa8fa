"""MaintenanceMixin: a copy of the file, and figures of it. Both are imported when they are asked for."""

from __future__ import annotations

import os
from abc import ABCMeta, abstractmethod
from typing import TYPE_CHECKING

from .._environment.environment import Environment

if TYPE_CHECKING:
    from .._buffer.state import Pending
    from .._environment.stats import StoreStats


class MaintenanceMixin(metaclass=ABCMeta):
    """Provides `backup` and `stats`. Needs the attributes and the method below."""

    _pending: Pending
    _environment: Environment
    _readonly: bool

    @abstractmethod
    def flush(self) -> None:
        """Commit what is pending."""

    def backup(self, path: str | os.PathLike[str] | bytes, compact: bool = True) -> None:
        """Copy the file to `path`, where nothing may be yet: all that is committed as the copy begins, and no more.

        Flushes first, for this store alone. The copy is of the same layout (`subdir`) and permissions. It has its
        name only once it is complete and on the disk; until then it is `path.XXXXXXXX.part` beside it, which a killed
        process leaves behind. With `compact` free pages are left out. Without, nothing of this process can commit
        meanwhile, and the file is copied page by page, as is needed only where LMDB cannot compact a damaged one.

        Reads and commits go on, but a map that has to grow, a failed write and a fork wait for the copy, and reads
        with them; an interrupt takes effect at its end. Pages that others free meanwhile are used again only later.
        Where LMDB has no locks, on a read-only mount or with lock=False, it is copied again if another program commits
        meanwhile; lmdb.Error after five attempts.
        FileExistsError if there is something at `path`, OSError or lmdb.Error if it cannot be written.
        """
        from .._environment.backup import backup, part_of

        if not self._readonly:
            self.flush()
        with self._environment.lock:  # which opens it, where this handle has been unpickled
            environment = self._environment
        target = os.path.abspath(os.fsdecode(path))
        backup(environment, target, part_of(target), compact)

    def stats(self) -> StoreStats:
        """Figures of the file and of this store. Neither flushes nor unpickles anything.

        Takes some 0.05 ms for a file of any size, and waits for a commit or a transaction of another thread.
        """
        from .._environment.stats import measured

        with self._environment.lock:
            return measured(self._environment, len(self._pending))
