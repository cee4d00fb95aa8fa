"""Mutants of the store as a whole: errors, attributes, pickling, close, exit, child processes."""

from __future__ import annotations

from mutants.mutate import Mutant

MUTANTS = {
    "__init__": [
        Mutant(
            "a sub-interpreter is not named",
            "",
            "'subinterpreters'",
            "'other interpreters'",
            "test_copies_of_the_package.py",
        ),
    ],
    "_errors": [
        Mutant(
            "a note without the key",
            "note_key",
            "f'The value for key {shown(key)} was not stored.'",
            "f'The value was not stored.'",
            "test_messages.py",
        ),
        Mutant(
            "an option that LMDB refuses is not named",
            "check_limit",
            "if most is not None and limit > most:",
            "if False:",
            "test_messages.py",
        ),
        Mutant(
            "no OSError",
            "ReadonlyStoreError",
            "class ReadonlyStoreError(lmdb.ReadonlyError, PermissionError):",
            "class ReadonlyStoreError(lmdb.ReadonlyError):",
            "test_shelve.py",
        ),
    ],
    "_store": [
        Mutant(
            "a with block ends quietly",
            "LmdbObjectStore.__exit__",
            "exc_type is None",
            "False",
            "test_endings.py",
        ),
        Mutant(
            "a with block hides its body's error",
            "LmdbObjectStore.__exit__",
            "exc_type is None",
            "True",
            "test_endings.py",
        ),
        Mutant(
            "a with block ends past the store's own close",
            "LmdbObjectStore.__exit__",
            "self.close(strict=exc_type is None)",
            "_lifecycle.close(self, strict=exc_type is None)",
            "test_attributes.py",
        ),
        Mutant(
            "put into a read-only store",
            "LmdbObjectStore._start_reading",
            "self._sink = RefusingBuffer(partial(refuse_readonly, self.db_path))",
            "",
            "test_shelve.py",
        ),
        Mutant("pickled without a flush", "LmdbObjectStore.__getstate__", "self.flush()", "", "test_subclasses.py"),
        Mutant(
            "another serializer's values read as pickles from the start",
            "LmdbObjectStore._attach",
            "self._raw_key_limit if self._is_pickled else 0",
            "self._raw_key_limit",
            "test_serializers.py",
        ),
        Mutant(
            "a handle forgets its serializer",
            "LmdbObjectStore.__setstate__",
            "serializing.from_pickled_form(state['serializer'])",
            "pickle",
            "test_shelve.py",
        ),
        Mutant(
            "attributes of a subclass are lost",
            "LmdbObjectStore.__getstate__",
            "own_attributes(self, state)",
            "{}",
            "test_subclasses.py",
        ),
        Mutant(
            "attributes of a subclass are not restored",
            "LmdbObjectStore.__setstate__",
            "setattr(self, name, value)",
            "",
            "test_subclasses.py",
        ),
    ],
    "_lifecycle": [
        Mutant(
            "accepted while the last flush is under way", "_flush_twice", "store._sink = refusing", "", "test_puts.py"
        ),
        Mutant(
            "what came during the last flush is lost",
            "_flush_twice",
            """
            try:
                store._flush()
            finally:
                store._sink = refusing
            store._flush()
            """,
            "try:\n    store._flush()\nfinally:\n    store._sink = refusing",
            "test_puts.py",
        ),
        Mutant(
            "the last flush ended by a handler that writes",
            "_flush_twice",
            "try:\n    store._flush()\nfinally:\n    store._sink = refusing",
            """
            store._sink = refusing
            try:
                store._flush()
            finally:
                store._sink = refusing
            """,
            "test_puts.py",
        ),
        Mutant("an interrupted close accepts nothing more", "close", "store._sink = sink", "", "test_endings.py"),
        Mutant(
            "close without room drops what is pending",
            "_flush_twice",
            "except (RecursionError, MemoryError):",
            "except ZeroDivisionError:",
            "test_endings.py",
        ),
        Mutant(
            "a failed flush at the recursion limit raises nothing",
            "close",
            "raise failed from failed.__cause__",
            "raise",
            "test_endings.py",
        ),
        Mutant("finaliser gone", "collect", "environment.collected.append(store)", "", "test_endings.py"),
        Mutant("exit hook gone", "", "atexit.register(close_all)", "", "test_endings.py"),
        Mutant(
            "nothing is flushed before a fork", "", "os.register_at_fork(before=flush_before_fork)", "", "test_forks.py"
        ),
        Mutant("a fork that cannot flush is silent", "_flush_or_log", "if not known:", "if False:", "test_forks.py"),
        Mutant(
            "a fork that cannot flush is logged each time",
            "_flush_or_log",
            "if not known:",
            "if True:",
            "test_forks.py",
        ),
        Mutant(
            "a fork that cannot write values back is logged each time",
            "_flush_or_log",
            "store._flush_failed = True",
            "",
            "test_writeback_among_threads.py",
        ),
        Mutant(
            "a fork leaves collected stores",
            "flush_before_fork",
            "environment.close_collected_unless_locked()",
            "",
            "test_forks.py",
        ),
        Mutant(
            "a fork flushes within a transaction",
            "flush_before_fork",
            "if (environment.committing or environment.transaction is not None) and environment.lock._is_owned():",
            "if False:",
            "test_forks.py",
        ),
        Mutant(
            "billiard's workers not closed",
            "_close_all_as_a_worker_of_billiard_ends",
            "worker.on_exit = partial(_then_close_all, worker.on_exit)",
            "partial(_then_close_all, worker.on_exit)",
            "test_forks.py",
        ),
        Mutant(
            "billiard's workers do not call their own on_exit",
            "_then_close_all",
            "on_exit(*arguments)",
            "",
            "test_forks.py",
        ),
        Mutant(
            "forked workers not closed",
            "watch_multiprocessing",
            "util.register_after_fork(close_all, _close_all_at_the_end_of_this_child)",
            "",
            "test_multiprocessing.py",
        ),
        Mutant("forkserver's workers not closed", "watch_multiprocessing", "if _is_child():", "if False:"),
        Mutant(
            "close without a flush",
            "_flush_twice",
            "try:\n    store._flush()\nfinally:\n    store._sink = refusing",
            "try:\n    pass\nfinally:\n    store._sink = refusing",
            "test_puts.py",
        ),
        Mutant(
            "close swallows an interrupt",
            "_flush_twice",
            "Exception",
            "BaseException",
            "test_close.py",
        ),
        Mutant("close is never strict", "close", "if strict:", "if False:", "test_endings.py"),
        Mutant(
            "close in a commit",
            "close",
            "store._check_no_commit()",
            "",
            "test_transactions.py",
        ),
        Mutant(
            "an encoding that cannot be sent", "check_carried", "pickle.dumps(key_encoding)", "", "test_key_encoding.py"
        ),
        Mutant(
            "a transaction is left open at exit",
            "close_all",
            """
            for transaction in transactions_here():
                transaction.end()
            """,
            "",
            "test_transactions_and_processes.py",
        ),
        Mutant("an iterator ends after its page", "mark_closed", "page.clear()", "", "test_iterators.py"),
    ],
}
