"""Block: what the open transaction of a store has changed, over the file, whose writers it keeps out until its end."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from threading import get_ident

import lmdb

from ._environment import MISSING, Environment
from ._errors import ConflictError, closed
from ._interval import WHOLE, Interval
from ._locks import FileLock, give, hold, let_go, take
from ._typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lmdb import Transaction

Changes = dict[bytes, "bytes | None"]
# Begins a write transaction of that environment.
BeginToWrite = Callable[[lmdb.Environment], "Transaction[bytes]"]


class Host(Protocol):
    """What a block needs of its store."""

    db_path: str
    write_buffer: Changes
    _accept: Any
    _pending: Any
    _pending_bytes: int
    _commits: int
    _environment: Environment

    def _flush(self) -> None: ...
    def _refuse_in_commit(self) -> None: ...
    def _pages(self, interval: Interval, *, reverse: bool, values: bool) -> Iterator[Iterable[bytes]]: ...
    def _commit(
        self, changes: Mapping[bytes, bytes | None], *, emptied: Interval | None, begin: BeginToWrite
    ) -> None: ...


class Level:
    """One `with` statement: the outermost one, or a savepoint in it, and then what undoes it."""

    __slots__ = ("block", "finish", "replaced", "undo")

    def __init__(self) -> None:
        self.block: Block | None = None
        # The changes before this level, of the keys that it has changed: MISSING where there was none. None: outermost.
        self.undo: dict[bytes, Any] | None = None
        # What a `clear` in this level has put aside: changes, and whether the file was emptied before.
        self.replaced: tuple[Changes, bool] | None = None
        # Called at the end of its body, unless that raised.
        self.finish: Callable[[], None] | None = None

    def drop(self) -> None:
        """Undo it if it is still open: its `with` statement is no more. In another thread, leave a note to do so."""
        block = self.block
        if block is None or block.ended:
            return
        if get_ident() != block.owner:
            block.abandon(self)
        elif self.undo is None:
            block.end()
        else:
            block.roll_back(self)


class Block:
    """Stands in for a store's buffer while a transaction is open, to whoever reads from it or puts into it.

    To the thread that opened it, it is `changes`, and hides the file where that is `emptied`. To the others it is the
    buffer, which is empty, and into which what they put goes when the transaction has ended.
    It holds the environment's lock, which is `busy`, and LMDB's, by a write transaction that stays empty until the
    end: growing, or a fork, loses that one, and then the next one's number tells whether anybody wrote in between.
    """

    def __init__(self, store: Host, environment: Environment, guard: weakref.ref[object]) -> None:
        self.store = store
        self.environment = environment
        self.owner = get_ident()
        self.guard = guard  # dies with the outermost `with` statement
        self.changes: Changes = {}
        self.emptied = False
        self.levels: list[Level] = []  # none before it has begun and after its end
        self.committing = False
        self.ended = False
        self.abandoned = False
        self._broken: str | None = None
        self._taken: list[FileLock] = []
        self._held = iter(self._taken)  # gives what comes to be in there
        self._lock = environment.lock
        self._txn: Transaction[bytes] | None = None
        self._number: int | None = None  # of that transaction
        self._used = False  # whether it was written into, or may have been
        self._sleeps = -1  # how often the file had been closed when that transaction began

    # -- begin and end, in the thread that it belongs to

    def begin(self, level: Level) -> None:
        """Wait for the locks, commit what is pending, and keep all others from writing. See `end` if this raises."""
        store, environment = self.store, self.environment
        take(self._lock, self._taken)
        if store._environment is not environment:  # by another thread, meanwhile
            raise closed(store.db_path)
        store._refuse_in_commit()
        hold(self._lock, self)
        environment.block = self
        store._accept = store._pending = self
        while True:
            store._flush()
            self._refuse_if_broken()
            environment.busy = True
            self._number = None
            self._lock_file()
            if not store.write_buffer:
                self.levels = [level]  # in one step with the condition
                return
            self._unlock_file()  # a signal handler has written in between
            environment.busy = False

    def end(self) -> None:
        """Drop all changes that are not committed, and let the others write. A second call finishes the first."""
        store, environment = self.store, self.environment
        self.levels = []
        self._unlock_file()
        if store._accept is self:
            store._accept = store.write_buffer
        if store._pending is self:
            store._pending = store.write_buffer
        if environment.block is self:
            environment.busy = False
            environment.block = None
        let_go(self._lock, self)
        give(self._held)
        self.ended = True

    def commit(self) -> None:
        """Write all changes in one transaction."""
        if not self.own():
            raise RuntimeError(f"this transaction on {self.store.db_path} was ended in another thread, and undone")
        if self.changes or self.emptied:
            self.committing = True  # from here on, what a signal handler writes comes after this transaction
            self.store._commit(self.changes, emptied=WHOLE if self.emptied else None, begin=self._take_txn)
            self._txn = None
            self.store._commits += 1
        self._refuse_if_broken()  # in a child that a handler has forked

    def leave(self, level: Level, failed: bool) -> None:
        """End `level`; with the outermost one, the whole."""
        if not self.is_open(level):
            if failed or self._broken:
                return
            raise RuntimeError(f"this transaction on {self.store.db_path} was undone with the one that it was in")
        nested = level is not self.levels[-1]
        if level.undo is None:
            try:
                if nested:
                    raise self._unordered()
                if not failed:
                    self.commit()
            finally:
                self.end()
            return
        if failed or nested:
            self.roll_back(level)
        else:
            self._merge(level)
        if nested and not failed:
            raise self._unordered()

    def _unordered(self) -> RuntimeError:
        return RuntimeError(
            f"a transaction on {self.store.db_path} ends before one inside of it, which some generator keeps open, say: "
            "both are undone"
        )

    def is_open(self, level: Level) -> bool:
        """Whether `level` has begun, and not ended."""
        return level in self.levels

    def abandon(self, level: Level) -> None:
        """In another thread, where nothing can be ended: let the next use in the right one do it, or fail."""
        if level.undo is None:
            self.abandoned = True
        else:
            self._broken = "an inner transaction on {path} was ended in another thread: this one cannot go on"
        self._sleeps = -1

    def after_fork(self) -> None:
        """In the child: the parent has the transaction, and its locks."""
        self._broken = (
            "this process was forked inside of a transaction on {path}, which is the parent's: leave it to use the store"
        )
        self._held = iter(())
        self._txn = None
        self.changes = {}

    def _refuse_if_broken(self) -> None:
        if self._broken:
            raise RuntimeError(self._broken.format(path=self.store.db_path))

    def _check(self) -> None:
        """RuntimeError or ConflictError where it cannot go on. Ends it where that was left to be done."""
        self._refuse_if_broken()
        if self.abandoned or self.guard() is None:
            self.end()
        elif not self.committing:
            self._lock_file()  # a fork has closed the file

    # -- LMDB's lock

    def _lock_file(self) -> None:
        environment = self.environment
        self._txn, self._sleeps = None, -1
        while True:
            handle, sleeps = environment.handle(), environment.sleeps
            try:
                self._used = False
                self._txn = handle.begin(write=True)
                number = self._txn.id()
                break
            except lmdb.MapResizedError:
                environment.resize(0)
            except lmdb.Error:
                if environment.handle() is handle:
                    raise
        if self._number is None:
            self._number = number
        if number != self._number:
            self._unlock_file()
            raise ConflictError(
                f"another process wrote to {self.store.db_path} while this transaction made room, or a fork was under "
                "way: nothing of it is in the file; run it again"
            )
        self._sleeps = sleeps

    def _unlock_file(self) -> None:
        txn = self._txn
        if txn is None:
            return
        try:
            if self._used:
                self.environment.shut()
                try:
                    txn.abort()
                finally:
                    self.environment.unshut()
            else:
                txn.commit()  # of nothing: an abort would wait until no reader is at work
        except lmdb.Error:  # a fork has closed the file under it
            pass
        finally:
            del txn
        self._txn = None

    def _take_txn(self, _: lmdb.Environment) -> Transaction[bytes]:
        """The transaction to write in. A second call, once the first one's is aborted, begins another."""
        if self._used or self._sleeps != self.environment.sleeps:
            self._lock_file()
        assert self._txn is not None
        self._used = True
        return self._txn

    # -- savepoints

    def roll_back(self, level: Level) -> None:
        """Undo `level` and all inside of it. A second call finishes the first."""
        while level in self.levels:
            inner = self.levels[-1]
            if inner.replaced is not None:
                self.changes, self.emptied = inner.replaced
            undo = inner.undo or {}
            self.changes.update({key: data for key, data in undo.items() if data is not MISSING})
            new = [key for key, data in undo.items() if data is MISSING]
            deque(map(self.changes.pop, new, repeat(None)), maxlen=0)
            self.levels.pop()

    def _merge(self, level: Level) -> None:
        """Leave what undoes `level` to the one that it is in. Costs as much as it has changed."""
        outer = self.levels[-2]
        if outer.undo is not None and outer.replaced is None:
            assert level.undo is not None
            for key, data in level.undo.items():
                outer.undo.setdefault(key, data)
            outer.replaced = level.replaced
        self.levels.pop()

    def _remember(self, keys: Iterable[bytes]) -> None:
        level = self.levels[-1]
        if level.undo is not None and level.replaced is None:
            for key in keys:
                if key not in level.undo:
                    level.undo[key] = self.changes.get(key, MISSING)

    # -- what stands in for the buffer

    def own(self) -> bool:
        """Whether this is its thread, and it has begun and not ended."""
        if get_ident() != self.owner or not self.levels:
            return False
        if self._sleeps != self.environment.sleeps or self.guard() is None:
            self._check()
        return bool(self.levels)

    def __setitem__(self, key: bytes, data: bytes | None) -> None:
        store = self.store
        if not self.own():
            with self._lock:  # in another thread, until the end
                self._pass_on(key, data)
        elif self.committing:
            store.write_buffer[key] = data
        else:
            if self.levels[-1].undo is not None:
                self._remember((key,))
            self.changes[key] = data
            # What puts it here counts it, but it is not in the buffer.
            store._pending_bytes -= len(key) + (0 if data is None else len(data))

    def _pass_on(self, key: bytes, data: bytes | None) -> None:
        store, buffer = self.store, self.store.write_buffer
        accept = buffer if store._accept is self else store._accept  # itself while it begins
        if key in buffer:
            store._pending_bytes -= len(key) + len(buffer[key] or b"")
        accept[key] = data

    def stage_if_unchanged(self, key: bytes, pending: Any, data: bytes | None) -> bool:
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

    def stage_many(self, changes: Changes) -> None:
        """All of `changes`, in one step."""
        self._remember(changes)
        self.changes.update(changes)

    def clear(self, interval: Interval) -> None:
        """Delete all that is in `interval`. Of a part, each key is held in memory."""
        if interval is not WHOLE:
            pages = self.store._pages(interval, reverse=False, values=False)
            self.stage_many({key: None for page in pages for key in page})
            return
        level = self.levels[-1]
        if level.undo is not None and level.replaced is None:
            level.replaced = self.changes, self.emptied
        self.changes, self.emptied = {}, True

    def get(self, key: bytes, default: Any = None) -> Any:
        """The change of `key`; None, a deletion, if the file is emptied; else `default`."""
        buffer = self.store.write_buffer
        if not self.own():
            return buffer.get(key, default)
        if self.committing and key in buffer:
            return buffer[key]
        return self.changes.get(key, None if self.emptied else default)

    def __contains__(self, key: bytes) -> bool:
        return self.get(key, MISSING) is not MISSING

    def copy(self) -> Changes:
        """All changes, in a dict of their own."""
        buffer = self.store.write_buffer.copy()
        return {**self.changes, **buffer} if self.own() else buffer

    def __len__(self) -> int:
        return len(self.copy())

    def __bool__(self) -> bool:
        return self.own() and (bool(self.changes) or self.emptied) or bool(self.store.write_buffer)
