"""Mutants of the changes that wait in memory, of their commit and of the growth of the map."""

from __future__ import annotations

from mutants.mutate import Mutant

MUTANTS = {
    "_buffer/attributes": [
        Mutant("a limit is not checked", "Limit.__set__", "check_limit(self._name, value)", "", "test_attributes.py"),
        Mutant(
            "every limit may be None",
            "Limit.__set__",
            "if value is not None or not self._optional:",
            "if value is not None:",
            "test_attributes.py",
        ),
        Mutant(
            "a fixed option is taken",
            "FixedOption.__set__",
            "if not _is_same(name, value, current):",
            "if False:",
            "test_attributes.py",
        ),
        Mutant(
            "a fixed option may not be set to itself",
            "FixedOption.__set__",
            "if not _is_same(name, value, current):",
            "if True:",
            "test_attributes.py",
        ),
        Mutant("a relative path is another", "_is_same", "name == 'db_path'", "False", "test_attributes.py"),
        Mutant(
            "another base's attribute is refused",
            "FixedOption.__set__",
            "not has_other_base(type(store))",
            "True",
            "test_subclasses.py",
        ),
        Mutant(
            "another base's earlier attribute is lost",
            "OptionsMixin._fix",
            "has_other_base(type(self))",
            "False",
            "test_subclasses.py",
        ),
        Mutant(
            "an open store is opened again",
            "OptionsMixin._check_unopened",
            "if not getattr(self, '_is_closed', True):",
            "if False:",
            "test_attributes.py",
        ),
        Mutant(
            "an attribute that cannot be pickled is not named",
            "check_attributes",
            "_Probe().dump(value)",
            "",
            "test_subclasses.py",
        ),
        Mutant(
            "an attribute that leads back is followed for ever",
            "_Probe.persistent_id",
            "(OptionsMixin, FunctionType, type)",
            "(FunctionType, type)",
            "test_subclasses.py",
        ),
        Mutant(
            "functions are left to pickle",
            "_Probe.persistent_id",
            "(OptionsMixin, FunctionType, type)",
            "(OptionsMixin, type)",
            "test_subclasses.py",
        ),
    ],
    "_buffer/scan": [
        Mutant("page boundary off by one", "scan", "last + b'\\x00'", "last", "test_scan.py"),
        Mutant(
            "the rows of the file hide pending changes",
            "with_changes",
            "{**rows, **changes}",
            "{**changes, **rows}",
            "test_interval.py test_ordered.py test_ordered_machine.py",
        ),
        Mutant(
            "pending deletions do not hide rows",
            "with_changes",
            "merged[key]",
            "merged[key] or b''",
            "test_interval.py test_ordered.py test_ordered_machine.py",
        ),
        Mutant(
            "pending changes past the page are merged into it",
            "with_changes",
            "low <= key and (high is None or key < high)",
            "low <= key",
            "test_interval.py test_ordered.py test_ordered_machine.py",
        ),
        Mutant(
            "pending changes before the page are merged into it",
            "with_changes",
            "low <= key and (high is None or key < high)",
            "high is None or key < high",
            "test_scan.py",
        ),
        Mutant(
            "pending changes are merged unsorted",
            "with_changes",
            "sorted(merged, reverse=reverse)",
            "merged",
            "test_interval.py test_ordered.py test_ordered_machine.py",
        ),
        Mutant(
            "pending copied after the file is read",
            "scan",
            """
            changes = pending()
            rows, ended = read_page(low, high, limit)
            """,
            """
            rows, ended = read_page(low, high, limit)
            changes = pending()
            """,
            "test_scan.py",
        ),
        Mutant(
            "pages shorter than what is pending", "scan", "max(LATER_PAGE, len(changes))", "LATER_PAGE", "test_scan.py"
        ),
        Mutant(
            "first page alone",
            "scan",
            "limit = max(LATER_PAGE, len(changes))",
            "ended = True\nlimit = max(LATER_PAGE, len(changes))",
            "test_scan.py",
        ),
    ],
    "_buffer/pending": [
        Mutant(
            "a change goes to where changes went before it was pickled",
            "BufferMixin.put",
            "data = pickled(obj, HIGHEST_PROTOCOL)",
            """
            sink = self._sink
            data = pickled(obj, HIGHEST_PROTOCOL)
            self._sink = sink
            """,
            "test_puts.py",
        ),
        Mutant(
            "put replaces what it did not weigh",
            "BufferMixin.put",
            "if stored in buffer or not ONE_STEP:",
            "if not ONE_STEP:",
            "test_buffering.py test_close.py test_constructor.py test_contract_threads.py test_deletion.py test_failed_flush.py test_keys.py test_many.py test_names_of_0_1_0.py test_put_and_get.py test_read_only.py test_unpickling.py",
        ),
        Mutant(
            "put does not flush",
            "BufferMixin.put",
            "self._pending_bytes >= self._batch_bytes",
            "False",
            "test_buffering.py test_close.py test_constructor.py test_contract_threads.py test_deletion.py test_failed_flush.py test_keys.py test_many.py test_names_of_0_1_0.py test_put_and_get.py test_read_only.py test_unpickling.py",
        ),
        Mutant("put flushes at any count", "BufferMixin.put", "self._flush_if_full", "self._flush"),
        Mutant(
            "put reports a close that stored its change",
            "BufferMixin.put",
            "except StoreClosedError:",
            "except ArithmeticError:",
            "test_puts.py",
        ),
        Mutant(
            "update replaces what it did not weigh",
            "BufferMixin._update",
            "if stored in buffer or not ONE_STEP:",
            "if not ONE_STEP:",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "update without the limit in bytes",
            "BufferMixin._update",
            """
            if self._pending_bytes >= self._batch_bytes:
                self._flush_if_full(sys.maxsize)
            """,
            "",
            "test_buffering.py test_close.py test_constructor.py test_contract_threads.py test_deletion.py test_failed_flush.py test_keys.py test_many.py test_names_of_0_1_0.py test_put_and_get.py test_read_only.py test_unpickling.py",
        ),
        Mutant(
            "update flushes at each batch",
            "BufferMixin._update",
            "self._add(stored, data, sys.maxsize)",
            "self._add(stored, data)",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "replaced whatever is pending",
            "BufferMixin._add_if_unchanged",
            "if key in buffer and buffer[key] is pending:",
            "if True:",
            "test_puts.py",
        ),
        Mutant(
            "replaced whatever came first",
            "BufferMixin._add_if_unchanged",
            "key not in buffer",
            "True",
            "test_puts.py",
        ),
        Mutant(
            "replaced whatever was flushed",
            "BufferMixin._add_if_unchanged",
            "self._commits == commits",
            "True",
            "test_puts.py",
        ),
        Mutant(
            "overwritten bytes counted",
            "BufferMixin._add",
            "weight(key, buffer[key]) if key in buffer else 0",
            "0",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "a read after a new change does not try a failed flush again",
            "BufferMixin.put",
            "self._flush_failed = False",
            "",
            "test_buffering.py test_close.py test_constructor.py test_contract_threads.py test_deletion.py test_failed_flush.py test_keys.py test_many.py test_names_of_0_1_0.py test_put_and_get.py test_read_only.py test_unpickling.py",
        ),
        Mutant(
            "a deletion that undoes a change flushes",
            "BufferMixin._add",
            "if not undoes:",
            "if True:",
            "test_growth.py test_growth_steps.py",
        ),
        Mutant(
            "values of any size put",
            "BufferMixin.put",
            """
            if len(data) > MAX_VALUE_BYTES:
                raise too_large(key, data)
            """,
            "",
            "test_buffering.py test_close.py test_constructor.py test_contract_threads.py test_deletion.py test_failed_flush.py test_keys.py test_many.py test_names_of_0_1_0.py test_put_and_get.py test_read_only.py test_unpickling.py",
        ),
        Mutant(
            "values of any size in an update",
            "BufferMixin._update",
            """
            if len(data) > MAX_VALUE_BYTES:
                raise too_large(key, data)
            """,
            "",
            "test_buffering.py test_close.py test_constructor.py test_contract_threads.py test_deletion.py test_failed_flush.py test_keys.py test_many.py test_names_of_0_1_0.py test_put_and_get.py test_read_only.py test_unpickling.py",
        ),
        Mutant("put with an old pickle protocol", "BufferMixin.put", "HIGHEST_PROTOCOL", "2", "test_serializers.py"),
        Mutant(
            "put pickles always",
            "BufferMixin.put",
            "if self._is_pickled:",
            "if True:",
            "test_beyond_a_dict.py test_conformance.py test_views.py",
        ),
        Mutant(
            "update pickles always",
            "BufferMixin._update",
            "if is_pickled:",
            "if True:",
            "test_beyond_a_dict.py test_conformance.py test_views.py",
        ),
        Mutant("put names no key", "BufferMixin.put", "note_key(error, key)", "", "test_messages.py"),
        Mutant("update names no key", "BufferMixin._update", "note_key(error, key)", "", "test_messages.py"),
        Mutant("put_many is no commit", "BufferMixin._commit_many", "self._commits += 1", "", "test_puts.py"),
        Mutant(
            "put_many does not flush first",
            "BufferMixin._commit_many",
            "self._flush()",
            "",
            "test_buffering.py test_close.py test_constructor.py test_contract_threads.py test_deletion.py test_failed_flush.py test_keys.py test_many.py test_names_of_0_1_0.py test_put_and_get.py test_read_only.py test_unpickling.py",
        ),
        Mutant(
            "put_many only buffers",
            "BufferMixin._commit_many",
            "self._commit",
            "self.write_buffer.update",
            "test_collection.py test_interrupts.py test_reader_slots.py test_readers_and_writers.py test_signal_handlers.py test_stores_of_one_file.py test_unpickling_code.py",
        ),
        Mutant(
            "a read after a change under the lock does not try a failed flush again",
            "BufferMixin._add",
            "self._flush_failed = False",
            "",
            "test_buffer.py test_failed_flush.py test_buffer_machine.py test_buffering.py",
        ),
        Mutant(
            "a read after a compared change does not try a failed flush again",
            "BufferMixin._add_if_unchanged",
            "self._flush_failed = False",
            "",
            "test_buffer.py test_failed_flush.py test_buffer_machine.py test_buffering.py",
        ),
        Mutant(
            "a read after an update does not try a failed flush again",
            "BufferMixin._update",
            "self._flush_failed = False",
            "",
            "test_buffer.py test_failed_flush.py test_buffer_machine.py test_buffering.py",
        ),
    ],
    "_buffer/flush": [
        Mutant(
            "buffer cleared before the commit",
            "FlushMixin._commit_pending",
            "self._commit(changes)",
            "self.write_buffer.clear()\nself._commit(changes)",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "buffer not cleared", "FlushMixin._drop", "del buffer[key]", "", "test_buffer.py test_buffer_machine.py"
        ),
        Mutant(
            "a change that came during a commit is dropped",
            "FlushMixin._drop",
            "if buffer[key] is data:",
            "if True:",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "a change that came during a commit is compared by value",
            "FlushMixin._drop",
            "if buffer[key] is data:",
            "if buffer[key] == data:",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "compared and dropped in two steps",
            "FlushMixin._drop",
            "buffer[key]",
            "buffer.get(key)",
            "test_collection.py test_interrupts.py test_reader_slots.py test_readers_and_writers.py test_signal_handlers.py test_stores_of_one_file.py test_unpickling_code.py",
        ),
        Mutant(
            "a flush within a commit commits",
            "FlushMixin._flush",
            "not self._environment.committing",
            "True",
            "test_collection.py test_interrupts.py test_reader_slots.py test_readers_and_writers.py test_signal_handlers.py test_stores_of_one_file.py test_unpickling_code.py",
        ),
        Mutant(
            "an explicit flush within a commit is no error",
            "FlushMixin._check_no_commit",
            "if environment.committing:",
            "if False:",
            "test_collection.py test_interrupts.py test_reader_slots.py test_readers_and_writers.py test_signal_handlers.py test_stores_of_one_file.py test_unpickling_code.py",
        ),
        Mutant(
            "threshold off by one",
            "FlushMixin._flush_if_full",
            "len(buffer) >= count",
            "len(buffer) > count",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "threshold in bytes ignored",
            "FlushMixin._flush_if_full",
            "self._pending_bytes >= self._batch_bytes",
            "False",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "read fails for a failed flush",
            "FlushMixin._flush_before_read",
            "(lmdb.Error, OSError)",
            "ArithmeticError",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "reads flush again and again",
            "FlushMixin._flush_before_read",
            "self._flush_failed",
            "False",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "autoflush although it is off",
            "FlushMixin._flush_before_read",
            "not self.autoflush_on_read",
            "False",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "a read tries again what an explicit flush could not",
            "FlushMixin._commit_pending",
            "self._flush_failed = True",
            "",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "collected stores written after what came later",
            "FlushMixin._flush",
            "self._environment.close_collected()",
            "",
            "test_collection.py test_interrupts.py test_reader_slots.py test_readers_and_writers.py test_signal_handlers.py test_stores_of_one_file.py test_unpickling_code.py",
        ),
        Mutant(
            "a flush is not seen as a commit",
            "FlushMixin._commit_pending",
            "environment.committing = True",
            "",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "a clear is not seen as a commit",
            "FlushMixin._commit_emptied",
            "environment.committing = True",
            "",
            "test_collection.py test_interrupts.py test_reader_slots.py test_readers_and_writers.py test_signal_handlers.py test_stores_of_one_file.py test_unpickling_code.py",
        ),
        Mutant(
            "a child commits its parent's changes",
            "FlushMixin._flush",
            "self._environment.check_process()",
            "",
            "test_forks.py",
        ),
        Mutant(
            "clear of a part drops all that is pending",
            "FlushMixin._commit_emptied",
            "{key: data for key, data in pending.items() if interval.contains(key)}",
            "pending",
            "test_key_encoding.py",
        ),
        Mutant(
            "a flush does not end an abandoned transaction",
            "FlushMixin._check_no_commit",
            "environment.transaction.own()",
            "",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
        Mutant(
            "a flush within a transaction commits",
            "FlushMixin._flush",
            "self._environment.transaction is None",
            "True",
            "test_transactions.py",
        ),
        Mutant(
            "reads flush during a transaction",
            "FlushMixin._flush_before_read",
            "if self._environment.transaction is not None:",
            "if False:",
            "test_transactions.py test_transactions_among_threads.py",
        ),
        Mutant(
            "a read tries a failed flush again",
            "FlushMixin._flush_before_read",
            "self._flush_failed = True",
            "",
            "test_buffer.py test_failed_flush.py test_buffer_machine.py test_buffering.py",
        ),
        Mutant(
            "a commit goes on for good",
            "FlushMixin._commit_pending",
            "environment.committing = False",
            "",
            "test_buffer.py test_failed_flush.py test_buffer_machine.py test_buffering.py",
        ),
        Mutant("a flush is no commit", "FlushMixin._commit_pending", "self._commits += 1", "", "test_puts.py"),
        Mutant("a clear is no commit", "FlushMixin._commit_emptied", "self._commits += 1", "", "test_puts.py"),
    ],
    "_buffer/resize": [
        Mutant(
            "growth without the cap",
            "next_map_size",
            "if limit is not None and step >= limit:",
            "if False:",
            "test_growth.py test_growth_steps.py",
        ),
        Mutant(
            "cap rounded up", "next_map_size", "cap // page", "-(-cap // page)", "test_growth.py test_growth_steps.py"
        ),
        Mutant(
            "deletions flushed by batch_size alone",
            "ResizeMixin._deletions_at_once",
            "max(1, kept // 6) if kept else None",
            "None",
            "test_growth.py test_growth_steps.py",
        ),
        Mutant("growth by half", "next_map_size", "2 * size", "3 * size // 2", "test_growth.py test_growth_steps.py"),
        Mutant(
            "growth by one step at a time",
            "next_map_size",
            "while size == current or size < needed:",
            "while size == current:",
            "test_growth.py test_growth_steps.py",
        ),
        Mutant(
            "map of another process not adopted by a write",
            "ResizeMixin._commit",
            "environment.resize(0)",
            "raise",
            "test_growth.py test_growth_steps.py",
        ),
        Mutant(
            "dead readers not looked for",
            "ResizeMixin._make_room",
            "if environment.process_locks.check_readers(handle):",
            "if False:",
            "test_multiprocessing.py test_os_fork.py test_other_processes.py test_pickled_handles.py",
        ),
        Mutant(
            "other processes kept from writing for good",
            "ResizeMixin._commit",
            "environment.process_locks.let_others_write()",
            "",
            "test_forks.py",
        ),
        Mutant(
            "a panic of LMDB's is not answered by commits",
            "ResizeMixin._commit",
            "environment.reopen_after_panic(error)",
            "raise",
            "test_disk_errors.py",
        ),
    ],
    "_buffer/state": [
        Mutant(
            "a closed store takes changes",
            "RefusingBuffer.__setitem__",
            "self.refuse()",
            "",
            "test_buffer.py test_buffer_machine.py",
        ),
        Mutant(
            "child flushes its parent's changes",
            "StoreState._forget_pending",
            "self.write_buffer.clear()",
            "",
            "test_buffer.py test_buffer_machine.py",
        ),
    ],
    "_environment/write": [
        Mutant("delete ignored", "write", "txn.delete(key)", "", "test_growth.py test_growth_steps.py"),
        Mutant(
            "no page kept to delete with",
            "pages_kept",
            "max(0, min(max(pages // 8, 16), pages // 4, 2048) - (pages - size))",
            "0",
            "test_growth.py test_growth_steps.py",
        ),
        Mutant(
            "pages kept from deletions too",
            "write",
            "if cap is not None and any(changes.values()):",
            "if cap is not None:",
            "test_growth.py test_growth_steps.py",
        ),
        Mutant(
            "pages kept below the cap",
            "pages_kept",
            "min(max(pages // 8, 16), pages // 4, 2048) - (pages - size)",
            "min(max(pages // 8, 16), pages // 4, 2048)",
            "test_growth.py test_growth_steps.py",
        ),
        Mutant(
            "clear destroys named databases",
            "write",
            "check_named(handle, environment.path, environment.options)",
            "",
            "test_foreign_files.py",
        ),
        Mutant(
            "gate left open before an abort",
            "write",
            "environment.close_gate()",
            "",
            "test_growth.py test_growth_steps.py",
        ),
        Mutant(
            "write transaction not aborted",
            "write",
            """
            txn.abort()
            raise
            """,
            """
            globals().setdefault('leaked', []).append(txn)
            raise
            """,
            "test_growth.py test_growth_steps.py",
        ),
        Mutant("clear does not empty the file", "write", "if emptied is WHOLE:", "if False:", "test_foreign_files.py"),
        Mutant(
            "bulk loads not sorted", "write", "sorted(changes)", "list(changes)", "test_growth.py test_growth_steps.py"
        ),
        Mutant(
            "clear of a part empties the file",
            "write",
            "if emptied is WHOLE:",
            "if emptied is not None:",
            "test_forks.py",
        ),
        Mutant(
            "clear of a part does not end",
            "_empty",
            "while found and (interval.high is None or cursor.key() < interval.high):",
            "while found:",
        ),
    ],
    "_buffer/reading": [
        Mutant(
            "a removal that fails not undone",
            "ReadingMixin._replace_row",
            "self._compare_and_add(stored, None, old)",
            "",
            "test_buffering.py test_close.py test_constructor.py test_contract_threads.py test_deletion.py test_failed_flush.py test_keys.py test_many.py test_names_of_0_1_0.py test_put_and_get.py test_read_only.py test_unpickling.py",
        ),
        Mutant(
            "pending not looked at",
            "ReadingMixin._find",
            "self._pending.get(stored, MISSING)",
            "MISSING",
            "test_beyond_a_dict.py test_conformance.py test_views.py",
        ),
        Mutant(
            "unpickling errors as they come",
            "ReadingMixin._load",
            "Exception",
            "ArithmeticError",
            "test_buffering.py test_close.py test_constructor.py test_contract_threads.py test_deletion.py test_failed_flush.py test_keys.py test_many.py test_names_of_0_1_0.py test_put_and_get.py test_read_only.py test_unpickling.py",
        ),
        Mutant(
            "unpickling errors of scans and get_many as they come",
            "ReadingMixin._loaded",
            "Exception",
            "ArithmeticError",
            "test_buffering.py test_close.py test_constructor.py test_contract_threads.py test_deletion.py test_failed_flush.py test_keys.py test_many.py test_names_of_0_1_0.py test_put_and_get.py test_read_only.py test_unpickling.py",
        ),
        Mutant(
            "large values do not look at what is pending",
            "ReadingMixin._value",
            "self._pending.get(stored, MISSING)",
            "MISSING",
            "test_beyond_a_dict.py test_conformance.py test_views.py",
        ),
        Mutant(
            "a large value is never expected",
            "ReadingMixin._expect_size",
            "self._is_pickled and read.is_large(size)",
            "False",
            "test_large_parts.py test_large_values.py",
        ),
        Mutant(
            "another serializer's values read as pickles",
            "ReadingMixin._expect_size",
            "self._raw_key_limit if self._is_pickled and not self._expects_large else 0",
            "0 if self._expects_large else self._raw_key_limit",
            "test_serializers.py",
        ),
        Mutant(
            "another serializer's values read in parts",
            "ReadingMixin._expect_size",
            "self._is_pickled and read.is_large(size)",
            "read.is_large(size)",
            "test_serializers.py",
        ),
        Mutant(
            "what is buffered is called damaged",
            "ReadingMixin._unreadable",
            'where == "DB"',
            "True",
            "test_messages.py",
        ),
        Mutant(
            "pop, popitem and setdefault not atomic",
            "ReadingMixin._compare_and_add",
            "found == old",
            "True",
            "test_puts.py",
        ),
        Mutant(
            "iteration sees an emptied file",
            "ReadingMixin._is_emptied",
            "pending is not self._write_buffer and pending.own() and pending.emptied",
            "pending is not self._write_buffer and False",
            "test_edit.py test_transactions.py test_transactions_among_threads.py test_transactions_and_processes.py test_transactions_interrupted.py",
        ),
    ],
}
