"""BufferMixin: changes that wait in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pickle import HIGHEST_PROTOCOL
from pickle import dumps as pickled
from typing import Any

from .._environment.environment import HAS_GIL, MISSING
from .._errors import note_key
from .._values.serializing import MAX_VALUE_BYTES, too_large
from .flush import FlushMixin
from .state import weight

# True if no thread, signal handler or finaliser runs between an `if` that reads an attribute or an entry of a dict, and
# the assignment after it. CPython with its global lock lets them in at calls, at the ends of loops and, in 3.10, at
# taken jumps. A new key is then added without the lock, which would take two thirds of the time to pickle a small
# value.
ONE_STEP = HAS_GIL


class BufferMixin(FlushMixin):
    """Provides `put`, and what adds changes to the buffer under the lock."""

    def put(self, key: Any, obj: Any) -> None:
        """Store `obj` under `key`, in memory until the next flush.

        Nothing has changed after TypeError or ValueError for a key or a value that cannot be stored, and the pickler's
        errors, with a note that names the key. The change stays pending after an error of a flush that it starts.
        """
        # `_update` repeats these steps: a call for them would double their cost.
        plain = type(key) is bytes and 0 < len(key) <= self._raw_key_limit
        stored = key if plain else self._codec.encode_to_store(key)
        if self._is_pickled:
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
        if not ONE_STEP:
            self._add(stored, data)
            return
        more = len(stored) + len(data)
        self._sink[stored] = data
        self._pending_bytes += more
        self._flush_failed = False
        count = self._batch_size
        if (count is not None and len(buffer) >= count) or self._pending_bytes >= self._full_bytes:
            self._flush_if_full()

    def _update(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Store each of `pairs` by the steps of `put`. Ignore `batch_size`."""
        encode, plain = self._codec.encode_to_store, self._raw_key_limit
        is_pickled, dumps = self._is_pickled, self._dumps
        for key, value in pairs:
            stored = key if type(key) is bytes and 0 < len(key) <= plain else encode(key)
            if is_pickled:
                try:
                    data = pickled(value, HIGHEST_PROTOCOL)
                except Exception as error:
                    note_key(error, key)
                    raise
            else:
                data = dumps(key, value)
            if len(data) > MAX_VALUE_BYTES:
                raise too_large(key, data)
            if not ONE_STEP:
                self._add(stored, data, sys.maxsize)
                continue
            more = len(stored) + len(data)
            self._sink[stored] = data
            self._pending_bytes += more
            self._flush_failed = False
            if self._pending_bytes >= self._full_bytes:
                self._flush_if_full(sys.maxsize)

    def _add(self, key: bytes, data: bytes | None, at_count: int | None = None) -> None:
        """Add a change, and flush if the buffer has reached a threshold. Errors of the flush leave the change pending.

        `at_count` stands in for `batch_size`. A deletion of a pending key does not flush: it may undo a change that
        the map has no room for.
        """
        environment = self._environment
        with environment.lock:
            buffer = self.write_buffer
            more = weight(key, data) - (weight(key, buffer[key]) if key in buffer else 0)
            undoes = data is None and buffer.get(key) is not None
            self._sink[key] = data
            self._pending_bytes += more
            self._flush_failed = False
        if not undoes:
            self._flush_if_full(at_count)

    def _add_if_unchanged(self, key: bytes, pending: bytes | None, commits: int, data: bytes | None) -> bool:
        """Add a change unless the row of `key` has changed since the caller read it. Flush nothing.

        `pending` is the change that was pending before (MISSING: none, and the file was read). `commits` is what
        `_commits` was before that. Return True if the change was added. Needs the lock, which a `put` does not take:
        so each comparison and its assignment are one step, see `ONE_STEP`.
        """
        transaction = None if self._pending is self.write_buffer else self._own_transaction()
        if transaction is not None:
            return transaction.add_if_unchanged(key, pending, data)
        buffer = self.write_buffer
        more = weight(key, data) - (0 if pending is MISSING else weight(key, pending))
        if pending is MISSING:
            if key not in buffer and self._commits == commits:
                self._sink[key] = data
            else:
                return False
        elif key in buffer and buffer[key] is pending:
            self._sink[key] = data
        else:
            return False
        self._pending_bytes += more
        self._flush_failed = False
        return True

    def _commit_many(self, changes: dict[bytes, bytes | None]) -> None:
        """Commit `changes` at once, in a transaction of their own. Within a transaction they are a part of it."""
        self._environment.check_process()  # a child must not commit the pending changes of its parent
        environment = self._environment
        with environment.lock:
            transaction = self._own_transaction()
            if transaction is not None:
                transaction.add_many(changes)
                return
            self._check_no_commit()
            self._flush()
            environment.committing = True
            try:
                self._commit(changes)
            finally:
                environment.committing = False
