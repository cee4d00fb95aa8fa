"""StoreState: every attribute that the classes of a store share, declared once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, Protocol

from .._environment.environment import Environment
from .._environment.locks import Lock
from .._errors import ReadonlyStoreError, check_limit, check_seconds, closed
from .._keys.codec import KeyCodec
from .._keys.interval import Interval
from .attributes import OptionsMixin

Changes = dict[bytes, "bytes | None"]


class Pending(Protocol):
    """The changes that a read looks into before the file: a dict, or an open transaction. None is a deletion."""

    def get(self, key: bytes, default: Any = None, /) -> Any: ...
    def copy(self) -> Changes: ...
    def __contains__(self, key: Any, /) -> bool: ...
    def __len__(self) -> int: ...


class TransactionBuffer(Pending, Protocol):
    """The open transaction of a store, which stands in for the buffer until it ends."""

    committing: bool
    emptied: bool

    def check(self) -> None: ...
    def is_mine(self) -> bool: ...
    def clear(self, interval: Interval) -> None: ...
    def add_many(self, changes: Changes) -> None: ...
    def add_if_unchanged(self, key: bytes, pending: Any, data: bytes | None) -> bool: ...
    def __setitem__(self, key: bytes, data: bytes | None) -> None: ...


class RefusingBuffer:
    """Stands in for the buffer of a store that takes no changes: each one calls `refuse`, which raises."""

    def __init__(self, refuse: Callable[[], object]) -> None:
        self.refuse = refuse

    def __setitem__(self, key: bytes, data: bytes | None) -> None:
        self.refuse()


class StoreState(OptionsMixin):
    """The shared attributes of a store. The classes of a store derive from each other, and all from this one."""

    autoflush_on_read: bool
    _lmdb_kwargs: dict[str, Any]
    _readonly: bool
    _is_closed: bool

    # The open file. A `ClosedEnvironment` or an `UnopenedEnvironment` stands in for it while the file is not open.
    _environment: Environment

    # -- pending changes

    # All pending changes, always the same dict. A change leaves it once it is committed.
    _write_buffer: Changes
    # Where a read looks before the file: the buffer, or the open transaction.
    _pending: Pending
    # Where a write puts its change: the buffer, the open transaction, or a `RefusingBuffer`.
    _sink: Changes | TransactionBuffer | RefusingBuffer
    # Bytes of the pending keys and values, which `batch_bytes` bounds. A value that a `put` has overwritten counts too,
    # until `_count_pending` counts again.
    _pending_bytes: int
    # Commits of this store so far. A read that compares it sees whether a flush came in between.
    _commits: int
    # Changes in these commits, deletions included.
    _committed_changes: int
    # The number of flushes that have begun to commit, and the number of the last one that succeeded.
    _flushes_begun: int
    _flushed: int
    # Held by the thread that flushes for all. None if none does.
    _current_flush: Lock | None
    # Counts the small commits that reads set off. In one step: two threads get two numbers.
    _small_commits: Iterator[int]
    # True from a failed flush until a change comes after it: reads do not try that flush again.
    _flush_failed: bool
    # The limits that a put looks at. An attribute costs less than the descriptor of the public name.
    _batch_size: int | None
    _batch_bytes: int
    # Bytes of pending changes at which a put calls `_flush_if_full`: `batch_bytes`, or minus infinity if the next
    # change has to start the timer of `flush_interval`.
    _full_bytes: float
    # Seconds.
    _flush_interval: float | None
    # When the timer flushes, in seconds of `time.monotonic`. Infinity while it need not.
    _flush_due: float
    # True after the timer has logged a failed flush, until it flushes again.
    _timer_failed: bool
    _max_map_size: int | None

    # -- keys and values

    _codec: KeyCodec
    # Keys of 1 to this many bytes are stored as they are, without the codec. 0 until the file is open.
    _raw_key_limit: int
    # True if `pickle` itself makes and reads all values: then it is called without a function in between.
    _is_pickled: bool
    # Takes a key, for errors, and a value. Returns the value's bytes.
    _dumps: Callable[[object, Any], bytes]
    # Takes the bytes of a value.
    _loads: Callable[..., Any]
    # True if the last value was so large that the next one is read in parts.
    _expects_large: bool
    # Keys of up to this many bytes take the short path of a read: none while a large value is expected.
    _short_read_limit: int
    # By iterator, the keys of the page that it is in. `close` empties them, which ends the iterators.
    _open_pages: dict[object, list[Any]]

    @property
    def write_buffer(self) -> Changes:
        """The pending changes: stored key to pickled value, or None for a deletion. To look at, not to write to."""
        return self._write_buffer

    def _start_buffer(self, batch_size: int | None, batch_bytes: int, flush_interval: float | None) -> None:
        if batch_size is not None:
            check_limit("batch_size", batch_size)
        check_limit("batch_bytes", batch_bytes)
        if flush_interval is not None:
            check_seconds("flush_interval", flush_interval)
        self._batch_size = batch_size
        self._batch_bytes = batch_bytes
        self._flush_interval = flush_interval
        self._timer_failed = False
        self._stop_timer()
        self._write_buffer = {}
        self._sink = self._write_buffer
        self._pending = self._write_buffer
        self._pending_bytes = 0
        self._commits = 0
        self._flushes_begun = 0
        self._flushed = 0
        self._current_flush = None
        self._committed_changes = 0
        self._small_commits = count(1)
        self._flush_failed = False

    def _forget_pending(self) -> None:
        """Drop the pending changes and the figures of commits: in a forked child they belong to the parent."""
        self.write_buffer.clear()
        self._current_flush = None
        self._stop_timer()
        self._pending_bytes = 0
        self._commits = 0
        self._committed_changes = 0
        self._flush_failed = False

    def _stop_timer(self) -> None:
        """Let the next change start the timer, if there is a `flush_interval`."""
        self._flush_due = math.inf  # first: a change that comes between these two lines is in the flush after them
        self._full_bytes = self._batch_bytes if self._flush_interval is None else -math.inf

    def _check_writable(self) -> None:
        """Raise StoreClosedError if the store is closed, ReadonlyStoreError if it is open read-only."""
        if self._is_closed:
            raise closed(self.db_path)
        if self._readonly:
            refuse_readonly(self.db_path)

    # -- for a store that keeps values in memory and writes back what has changed in them; see _shelve/writeback.py

    def _write_back_changes(self) -> None:
        """Add a change for each kept value that has changed. Called as a transaction begins and before it commits."""

    def _drop_kept(self) -> None:
        """Drop all kept values: the transaction that may have changed them is rolled back."""

    def _drop_kept_in(self, interval: Interval) -> None:
        """Drop the kept values of `interval`, whose rows a transaction has deleted."""

    def _keep(self, stored: bytes, value: Any, row: bytes) -> None:
        """Keep `value`, which is stored as `row`."""


def refuse_readonly(path: str) -> None:
    """Raise the error for a write to the store at `path`, which is open read-only."""
    raise ReadonlyStoreError(
        f"the store at {path} is open read-only: to write, open it without readonly=True, or by `open` with flag 'w'"
    )


def weight(key: bytes, data: bytes | None) -> int:
    """Return the bytes of a pending change: of its key, and of its value unless it is a deletion."""
    return len(key) + (0 if data is None else len(data))


def total_weight(changes: Mapping[bytes, bytes | None]) -> int:
    """Return the bytes of all `changes`."""
    return sum(weight(key, data) for key, data in changes.items())
