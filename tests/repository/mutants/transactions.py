"""Mutants of transactions: savepoints, isolation, the `with` block."""

from __future__ import annotations

from mutants.mutate import Mutant

MUTANTS = {
    "_transactions/changes": [
        Mutant(
            "a savepoint does not undo a clear",
            "Overlay.roll_back",
            "if inner.replaced is not None:",
            "if False:",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "a savepoint keeps new keys",
            "Overlay.roll_back",
            "deque(map(self.changes.pop, new, repeat(None)), maxlen=0)",
            "",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "an inner savepoint's changes outlive the outer one",
            "Overlay.merge",
            "outer.undo.setdefault(key, data)",
            "",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "an inner savepoint hides what the outer one undoes",
            "Overlay.merge",
            "outer.undo.setdefault(key, data)",
            "outer.undo[key] = data",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "a savepoint mixes what was before and after a clear",
            "Overlay._remember",
            "level.replaced is None",
            "True",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
    ],
    "_transactions/write_lock": [
        Mutant(
            "a transaction keeps others from writing for good",
            "Writer.unlock",
            "self.environment.process_locks.let_others_write()",
            "",
            "test_lock_files.py",
        ),
        Mutant(
            "a lock file that was replaced goes unnoticed in a transaction",
            "Writer.begin_to_write",
            "environment.process_locks.lock_file_is_deleted()",
            "False",
            "test_lock_files.py",
        ),
        Mutant(
            "a panic of LMDB's is not answered by transactions",
            "Writer.lock",
            "environment.reopen_after_panic(error)",
            "raise",
            "test_disk_errors.py",
        ),
        Mutant(
            "committed though another process wrote",
            "Writer.lock",
            "if number != self._number:",
            "if False:",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "a rollback waits for readers",
            "Writer._end",
            "txn.commit",
            "txn.abort",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
    ],
    "_transactions/isolation": [
        Mutant(
            "an inner block left elsewhere hides the outer one's end",
            "Isolated._check",
            """
            if self.abandoned or self._guard() is None:
                self.end()
                return
            self._refuse_if_broken()
            """,
            """
            self._refuse_if_broken()
            if self.abandoned or self._guard() is None:
                self.end()
                return
            """,
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "all threads are in the block",
            "Isolated.own",
            "get_ident() != self.owner",
            "False",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "other processes write beside a block",
            "Isolated.begin",
            "self._writer.lock()",
            "",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "not locked again after a fork",
            "Isolated.own",
            "self._writer.sleeps != self.environment.sleeps",
            "False",
            "test_forks.py",
        ),
        Mutant(
            "a child goes on in its parent's block",
            "Isolated.after_fork",
            "self._broken = _FORKED",
            "",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "a block is no commit under way",
            "Isolated.begin",
            "environment.busy, environment.block = (True, self)",
            "environment.block = self",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "a block's changes stay counted",
            "Isolated.end",
            "store._pending_bytes = sum(weight(key, data) for key, data in self._buffer.copy().items())",
            "",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "a block ends before one inside of it",
            "Isolated.leave",
            "level is not self.levels[-1]",
            "False",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "collected stores are forgotten by a block",
            "Isolated.begin",
            "if self._buffer or environment.orphans:",
            "if self._buffer:",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "a block outlives the collection of its store",
            "Isolated.__init__",
            "weakref.ref(store)",
            "lambda: store",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "what is pending is not flushed before a block",
            "Isolated.begin",
            "store._flush()",
            "",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
    ],
    "_transactions/block": [
        Mutant(
            "what a handler writes amid the commit is lost",
            "Block._put",
            "if self.committing:",
            "if False:",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "a look-up sees an emptied file",
            "Block.get",
            "None if self.emptied else default",
            "default",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
    ],
    "_transactions/context": [
        Mutant(
            "a transaction does not notice a fork",
            "Statement.enter",
            "store._environment.check_process()",
            "",
            "test_forks.py",
        ),
        Mutant(
            "a transaction begins without what has changed",
            "Statement.enter",
            "store._write_back_changes()",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a transaction ends without what has changed",
            "_leave",
            "block.write_changed(level)",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a block that was left is found by the next use alone",
            "Statement.enter",
            "weakref.ref(transaction, partial(_drop, block, self.level))",
            "weakref.ref(transaction)",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "a traceback keeps a block open",
            "_Exit.__get__",
            "partial(_leave, transaction._statement)",
            "partial(_leave_by_hand, transaction)",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "a thread that ends leaves its block open",
            "_End.__del__",
            "block.end()",
            "",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "edit stores what has not changed",
            "Edit._begin.finish",
            "if changed != data:",
            "if True:",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "ended in another thread",
            "_leave",
            "if get_ident() != block.owner:",
            "if False:",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "collected stores wait for the next commit",
            "_leave",
            "block.environment.close_orphans_unless_locked()",
            "",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
    ],
}
