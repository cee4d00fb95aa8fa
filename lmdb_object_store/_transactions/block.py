"""Block: the open transaction of a store, which stands in for its buffer meanwhile."""

from __future__ import annotations

from threading import get_ident
from typing import Any

from .._environment.environment import MISSING
from .._keys.interval import WHOLE, Interval
from .changes import Changes
from .isolation import Isolated


class Block(Isolated):
    """To the thread that opened it, its changes; to the others the buffer, which is empty until the end.

    What the others put goes there when it has ended, for which they wait.
    """

    def __setitem__(self, key: bytes, data: bytes | None) -> None:
        # The common case, written out: in `own` and the rest of `_put` it would take twice as long.
        if (
            get_ident() == self.owner
            and len(self.levels) == 1
            and not self.committing
            and self._writer.generation == self.environment.generation
            and self._guard() is not None
        ):
            self.changes[key] = data
        else:
            self._put(key, data)

    def _put(self, key: bytes, data: bytes | None) -> None:
        if not self.own():
            with self.environment.lock:  # in another thread, until the end
                self._pass_on(key, data)
        elif self.committing:
            self._buffer[key] = data
        else:
            self._remember((key,))
            self.changes[key] = data

    def _pass_on(self, key: bytes, data: bytes | None) -> None:
        store, buffer = self._host(), self._buffer
        accept = buffer if store._sink is self else store._sink  # itself while it begins, and in a fork
        if key in buffer:
            store._pending_bytes -= len(key) + len(buffer[key] or b"")
        accept[key] = data

    def add_if_unchanged(self, key: bytes, pending: Any, data: bytes | None) -> bool:
        """Change `key`, unless a signal handler has done so since the caller found `pending` here; whether it did."""
        self._remember((key,))
        if key in self.changes:
            if self.changes[key] is pending:
                self.changes[key] = data  # in one step with the conditions
                return True
        elif pending is (None if self.emptied else MISSING):
            self.changes[key] = data  # the same
            return True
        return False

    def clear(self, interval: Interval) -> None:
        """Delete all that is in `interval`. Of a part, each key is held in memory."""
        if interval is WHOLE:
            self.empty()
        else:
            pages = self._host()._pages(interval, reverse=False, values=False)
            self.add_many({key: None for page in pages for key in page})
        self._host()._drop_kept_in(interval)

    def get(self, key: bytes, default: Any = None) -> Any:
        """The change of `key`; None, a deletion, if the file is emptied; else `default`."""
        buffer = self._buffer
        if not self.own():
            return buffer.get(key, default)
        if self.committing and key in buffer:
            return buffer[key]
        return self.changes.get(key, None if self.emptied else default)

    def __contains__(self, key: bytes) -> bool:
        return self.get(key, MISSING) is not MISSING

    def copy(self) -> Changes:
        """All changes, in a dict of their own."""
        buffer = self._buffer.copy()
        return {**self.changes, **buffer} if self.own() else buffer

    def __len__(self) -> int:
        return len(self.copy())

    def __bool__(self) -> bool:
        return (self.own() and (bool(self.changes) or self.emptied)) or bool(self._buffer)
