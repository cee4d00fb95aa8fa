"""A host for the buffer alone: it commits to a dict, and does before and after what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import RLock
from types import SimpleNamespace
from typing import Any

from lmdb_object_store._buffer.pending import BufferMixin
from lmdb_object_store._keys.interval import Interval
from lmdb_object_store._values.serializing import dumps

Rows = dict[bytes, bytes]

Step = Callable[[], None]


def nothing() -> None:
    """Do nothing, as a step of a commit."""


def raising(error: BaseException) -> Step:
    """Return a step of a commit that raises `error`."""

    def step() -> None:
        raise error

    return step


def apply(rows: Rows, changes: Mapping[bytes, bytes | None]) -> Rows:
    """Return `rows` after `changes`."""
    merged = {**rows, **changes}
    return {key: data for key, data in merged.items() if data is not None}


class Host(BufferMixin):
    """A host that commits to a dict, and does before and after what a test wants."""

    def __init__(self, batch_size: int = 1000, batch_bytes: int = 1 << 20, *, autoflush: bool = True) -> None:
        self.autoflush_on_read = autoflush
        self.db_path = "nowhere"
        self.world = SimpleNamespace(
            lock=RLock(), committing=False, transaction=None, close_collected=nothing, check_process=nothing
        )
        self._environment: Any = self.world
        self._codec: Any = SimpleNamespace(encode_to_store=str.encode)
        self._raw_key_limit = 510
        self._is_pickled = True
        self._dumps = dumps
        self.file: Rows = {}
        self.committing = False
        self.commits = 0
        self.before: Step = nothing
        self.after: Step = nothing
        self._start_buffer(batch_size, batch_bytes, None)

    def _deletions_at_once(self) -> None:
        return None

    def _is_empty(self, interval: Interval) -> bool:
        return not any(map(interval.contains, self.file))

    def _commit(
        self, changes: Mapping[bytes, bytes | None], *, emptied: Interval | None = None, begin: object = None
    ) -> None:
        assert self.world.committing
        assert not self.committing, "a commit within a commit"
        self.committing = True
        self.commits += 1
        taken = dict(changes)
        try:
            self.before()
            assert dict(changes) == taken, "what is written changes while it is written"
            self.file = apply({} if emptied else self.file, taken)
            self.after()
            self._commits += 1
        finally:
            self.committing = False
