"""Mutants of `open()` and of the write-back store."""

from __future__ import annotations

from mutants.mutate import Mutant

MUTANTS = {
    "_shelve/open": [
        Mutant(
            "another user's store is none",
            "_size",
            "except PermissionError:",
            "except ZeroDivisionError:",
            "test_permissions.py",
        ),
        Mutant(
            "r is not read-only",
            "open",
            "kind(path, readonly=flag == 'r', **options)",
            "kind(path, readonly=False, **options)",
            "test_shelve.py",
        ),
        Mutant("n empties nothing", "open", "store.clear()", "", "test_shelve.py"),
        Mutant("n leaves a store open that it cannot empty", "open", "store.close()", "", "test_shelve.py"),
        Mutant(
            "n takes any folder",
            "_check_place",
            "if os.path.isdir(path) and (not {'data.mdb', 'lock.mdb'}.issuperset(os.listdir(path))):",
            "if False and (not {'data.mdb', 'lock.mdb'}.issuperset(os.listdir(path))):",
            "test_shelve.py",
        ),
        Mutant("any file is a store", "_check_place", "if not is_store(file):", "if False:", "test_shelve.py"),
        Mutant(
            "an empty file is a store", "_check_place", "if _size(file):", "if os.path.exists(file):", "test_shelve.py"
        ),
        Mutant(
            "an old shelf is passed by",
            "_check_place",
            "if shelf := whichdb(path):",
            "if False and (shelf := whichdb(path)):",
            "test_shelve.py",
        ),
        Mutant("w makes a store", "_check_place", "if flag in ('r', 'w'):", "if flag == 'r':", "test_shelve.py"),
        Mutant(
            "a file in the folder's place is left to LMDB", "_check_place", "file != path", "False", "test_shelve.py"
        ),
        Mutant(
            "open flushes before reads",
            "open",
            "{'key_encoding': 'utf-8', 'autoflush_on_read': False, **options}",
            "{'key_encoding': 'utf-8', **options}",
            "test_shelve.py",
        ),
        Mutant(
            "an empty file is refused",
            "_is_single_file",
            "not _size(path) or is_store(path)",
            "is_store(path)",
            "test_shelve.py",
        ),
        Mutant(
            "a store in a file is not found again",
            "_is_single_file",
            "not _size(path) or is_store(path)",
            "not _size(path)",
            "test_shelve.py",
        ),
        Mutant(
            "a folder's data file is a store of its own",
            "_is_single_file",
            "os.path.basename(path) == 'data.mdb'",
            "False",
        ),
    ],
    "_shelve/cache": [
        Mutant(
            "loaded values are not kept",
            "CacheMixin._load",
            "entry = self._cache.setdefault(stored, entry)",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a loaded value replaces the one that is kept",
            "CacheMixin._load",
            "entry = self._cache.setdefault(stored, entry)",
            "self._cache[stored] = entry",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "an old row is kept",
            "CacheMixin._load",
            "self._find(stored)",
            "data",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "another's write is never seen",
            "CacheMixin._load",
            "row = data if entry.row == data else self._row_of_another(stored, entry)",
            "row = data = entry.row",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "another's write replaces what has changed",
            "CacheMixin._row_of_another",
            "self._changed(stored, entry) is not None",
            "False",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "an old page replaces what is kept",
            "CacheMixin._row_of_another",
            "row == entry.row",
            "False",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "what has not changed is written",
            "CacheMixin._changed",
            "None if data == row or data == self._dumps(key, self._loads(row)) else data",
            "data",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "an equal value with another pickle is written",
            "CacheMixin._changed",
            "data == self._dumps(key, self._loads(row))",
            "False",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a change is written over what replaced it",
            "CacheMixin._write",
            "while self._cache.get(stored) is entry and entry.row is row:",
            "while entry.row is row:",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a change is written again and again",
            "CacheMixin._write",
            "entry.row = data",
            "break",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "writing back ends at the first failure",
            "CacheMixin._write_back",
            "failure = failure or self._unwritable(stored, error)",
            "return self._unwritable(stored, error)",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "writing back within writing back",
            "CacheMixin._write_back",
            "[] if self._writes_back_already() else _items(self._cache)",
            "_items(self._cache)",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "writing back to a store that is closed meanwhile is an error",
            "CacheMixin._write_back",
            "if isinstance(self._sink, Shut):\n    break",
            "if isinstance(self._sink, Shut):\n    pass",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "no bound",
            "CacheMixin._evict",
            "len(self._cache) <= self._max_cached",
            "True",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "the first that came is dropped",
            "CacheMixin._touch",
            "self._cache.move_to_end(stored)",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "dropped without a look",
            "CacheMixin._evict",
            "self._write(stored, entry)",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "dropped though it could not be written",
            "CacheMixin._evict",
            "self._touch(stored)\nbreak",
            "self._touch(stored)",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "what is dropped piles up",
            "CacheMixin._evict",
            "self._flush_if_full()",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a read fails for a flush of what is dropped",
            "CacheMixin._evict",
            "(lmdb.Error, OSError)",
            "ArithmeticError",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a clear of a part drops the cache of all",
            "CacheMixin._drop_cached",
            "if interval.contains(stored):",
            "if True:",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
    ],
    "_shelve/writeback": [
        Mutant(
            "a changed value without room is dropped", "WritebackStore.close", "raise failure", "", "test_endings.py"
        ),
        Mutant(
            "cached values read past the cache",
            "WritebackStore._start_reading",
            "self._direct = False",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "put does not keep",
            "WritebackStore._put",
            "self._keep(stored, value, data)",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "put_many does not keep",
            "WritebackStore.put_many",
            "self._keep(stored, value, changes[stored])",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "deleted values are kept",
            "WritebackStore._add",
            "if data is None:\n    self._cache.pop(key, None)",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "popped values are kept",
            "WritebackStore._replace_row",
            "if done and new is None:\n    self._cache.pop(stored, None)",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "cleared values are kept",
            "WritebackStore._commit_emptied",
            """
            try:
                super()._commit_emptied(interval)
            except BaseException:
                if self._is_empty(interval):
                    self._drop_cached(interval)
                raise
            self._drop_cached(interval)
            """,
            """
            try:
                super()._commit_emptied(interval)
            except BaseException:
                if self._is_empty(interval):
                    self._drop_cached(interval)
                raise
            """,
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "cleared values are kept after an interrupt",
            "WritebackStore._commit_emptied",
            "if self._is_empty(interval):",
            "if False:",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "values are dropped though nothing was cleared",
            "WritebackStore._commit_emptied",
            "if self._is_empty(interval):",
            "if True:",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "flush writes nothing back",
            "WritebackStore.flush",
            "self._write_back(self._write)",
            "None",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "flush swallows what cannot be written",
            "WritebackStore.flush",
            "if failure is not None:\n    raise failure",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a transaction takes what cannot be written",
            "WritebackStore._write_back_changes",
            """
            failure = self._write_back(self._write)
            if failure is not None:
                raise failure
            """,
            "self._write_back(self._write)",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "an undone transaction keeps values",
            "WritebackStore._drop_kept",
            "self._cache.clear()",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "close writes nothing back",
            "WritebackStore.close",
            "self._write_back(self._write)",
            "None",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a strict close swallows what cannot be written",
            "WritebackStore.close",
            "raise FlushError(str(failure)) from failure",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a with block is quiet of what has changed since a failure",
            "WritebackStore.__exit__",
            "self._failure_told",
            "False",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a with block is quiet of what cannot be written",
            "WritebackStore.__exit__",
            "self._failure_told = None",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "collection writes nothing back",
            "WritebackStore.__del__",
            "self._write_back(self._hand_over)",
            "None",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "collection waits for the lock",
            "WritebackStore.__del__",
            "self._hand_over",
            "self._write",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a child keeps what its parent has changed",
            "WritebackStore._forget_pending",
            "self._cache.clear()",
            "",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a read-only store writes back",
            "WritebackStore.__init__",
            "if options.get('readonly'):",
            "if False:",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "a handle forgets the bound",
            "WritebackStore.__setstate__",
            "state['max_cached']",
            "None",
            "test_writeback.py test_writeback_among_threads.py test_writeback_machine.py test_writeback_refused.py test_writeback_transactions.py",
        ),
        Mutant(
            "values are dropped before the refusal",
            "WritebackStore.__init__",
            "self._check_unopened()",
            "",
            "test_attributes.py",
        ),
    ],
}
