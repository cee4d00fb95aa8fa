"""OpenTransaction: the changes of a transaction, who sees them, and how they end."""

from __future__ import annotations

import weakref
from threading import get_ident
from typing import TYPE_CHECKING, Any

from .._buffer.state import Changes, total_weight, weight
from .._environment.environment import MISSING, Environment
from .._environment.locks import Lock
from .._errors import closed
from .._keys.interval import WHOLE, Interval
from .changes import ChangeSet, Savepoint
from .waiting import TransactionLock
from .write_lock import WriteLock

if TYPE_CHECKING:
    from .._buffer.reading import ReadingMixin

_FORKED = "this process was forked inside of a transaction of its parent on {path}: leave the `with` block first"
_LEFT_ELSEWHERE = "a transaction on {path} was ended in another thread than the one that began it: it is rolled back"
_UNORDERED = "a transaction on {path} ended before one that was begun inside of it: both are rolled back"
_ROLLED_BACK = "this transaction on {path} was rolled back with the transaction that it was begun in"


class OpenTransaction(ChangeSet):
    """The open transaction of a store. It stands in for the store's buffer, for reads and for writes.

    Its own thread works on its changes. Other threads see the buffer, which is empty until the end, and their writes
    wait for the end. It holds the environment's lock, and LMDB's lock by a `WriteLock`. `savepoints` has one entry for
    each `with` statement, from the outermost to the innermost. It is empty before the beginning and from the end on.
    """

    def __init__(self, store: ReadingMixin, environment: Environment) -> None:
        super().__init__()
        # All threads reach this object by the environment. So it refers to the store weakly, and to no `with`
        # statement: a store can be collected together with a generator that has a transaction open.
        self._store = weakref.ref(store)
        self._buffer = store.write_buffer
        self.environment = environment
        self.owner = get_ident()
        self.committing = False
        self.ended = False
        self.abandoned = False  # True if another thread, which cannot end it, dropped or left it
        self._committed = False
        self._broken = ""  # why it cannot go on
        self._guard: Any = None  # the weak reference that dies with the outermost `with` statement
        self._lock: Lock | None = None  # the environment's lock, while this transaction holds it
        self._write_lock = WriteLock(environment)

    # -- the beginning and the ends

    def begin(self, outermost: Savepoint, guard: weakref.ref[object]) -> None:
        """Wait for the locks, flush the store, and keep all others from writing. If this raises, call `end`."""
        store, environment = self._open_store(), self.environment
        self._guard = guard
        self._acquire(environment.lock)
        if store._environment is not environment:  # closed by another thread just before
            raise closed(store.db_path)
        store._check_no_commit()
        store._pending = store._sink = self
        while True:
            if self._buffer or environment.collected:
                store._flush()
            stand_in: Any = TransactionLock(environment.lock, self)
            environment.transaction, environment.lock = self, stand_in
            self._write_lock.acquire()
            if not self._buffer:
                self.savepoints = [outermost]  # in one step with the condition
                return
            self._write_lock.release()  # a signal handler has written after the flush: flush again
            self._write_lock = WriteLock(environment)
            self._leave_environment()

    def _acquire(self, lock: Lock) -> None:
        owned = lock._is_owned()  # True in a finaliser or a signal handler
        try:
            lock.__enter__()
            self._lock = self.environment.lock  # `lock` may have been the stand-in of another transaction
        except BaseException:
            if self._lock is None and not owned and lock._is_owned():  # an interrupt came as it was acquired
                lock.release()
            raise

    def _leave_environment(self) -> None:
        environment = self.environment
        if environment.transaction is self and self._lock is not None:
            environment.transaction, environment.lock = None, self._lock

    def leave(self, savepoint: Savepoint, failed: bool) -> None:
        """End the `with` statement of `savepoint`: roll back if it `failed`, else keep its changes, or commit all."""
        if savepoint not in self.savepoints:
            if not failed:
                raise self._error(self._broken or _ROLLED_BACK)
            return
        unordered = savepoint is not self.savepoints[-1]
        if savepoint.undo is None:
            try:
                if unordered:
                    raise self._error(self._broken or _UNORDERED)
                if not failed:
                    self._commit()
            finally:
                self.end()
        elif failed or unordered:
            self.roll_back(savepoint)
            if not failed:
                raise self._error(_UNORDERED)
        else:
            self.release_savepoint()

    def _commit(self) -> None:
        self.check()
        if not self.is_mine():
            raise self._error(_LEFT_ELSEWHERE)
        if self.changes or self.emptied:
            self.committing = True  # from now on the writes of a signal handler come after this transaction
            store, begin = self._open_store(), self._write_lock.begin_to_write
            store._commit(self.changes, emptied=WHOLE if self.emptied else None, begin=begin)
            self._write_lock.forget()
        self._committed = True

    def roll_back(self, savepoint: Savepoint) -> None:
        """Undo the changes since `savepoint`, and drop the values that the store keeps."""
        super().roll_back(savepoint)
        if (store := self._store()) is not None:
            store._drop_kept()

    def end(self) -> None:
        """Drop the changes, unless they are committed, and let others write. Only for the transaction's own thread.

        A second call finishes an interrupted first one.
        """
        store = self._store()  # None if it is being collected
        if store is not None and self.savepoints and not self._committed:
            store._drop_kept()
        self.savepoints = []
        self._write_lock.release()
        if store is not None and store._pending is self:
            # `put` counts a change of the transaction as one of the buffer. Correct that before others write.
            store._pending_bytes = total_weight(self._buffer.copy())
            if store._sink is self:
                store._sink = self._buffer
            store._pending = self._buffer
        self._leave_environment()
        if self._lock is not None and self._lock._is_owned():
            self._lock.release()
        self._lock = None
        self.ended = True
        self._guard = None

    def drop(self, savepoint: Savepoint, _: object = None) -> None:
        """Roll back to `savepoint`, if it is there: its `with` statement is gone. Any thread may call this."""
        if self.ended:
            return
        if get_ident() != self.owner:
            self.abandon(savepoint)
        elif savepoint.undo is None:
            self.end()
        else:
            self.roll_back(savepoint)

    def abandon(self, savepoint: Savepoint) -> None:
        """Leave the rollback to the next use in the transaction's own thread, or to the end of that thread."""
        if savepoint.undo is None:
            self.abandoned = True
        else:
            self._broken = _LEFT_ELSEWHERE
        self._write_lock.generation = -1  # so that the next use calls `check`

    def after_fork(self) -> None:
        """Leave the transaction and its locks to the parent: this process is a fork."""
        self._broken = _FORKED
        self._lock = None
        self._write_lock.leave_to_parent()
        self.changes = {}

    def is_mine(self) -> bool:
        """Return True if this transaction is open and belongs to the calling thread."""
        return get_ident() == self.owner and bool(self.savepoints)

    def check(self) -> None:
        """Roll back if the `with` statement is gone, else raise if the transaction cannot go on. Own thread only.

        RuntimeError in a child that was forked inside of the transaction, and after another thread left an inner one.
        ConflictError if another process wrote while this one forked.
        """
        if get_ident() != self.owner or not self.savepoints:
            return
        if self.abandoned or self._guard() is None:
            self.end()
        elif self._write_lock.generation != self.environment.generation:
            if self._broken:
                raise self._error(self._broken)
            if not self.committing:
                self._write_lock.acquire()  # lost by a fork, which closed the file

    def _error(self, message: str) -> RuntimeError:
        return RuntimeError(message.format(path=self.environment.path))

    def _open_store(self) -> ReadingMixin:
        store = self._store()
        assert store is not None, "the caller refers to it"
        return store

    # -- writes, in the place of the buffer

    def __setitem__(self, key: bytes, data: bytes | None) -> None:
        # The common case of `_put`, written out here and in `get`: with its calls, a write would take twice as long.
        if (
            get_ident() == self.owner
            and self.savepoints
            and not self.committing
            and self._write_lock.generation == self.environment.generation
            and self._guard() is not None
        ):
            if len(self.savepoints) > 1:
                self._record((key,))
            self.changes[key] = data
        else:
            self._put(key, data)

    def _put(self, key: bytes, data: bytes | None) -> None:
        self.check()
        if not self.is_mine():
            store, buffer = self._open_store(), self._buffer
            with self.environment.lock:  # another thread waits here until the end
                if key in buffer:
                    store._pending_bytes -= weight(key, buffer[key])
                sink = buffer if store._sink is self else store._sink  # `self`: not begun, or in a fork
                sink[key] = data
        elif self.committing:
            self._buffer[key] = data
        else:
            self._record((key,))
            self.changes[key] = data

    def add_if_unchanged(self, key: bytes, pending: Any, data: bytes | None) -> bool:
        """Change `key` and return True, unless a signal handler has replaced its `pending` change."""
        self._record((key,))
        if key in self.changes:
            if self.changes[key] is pending:
                self.changes[key] = data  # in one step with the conditions
                return True
        elif pending is (None if self.emptied else MISSING):
            self.changes[key] = data  # also in one step
            return True
        return False

    def clear(self, interval: Interval) -> None:
        """Delete all rows of `interval`. For a part of the store, each key is held in memory."""
        store = self._open_store()
        if interval is WHOLE:
            self.empty()
        else:
            pages = store._pages(interval, reverse=False, values=False)
            self.add_many({key: None for page in pages for key in page})
        store._drop_kept_in(interval)

    # -- reads, in the place of the buffer

    def get(self, key: bytes, default: Any = None) -> Any:
        """Return the change of `key`. Without one, return None if the file is emptied, else `default`."""
        if not (
            get_ident() == self.owner
            and self.savepoints
            and not self.committing
            and self._write_lock.generation == self.environment.generation
            and self._guard() is not None
        ):
            self.check()
            if not self.is_mine() or key in self._buffer:
                return self._buffer.get(key, default)
        return self.changes.get(key, None if self.emptied else default)

    def __contains__(self, key: bytes) -> bool:
        return self.get(key, MISSING) is not MISSING

    def copy(self) -> Changes:
        """Return all changes in a dict of their own."""
        self.check()
        buffer = self._buffer.copy()
        return {**self.changes, **buffer} if self.is_mine() else buffer

    def __len__(self) -> int:
        return len(self.copy())

    def __bool__(self) -> bool:
        self.check()
        return bool(self._buffer) or ((bool(self.changes) or self.emptied) and self.is_mine())
