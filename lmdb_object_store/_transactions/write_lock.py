"""WriteLock: LMDB's lock on a file, which keeps other processes from writing during a transaction."""

from __future__ import annotations

import lmdb

from .._environment.environment import Environment
from .._environment.forks import leave_as_it_is
from .._environment.write import begin_write
from .._errors import ConflictError


class WriteLock:
    """An LMDB write transaction that stays empty until `begin_to_write`. All calls need the environment's lock.

    A fork closes the file, and the map can grow only after an abort: both lose LMDB's lock. LMDB numbers its commits.
    So the number of the next write transaction shows if another process wrote in between.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        # The environment's generation when LMDB's lock was acquired; -1 if it must be acquired again. Other processes
        # cannot write while it equals the environment's.
        self.generation = -1
        self._txn: lmdb.Transaction[bytes] | None = None
        self._number: int | None = None  # of the first write transaction, and so of each that replaces it
        self._used = False  # True from `begin_to_write` on

    def acquire(self) -> None:
        """Keep other processes from writing. ConflictError if one may have written since the first call."""
        environment = self.environment
        self._txn, self.generation = None, -1
        while True:
            try:
                self._used = False
                self._txn = begin_write(environment)
                generation, number = environment.generation, self._txn.id()
                break
            except lmdb.MapResizedError:
                environment.resize(0)
            except lmdb.PanicError as error:
                environment.reopen_after_panic(error)
        if self._number is None:
            self._number = number
        if number != self._number:
            self.release()
            raise ConflictError(
                f"another process wrote to {environment.path} while this transaction gave up its lock, to make room or "
                "to fork. Nothing of the transaction was written. Run it again."
            )
        self.generation = generation  # last, so that an interrupt before leaves the lock to be acquired again

    def release(self) -> None:
        """Let other processes write. Drop what was written and not committed."""
        try:
            self._end()
        finally:
            self.environment.process_locks.let_others_write()

    def _end(self) -> None:
        txn = self._txn
        if txn is None:
            return
        try:
            if self._used:
                self.environment.close_gate()
                try:
                    txn.abort()
                finally:
                    self.environment.open_gate()
            else:
                txn.commit()  # of nothing, because an abort would wait until no reader is at work
        except lmdb.Error:  # a fork has closed the file
            pass
        finally:
            del txn
        self._txn = None

    def begin_to_write(self) -> lmdb.Transaction[bytes]:
        """Return the LMDB transaction to write into. A call after its abort returns another one."""
        environment = self.environment
        if self._used or self.generation != environment.generation or environment.process_locks.lock_file_is_deleted():
            self._end()
            self.acquire()
        assert self._txn is not None
        self._used = True
        return self._txn

    def forget(self) -> None:
        """Drop the LMDB transaction, which is committed."""
        self._txn = None

    def leave_to_parent(self) -> None:
        """Drop the LMDB transaction of the parent process: this process is a fork."""
        txn, self._txn = self._txn, None
        if txn is not None and self.generation == self.environment.generation:  # else the file was closed before
            leave_as_it_is(txn)
