"""Mutants of the mapping: one key, many keys, order, ranges, views."""

from __future__ import annotations

from mutants.mutate import Mutant

MUTANTS = {
    "_mapping/keyed": [
        Mutant(
            "default sentinel returned by pop",
            "KeyedMixin.pop",
            "if default is MISSING:\n    raise KeyNotFoundError(key)",
            "",
            "test_deletion.py",
        ),
        Mutant(
            "del not atomic",
            "KeyedMixin.__delitem__",
            "with self._environment.lock:",
            "if True:",
            "test_readers_and_writers.py",
        ),
        Mutant(
            "in flushes",
            "KeyedMixin.__contains__",
            "self._find",
            "self._fetch",
            "test_buffering.py",
        ),
        Mutant(
            "unpickling errors of [] as they come",
            "KeyedMixin.__getitem__",
            "Exception",
            "ArithmeticError",
            "test_unpickling.py",
        ),
        Mutant(
            "unpickling errors of get as they come",
            "KeyedMixin.get",
            "Exception",
            "ArithmeticError",
            "test_unpickling.py",
        ),
        Mutant(
            "[] does not look at what is pending",
            "KeyedMixin.__getitem__",
            "self._pending and (self.autoflush_on_read or key in self._pending)",
            "False",
            "test_buffering.py",
        ),
        Mutant(
            "get does not look at what is pending",
            "KeyedMixin.get",
            "self._pending and (self.autoflush_on_read or key in self._pending)",
            "False",
            "test_buffering.py",
        ),
        Mutant(
            "[] does not flush",
            "KeyedMixin.__getitem__",
            "self.autoflush_on_read or key in self._pending",
            "key in self._pending",
            "test_buffering.py",
        ),
        Mutant(
            "get does not flush",
            "KeyedMixin.get",
            "self.autoflush_on_read or key in self._pending",
            "key in self._pending",
            "test_buffering.py",
        ),
        Mutant(
            "in does not look at what is pending",
            "KeyedMixin.__contains__",
            "key not in self._pending",
            "True",
            "test_keys.py",
        ),
        Mutant(
            "setdefault does not keep",
            "KeyedMixin.setdefault",
            "self._keep(stored, default, new)",
            "",
            "test_writeback.py",
        ),
    ],
    "_mapping/bulk": [
        Mutant(
            "values of any size put at once",
            "BulkMixin._changes_of",
            """
            if len(data) > MAX_VALUE_BYTES:
                raise too_large(key, data)
            """,
            "",
            "test_keys.py",
        ),
        Mutant(
            "an old pickle protocol",
            "BulkMixin._changes_of",
            "pickled(value, HIGHEST_PROTOCOL)",
            "pickled(value, 2)",
            "test_growth.py",
        ),
        Mutant(
            "len does not look at what is pending",
            "BulkMixin.__len__",
            "if not self._pending:",
            "if True:",
            "test_beyond_a_dict.py",
        ),
        Mutant(
            "update leaves a full buffer",
            "BulkMixin.update",
            "self._flush_if_full()",
            "",
            "test_buffering.py",
        ),
        Mutant("put_many pickles always", "BulkMixin._changes_of", "if is_pickled:", "if True:", "test_messages.py"),
        Mutant("put_many names no key", "BulkMixin._changes_of", "note_key(error, key)", "", "test_messages.py"),
    ],
    "_mapping/ordered": [
        Mutant(
            "prefixes by bytes alone",
            "OrderedMapping.prefix",
            "Interval(*bounds) if bounds else Interval.of_prefix(codec.encode_bound(prefix))",
            "Interval.of_prefix(codec.encode_bound(prefix))",
            "test_key_encoding.py",
        ),
        Mutant(
            "popitem takes the other end",
            "OrderedMapping._end_row",
            "store._pages(self._interval, reverse=last, values=False, first=1)",
            "store._pages(self._interval, reverse=not last, values=False, first=1)",
            "test_beyond_a_dict.py",
        ),
        Mutant(
            "equal to any longer mapping",
            "OrderedMapping.__eq__",
            "if len(self) != len(other):\n    return False",
            "",
            "test_conformance.py",
        ),
        Mutant(
            "| in the wrong order",
            "OrderedMapping.__or__",
            "_merged(self, other)",
            "_merged(other, self)",
            "test_conformance.py",
        ),
        Mutant(
            "peekitem takes the other end",
            "OrderedMapping.peekitem",
            "self._end_row(last)",
            "self._end_row(not last)",
            "test_key_encoding.py",
        ),
        Mutant(
            "views of a part look outside",
            "OrderedMapping._rows_of",
            "stored is not None and inside(stored)",
            "stored is not None",
            "test_ordered_machine.py",
        ),
        Mutant(
            "any number of completions",
            "OrderedMapping._ipython_key_completions_",
            "len(keys) == _COMPLETIONS",
            "False",
            "test_completion.py",
        ),
        Mutant(
            "any time for completions",
            "OrderedMapping._ipython_key_completions_",
            "monotonic() > deadline",
            "False",
            "test_completion.py",
        ),
        Mutant(
            "an iterator ends as if that were all",
            "_until_close",
            """
            yield keys if loaded is None else zip(keys, loaded(page.items()))
            if open_pages is not store._open_pages:
                break
            """,
            "yield (keys if loaded is None else zip(keys, loaded(page.items())))",
            "test_iterators.py",
        ),
        Mutant(
            "a page is read as another thread closes",
            "_until_close",
            """
            if open_pages is not store._open_pages:
                break
            yield keys if loaded is None else zip(keys, loaded(page.items()))
            """,
            "yield (keys if loaded is None else zip(keys, loaded(page.items())))",
            "test_iterators.py",
        ),
        Mutant("pages are kept for good", "_until_close", "open_pages.pop(pages, None)", "", "test_iterators.py"),
    ],
    "_mapping/range": [
        Mutant(
            "keys outside of a part are got",
            "StoreRange.get",
            "self._interval.contains(stored)",
            "True",
            "test_ordered.py",
        ),
        Mutant(
            "keys outside are in a part",
            "StoreRange.__contains__",
            "self._interval.contains(stored)",
            "True",
            "test_ordered_machine.py",
        ),
        Mutant(
            "keys outside of a part are deleted",
            "StoreRange.__delitem__",
            "if not self._interval.contains(self._codec.encode(key)):",
            "if False:",
            "test_ordered.py",
        ),
        Mutant(
            "keys outside of a part are written",
            "StoreRange._check_inside",
            "if not self._interval.contains(self._codec.encode(key)):",
            "if False:",
            "test_ordered.py",
        ),
        Mutant(
            "keys outside of a part are popped",
            "StoreRange.pop",
            "self._store.pop(key, default) if inside else default",
            "self._store.pop(key, default)",
            "test_ordered.py",
        ),
        Mutant(
            "a part's bounds as they are stored",
            "StoreRange._bound",
            "bound[-1:] == b'\\x00'",
            "False",
            "test_messages.py",
        ),
    ],
    "_mapping/views": [
        Mutant(
            "superset by length alone",
            "_BatchedSet.__ge__",
            "sum(1 for _ in self._shared_with(other)) == len(other)",
            "True",
            "test_beyond_a_dict.py",
        ),
        Mutant(
            "items compared by key alone",
            "StoreItems._among",
            "store._load(store._codec.encode(key), data) == pair[1]",
            "True",
            "test_beyond_a_dict.py",
        ),
        Mutant(
            "views of one batch",
            "_BatchedSet._shared_with",
            "while (batch := list(islice(elements, _BATCH))):",
            "if (batch := list(islice(elements, _BATCH))):",
            "test_beyond_a_dict.py",
        ),
        Mutant(
            "a view is a handle to its store",
            "_View.__reduce_ex__",
            "def __reduce_ex__(self, protocol: Any) -> Any:",
            "def _reduce_ex(self, protocol: Any) -> Any:",
            "test_messages.py",
        ),
    ],
    "_mapping/maintenance": [
        Mutant(
            "a backup without what is pending",
            "MaintenanceMixin.backup",
            "if not self._readonly:\n    self.flush()",
            "",
            "test_backup.py",
        ),
    ],
}
