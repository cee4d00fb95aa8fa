"""BufferMixin: changes that wait in memory, and the flush that commits them."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pickle import HIGHEST_PROTOCOL
from pickle import dumps as pickled

import lmdb

from ._block import Block
from ._codec import MAX_VALUE_BYTES, KeyCodec, too_large, weight
from ._environment import HAS_GIL, MISSING, Environment
from ._errors import StoreClosedError, check_limit, logger
from ._interval import Interval
from ._scan import Pending
from ._typing import Any
from ._writer import BeginToWrite

# Whether nothing else (a thread, a signal handler, a finaliser) runs between an `if` that looks at an attribute or at
# an entry of a dict, and the assignment that it leads to: CPython with its global lock lets them in at calls, at the
# ends of loops and, in 3.10, at jumps, which a condition that holds does not make. A new key's change is then staged
# without a lock, which would cost two thirds of what the pickling of a small value does.
ONE_STEP = HAS_GIL


class Shut:
    """Stands in for the buffer where nothing may be staged: every attempt calls `refuse`, which raises."""

    def __init__(self, refuse: Callable[[], object]) -> None:
        self.refuse = refuse

    def __setitem__(self, key: bytes, data: bytes | None) -> None:
        self.refuse()


class BufferMixin(ABC):
    """Provides `put` and `_stage`, `_flush` and what builds on them. Needs the attributes and the methods below.

    `write_buffer` is the dict of pending changes, always the same object: stored key to pickled value,
    None for a deletion. A change leaves it only once it is committed.
    `_accept` is what a change is put into: that dict, or a `Shut` while the store takes none.
    `_pending` is what a read looks into before the file: that dict. While a transaction is open, both are its `Block`.
    Changes are staged under the environment's lock, but for a new key's `put`: see `ONE_STEP`.
    `_dumps` makes bytes of a key, to be named in errors, and a value; pickle alone does where the store is `_direct`.
    """

    autoflush_on_read: bool
    db_path: str
    _environment: Environment
    _codec: KeyCodec
    _plain: int
    _direct: bool
    _dumps: Callable[[object, Any], bytes]

    @abstractmethod
    def _commit(
        self, changes: Mapping[bytes, bytes | None], *, emptied: Interval | None = None, begin: BeginToWrite = ...
    ) -> None:
        """Write `changes` in one transaction, all or none, once every row of `emptied` is deleted in it.

        Called with the environment's lock held, and `busy`.
        """

    @abstractmethod
    def _deletions_at_once(self) -> int | None:
        """How many deletions are flushed together at most; None for any number."""

    @abstractmethod
    def _is_empty(self, interval: Interval) -> bool:
        """Whether the file has no row of `interval`."""

    def _start_buffer(self, batch_size: int | None, batch_bytes: int) -> None:
        if batch_size is not None:
            check_limit("batch_size", batch_size)
        check_limit("batch_bytes", batch_bytes)
        self.batch_size = batch_size
        self.batch_bytes = batch_bytes
        self.write_buffer: dict[bytes, bytes | None] = {}
        self._accept: dict[bytes, bytes | None] | Shut | Block = self.write_buffer
        self._pending: Pending = self.write_buffer
        self._pending_bytes = 0
        # How many commits the changes of this store have had.
        self._commits = 0
        # The keys that are deleted while a row is being taken, by a signal handler of its thread.
        self._deleted: set[bytes] | None = None
        # Whether the caller was told of a failed flush: None if none has failed since the last change.
        self._failure_told: bool | None = None

    def put(self, key: Any, obj: Any) -> None:
        """Store `obj` under `key`, in memory until the next flush.

        TypeError or ValueError for a key or a value that cannot be stored, and the pickler's own errors:
        then nothing has changed. An error of the flush that reaching a threshold sets off leaves it pending.
        """
        # `update` has the same steps once more: a call for them would cost as much as they do.
        plain = type(key) is bytes and 0 < len(key) <= self._plain
        stored = key if plain else self._codec.encode_to_store(key)
        data = pickled(obj, HIGHEST_PROTOCOL) if self._direct else self._dumps(key, obj)
        if len(data) > MAX_VALUE_BYTES:
            raise too_large(key, data)
        buffer = self.write_buffer
        if stored in buffer or not ONE_STEP:
            self._stage(stored, data)
            return
        more = len(stored) + len(data)
        self._accept[stored] = data
        self._pending_bytes += more
        self._failure_told = None
        count = self.batch_size
        if (count is not None and len(buffer) >= count) or self._pending_bytes >= self.batch_bytes:
            try:  # noqa: SIM105  # contextlib takes a tenth of this package's import
                self._flush_if_full()
            except StoreClosedError:  # closed just now by another thread, this change included
                pass

    def _update(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """`put` each of `pairs`, but leave `batch_size` out of account."""
        encode, buffer, plain = self._codec.encode_to_store, self.write_buffer, self._plain
        direct, dumps = self._direct, self._dumps
        for key, value in pairs:
            stored = key if type(key) is bytes and 0 < len(key) <= plain else encode(key)
            data = pickled(value, HIGHEST_PROTOCOL) if direct else dumps(key, value)
            if len(data) > MAX_VALUE_BYTES:
                raise too_large(key, data)
            if stored in buffer or not ONE_STEP:
                self._stage(stored, data, sys.maxsize)
                continue
            more = len(stored) + len(data)
            self._accept[stored] = data
            self._pending_bytes += more
            self._failure_told = None
            if self._pending_bytes >= self.batch_bytes:
                self._flush_if_full(sys.maxsize)

    def _stage(self, key: bytes, data: bytes | None, at_count: int | None = None) -> None:
        """Accept a change; flush where the buffer has reached a threshold. Its errors leave the change pending.

        `at_count` stands in for `batch_size`.
        """
        environment = self._environment
        with environment.lock:
            buffer = self.write_buffer
            more = weight(key, data) - (weight(key, buffer[key]) if key in buffer else 0)
            takes_back = data is None and buffer.get(key) is not None  # perhaps what no flush could commit
            self._accept[key] = data
            if data is None and self._deleted is not None:
                self._deleted.add(key)
            self._pending_bytes += more
            self._failure_told = None
            if not takes_back:
                self._flush_if_full(at_count)

    def _stage_if_unchanged(self, key: bytes, pending: bytes | None, commits: int, data: bytes | None) -> bool:
        """Stage `data` for `key`, and flush nothing, unless its row has changed since the caller read it.

        `pending` is the change that was pending before (MISSING: none, and the file was read), `commits` what
        `_commits` was before that. Whether it was staged. Needs the lock, which a `put` passes by.
        """
        block = None if self._pending is self.write_buffer else self._block()
        if block is not None:
            return block.stage_if_unchanged(key, pending, data)
        buffer = self.write_buffer
        more = weight(key, data) - (0 if pending is MISSING else weight(key, pending))
        if pending is MISSING:
            if key not in buffer and self._commits == commits:
                self._accept[key] = data  # in one step with the conditions
            else:
                return False
        elif key in buffer and buffer[key] is pending:
            self._accept[key] = data  # the same
        else:
            return False
        self._pending_bytes += more
        self._failure_told = None
        return True

    def _flush_if_full(self, at_count: int | None = None) -> None:
        """Flush where the buffer has reached a threshold. `at_count` stands in for `batch_size`."""
        with self._environment.lock:
            count = at_count or self.batch_size
            buffer, deletions = self.write_buffer, self._deletions_at_once()
            if (
                (count is not None and len(buffer) >= count)
                or self._pending_bytes >= self.batch_bytes
                or (deletions is not None and len(buffer) >= deletions and not any(buffer.values()))
            ):
                self._flush()

    def _refuse_in_commit(self) -> None:
        """RuntimeError in a signal handler, or a finaliser, amid this very thread's commit. Needs the lock."""
        environment = self._environment
        if environment.block is not None:
            environment.block.own()  # which ends one that was left in another thread
        if environment.block is not None:
            raise RuntimeError(
                f"this thread has a transaction open on {self.db_path}, which commits at its end: call this after it"
            )
        if environment.busy:
            raise RuntimeError(f"this thread is in the midst of a commit to {self.db_path}: call this again after it")

    def _block(self) -> Block | None:
        """The transaction that this thread has open on this store, unless it is committing."""
        pending = self._pending
        return pending if isinstance(pending, Block) and pending.own() and not pending.committing else None

    def _flush(self) -> None:
        """Commit what is pending, unless a commit of this very thread is under way."""
        with self._environment.lock:
            if not self._environment.busy:
                self._environment.close_orphans()  # what they hold was accepted before
                if self.write_buffer:
                    self._commit_pending()
            elif self._block() is not None:
                self._pending_bytes = 0  # what was put into a transaction was counted, but does not wait for a flush

    def _commit_pending(self) -> None:
        """Commit what is pending, and drop it from the buffer."""
        environment = self._environment
        changes: dict[bytes, bytes | None] = {}
        environment.busy = True
        try:
            changes = self.write_buffer.copy()
            self._commit(changes)
            if environment.busy:  # else a handler forked, and in this child the buffer holds the child's own changes
                self._commits += 1
                self._drop(changes)
        except Exception:
            if self.write_buffer == changes:  # nothing new has come
                self._failure_told = True
            raise
        finally:
            environment.busy = False

    def _commit_emptied(self, interval: Interval) -> None:
        """Delete the rows of `interval`, and drop what is pending in it."""
        environment = self._environment
        changes = _inside(interval, self.write_buffer.copy())
        environment.busy = True
        try:
            self._commit({}, emptied=interval)
            if environment.busy:  # as above
                self._commits += 1
                self._drop(changes)
        except lmdb.Error:
            raise
        except BaseException:
            # An interrupt, or a handler's error, perhaps after the commit: what was pending would come back.
            if self._is_empty(interval):
                self._drop(changes)
            raise
        finally:
            environment.busy = False

    def _drop(self, changes: dict[bytes, bytes | None]) -> None:
        """Take `changes` out of the buffer, and nothing that was put under the same keys since they were copied.

        But for the very same bytes, which another serializer than pickle may give again: they are in the file then.
        """
        buffer = self.write_buffer
        try:
            for key, data in changes.items():
                if buffer[key] is data:  # each pickle is an object of its own
                    del buffer[key]  # in one step with the comparison
        except KeyError:
            return  # a handler forked in this very loop, see above
        self._pending_bytes = sum(weight(key, data) for key, data in buffer.copy().items())

    def _flush_before_read(self) -> None:
        """Flush for a read. A failure is logged, since the read's answer is right without; it is not tried again
        until there is something new to write."""
        if not self.autoflush_on_read or not self.write_buffer or self._failure_told is not None:
            return
        if self._environment.block is not None:
            return  # readers do not wait for a transaction
        try:
            self._flush()
        except StoreClosedError:
            raise
        except (lmdb.Error, OSError) as error:
            self._failure_told = False
            logger().warning("a read could not flush %s, its changes stay pending: %s", self.db_path, error)

    # For a store that keeps values: it stages what has changed in them, as a transaction begins and before it succeeds;
    # it lets go of them as one is undone, and of those that one has cleared.

    def _write_changed(self) -> None: ...  # noqa: B027  # most stores keep nothing
    def _undone(self) -> None: ...  # noqa: B027  # likewise
    def _cleared(self, interval: Interval) -> None: ...  # noqa: B027  # likewise

    def _forget_pending(self) -> None:
        """Drop what is pending: this process is a fork, and it belongs to the parent."""
        self.write_buffer.clear()
        self._pending_bytes = 0
        self._failure_told = None


def _inside(interval: Interval, changes: dict[bytes, bytes | None]) -> dict[bytes, bytes | None]:
    # Not within a `try`, whose handlers an interrupt of such a loop passes by in CPython 3.13.
    return {key: data for key, data in changes.items() if interval.contains(key)}
