"""Mutants of transactions: savepoints, isolation, the `with` block."""

from __future__ import annotations

from mutants.mutate import Mutant

MUTANTS = {
    "_transactions/changes": [
        Mutant(
            "a savepoint does not undo a clear",
            "ChangeSet.roll_back",
            "if innermost.before_clear is not None:",
            "if False:",
            "test_transactions.py",
        ),
        Mutant(
            "a savepoint keeps new keys",
            "ChangeSet.roll_back",
            "self.changes.pop(key, None)",
            "",
            "test_transactions.py",
        ),
        Mutant(
            "an inner savepoint's changes outlive the outer one",
            "ChangeSet.release_savepoint",
            "outer.undo.setdefault(key, data)",
            "",
            "test_transactions.py",
        ),
        Mutant(
            "an inner savepoint hides what the outer one undoes",
            "ChangeSet.release_savepoint",
            "outer.undo.setdefault(key, data)",
            "outer.undo[key] = data",
            "test_transactions.py",
        ),
        Mutant(
            "a savepoint mixes what was before and after a clear",
            "ChangeSet._record",
            "savepoint.before_clear is None",
            "True",
            "test_transactions.py",
        ),
    ],
    "_transactions/write_lock": [
        Mutant(
            "a transaction keeps others from writing for good",
            "WriteLock.release",
            "self.environment.process_locks.let_others_write()",
            "",
            "test_lock_files.py",
        ),
        Mutant(
            "a lock file that was replaced goes unnoticed in a transaction",
            "WriteLock.begin_to_write",
            "environment.process_locks.lock_file_is_deleted()",
            "False",
            "test_lock_files.py",
        ),
        Mutant(
            "a panic of LMDB's is not answered by transactions",
            "WriteLock.acquire",
            "environment.reopen_after_panic(error)",
            "raise",
            "test_disk_errors.py",
        ),
        Mutant(
            "committed though another process wrote",
            "WriteLock.acquire",
            "if number != self._number:",
            "if False:",
            "test_transactions_and_processes.py",
        ),
        Mutant(
            "a rollback waits for readers",
            "WriteLock._end",
            "txn.commit",
            "txn.abort",
            "test_transactions_among_threads.py",
        ),
    ],
    "_transactions/open_transaction": [
        Mutant(
            "an abandoned savepoint hides the end of its transaction",
            "OpenTransaction.check",
            """
            if self.abandoned or self._guard() is None:
                self.end()
            elif self._write_lock.generation != self.environment.generation:
                if self._broken:
                    raise self._error(self._broken)
                if not self.committing:
                    self._write_lock.acquire()
            """,
            """
            if self._broken:
                raise self._error(self._broken)
            if self.abandoned or self._guard() is None:
                self.end()
            elif self._write_lock.generation != self.environment.generation:
                if not self.committing:
                    self._write_lock.acquire()
            """,
            "test_transactions_among_threads.py",
        ),
        Mutant(
            "all threads are in the transaction",
            "OpenTransaction.is_mine",
            "get_ident() == self.owner",
            "True",
            "test_transactions.py",
        ),
        Mutant(
            "other processes write during a transaction",
            "OpenTransaction.begin",
            "self._write_lock.acquire()",
            "",
            "test_transactions_interrupted.py",
        ),
        Mutant(
            "not locked again after a fork",
            "OpenTransaction.check",
            "self._write_lock.generation != self.environment.generation",
            "False",
            "test_c_forks.py",
        ),
        Mutant(
            "a child continues its parent's transaction",
            "OpenTransaction.after_fork",
            "self._broken = _FORKED",
            "",
            "test_transactions_and_processes.py",
        ),
        Mutant(
            "no lock has a stand-in during a transaction",
            "OpenTransaction.begin",
            "environment.transaction, environment.lock = (self, stand_in)",
            "environment.transaction = self",
            "test_transactions_among_threads.py",
        ),
        Mutant(
            "a lock has its stand-in forever",
            "OpenTransaction._leave_environment",
            "environment.transaction, environment.lock = (None, self._lock)",
            "environment.transaction = None",
            "test_transactions_among_threads.py",
        ),
        Mutant(
            "a write of another thread joins the transaction",
            "OpenTransaction.__setitem__",
            "get_ident() == self.owner",
            "True",
            "test_transactions_among_threads.py",
        ),
        Mutant(
            "a write does not notice a fork",
            "OpenTransaction.__setitem__",
            "self._write_lock.generation == self.environment.generation",
            "True",
            "test_transactions_and_processes.py",
        ),
        Mutant(
            "a write of an inner transaction is not recorded",
            "OpenTransaction.__setitem__",
            "if len(self.savepoints) > 1:",
            "if False:",
            "test_transactions.py",
        ),
        Mutant(
            "a look-up of another thread sees the transaction",
            "OpenTransaction.get",
            "get_ident() == self.owner",
            "True",
            "test_transactions.py",
        ),
        Mutant(
            "a look-up does not notice a fork",
            "OpenTransaction.get",
            "self._write_lock.generation == self.environment.generation",
            "True",
            "test_transactions_among_threads.py",
        ),
        Mutant(
            "a write within the commit is part of it",
            "OpenTransaction.__setitem__",
            "not self.committing",
            "True",
            "test_transactions_interrupted.py",
        ),
        Mutant(
            "the changes of a transaction stay counted",
            "OpenTransaction.end",
            "store._pending_bytes = total_weight(self._buffer.copy())",
            "",
            "test_transactions_among_threads.py",
        ),
        Mutant(
            "a transaction ends before its savepoint",
            "OpenTransaction.leave",
            "savepoint is not self.savepoints[-1]",
            "False",
            "test_transactions.py",
        ),
        Mutant(
            "collected stores are forgotten by a transaction",
            "OpenTransaction.begin",
            "if self._buffer or environment.collected:",
            "if self._buffer:",
            "test_transactions_among_threads.py",
        ),
        Mutant(
            "a transaction outlives its collected store",
            "OpenTransaction.__init__",
            "weakref.ref(store)",
            "lambda: store",
            "test_transactions_among_threads.py",
        ),
        Mutant(
            "pending changes are not flushed before a transaction",
            "OpenTransaction.begin",
            "store._flush()",
            "",
            "test_edit.py",
        ),
        Mutant(
            "a handler's write during the commit is lost",
            "OpenTransaction._put",
            "if self.committing:",
            "if False:",
            "test_transactions_interrupted.py",
        ),
        Mutant(
            "a look-up sees an emptied file",
            "OpenTransaction.get",
            "None if self.emptied else default",
            "default",
            "test_transactions.py",
        ),
    ],
    "_transactions/waiting": [
        Mutant(
            "deadlocks are not found",
            "TransactionLock._refuse_to_wait_longer",
            "if transactions_here():",
            "if False:",
            "test_transactions_among_threads.py",
        ),
        Mutant(
            "an abandoned transaction is waited for",
            "TransactionLock._refuse_to_wait_longer",
            "self._transaction.abandoned",
            "False",
            "test_transactions_among_threads.py",
        ),
        Mutant(
            "an interrupt of a wait leaves the lock taken",
            "TransactionLock._wait",
            "lock.release()",
            "",
            "test_interrupts.py",
        ),
    ],
    "_transactions/context": [
        Mutant(
            "a transaction does not notice a fork",
            "_Statement.enter",
            "store._environment.check_process()",
            "",
            "test_c_forks.py",
        ),
        Mutant(
            "a transaction begins without what has changed",
            "_Statement.enter",
            "store._write_back_changes()",
            "",
            "test_writeback_transactions.py",
        ),
        Mutant(
            "a transaction ends without what has changed",
            "_Statement.leave",
            "self._store._write_back_changes()",
            "",
            "test_writeback_transactions.py",
        ),
        Mutant(
            "an abandoned transaction ends at the next use",
            "_Statement.enter",
            "weakref.ref(context_manager, partial(transaction.drop, savepoint))",
            "weakref.ref(context_manager)",
            "test_transactions_interrupted.py",
        ),
        Mutant(
            "a traceback keeps a transaction open",
            "_Exit.__get__",
            "partial(transaction._statement.leave)",
            "partial(_exit, transaction)",
            "test_transactions_interrupted.py",
        ),
        Mutant(
            "a thread that ends leaves its transaction open",
            "_EndOfThread.__del__",
            "transaction.end()",
            "",
            "test_transactions_among_threads.py",
        ),
        Mutant(
            "edit stores what has not changed",
            "_EditStatement._finish",
            "if changed != self._row:",
            "if True:",
            "test_edit.py",
        ),
        Mutant(
            "ended in another thread",
            "_Statement.leave",
            "if get_ident() != transaction.owner:",
            "if False:",
            "test_transactions_among_threads.py",
        ),
        Mutant(
            "collected stores wait for the next commit",
            "_Statement.leave",
            "transaction.environment.close_collected_unless_locked()",
            "",
            "test_transactions_among_threads.py",
        ),
    ],
}
