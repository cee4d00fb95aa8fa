"""ChangeSet: changes to the rows of a file, with savepoints. Knows neither LMDB nor threads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._buffer.state import Changes

ABSENT: Any = object()


class Savepoint:
    """A point of a transaction to roll back to.

    The outermost savepoint records nothing (`undo` is None), because its rollback drops the whole change set.
    """

    __slots__ = ("before_clear", "undo")

    def __init__(self) -> None:
        # By key, the change that a later one replaced: ABSENT if there was none.
        self.undo: dict[bytes, Any] | None = None
        # The changes that the first `clear` after this point dropped, and `emptied` as it was then.
        self.before_clear: tuple[Changes, bool] | None = None


class ChangeSet:
    """`changes` to a file: stored key to bytes, or to None for a deletion. If `emptied`, the file counts as empty.

    An interrupt finds each change made or not made. `roll_back` can be called again after an interrupt.
    """

    def __init__(self) -> None:
        self.changes: Changes = {}
        self.emptied = False
        self.savepoints: list[Savepoint] = []

    def add_many(self, changes: Changes) -> None:
        """Add all of `changes`."""
        self._record(changes)
        self.changes.update(changes)

    def empty(self) -> None:
        """Delete every row of the file, and drop all changes."""
        savepoint = self.savepoints[-1]
        if savepoint.undo is not None and savepoint.before_clear is None:
            savepoint.before_clear = self.changes, self.emptied
        self.changes, self.emptied = {}, True

    def _record(self, keys: Iterable[bytes]) -> None:
        """Record the changes of `keys` in the innermost savepoint, before they are replaced."""
        savepoint = self.savepoints[-1]
        if savepoint.undo is not None and savepoint.before_clear is None:
            for key in keys:
                if key not in savepoint.undo:
                    savepoint.undo[key] = self.changes.get(key, ABSENT)

    def roll_back(self, savepoint: Savepoint) -> None:
        """Undo the changes since `savepoint`, which is removed with all savepoints after it.

        The time grows with the number of these changes.
        """
        while savepoint in self.savepoints:
            innermost = self.savepoints[-1]
            if innermost.before_clear is not None:
                self.changes, self.emptied = innermost.before_clear
            for key, data in (innermost.undo or {}).items():
                if data is ABSENT:
                    self.changes.pop(key, None)
                else:
                    self.changes[key] = data
            self.savepoints.pop()

    def release_savepoint(self) -> None:
        """Remove the innermost savepoint and keep its changes: now they belong to the savepoint before it.

        The time grows with the number of changes since the innermost savepoint. An interrupt leaves it in place.
        """
        outer, inner = self.savepoints[-2:]
        if outer.undo is not None and outer.before_clear is None:
            for key, data in (inner.undo or {}).items():
                outer.undo.setdefault(key, data)
            outer.before_clear = inner.before_clear
        self.savepoints.pop()
