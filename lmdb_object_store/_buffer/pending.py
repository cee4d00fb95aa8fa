"""BufferMixin: changes that wait in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pickle import HIGHEST_PROTOCOL
from pickle import dumps as pickled
from typing import Any

from .._environment.environment import HAS_GIL, MISSING
from .._errors import StoreClosedError, check_limit, note_key
from .._keys.codec import KeyCodec
from .._keys.interval import Interval
from .._values.serializing import MAX_VALUE_BYTES, too_large
from .flush import FlushMixin
from .state import OpenTransaction, weight

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


class BufferMixin(FlushMixin):
    """Provides `put` and `_stage`, and what builds on them. Needs the attributes below.

    `_accept` is what a change is put into: the `write_buffer`, or a `Shut` while the store takes none. While a
    transaction is open it is that, as `_pending` is.
    Changes are staged under the environment's lock, but for a new key's `put`: see `ONE_STEP`.
    `_dumps` makes bytes of a key, to be named in errors, and a value; pickle alone does where the store is `_direct`.
    """

    _codec: KeyCodec
    _plain: int
    _direct: bool
    _dumps: Callable[[object, Any], bytes]

    def _start_buffer(self, batch_size: int | None, batch_bytes: int) -> None:
        if batch_size is not None:
            check_limit("batch_size", batch_size)
        check_limit("batch_bytes", batch_bytes)
        self._batch_size = batch_size
        self._batch_bytes = batch_bytes
        self._write_buffer = {}
        self._accept: dict[bytes, bytes | None] | Shut | OpenTransaction = self._write_buffer
        self._pending = self._write_buffer
        self._pending_bytes = 0
        self._commits = 0
        # The keys that are deleted while a row is being taken, by a signal handler of its thread.
        self._deleted: set[bytes] | None = None
        self._failure_told = None

    def put(self, key: Any, obj: Any) -> None:
        """Store `obj` under `key`, in memory until the next flush.

        TypeError or ValueError for a key or a value that cannot be stored, and the pickler's own errors, with a note
        that names the key: then nothing has changed. An error of the flush that reaching a threshold sets off leaves it
        pending.
        """
        # `update` has the same steps once more: a call for them would cost as much as they do.
        plain = type(key) is bytes and 0 < len(key) <= self._plain
        stored = key if plain else self._codec.encode_to_store(key)
        if self._direct:
            try:
                data = pickled(obj, HIGHEST_PROTOCOL)
            except Exception as error:
                note_key(error, key)
                raise
        else:
            data = self._dumps(key, obj)
        if len(data) > MAX_VALUE_BYTES:
            raise too_large(key, data)
        buffer = self._write_buffer
        if stored in buffer or not ONE_STEP:
            self._stage(stored, data)
            return
        more = len(stored) + len(data)
        self._accept[stored] = data
        self._pending_bytes += more
        self._failure_told = None
        count = self._batch_size
        if (count is not None and len(buffer) >= count) or self._pending_bytes >= self._batch_bytes:
            try:  # noqa: SIM105  # contextlib takes a tenth of this package's import
                self._flush_if_full()
            except StoreClosedError:  # closed just now by another thread, this change included
                pass

    def _update(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """`put` each of `pairs`, but leave `batch_size` out of account."""
        encode, buffer, plain = self._codec.encode_to_store, self._write_buffer, self._plain
        direct, dumps = self._direct, self._dumps
        for key, value in pairs:
            stored = key if type(key) is bytes and 0 < len(key) <= plain else encode(key)
            if direct:
                try:
                    data = pickled(value, HIGHEST_PROTOCOL)
                except Exception as error:
                    note_key(error, key)
                    raise
            else:
                data = dumps(key, value)
            if len(data) > MAX_VALUE_BYTES:
                raise too_large(key, data)
            if stored in buffer or not ONE_STEP:
                self._stage(stored, data, sys.maxsize)
                continue
            more = len(stored) + len(data)
            self._accept[stored] = data
            self._pending_bytes += more
            self._failure_told = None
            if self._pending_bytes >= self._batch_bytes:
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

    # For a store that keeps values: it stages what has changed in them, as a transaction begins and before it succeeds;
    # it lets go of them as one is undone, and of those that one has cleared.

    def _write_changed(self) -> None: ...  # most stores keep nothing
    def _undone(self) -> None: ...  # likewise
    def _cleared(self, interval: Interval) -> None: ...  # likewise

    def _forget_pending(self) -> None:
        """Drop what is pending: this process is a fork, and it belongs to the parent."""
        self.write_buffer.clear()
        self._pending_bytes = 0
        self._failure_told = None
