"""Overlay: changes to the rows of a file, with savepoints to go back to. Knows neither LMDB nor threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import repeat
from typing import Any

Changes = dict[bytes, "bytes | None"]
ABSENT: Any = object()


class Level:
    """A savepoint, or below all of them the changes as a whole, which have no `undo`."""

    __slots__ = ("replaced", "undo")

    def __init__(self) -> None:
        # What was there before of the keys that were changed since: ABSENT where there was no change.
        self.undo: dict[bytes, Any] | None = None
        # What a `clear` since then has put aside: changes, and whether the file was emptied before.
        self.replaced: tuple[Changes, bool] | None = None


class Overlay:
    """`changes` (None deletes) to a file, all of whose rows are hidden where it is `emptied`.

    Each change is one step, for an interrupt too; `roll_back` finishes at a second call what was interrupted.
    """

    def __init__(self) -> None:
        self.changes: Changes = {}
        self.emptied = False
        self.levels: list[Level] = []

    def add_many(self, changes: Changes) -> None:
        """All of `changes`."""
        self._remember(changes)
        self.changes.update(changes)

    def empty(self) -> None:
        """Hide the file, and drop all changes."""
        level = self.levels[-1]
        if level.undo is not None and level.replaced is None:
            level.replaced = self.changes, self.emptied
        self.changes, self.emptied = {}, True

    def _remember(self, keys: Iterable[bytes]) -> None:
        level = self.levels[-1]
        if level.undo is not None and level.replaced is None:
            for key in keys:
                if key not in level.undo:
                    level.undo[key] = self.changes.get(key, ABSENT)

    def roll_back(self, level: Level) -> None:
        """Undo `level` and all inside of it. Costs as much as they have changed."""
        while level in self.levels:
            inner = self.levels[-1]
            if inner.replaced is not None:
                self.changes, self.emptied = inner.replaced
            undo = inner.undo or {}
            self.changes.update({key: data for key, data in undo.items() if data is not ABSENT})
            new = [key for key, data in undo.items() if data is ABSENT]
            deque(map(self.changes.pop, new, repeat(None)), maxlen=0)
            self.levels.pop()

    def merge(self) -> None:
        """End the innermost level, and leave what undoes it to the one that it is in. Costs as much as it has changed.

        Interrupted, it is still open.
        """
        outer, inner = self.levels[-2:]
        if outer.undo is not None and outer.replaced is None:
            for key, data in (inner.undo or {}).items():
                outer.undo.setdefault(key, data)
            outer.replaced = inner.replaced
        self.levels.pop()
