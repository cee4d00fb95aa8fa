"""Mutants of `open()` and of the write-back store."""

from __future__ import annotations

from mutants.mutate import Mutant

MUTANTS = {
    "_shelve/open": [
        Mutant("another user's store is none", "_size", "except PermissionError:", "except ZeroDivisionError:"),
        Mutant(
            "r is not read-only",
            "open",
            "kind(path, readonly=flag == 'r', **options)",
            "kind(path, readonly=False, **options)",
        ),
        Mutant("n empties nothing", "open", "store.clear()", ""),
        Mutant("n leaves a store open that it cannot empty", "open", "store.close()", ""),
        Mutant(
            "n takes any folder",
            "_check_place",
            "if os.path.isdir(path) and (not {'data.mdb', 'lock.mdb'}.issuperset(os.listdir(path))):",
            "if False and (not {'data.mdb', 'lock.mdb'}.issuperset(os.listdir(path))):",
        ),
        Mutant("any file is a store", "_check_place", "if not is_store(file):", "if False:"),
        Mutant("an empty file is a store", "_check_place", "if _size(file):", "if os.path.exists(file):"),
        Mutant(
            "an old shelf is passed by",
            "_check_place",
            "if shelf := whichdb(path):",
            "if False and (shelf := whichdb(path)):",
        ),
        Mutant("w makes a store", "_check_place", "if flag in ('r', 'w'):", "if flag == 'r':"),
        Mutant("a file in the folder's place is left to LMDB", "_check_place", "file != path", "False"),
        Mutant(
            "open flushes before reads",
            "open",
            "{'key_encoding': 'utf-8', 'autoflush_on_read': False, **options}",
            "{'key_encoding': 'utf-8', **options}",
        ),
        Mutant("an empty file is refused", "_is_single_file", "not _size(path) or is_store(path)", "is_store(path)"),
        Mutant(
            "a store in a file is not found again",
            "_is_single_file",
            "not _size(path) or is_store(path)",
            "not _size(path)",
        ),
        Mutant(
            "a folder's data file is a store of its own",
            "_is_single_file",
            "os.path.basename(path) == 'data.mdb'",
            "False",
        ),
    ],
    "_shelve/cache": [
        Mutant("loaded values are not kept", "CacheMixin._load", "entry = self._cache.setdefault(stored, entry)", ""),
        Mutant(
            "a loaded value replaces the one that is kept",
            "CacheMixin._load",
            "entry = self._cache.setdefault(stored, entry)",
            "self._cache[stored] = entry",
        ),
        Mutant("an old row is kept", "CacheMixin._load", "self._find(stored)", "data"),
        Mutant(
            "another's write is never seen",
            "CacheMixin._load",
            "row = data if entry.row == data else self._row_of_another(stored, entry)",
            "row = data = entry.row",
        ),
        Mutant(
            "another's write replaces what has changed",
            "CacheMixin._row_of_another",
            "self._changed(stored, entry) is not None",
            "False",
        ),
        Mutant("an old page replaces what is kept", "CacheMixin._row_of_another", "row == entry.row", "False"),
        Mutant(
            "what has not changed is written",
            "CacheMixin._changed",
            "None if data == row or data == self._dumps(key, self._loads(row)) else data",
            "data",
        ),
        Mutant(
            "an equal value with another pickle is written",
            "CacheMixin._changed",
            "data == self._dumps(key, self._loads(row))",
            "False",
        ),
        Mutant(
            "a change is written over what replaced it",
            "CacheMixin._write",
            "while self._cache.get(stored) is entry and entry.row is row:",
            "while entry.row is row:",
        ),
        Mutant("a change is written again and again", "CacheMixin._write", "entry.row = data", "break"),
        Mutant(
            "writing back ends at the first failure",
            "CacheMixin._write_back",
            "failure = failure or self._unwritable(stored, error)",
            "return self._unwritable(stored, error)",
        ),
        Mutant(
            "writing back within writing back",
            "CacheMixin._write_back",
            "[] if self._writes_back_already() else _items(self._cache)",
            "_items(self._cache)",
        ),
        Mutant(
            "writing back to a store that is closed meanwhile is an error",
            "CacheMixin._write_back",
            "if isinstance(self._accept, Shut):\n    break",
            "if isinstance(self._accept, Shut):\n    pass",
        ),
        Mutant("no bound", "CacheMixin._evict", "len(self._cache) <= self._max_cached", "True"),
        Mutant("the first that came is dropped", "CacheMixin._touch", "self._cache.move_to_end(stored)", ""),
        Mutant("dropped without a look", "CacheMixin._evict", "self._write(stored, entry)", ""),
        Mutant(
            "dropped though it could not be written",
            "CacheMixin._evict",
            "self._touch(stored)\nbreak",
            "self._touch(stored)",
        ),
        Mutant("what is dropped piles up", "CacheMixin._evict", "self._flush_if_full()", ""),
        Mutant(
            "a read fails for a flush of what is dropped",
            "CacheMixin._evict",
            "(lmdb.Error, OSError)",
            "ArithmeticError",
        ),
        Mutant(
            "a clear of a part drops the cache of all",
            "CacheMixin._drop_cached",
            "if interval.contains(stored):",
            "if True:",
        ),
    ],
    "_shelve/writeback": [
        Mutant("a changed value without room is dropped", "WritebackStore.close", "raise failure", ""),
        Mutant("cached values read past the cache", "WritebackStore._start_reading", "self._direct = False", ""),
        Mutant("put does not keep", "WritebackStore._put", "self._keep(stored, value, data)", ""),
        Mutant("put_many does not keep", "WritebackStore.put_many", "self._keep(stored, value, changes[stored])", ""),
        Mutant(
            "deleted values are kept", "WritebackStore._stage", "if data is None:\n    self._cache.pop(key, None)", ""
        ),
        Mutant(
            "popped values are kept",
            "WritebackStore._swap",
            "if done and new is None:\n    self._cache.pop(stored, None)",
            "",
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
        ),
        Mutant(
            "cleared values are kept after an interrupt",
            "WritebackStore._commit_emptied",
            "if self._is_empty(interval):",
            "if False:",
        ),
        Mutant(
            "values are dropped though nothing was cleared",
            "WritebackStore._commit_emptied",
            "if self._is_empty(interval):",
            "if True:",
        ),
        Mutant("flush writes nothing back", "WritebackStore.flush", "self._write_back(self._write)", "None"),
        Mutant(
            "flush swallows what cannot be written",
            "WritebackStore.flush",
            "if failure is not None:\n    raise failure",
            "",
        ),
        Mutant(
            "a transaction takes what cannot be written",
            "WritebackStore._write_changed",
            """
            failure = self._write_back(self._write)
            if failure is not None:
                raise failure
            """,
            "self._write_back(self._write)",
        ),
        Mutant("an undone transaction keeps values", "WritebackStore._undone", "self._cache.clear()", ""),
        Mutant("close writes nothing back", "WritebackStore.close", "self._write_back(self._write)", "None"),
        Mutant(
            "a strict close swallows what cannot be written",
            "WritebackStore.close",
            "raise FlushError(str(failure)) from failure",
            "",
        ),
        Mutant(
            "a with block is quiet of what has changed since a failure",
            "WritebackStore.__exit__",
            "self._failure_told",
            "False",
        ),
        Mutant(
            "a with block is quiet of what cannot be written",
            "WritebackStore.__exit__",
            "self._failure_told = None",
            "",
        ),
        Mutant("collection writes nothing back", "WritebackStore.__del__", "self._write_back(self._hand_over)", "None"),
        Mutant("collection waits for the lock", "WritebackStore.__del__", "self._hand_over", "self._write"),
        Mutant(
            "a child keeps what its parent has changed", "WritebackStore._forget_pending", "self._cache.clear()", ""
        ),
        Mutant("a read-only store writes back", "WritebackStore.__init__", "if options.get('readonly'):", "if False:"),
        Mutant("a handle forgets the bound", "WritebackStore.__setstate__", "state['max_cached']", "None"),
        Mutant("values are dropped before the refusal", "WritebackStore.__init__", "self._check_unopened()", ""),
    ],
}
