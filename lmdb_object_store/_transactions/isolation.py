"""Isolated: the locks, the levels and the ends of a transaction, in its own thread and in others."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from threading import get_ident
from typing import Any, Protocol

from .._buffer.state import weight
from .._environment.environment import Environment
from .._environment.gate import BeginToWrite
from .._environment.locks import Lock
from .._errors import closed
from .._keys.interval import WHOLE, Interval
from .changes import Changes, Level, Overlay
from .waiting import TransactionLock
from .write_lock import Writer

_FORKED = "this process was forked inside of a transaction on {path}, which is its parent's: leave the block first"
_ENDED_ELSEWHERE = "a transaction on {path} was ended in another thread than it was opened in: it is undone"
_UNORDERED = "a transaction on {path} ends before one that was opened inside of it: both are undone"
_UNDONE = "this transaction on {path} was undone with the one that it was opened in"


class Host(Protocol):
    """What a block needs of its store."""

    db_path: str
    _sink: Any
    _pending: Any
    _pending_bytes: int
    _commits: int
    _environment: Environment

    @property
    def write_buffer(self) -> Changes: ...
    def _flush(self) -> None: ...
    def _check_no_commit(self) -> None: ...
    def _write_back_changes(self) -> None: ...
    def _drop_kept(self) -> None: ...
    def _drop_kept_in(self, interval: Interval) -> None: ...
    def _pages(self, interval: Interval, *, reverse: bool, values: bool) -> Iterator[Iterable[bytes]]: ...
    def _commit(
        self, changes: Mapping[bytes, bytes | None], *, emptied: Interval | None, begin: BeginToWrite
    ) -> None: ...


class Isolated(Overlay):
    """An open transaction of a store, beside which nobody else writes.

    It holds the environment's lock, and LMDB's by a `Writer`. `levels` are its `with` statements, from
    the outermost to the innermost: none before it has begun and once it ends. `_buffer` is the store's, which is empty
    until the end. All but what says otherwise is for its own thread.
    """

    def __init__(self, store: Host, environment: Environment) -> None:
        super().__init__()
        # Weakly, and no statement either, as this is known to all threads: a store is collected with its generators.
        self._store = weakref.ref(store)
        self._buffer = store.write_buffer
        self.environment = environment
        self.owner = get_ident()
        self._guard: Any = None  # what the outermost `with` statement keeps alive
        self.committing = False
        self._committed = False
        self.ended = False
        self.abandoned = False
        self._broken = ""  # why it cannot go on
        self._lock: Lock | None = None  # the environment's, while this holds it
        self._writer = Writer(environment)

    def begin(self, outermost: Level, guard: weakref.ref[object]) -> None:
        """Wait for the locks, commit what is pending, and keep all others from writing. Where it raises, `end` it.

        `guard` dies with the statement.
        """
        store, environment = self._host(), self.environment
        self._guard = guard
        self._take(environment.lock)
        if store._environment is not environment:  # by another thread, just before
            raise closed(store.db_path)
        store._check_no_commit()
        store._pending = store._sink = self
        while True:
            if self._buffer or environment.collected:
                store._flush()
            stand_in: Any = TransactionLock(environment.lock, self)
            environment.transaction, environment.lock = self, stand_in
            self._writer.lock()
            if not store.write_buffer:
                self.levels = [outermost]  # in one step with the condition
                return
            self._writer.unlock()  # a signal handler has written just before
            self._writer = Writer(environment)
            self._let_others_in()

    def _take(self, lock: Lock) -> None:
        owned = lock._is_owned()  # in a finaliser or a signal handler
        try:
            lock.__enter__()
            self._lock = self.environment.lock  # the lock itself, if another transaction had its stand-in here
        except BaseException:
            if self._lock is None and not owned and lock._is_owned():  # an interrupt came as it was taken
                lock.release()
            raise

    def _let_others_in(self) -> None:
        environment = self.environment
        if environment.transaction is self and self._lock is not None:
            environment.transaction, environment.lock = None, self._lock

    def leave(self, level: Level, failed: bool) -> None:
        """End `level`: undo it if it `failed`, else leave it to the one that it is in, or commit the outermost one."""
        if level not in self.levels:
            if not failed:
                self._raise(self._broken or _UNDONE)
            return
        unordered = level is not self.levels[-1]
        if level.undo is None:
            try:
                if unordered:
                    self._raise(self._broken or _UNORDERED)
                if not failed:
                    self._commit()
            finally:
                self.end()
        elif failed or unordered:
            self.roll_back(level)
            if not failed:
                self._raise(_UNORDERED)
        else:
            self.merge()

    def write_changed(self, level: Level) -> None:
        """What a store that keeps values finds changed in them becomes part of `level`, which is to succeed."""
        if level in self.levels:
            self._host()._write_back_changes()

    def _commit(self) -> None:
        if not self.own():
            self._raise(_ENDED_ELSEWHERE)
        if self.changes or self.emptied:
            self.committing = True  # from here on, what a signal handler writes comes after this transaction
            begin = self._writer.begin_to_write
            store = self._host()
            store._commit(self.changes, emptied=WHOLE if self.emptied else None, begin=begin)
            self._writer.forget()
            store._commits += 1
        self._committed = True

    def end(self) -> None:
        """Drop what is not committed, and let the others write. A second call finishes what interrupted the first."""
        store = self._store()
        if store is not None and self.levels and not self._committed:  # None: it is being collected
            store._drop_kept()
        self.levels = []
        self._writer.unlock()
        if store is not None and store._pending is self:
            # Whoever puts something here counts it as if it were in the buffer. Before others put something there.
            store._pending_bytes = sum(weight(key, data) for key, data in self._buffer.copy().items())
            if store._sink is self:
                store._sink = self._buffer
            store._pending = self._buffer
        self._let_others_in()
        lock = self._lock
        if lock is not None and lock._is_owned():
            lock.release()
        self._lock = None
        self.ended = True
        self._guard = None

    def roll_back(self, level: Level) -> None:
        """As the inherited one."""
        super().roll_back(level)
        store = self._store()
        if store is not None:
            store._drop_kept()

    def own(self) -> bool:
        """Whether this is its thread, and it is open. RuntimeError or ConflictError where it cannot go on."""
        if get_ident() != self.owner or not self.levels:
            return False
        if self._writer.generation != self.environment.generation or self._guard() is None:
            self._check()
        return bool(self.levels)

    # -- what goes wrong

    def drop(self, level: Level) -> None:
        """Undo `level` if it is still open: its `with` statement is no more. In any thread."""
        if self.ended:
            return
        if get_ident() != self.owner:
            self.abandon(level)
        elif level.undo is None:
            self.end()
        else:
            self.roll_back(level)

    def abandon(self, level: Level) -> None:
        """In another thread, where nothing can be ended: leave it to the next use in the right one, or to its end."""
        if level.undo is None:
            self.abandoned = True
        else:
            self._broken = _ENDED_ELSEWHERE
        self._writer.generation = -1  # which `own` looks at

    def after_fork(self) -> None:
        """In the child: the transaction and the locks are the parent's."""
        self._broken = _FORKED
        self._lock = None
        self._writer.leave_to_parent()
        self.changes = {}

    def _refuse_if_broken(self) -> None:
        if self._broken:
            self._raise(self._broken)

    def _raise(self, why: str) -> None:
        raise RuntimeError(why.format(path=self.environment.path))

    def _check(self) -> None:
        if self.abandoned or self._guard() is None:
            self.end()
            return
        self._refuse_if_broken()
        if not self.committing:
            self._writer.lock()  # a fork has closed the file

    def _host(self) -> Host:
        store = self._store()
        assert store is not None, "the caller has it"
        return store
