"""Mutants of the open file: options, paths, checks, locks, the registry, forks, reads, backups."""

from __future__ import annotations

from mutants.mutate import Mutant

MUTANTS = {
    "_environment/options": [
        Mutant(
            "options not compared",
            "check_shared",
            "if our != their:",
            "if False:",
            "test_stores_of_one_file.py",
        ),
        Mutant(
            "unknown options not named",
            "check_options",
            "sorted(options.keys() - _ALL)",
            "()",
            "test_constructor.py",
        ),
        Mutant(
            "sizes not checked",
            "check_options",
            "check_limit(name, options[name], _MOST[name])",
            "",
            "test_messages.py",
        ),
        Mutant(
            "a path that means memory makes a folder",
            "absolute_path",
            "text == ':memory:'",
            "False",
            "test_messages.py",
        ),
        Mutant(
            "another path that means memory makes a file",
            "absolute_path",
            "text.startswith('file::memory:')",
            "False",
            "test_messages.py",
        ),
        Mutant(
            "a mode that locks its owner out",
            "_check_mode",
            "if mode & ~127 != PRIVATE:",
            "if mode & ~511:",
            "test_permissions.py",
        ),
        Mutant("a mode that is decimal", "_check_mode", "mode & ~127", "mode & PRIVATE", "test_permissions.py"),
        Mutant("a new store is everybody's to read", "", "PRIVATE = 384", "PRIVATE = 420", "test_permissions.py"),
    ],
    "_environment/paths": [
        Mutant("links to a file not followed", "lmdb_path", "path = os.path.realpath(path)", "", "test_files.py"),
        Mutant(
            "pipes opened",
            "check_file",
            "if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):",
            "if False:",
            "test_files.py",
        ),
        Mutant(
            "writable maps extend truncated files",
            "check_file",
            "if page_size := page_size_of(data):",
            "if False:",
            "test_files.py",
        ),
        Mutant(
            "no look for room for the lock file",
            "_check_room",
            "if disk.f_bavail * disk.f_frsize < needed:",
            "if False:",
            "test_files.py",
        ),
        Mutant(
            "an empty file to read is not named",
            "check_begun",
            "if options.get('readonly') and os.path.isfile(file) and not os.path.getsize(file):",
            "if False and not os.path.getsize(file):",
            "test_files.py",
        ),
        Mutant(
            "links to data files not followed",
            "place",
            "if not is_folder or os.path.islink(real):",
            "if not is_folder:",
            "test_data_paths.py",
        ),
        Mutant(
            "a single file taken for one of a directory",
            "place",
            "if os.path.exists(f'{real}-lock'):",
            "if False:",
            "test_data_paths.py",
        ),
        Mutant(
            "a folder's file without its lock file taken for a single one",
            "place",
            "(folder, True) if name == 'data.mdb' else (path, False)",
            "(folder, True) if False else (path, False)",
            "test_data_paths.py",
        ),
        Mutant("a file that was begun is not named", "check_begun", "if begun:", "if False:", "test_power_cut.py"),
        Mutant("a file of zeros is none of LMDB's", "is_store", "is_begun(file)", "False", "test_power_cut.py"),
        Mutant(
            "a file in place of the folder is not named",
            "check_file",
            "except NotADirectoryError:",
            "except ZeroDivisionError:",
            "test_files.py",
        ),
        Mutant(
            "a folder that its readers cannot enter", "creation_mode", "(mode & 292) >> 2", "64", "test_permissions.py"
        ),
        Mutant(
            "a folder that its owner cannot enter",
            "creation_mode",
            "mode | (mode & 292) >> 2",
            "mode",
            "test_permissions.py",
        ),
        Mutant(
            "a lost lock file is one user's",
            "creation_mode",
            "os.stat(data_file(path, options)).st_mode & 438 | PRIVATE",
            "PRIVATE",
            "test_permissions.py",
        ),
        Mutant(
            "a lost lock file cannot be opened again",
            "creation_mode",
            "os.stat(data_file(path, options)).st_mode & 438 | PRIVATE",
            "os.stat(data_file(path, options)).st_mode & 438",
            "test_permissions.py",
        ),
        Mutant("the option mode is ignored", "creation_mode", "options.get('mode')", "None", "test_permissions.py"),
    ],
    "_environment/pages": [
        Mutant(
            "free pages taken on trust",
            "lacks_free_pages_alone",
            "bool(free >= meta.last_page + 1 - present)",
            "True",
            "test_files.py",
        ),
        Mutant(
            "free pages that are there counted",
            "lacks_free_pages_alone",
            "present <= page <= meta.last_page",
            "page <= meta.last_page",
            "test_files.py",
        ),
        Mutant("long lists of free pages not read", "_free_lists", "if flags & _BIG:", "if False:", "test_files.py"),
        Mutant(
            "values taken for databases",
            "named_databases",
            """
            for at in [at for at in nodes if page[at + _AT_FLAGS] & _NAMED]:
                *size, flags, key_size = struct.unpack_from('=HHHH', page, at)
                if flags == _NAMED and sum(size) == _RECORD:
                    names.append(page[at + 8:at + 8 + key_size].removesuffix(b'\\x00'))
            """,
            """
            for at in nodes:
                *size, flags, key_size = struct.unpack_from('=HHHH', page, at)
                if sum(size) == _RECORD:
                    names.append(page[at + 8:at + 8 + key_size].removesuffix(b'\\x00'))
            """,
            "test_foreign_files.py",
        ),
        Mutant(
            "databases found on few pages alone",
            "named_databases",
            "not _has_other_pages(file, page_size, meta)",
            "True",
            "test_foreign_files.py",
        ),
        Mutant(
            "empty databases overlooked",
            "named_databases",
            "meta.tree_pages > _FEW_PAGES",
            "True",
            "test_foreign_files.py",
        ),
        Mutant(
            "all pages looked at",
            "_has_other_pages",
            "bool(known + free <= meta.last_page)",
            "True",
            "test_foreign_files.py",
        ),
        Mutant(
            "free pages taken for those of databases",
            "_has_other_pages",
            "sum(count for count, _ in _free_lists(file, page_size, meta))",
            "0 * sum(count for count, _ in _free_lists(file, page_size, meta))",
            "test_foreign_files.py",
        ),
        Mutant(
            "names of LMDB 1.0 with their end",
            "named_databases",
            "page[at + 8:at + 8 + key_size].removesuffix(b'\\x00')",
            "page[at + 8:at + 8 + key_size]",
            "test_foreign_files.py",
        ),
        Mutant(
            "a damaged file is said to hold nothing", "is_begun", "meta.transaction == 0", "True", "test_power_cut.py"
        ),
    ],
    "_environment/lock_file": [
        Mutant(
            "no look for dead readers at open",
            "ProcessLocks.take_over",
            "handle.reader_check()",
            "",
            "test_other_processes.py",
        ),
        Mutant(
            "a lock file that was replaced goes unnoticed",
            "ProcessLocks.lock_file_is_deleted",
            "self.held",
            "False",
            "test_lock_files.py",
        ),
        Mutant(
            "byte 0 not taken over",
            "ProcessLocks._take_over",
            "fcntl(file, F_OFD_SETLK, _byte(F_RDLCK, 0))",
            "",
            "test_lock_files.py",
        ),
        Mutant(
            "byte of the process not taken over",
            "ProcessLocks._take_over",
            """
            fcntl(file, F_SETLK, _byte(F_UNLCK, process))
            fcntl(file, F_OFD_SETLK, _byte(F_RDLCK, process))
            """,
            "",
            "test_lock_files.py",
        ),
        Mutant(
            "locks stay with a child that starts a program",
            "_close",
            "if release:\n    fcntl(file, F_OFD_SETLK, _ALL)",
            "",
            "test_lock_files.py",
        ),
        Mutant("reads not announced", "ProcessLocks.begin_read", "self._share_reading()", "", "test_lock_files.py"),
    ],
    "_environment/checks": [
        Mutant(
            "flags of the main database overlooked",
            "_check_flags",
            "if any(flags.values()):",
            "if False:",
            "test_foreign_files.py",
        ),
        Mutant("named databases overlooked", "check_named", "if names:", "if False:", "test_foreign_files.py"),
        Mutant(
            "a replaced file overlooked",
            "check_opened",
            "_check_replaced(handle, path, options, locks)",
            "",
            "test_replaced_files.py",
        ),
        Mutant(
            "a killed commit taken for a replaced file",
            "_check_replaced",
            "if stored == locked + 1:",
            "if False:",
            "test_replaced_files.py",
        ),
        Mutant(
            "a file one commit ahead taken for a commit",
            "_check_replaced",
            """
            if stored == locked:
                return
            """,
            "return",
            "test_replaced_files.py",
        ),
        Mutant(
            "the map of another process not adopted as the file is opened",
            "check_opened",
            "handle.set_mapsize(0)",
            "raise",
            "test_foreign_files.py",
        ),
        Mutant("a new store is not on the disk", "make_durable", "handle.sync(True)", "", "test_power_cut.py"),
        Mutant("a new store's name is not on the disk", "make_durable", "sync_folder(folder)", "", "test_power_cut.py"),
        Mutant(
            "a new store's folder is not on the disk",
            "make_durable",
            "sync_folder(os.path.dirname(folder))",
            "",
            "test_power_cut.py",
        ),
        Mutant(
            "a new store waits for a disk that nobody waits for",
            "make_durable",
            "not options.get('sync', True)",
            "False",
            "test_power_cut.py",
        ),
        Mutant(
            "a file system that cannot sync a folder",
            "sync_folder",
            "if error.errno not in _CANNOT_SYNC:\n    raise",
            "raise",
            "test_power_cut.py",
        ),
        Mutant(
            "a disk that fails overlooked",
            "sync_folder",
            "if error.errno not in _CANNOT_SYNC:\n    raise",
            "",
            "test_power_cut.py",
        ),
        Mutant(
            "a lock file that is behind is refused at opening",
            "_check_replaced",
            "locks.delete_lock_file()",
            "",
            "test_replaced_files.py",
        ),
    ],
    "_environment/access": [
        Mutant(
            "a lock file that root makes is root's",
            "create_lock_file",
            "os.fchown(fd, uid, owner.st_gid)",
            "",
            "test_access.py",
        ),
        Mutant(
            "a lock file that a member makes is the member's",
            "create_lock_file",
            "(owner.st_uid, -1)",
            "(owner.st_uid,)",
            "test_access.py",
        ),
        Mutant(
            "opening without locks is not logged", "warn_without_locks", "path in _warned", "True", "test_containers.py"
        ),
        Mutant(
            "opening without locks is logged each time",
            "warn_without_locks",
            "_warned.add(path)",
            "",
            "test_containers.py",
        ),
        Mutant(
            "opening without a lock file is logged",
            "warn_without_locks",
            "not os.path.exists(lock_file(path, options))",
            "False",
            "test_containers.py",
        ),
        Mutant(
            "a second copy of the package is not named",
            "explain",
            "if 'already open in this process' in message:",
            "if False:",
            "test_copies_of_the_package.py",
        ),
    ],
    "_environment/opening": [
        Mutant(
            "a dead reader of this process's id keeps pages",
            "_open_without_dead_readers",
            "if not any(line.split()[0] == process for line in handle.readers().splitlines()):",
            "if True:",
            "test_containers.py",
        ),
        Mutant(
            "an older file under the same name is taken for the file",
            "open_file",
            "if info['last_txnid'] < least:",
            "if False:",
            "test_files.py",
        ),
        Mutant(
            "a file begun by a killed process is not on the disk",
            "open_file",
            "if info['last_txnid'] == 0:",
            "if create and not info['last_pgno']:",
            "test_power_cut.py",
        ),
        Mutant(
            "opening does not follow another process's growth",
            "_open_with_advice",
            "except lmdb.MapResizedError:",
            "except ArithmeticError:",
            "test_other_processes.py",
        ),
    ],
    "_environment/locks": [
        Mutant(
            "locks stay taken after an interrupt",
            "Lock._enter",
            "self.release()",
            "",
            "test_interrupts.py",
        ),
    ],
    "_environment/stores": [
        Mutant(
            "collected stores closed in a commit",
            "Stores.close_collected",
            "self.committing",
            "False",
            "test_collection.py",
        ),
        Mutant(
            "collected stores not closed", "Stores.close_collected", "self.collected[0].close()", "", "test_endings.py"
        ),
        Mutant(
            "a collected store is dropped before it is written",
            "Stores.close_collected",
            """
            try:
                self.collected[0].close()
            except (RecursionError, MemoryError):
                return
            self.collected.popleft()
            """,
            "self.collected.popleft().close()",
            "test_endings.py",
        ),
        Mutant(
            "a collected store without memory is dropped",
            "Stores.close_collected",
            "except (RecursionError, MemoryError):",
            "except ZeroDivisionError:",
            "test_endings.py",
        ),
        Mutant(
            "a finaliser's lock stays taken after an interrupt",
            "Stores.close_collected_unless_locked",
            "if not owned and lock._is_owned():",
            "if False:",
            "test_interrupts.py",
        ),
        Mutant(
            "collected stores closed twice at once",
            "Stores.close_collected",
            "self._closing_collected = True",
            "",
            "test_endings.py",
        ),
        Mutant(
            "an empty store counts as collected",
            "Stores.living",
            "(store := ref()) is not None",
            "(store := ref())",
            "test_multiprocessing.py",
        ),
    ],
    "_environment/forks": [
        Mutant(
            "a fork by C code goes unnoticed",
            "Process.check",
            """
            if self.pid == getpid():
                return
            """,
            "return",
            "test_forks.py",
        ),
        Mutant(
            "uWSGI's master reads past the gate",
            "watch_uwsgi",
            "bool(uwsgi.worker_id() == 0)",
            "False",
            "test_c_forks.py",
        ),
        Mutant(
            "uWSGI's hook is not set",
            "watch_uwsgi",
            "uwsgi.post_fork_hook = _Hook(check, former)",
            "",
            "test_c_forks.py",
        ),
        Mutant("uWSGI's hook of somebody else is dropped", "_Hook.__call__", "self.former()", "", "test_c_forks.py"),
    ],
    "_environment/gate": [
        Mutant(
            "uWSGI's workers read through the gate", "Gate._checked_handle", "self.open_gate()", "", "test_c_forks.py"
        ),
    ],
    "_environment/environment": [
        Mutant(
            "map of another process not adopted by a read",
            "Environment.repeat",
            "self.resize(0)",
            "",
            "test_other_processes.py",
        ),
        Mutant(
            "full reader table is an error",
            "Environment.repeat",
            "lmdb.ReadersFullError",
            "ArithmeticError",
            "test_other_processes.py",
        ),
        Mutant("dead map kept", "Environment.resize", "self.suspend()", "", "test_growth.py"),
        Mutant(
            "new writers do not wait for reads",
            "Environment.reopen",
            "self.process_locks.wait_for_reads()",
            "",
            "test_lock_files.py",
        ),
        Mutant(
            "a larger map_size ignored",
            "Environment.share",
            "self.resize(options['map_size'])",
            "",
            "test_stores_of_one_file.py",
        ),
        Mutant(
            "gate left open while the map moves",
            "Environment.resize",
            "self.close_gate()",
            "",
            "test_growth.py",
        ),
        Mutant(
            "a child waits for its parent's timer",
            "Environment.leave_to_parent",
            "self.timer = None",
            "",
            "test_flush_interval.py",
        ),
        Mutant(
            "a child closes what it inherited",
            "Environment.leave_to_parent",
            "leave_as_it_is(handle)",
            "handle.close()",
            "test_c_forks.py",
        ),
        Mutant(
            "a child may not open what it inherited",
            "Environment.leave_to_parent",
            "let_open_again()",
            "",
            "test_c_forks.py",
        ),
        Mutant(
            "a panic of LMDB's is not answered by reads",
            "Environment.repeat",
            "self.reopen_after_panic(error)",
            "raise",
            "test_disk_errors.py",
        ),
    ],
    "_environment/timer": [
        Mutant(
            "of two threads one sleeps on",
            "FlushTimer.run",
            "former.wake()",
            "pass",
            "test_flush_interval.py",
        ),
        Mutant(
            "a change as the timer ends is forgotten",
            "FlushTimer.run",
            "if self._flush_due() is not None and environment.timer is None:",
            "if False:",
            "test_flush_interval.py",
        ),
        Mutant(
            "all stores of a file are flushed when one is due",
            "FlushTimer._flush_due",
            "store._flush_due <= time.monotonic()",
            "True",
            "test_flush_interval.py",
        ),
        Mutant("an earlier interval waits", "start_timer", "timer.wake()", "pass", "test_flush_interval.py"),
    ],
    "_environment/registry": [
        Mutant("one file by two ways", "_open", "check_path(path, options)", "", "test_data_paths.py"),
        Mutant(
            "an environment for each store",
            "acquire",
            "file and e.identity == file and not e.closed",
            "False and not e.closed",
            "test_endings.py",
        ),
        Mutant("opening without the registry's lock", "acquire", "with _registry_lock:", "if True:", "test_puts.py"),
        Mutant(
            "the last store does not close the file",
            "release",
            "if not environment.stores:",
            "if False:",
            "test_endings.py",
        ),
        Mutant(
            "the first store to leave closes the file",
            "release",
            "if not environment.stores:",
            "if True:",
            "test_endings.py",
        ),
        Mutant(
            "the timer sleeps on when its stores are closed",
            "release",
            "timer.wake()",
            "pass",
            "test_flush_interval.py",
        ),
        Mutant(
            "stores that are being collected do not count",
            "release",
            "if not environment.stores:",
            "if not environment.living():",
            "test_collection.py",
        ),
        Mutant("open environment inherited by a fork", "_before_fork", "environment.suspend()", "", "test_os_fork.py"),
        Mutant(
            "an interrupt ends the preparation of a fork",
            "_before_fork",
            "interrupt = error",
            "raise",
            "test_os_fork.py",
        ),
        Mutant(
            "an interrupt as a fork ends leaves locks taken",
            "",
            "os.register_at_fork(after_in_parent=_release_locks)",
            "",
            "test_os_fork.py",
        ),
        Mutant(
            "threads that fork at once release each other's locks",
            "_Fork",
            "class _Fork(threading.local):",
            "class _Fork:",
            "test_os_fork.py",
        ),
        Mutant("child keeps its parent's locks", "_enter_child", "environment.lock = Lock()", "", "test_c_forks.py"),
        Mutant(
            "locks not released after a fork",
            "_release_locks",
            "lock.release()",
            "",
            "test_multiprocessing.py",
        ),
        Mutant(
            "child keeps what is pending",
            "_enter_child",
            "store._forget_pending()",
            "",
            "test_forks.py",
        ),
        Mutant(
            "a child keeps its parent's locks after a fork by C code",
            "_enter_child",
            "not lock._is_owned()",
            "False",
            "test_c_forks.py",
        ),
        Mutant(
            "a child drops changes and logs nothing",
            "_enter_child",
            "if dropped and not by_python:",
            "if False:",
            "test_c_forks.py",
        ),
        Mutant(
            "the fork hook waits with locks held",
            "_before_fork",
            "lock.acquire(False)",
            "lock.acquire()",
            "test_transactions_among_threads.py",
        ),
    ],
    "_environment/read": [
        Mutant(
            "a damaged text raises another error",
            "_parts",
            "except UnicodeDecodeError:",
            "except ArithmeticError:",
            "test_large_values.py",
        ),
        Mutant(
            "reads not repeated",
            "lookup",
            "return environment.repeat(lambda begin: begin().get(key))",
            "raise",
            "test_reader_slots.py",
        ),
        Mutant(
            "scans not repeated",
            "_read",
            "return environment.repeat(read)",
            "raise lmdb.Error",
            "test_large_values.py",
        ),
        Mutant(
            "len forgets what is pending",
            "count.read",
            "changes.items()",
            "()",
            "test_ordered.py",
        ),
        Mutant("pages not bounded in bytes", "_page_of_large", "if size >= PAGE_BYTES:", "if False:", "test_reads.py"),
        Mutant(
            "large values copied in two steps",
            "_parts.cut",
            "map(getitem, map(get, (key,), (b'',)), (slice(start, stop),))",
            "iter([get(key, b'')[start:stop]])",
            "test_large_values.py",
        ),
        Mutant(
            "parts of several transactions",
            "_parts.cut",
            "map(get, (key,), (b'',))",
            "map(begin(buffers=True).get, (key,), (b'',))",
            "test_large_values.py",
        ),
        Mutant(
            "a large value is expected forever",
            "is_large",
            "_COPIES_AT_ONCE and size >= LARGE",
            "_COPIES_AT_ONCE",
            "test_large_values.py",
        ),
        Mutant(
            "a page does not end",
            "_page",
            "bound is not None",
            "reverse and bound is not None",
            "test_ordered.py",
        ),
        Mutant(
            "a reversed page does not end",
            "_page",
            "bound is not None",
            "not reverse and bound is not None",
            "test_ordered.py",
        ),
        Mutant(
            "a page of items does not end",
            "_page",
            "bound is not None",
            "not values and bound is not None",
            "test_ordered.py",
        ),
        Mutant(
            "a reversed page begins with its bound",
            "_seek_last",
            "cursor.prev()",
            "True",
            "test_ordered.py",
        ),
        Mutant(
            "a kept exception of a count keeps a transaction",
            "count.read",
            "with begin() as txn:",
            "for txn in [begin()]:",
            "test_reader_slots.py",
        ),
        Mutant(
            "a kept exception of a page keeps a transaction",
            "_page",
            "with begin() as txn:",
            "for txn in [begin()]:",
            "test_reader_slots.py",
        ),
        Mutant(
            "a kept exception of a large value keeps a transaction",
            "_parts",
            "with begin(buffers=True) as txn:",
            "for txn in [begin(buffers=True)]:",
            "test_large_values.py",
        ),
    ],
    "_environment/write": [
        Mutant(
            "an interrupt leaves a failed write open",
            "write",
            """
            try:
                environment.close_gate()
            finally:
                try:
                    environment.close_gate()
                finally:
                    txn.abort()
            """,
            """
            environment.close_gate()
            txn.abort()
            """,
            "test_interrupts.py",
        ),
        Mutant("delete ignored", "write", "txn.delete(key)", "", "test_growth.py"),
        Mutant(
            "no page kept to delete with",
            "pages_kept",
            "max(0, min(max(pages // 8, 16), pages // 4, 2048) - (pages - size))",
            "0",
            "test_growth.py",
        ),
        Mutant(
            "pages kept from deletions too",
            "write",
            "if cap is not None and any(changes.values()):",
            "if cap is not None:",
            "test_growth.py",
        ),
        Mutant(
            "pages kept below the cap",
            "pages_kept",
            "min(max(pages // 8, 16), pages // 4, 2048) - (pages - size)",
            "min(max(pages // 8, 16), pages // 4, 2048)",
            "test_growth_steps.py",
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
            """
            try:
                environment.close_gate()
            finally:
                try:
                    environment.close_gate()
                finally:
                    txn.abort()
            """,
            "txn.abort()",
            "test_growth.py",
        ),
        Mutant(
            "write transaction not aborted",
            "write",
            "txn.abort()",
            "globals().setdefault('leaked', []).append(txn)",
            "test_growth.py",
        ),
        Mutant("clear does not empty the file", "write", "if emptied is WHOLE:", "if False:", "test_foreign_files.py"),
        Mutant("bulk loads not sorted", "_rows", "_in_order(changes)", "changes.items()", "test_growth.py"),
        Mutant(
            "sorted loads not appended",
            "write",
            "next(iter(changes)) <= cursor.key() or not _append(cursor, changes)",
            "True",
            "test_sorted_loads.py",
        ),
        Mutant(
            "all keys compared where the first one is not beyond the last",
            "write",
            "next(iter(changes)) <= cursor.key()",
            "False",
            "test_sorted_loads.py",
        ),
        Mutant("the file taken for empty", "write", "cursor.last()", "", "test_sorted_loads.py"),
        Mutant(
            "keys around the last one sorted in vain",
            "_append",
            "if min(changes) <= cursor.key():",
            "if False:",
            "test_sorted_loads.py",
        ),
        Mutant(
            "rows that LMDB skips are lost",
            "_append",
            "added == len(changes)",
            "True",
            "test_sorted_loads.py",
        ),
        Mutant("appended rows not sorted", "_in_order", "sorted(changes)", "list(changes)", "test_sorted_loads.py"),
        Mutant(
            "clear of a part empties the file",
            "write",
            "if emptied is WHOLE:",
            "if emptied is not None:",
            "test_c_forks.py",
        ),
        Mutant(
            "clear of a part does not end",
            "_empty",
            "while found and (interval.high is None or cursor.key() < interval.high):",
            "while found:",
            "test_ordered.py",
        ),
        Mutant(
            "other processes not kept from writing",
            "begin_write",
            "locks.keep_others_from_writing()",
            "",
            "test_lock_files.py",
        ),
        Mutant(
            "a lock file that was begun during a commit stays",
            "begin_write",
            "if not locks.held:\n    break",
            "return handle.begin(write=True)",
            "test_lock_files.py",
        ),
        Mutant(
            "a lock file that was moved aside is an error",
            "begin_write",
            "if not locks.lock_file_is_another():",
            "if True:",
            "test_lock_files.py",
        ),
        Mutant(
            "a lock file that is behind is taken for right",
            "begin_write",
            "if stored == locked:\n    return transaction",
            "return transaction",
            "test_lock_files.py",
        ),
        Mutant(
            "a data file that was deleted is written to",
            "begin_write",
            "if locks.data_file_is_deleted():",
            "if False:",
            "test_files.py",
        ),
    ],
    "_environment/backup": [
        Mutant(
            "a copy that others did not see counts",
            "_copy",
            "if not environment.process_locks.lock_file_is_deleted():",
            "if True:",
            "test_lock_files.py",
        ),
        Mutant(
            "a panic of LMDB's is not answered by backups",
            "_copy",
            "environment.reopen_after_panic(error)",
            "raise",
            "test_disk_errors.py",
        ),
        Mutant(
            "a backup under its name at once",
            "part_of",
            "f'{target}.{os.urandom(4).hex()}.part'",
            "target",
            "test_backup.py",
        ),
        Mutant(
            "a backup replaces what is there",
            "_refuse_existing",
            "if os.path.lexists(target):",
            "if False:",
            "test_backup.py",
        ),
        Mutant(
            "a backup replaces a link to nothing",
            "_refuse_existing",
            "os.path.lexists",
            "os.path.exists",
            "test_backup.py",
        ),
        Mutant(
            "a backup replaces what comes meanwhile",
            "_publish",
            "os.link(part, target)",
            "os.replace(part, target)",
            "test_backup.py",
        ),
        Mutant(
            "a backup without links replaces what comes meanwhile",
            "_publish",
            "_refuse_existing(target)",
            "",
            "test_backup.py",
        ),
        Mutant("a failed backup is left", "backup", "discard(part)", "", "test_backup.py"),
        Mutant("a backup that is not on the disk", "backup", "os.fsync(fd)", "", "test_power_cut.py"),
        Mutant(
            "a backup that all may read",
            "backup",
            "shutil.copymode(source, copy)",
            "os.chmod(copy, 420)",
            "test_backup.py",
        ),
        Mutant(
            "a backup's directory that all may enter",
            "backup",
            "shutil.copymode(environment.path, part)",
            "os.chmod(part, 493)",
            "test_backup.py",
        ),
        Mutant(
            "a backup that all may read while it is made",
            "backup",
            "os.mkdir(part, 448)",
            "os.mkdir(part)",
            "test_backup.py",
        ),
        Mutant(
            "a backup of a file that all may read while it is made",
            "_create",
            "os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, 'O_BINARY', 0), 384)",
            "os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, 'O_BINARY', 0), 420)",
            "test_backup.py",
        ),
        Mutant(
            "a whole copy without the lock",
            "_copy",
            "with nullcontext() if compact else environment.lock:",
            "with nullcontext():",
            "test_backup.py",
        ),
        Mutant(
            "a compact copy with the lock",
            "_copy",
            "with nullcontext() if compact else environment.lock:",
            "with environment.lock:",
            "test_backup.py",
        ),
        Mutant(
            "free pages always left out",
            "_copy",
            "handle.copyfd(fd, compact)",
            "handle.copyfd(fd, True)",
            "test_backup.py",
        ),
        Mutant(
            "a backup does not follow another process's growth",
            "_copy",
            "environment.resize(0)",
            "raise",
            "test_backup.py",
        ),
        Mutant("a fork ends a backup", "_copy", "if environment.handle() is handle:", "if True:", "test_backup.py"),
        Mutant(
            "a copy without locks is not looked at",
            "_copy_at_rest",
            "if handle.info()['last_txnid'] == before:",
            "if True:",
            "test_containers.py",
        ),
        Mutant(
            "a copy without locks follows pointers",
            "_copy",
            "if not has_locks(handle):",
            "if False:",
            "test_containers.py",
        ),
        Mutant("a copy without locks appends to the last one", "_copy_at_rest", "_empty(fd)", "", "test_containers.py"),
        Mutant(
            "a copy without locks leaves one behind",
            "_copy_without_locks",
            "os.unlink(whole)",
            "",
            "test_containers.py",
        ),
    ],
    "_environment/stats": [
        Mutant(
            "idle places in the table are readers",
            "measured",
            "line.rpartition(' ')[2]",
            "line.strip()[:1]",
            "test_backup.py",
        ),
        Mutant(
            "used bytes without large values",
            "measured",
            "stat['branch_pages'] + stat['leaf_pages'] + stat['overflow_pages']",
            "stat['branch_pages'] + stat['leaf_pages']",
            "test_backup.py",
        ),
    ],
}
