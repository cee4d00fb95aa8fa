"""Block: the open transaction of a store, which stands in for its buffer meanwhile."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from threading import get_ident

from ._codec import weight
from ._environment import MISSING, Environment
from ._errors import closed
from ._interval import WHOLE, Interval
from ._locks import FileLock, give, hold, let_go, take
from ._overlay import Changes, Level, Overlay
from ._typing import Any, Protocol
from ._writer import BeginToWrite, Writer

_FORKED = "this process was forked inside of a transaction on {path}, which is its parent's: leave the block first"
_ENDED_ELSEWHERE = "a transaction on {path} was ended in another thread than it was opened in: it is undone"
_UNORDERED = "a transaction on {path} ends before one that was opened inside of it: both are undone"
_UNDONE = "this transaction on {path} was undone with the one that it was opened in"


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
    def _write_changed(self) -> None: ...
    def _undone(self) -> None: ...
    def _cleared(self, interval: Interval) -> None: ...
    def _pages(self, interval: Interval, *, reverse: bool, values: bool) -> Iterator[Iterable[bytes]]: ...
    def _commit(
        self, changes: Mapping[bytes, bytes | None], *, emptied: Interval | None, begin: BeginToWrite
    ) -> None: ...


class Block(Overlay):
    """To the thread that opened it, its changes; to the others the buffer, which is empty until the end.

    What the others put goes there when it has ended, for which they wait. It holds the environment's lock, which is
    `busy`, and LMDB's by a `Writer`. `levels` are its `with` statements, from the outermost to the innermost: none
    before it has begun and once it ends. All but what says otherwise is for its own thread.
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
        self._lock = environment.lock
        self._taken: list[FileLock] = []
        self._held = iter(self._taken)  # gives what comes to be in there
        self._writer = Writer(environment)

    def begin(self, outermost: Level, guard: weakref.ref[object]) -> None:
        """Wait for the locks, commit what is pending, and keep all others from writing. Where it raises, `end` it.

        `guard` dies with the statement.
        """
        store, environment = self._host(), self.environment
        self._guard = guard
        take(self._lock, self._taken)
        if store._environment is not environment:  # by another thread, just before
            raise closed(store.db_path)
        store._refuse_in_commit()
        hold(self._lock, self)
        store._pending = store._accept = self
        while True:
            if self._buffer or environment.orphans:
                store._flush()
            if environment.lock is not self._lock:  # a handler has forked amid that, and this is the child
                self.after_fork()
            self._refuse_if_broken()
            environment.busy, environment.block = True, self
            self._writer.lock()
            if not store.write_buffer:
                self.levels = [outermost]  # in one step with the condition
                return
            self._writer.unlock()  # a signal handler has written just before
            self._writer = Writer(environment)
            environment.busy, environment.block = False, None

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
            self._host()._write_changed()

    def _commit(self) -> None:
        if not self.own():
            self._raise(_ENDED_ELSEWHERE)
        if self.changes or self.emptied:
            self.committing = True  # from here on, what a signal handler writes comes after this transaction
            begin = self._writer.begin_to_write
            store = self._host()
            store._commit(self.changes, emptied=WHOLE if self.emptied else None, begin=begin)
            self._refuse_if_broken()  # in a child that a handler has forked
            self._writer.forget()
            store._commits += 1
        self._committed = True

    def end(self) -> None:
        """Drop what is not committed, and let the others write. A second call finishes what interrupted the first."""
        store, environment = self._store(), self.environment
        if store is not None and self.levels and not self._committed:  # None: it is being collected
            store._undone()
        self.levels = []
        self._writer.unlock()
        if store is not None and store._pending is self:
            # Whoever puts something here counts it as if it were in the buffer. Before others put something there.
            store._pending_bytes = sum(weight(key, data) for key, data in self._buffer.copy().items())
            if store._accept is self:
                store._accept = self._buffer
            store._pending = self._buffer
        if environment.block is self:
            environment.busy = False
            environment.block = None
        let_go(self._lock, self)
        give(self._held)
        self.ended = True
        self._guard = None

    def roll_back(self, level: Level) -> None:
        """As the inherited one."""
        super().roll_back(level)
        store = self._store()
        if store is not None:
            store._undone()

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
        self._writer.sleeps = -1  # which `own` looks at

    def after_fork(self) -> None:
        """In the child: the transaction and the locks are the parent's."""
        self._broken = _FORKED
        self._held = iter(())
        self._writer.forget()
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

    # -- what stands in for the buffer, in any thread

    def own(self) -> bool:
        """Whether this is its thread, and it is open. RuntimeError or ConflictError where it cannot go on."""
        if get_ident() != self.owner or not self.levels:
            return False
        if self._writer.sleeps != self.environment.sleeps or self._guard() is None:
            self._check()
        return bool(self.levels)

    def __setitem__(self, key: bytes, data: bytes | None) -> None:
        # The common case, written out: in `own` and the rest of `_put` it would take twice as long.
        if (
            get_ident() == self.owner
            and len(self.levels) == 1
            and not self.committing
            and self._writer.sleeps == self.environment.sleeps
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
        accept = buffer if store._accept is self else store._accept  # itself while it begins, and in a fork
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

    def clear(self, interval: Interval) -> None:
        """Delete all that is in `interval`. Of a part, each key is held in memory."""
        if interval is WHOLE:
            self.empty()
        else:
            pages = self._host()._pages(interval, reverse=False, values=False)
            self.stage_many({key: None for page in pages for key in page})
        self._host()._cleared(interval)

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
