"""Writer: LMDB's lock on a file, held against the other processes until there is something to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lmdb

from .._environment.environment import Environment
from .._environment.forks import leave_as_it_is
from .._environment.write import begin_write
from .._errors import ConflictError

if TYPE_CHECKING:
    from lmdb import Transaction


class Writer:
    """A write transaction that stays empty until `begin_to_write`. All calls need the environment's lock.

    A fork closes the file, and growth needs the transaction to be aborted: both lose LMDB's lock. The number of the
    next transaction then tells whether anybody wrote in between, as LMDB counts the commits.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._txn: Transaction[bytes] | None = None
        self._number: int | None = None  # of that transaction, and of each that may take its place
        self._used = False  # whether it was written into, or may have been
        # The environment's when it began. Other processes are kept out while it is the same.
        self.generation = -1

    def lock(self) -> None:
        """Keep the other processes from writing. ConflictError if one may have written since the first time."""
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
            self.unlock()
            raise ConflictError(
                f"another process wrote to {environment.path} while this transaction made room in it, or forked: "
                "nothing of the transaction is in the file; run it again"
            )
        self.generation = generation  # last: an interrupt leaves it to be locked again

    def unlock(self) -> None:
        """Let the others write, and drop what was not committed."""
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
                txn.commit()  # of nothing: an abort would wait until no reader is at work
        except lmdb.Error:  # a fork has closed the file under it
            pass
        finally:
            del txn
        self._txn = None

    def begin_to_write(self) -> Transaction[bytes]:
        """The transaction to write into. A second call, once the first one's is aborted, begins another."""
        environment = self.environment
        if self._used or self.generation != environment.generation or environment.process_locks.lock_file_is_deleted():
            self._end()
            self.lock()
        assert self._txn is not None
        self._used = True
        return self._txn

    def forget(self) -> None:
        """There is nothing to abort: it is committed."""
        self._txn = None

    def leave_to_parent(self) -> None:
        """Forget the transaction: this process is a fork."""
        txn, self._txn = self._txn, None
        if (
            txn is not None and self.generation == self.environment.generation
        ):  # else the file was closed before the fork
            leave_as_it_is(txn)
