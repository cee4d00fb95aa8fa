"""The buffer by random calls, on a host whose commits may fail or be interrupted by further writes."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping

import lmdb
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.buffer_host import Host, Rows, Step, apply

from lmdb_object_store._environment.environment import MISSING
from lmdb_object_store._keys.interval import WHOLE

Change = tuple[bytes, bytes | None]
Changes = dict[bytes, bytes | None]


class Interrupt(BaseException):
    """An error that a signal may raise during a commit."""


def fresh(data: bytes | None) -> bytes | None:
    """Return `data` as an object of its own, as each pickle is."""
    return None if data is None else bytes(bytearray(data))


def weigh(changes: Mapping[bytes, bytes | None]) -> int:
    """Return the bytes of pending keys and values."""
    return sum(len(key) + len(data or b"") for key, data in changes.items())


keys = st.sampled_from([b"a", b"b", b"c", b"dd"])
values = st.none() | st.binary(min_size=2, max_size=4)
writes = st.lists(st.tuples(keys, values), max_size=2)
ends = st.none() | st.none() | st.sampled_from([lmdb.DiskError("full"), OSError("gone"), Interrupt()])


class BufferMachine(RuleBasedStateMachine):
    """Writes and flushes, where commits fail before or after the file has changed, and signal handlers write in them.

    `content` is what was accepted: a write where the call has begun, since an error then comes from the flush it
    set off; a removal where the call has returned; a handler's writes during the call, after either.
    """

    @initialize(batch_size=st.sampled_from([1, 2, 3, 1000]), batch_bytes=st.sampled_from([1, 9, 1000]))
    def start(self, batch_size: int, batch_bytes: int) -> None:
        self.host = Host(batch_size, batch_bytes)
        self.buffer = self.host.write_buffer
        self.content: Rows = {}
        self.meanwhile: Changes = {}

    @rule(early=writes, first_end=ends, late=writes, last_end=ends)
    def plan(
        self, early: list[Change], first_end: BaseException | None, late: list[Change], last_end: BaseException | None
    ) -> None:
        """Plan the next commits: handlers write, and an error is raised before or after the file has changed."""
        self.host.before = self.step(early, first_end)
        self.host.after = self.step(late, last_end)

    def step(self, changes: list[Change], error: BaseException | None) -> Step:
        def handle() -> None:
            for key, data in changes:
                new = fresh(data)
                self.host._add(key, new)
                self.meanwhile[key] = new
            if error is not None:
                raise error

        return handle

    def outcome(self, call: Step) -> BaseException | None:
        self.meanwhile.clear()
        try:
            call()
        except (lmdb.Error, OSError, Interrupt) as error:
            return error
        return None

    def left_of(self, pending: Changes) -> Changes:
        """Return the changes pending after a commit of `pending`: later ones, without those that the file has."""
        return {
            key: data for key, data in self.meanwhile.items() if data is not None or pending.get(key, b"") is not None
        }

    def staged(self, call: Step, changes: Changes, full: Callable[[Changes], bool]) -> None:
        """Check that `call` accepts `changes`, and flushes exactly if they fill the buffer (undoing never flushes)."""
        pending, commits = {**self.buffer, **changes}, self.host.commits
        takes_back = any(data is None and self.buffer.get(key) is not None for key, data in changes.items())
        error = self.outcome(call)
        self.content = apply(apply(self.content, changes), self.meanwhile)
        flushes = full(pending) and not takes_back
        assert self.host.commits == commits + flushes
        if flushes and error is None:
            assert self.buffer == self.left_of(pending)

    def many(self, pending: Changes) -> bool:
        assert self.host._batch_size
        return len(pending) >= self.host._batch_size

    def heavy(self, pending: Changes) -> bool:
        return weigh(pending) >= self.host._batch_bytes

    @rule(key=keys, data=values)
    def stage(self, key: bytes, data: bytes | None) -> None:
        """Add a change, which is accepted."""
        self.staged(lambda: self.host._add(key, fresh(data)), {key: data}, lambda p: self.many(p) or self.heavy(p))

    @rule(key=keys, data=values)
    def stage_at_any_count(self, key: bytes, data: bytes | None) -> None:
        """Add a change without counting keys, which is accepted."""
        self.staged(lambda: self.host._add(key, data, 1 << 60), {key: data}, self.heavy)

    @rule(key=keys, value=st.integers(0, 300), text=st.booleans())
    def put(self, key: bytes, value: int, text: bool) -> None:
        """Put a value, which is pickled and accepted, by its stored key or another."""
        changes: Changes = {key: pickle.dumps(value, pickle.HIGHEST_PROTOCOL)}
        given = key.decode() if text else key
        self.staged(lambda: self.host.put(given, value), changes, lambda p: self.many(p) or self.heavy(p))

    @rule(key=keys, value=st.integers(0, 300), text=st.booleans())
    def update(self, key: bytes, value: int, text: bool) -> None:
        """Update with a value, which is pickled and accepted, without counting keys."""
        changes: Changes = {key: pickle.dumps(value, pickle.HIGHEST_PROTOCOL)}
        given = key.decode() if text else key
        self.staged(lambda: self.host._update([(given, value)]), changes, self.heavy)

    @rule(key=keys, data=values)
    def add_if_unchanged(self, key: bytes, data: bytes | None) -> None:
        """Add a change without a flush, if the row is unchanged."""
        data, pending, commits = fresh(data), self.buffer.get(key, MISSING), self.host._commits
        assert self.host._add_if_unchanged(key, pending, commits, data)
        self.content = apply(self.content, {key: data})

    @rule(key=keys, pending=values, data=values)
    def stage_if_it_has_changed(self, key: bytes, pending: bytes | None, data: bytes | None) -> None:
        """Add no change over another one than was seen, nor after a commit in between."""
        commits = self.host._commits
        if key not in self.buffer:
            pending, commits = MISSING, commits - 1
        elif pending is None and self.buffer[key] is None:
            pending = MISSING
        before = dict(self.buffer)
        assert not self.host._add_if_unchanged(key, pending, commits, data)
        assert self.buffer == before

    @rule()
    def flush(self) -> None:
        """Flush; without an error, all changes that were pending at the start are in the file."""
        before, pending = self.content, dict(self.buffer)
        error = self.outcome(self.host._flush)
        self.content = apply(before, self.meanwhile)
        if error is None:
            assert self.host.file == before
            assert self.buffer == self.left_of(pending)

    @rule()
    def clear(self) -> None:
        """Clear; without an error nothing is left. An error keeps the pending changes, and the file if it can."""
        pending, file = dict(self.buffer), self.host.file
        error = self.outcome(lambda: self.host._commit_emptied(WHOLE))
        kept = {} if error is None else apply(file if self.host.file is file else {}, pending)
        self.content = apply(kept, self.meanwhile)

    @rule()
    def read(self) -> None:
        """Read; LMDB's error in the flush does not fail the read, and reads do not try that flush again."""
        error = self.outcome(self.host._flush_before_read)
        self.content = apply(self.content, self.meanwhile)
        assert not isinstance(error, lmdb.Error)
        if error is None and set(self.buffer) - set(self.meanwhile):
            commits = self.host.commits
            assert self.outcome(self.host._flush_before_read) is None
            assert self.host.commits == commits

    @invariant()
    def nothing_accepted_is_lost(self) -> None:
        """Check that the pending changes laid over the file are all accepted ones."""
        assert apply(self.host.file, self.buffer) == self.content

    @invariant()
    def the_buffer_is_sound(self) -> None:
        """Check that the buffer is the same dict always, with the right weight, and without the rest of a commit."""
        assert self.host.write_buffer is self.buffer
        assert self.host._pending_bytes >= weigh(self.buffer)
        self.host._count_pending()
        assert self.host._is_full(sys.maxsize) == (weigh(self.buffer) >= self.host._batch_bytes)
        assert not self.host.world.committing


TestBufferMachine = BufferMachine.TestCase
