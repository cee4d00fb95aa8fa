"""One-line bugs, each of which the tests must kill.

Each mutant is applied to a copy of the package, and the tests run on that copy until the first one fails.
Usage: python tests/mutants.py [--jobs N] [WORD ...]   (only mutants whose name holds a WORD)
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "lmdb_object_store"
SECONDS = 900  # for the tests of one mutant; one that makes them hang is killed too


class Mutant(NamedTuple):
    """`old`, which stands once in the module, becomes `new`."""

    name: str
    module: str
    old: str
    new: str


UNCHANGED = Mutant("the package as it is", "_codec", "EMPTY = ", "EMPTY = ")

MUTANTS = [
    # -- the buffer
    Mutant("buffer cleared before the commit", "_flush",
           "            changes = self.write_buffer.copy()\n", "            changes = self.write_buffer.copy()\n            self.write_buffer.clear()\n"),
    Mutant("buffer not cleared", "_flush", "                    del buffer[key]  # in", "                    pass  # in"),
    Mutant("what came amid a commit dropped", "_flush", "                if buffer[key] is data:  # each", "                if True:  # each"),
    Mutant("what came amid a commit compared by value", "_flush", "if buffer[key] is data:  # each", "if buffer[key] == data:  # each"),
    Mutant("compared and dropped in two steps", "_flush", "if buffer[key] is data:  # each", "if buffer.get(key) is data:  # each"),
    Mutant("a handler's deletion undone", "_buffer", "                self._deleted.add(key)\n", "                pass\n"),
    Mutant("a handler's removal undone", "_keyed", "                self._deleted.add(stored)  # type", "                pass  # type"),
    Mutant("a removal that fails not undone", "_keyed", "                self._change(stored, None, old)\n", "                pass\n"),
    Mutant("staged into what was looked up before", "_buffer", "        data = pickled(obj, HIGHEST_PROTOCOL) if", "        accept = self._accept\n        data = pickled(obj, HIGHEST_PROTOCOL)\n        self._accept = accept\n        data = data if"),
    Mutant("accepted while the last flush is under way", "_lifecycle", "                store._accept = shut\n", "                pass\n"),
    Mutant("what came during the last flush is lost", "_lifecycle", "            store._flush()  # what came", "            pass  # what came"),
    Mutant("the last flush ended by a handler that writes", "_lifecycle", "            try:\n                store._flush()\n", "            store._accept = shut\n            try:\n                store._flush()\n"),
    Mutant("an interrupted close accepts nothing more", "_lifecycle", "            store._accept = accept\n", ""),
    Mutant("put replaces what it did not weigh", "_buffer", "        if stored in buffer or not ONE_STEP:\n            self._stage(stored, data)\n", "        if not ONE_STEP:\n            self._stage(stored, data)\n"),
    Mutant("put does not flush", "_buffer", "self._pending_bytes >= self.batch_bytes:\n            try:  # noqa", "False:\n            try:  # noqa"),
    Mutant("put flushes at any count", "_buffer", "                self._flush_if_full()\n            except StoreClosedError:  # closed", "                self._flush()\n            except StoreClosedError:  # closed"),
    Mutant("put tells of a close that its write survived", "_buffer", "except StoreClosedError:  # closed", "except ArithmeticError:  # closed"),
    Mutant("update replaces what it did not weigh", "_buffer", "            if stored in buffer or not ONE_STEP:", "            if not ONE_STEP:"),
    Mutant("update without the limit in bytes", "_buffer", "            if self._pending_bytes >= self.batch_bytes:\n                self._flush_if_full(sys.maxsize)\n", ""),
    Mutant("update flushes at each batch", "_buffer", "self._stage(stored, data, sys.maxsize)", "self._stage(stored, data)"),
    Mutant("replaced whatever is pending", "_buffer", "elif key in buffer and buffer[key] is pending:", "elif True:"),
    Mutant("replaced whatever came first", "_buffer", "if key not in buffer and self._commits == commits:", "if self._commits == commits:"),
    Mutant("replaced whatever was flushed", "_buffer", "if key not in buffer and self._commits == commits:", "if key not in buffer:"),
    Mutant("put_many is no commit", "_many", "                self._commits += 1\n", ""),
    Mutant("flush inside a flush", "_flush", "            if not self._environment.busy:\n", "            if True:\n"),
    Mutant("explicit flush inside a flush", "_flush", "        if environment.busy:\n            raise", "        if False:\n            raise"),
    Mutant("threshold off by one", "_flush", "(count is not None and len(buffer) >= count)\n                or", "(count is not None and len(buffer) > count)\n                or"),
    Mutant("threshold in bytes ignored", "_flush", "                or self._pending_bytes >= self.batch_bytes\n", ""),
    Mutant("overwritten bytes counted", "_buffer", "weight(key, buffer[key]) if key in buffer else 0", "0"),
    Mutant("staged in a closed store", "_buffer", "        self.refuse()\n", "        pass\n"),
    Mutant("read fails for a failed flush", "_flush", "except (lmdb.Error, OSError) as error:", "except ArithmeticError as error:"),
    Mutant("reads flush again and again", "_flush", " or self._failure_told is not None", ""),
    Mutant("autoflush although it is off", "_flush", "not self.autoflush_on_read or ", ""),
    Mutant("a failure told is forgotten", "_flush", "                self._failure_told = True\n", "                pass\n"),
    Mutant("a failure told of what came later", "_flush", "if self.write_buffer == changes:", "if True:"),
    Mutant("a new change does not reset the failure", "_buffer",
           "        self._failure_told = None\n        count", "        count"),
    Mutant("what an interrupted clear took comes back", "_flush", "if self._is_empty(interval):", "if False:"),
    Mutant("an interrupted clear drops what it left", "_flush", "if self._is_empty(interval):", "if True:"),
    Mutant("a damaged text is told as it comes", "_reads", "    except UnicodeDecodeError:", "    except ArithmeticError:"),
    Mutant("child flushes its parent's changes", "_buffer",
           "        self.write_buffer.clear()\n        self._pending_bytes = 0", "        self._pending_bytes = 0"),
    Mutant("child drops its own deletions", "_flush", "            if environment.busy:  # else", "            if True:  # else"),
    Mutant("child drops its own deletions after a clear", "_flush", "            if environment.busy:  # as", "            if True:  # as"),
    Mutant("collected stores written after what came later", "_flush",
           "                self._environment.close_orphans()  # what they hold was accepted before\n", ""),
    # -- growth and the write transaction
    Mutant("delete ignored", "_resize", "txn.delete(key)", "pass"),
    Mutant("growth without the cap", "_resize", "limit is not None and step >= limit", "False"),
    Mutant("cap rounded up", "_resize", "None if cap is None else cap // page * page", "None if cap is None else -(-cap // page) * page"),
    Mutant("no page kept to delete with", "_resize", "return max(0, min(max(pages // 8, 16), pages // 4, 2048) - (pages - size))", "return 0"),
    Mutant("pages kept from deletions too", "_resize", "or not any(changes.values())", ""),
    Mutant("pages kept below the cap", "_resize", "2048) - (pages - size))", "2048))"),
    Mutant("deletions flushed by batch_size alone", "_resize", "return max(1, kept // 6) if kept else None", "return None"),
    Mutant("what takes back a change flushes", "_buffer", "            if not takes_back:", "            if True:"),
    Mutant("links to a file not followed", "_datafile", "path = os.path.realpath(path)", "pass"),
    Mutant("pipes opened", "_datafile", "if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):", "if False:"),
    Mutant("writable maps extend truncated files", "_datafile", "if page_size := _page_size(data):", "if False:"),
    Mutant("no look for room for the lock file", "_datafile", "if disk.f_bavail * disk.f_frsize < needed:", "if False:"),
    Mutant("files told apart by their numbers alone", "_environment", "if info[\"last_txnid\"] < self.last_transaction:", "if False:"),
    Mutant("empty file to read not told", "_datafile", "if options.get(\"readonly\") and os.path.isfile(file)", "if False"),
    Mutant("free pages taken on trust", "_datafile", "return free >= last + 1 - present", "return True"),
    Mutant("free pages that are there counted", "_datafile", "sum(present <= page <= last for", "sum(page <= last for"),
    Mutant("long lists of free pages not read", "_datafile", "if kind & _BIG:", "if False:"),
    Mutant("growth by half", "_resize", "2 * size, size + MIN_GROWTH", "3 * size // 2, size + MIN_GROWTH"),
    Mutant("growth by one step at a time", "_resize", "while size == current or size < needed:", "while size == current:"),
    Mutant("gate left open before an abort", "_resize", "        environment.shut()\n", ""),
    Mutant("write transaction not aborted", "_resize", "        txn.abort()\n        raise", "        globals().setdefault('leaked', []).append(txn)\n        raise"),
    Mutant("map of another process not adopted by a write", "_resize", "environment.resize(0)", "raise"),
    Mutant("dead readers not looked for", "_resize", "if handle.reader_check():", "if False:"),
    Mutant("clear does not empty the file", "_resize", "        if emptied is WHOLE:\n", "        if False:\n"),
    Mutant("child goes on with its parent's commit", "_resize", "            if not environment.busy:\n", "            if False:\n"),
    Mutant("parent gives up the commit under which it forked", "_resize", "if environment.handle() is handle:", "if True:"),
    Mutant("bulk loads not sorted", "_resize", "            keys = sorted(changes)  #", "            keys = list(changes)  #"),
    Mutant("busy is never set", "_flush", "        environment.busy = True\n        try:\n            changes", "        try:\n            changes"),
    Mutant("busy is never set by clear", "_flush", "        environment.busy = True\n        try:\n            self._commit({}", "        try:\n            self._commit({}"),
    # -- scans
    Mutant("page boundary off by one", "_scan", 'end = low = last + b"\\0"', "end = low = last"),
    Mutant("overlay order swapped", "_scan", "{**rows, **changes}", "{**changes, **rows}"),
    Mutant("deletions not laid over", "_scan", "if (data := merged[key]) is not None", "if (data := merged[key] or b'') is not None"),
    Mutant("overlay past the page", "_scan", " and (high is None or key < high)", ""),
    Mutant("overlay before the page", "_scan", "if low <= key and (high", "if (high"),
    Mutant("overlay unsorted", "_scan", "in sorted(merged, reverse=reverse)", "in merged"),
    Mutant("pending copied after the file is read", "_scan",
           "        changes = pending()\n        rows, ended = read_page(low, high, limit)\n", "        rows, ended = read_page(low, high, limit)\n        changes = pending()\n"),
    Mutant("pages shorter than what is pending", "_scan", "max(LATER_PAGE, len(changes))", "LATER_PAGE"),
    Mutant("first page alone", "_scan", "        limit = max(LATER", "        ended = True\n        limit = max(LATER"),
    # -- reads
    Mutant("pending not looked at", "_keyed", "data = self._pending.get(stored, MISSING)\n        return _reads", "data = MISSING\n        return _reads"),
    Mutant("reads not repeated", "_reads", "        return environment.repeat(lambda begin: begin().get(key))", "        raise"),
    Mutant("scans not repeated", "_reads", "        return environment.repeat(read)", "        raise"),
    Mutant("len forgets what is pending", "_reads", "in changes.items():\n            total", "in ():\n            total"),
    Mutant("pages not bounded in bytes", "_reads", "size >= PAGE_BYTES", "False"),
    Mutant("tracebacks keep transactions", "_environment", "clear_frames(error.__traceback__)", "pass"),
    # -- the environment
    Mutant("map of another process not adopted by a read", "_environment", "                        self.resize(0)\n", ""),
    Mutant("full reader table is an error", "_environment", "(lmdb.MapResizedError, lmdb.ReadersFullError)", "(lmdb.MapResizedError, ArithmeticError)"),
    Mutant("dead map kept", "_environment", "        except lmdb.MemoryError:\n            self.sleep()\n", "        except lmdb.MemoryError:\n"),
    Mutant("no look for dead readers at open", "_environment", "handle.reader_check()  # readers", "pass  # readers"),
    Mutant("options not compared", "_options", "if our != their:", "if False:"),
    Mutant("a larger map_size ignored", "_environment", 'self.resize(options["map_size"])', "pass"),
    Mutant("gate left open while the map moves", "_environment", "        handle = self.handle()\n        self.shut()\n", "        handle = self.handle()\n"),
    Mutant("collected stores closed in a commit", "_tenants", "not self.orphans or self.busy or", "not self.orphans or"),
    Mutant("collected stores not closed", "_tenants", "                self.orphans[0].close()\n", "                pass\n"),
    Mutant("a collected store is dropped before it is written", "_tenants", "                self.orphans[0].close()\n                self.orphans.popleft()",
           "                self.orphans.popleft().close()"),
    Mutant("a finaliser's lock stays taken after an interrupt", "_tenants", "        finally:\n            give(held)  # what", "        finally:\n            pass  # what"),
    Mutant("collected stores closed twice at once", "_tenants", "        self._closing_orphans = True\n", ""),
    Mutant("an empty store counts as collected", "_tenants", "if (tenant := ref()) is not None]", "if (tenant := ref())]"),
    Mutant("an environment for each store", "_registry", "if file and e.identity == file", "if False"),
    Mutant("opening without the registry's lock", "_registry", "    with _registry_lock:\n        while", "    if True:\n        while"),
    Mutant("the last store does not close the file", "_registry", "if not environment.tenants:", "if False:"),
    Mutant("the first store to leave closes the file", "_registry", "if not environment.tenants:", "if True:"),
    Mutant("stores that are being collected do not count", "_registry", "if not environment.tenants:", "if not environment.living():"),
    Mutant("open environment inherited by a fork", "_registry", "                    environment.sleep()\n", "                    pass\n"),
    Mutant("an interrupt ends the preparation of a fork", "_registry", "            interrupt = error\n", "            raise\n"),
    Mutant("what happens after a fork can be interrupted", "_registry", "    for _ in range(2):\n", "    for _ in range(1):\n"),
    Mutant("opening does not follow another process's growth", "_environment", "            except lmdb.MapResizedError:  # another", "            except ArithmeticError:  # another"),
    Mutant("unknown options not named", "_options", "in sorted(options.keys() - _ALL):", "in ():"),
    Mutant("sizes not checked", "_options", "            check_limit(name, options[name])\n", "            pass\n"),
    Mutant("a file in place of the folder not told", "_datafile", "except NotADirectoryError:", "except ZeroDivisionError:"),
    Mutant("threads that fork at once release each other's locks", "_registry", "class _Fork(threading.local):", "class _Fork:"),
    Mutant("child keeps its parent's locks", "_registry", "        environment.lock = new_lock(environment.path)\n", ""),
    Mutant("locks not released after a fork", "_registry", "    give(_fork.held)\n", "    pass\n"),
    Mutant("child keeps what is pending", "_registry", "            tenant._forget_pending()\n", "            pass\n"),
    # -- the end
    Mutant("finaliser gone", "_lifecycle", "        environment.orphans.append(store)\n", ""),
    Mutant("exit hook gone", "_lifecycle", "atexit.register(close_all)", ""),
    Mutant("forked workers not closed", "_lifecycle", "    util.register_after_fork(close_all, _close_all_at_the_end_of_this_child)\n", ""),
    Mutant("forkserver's workers not closed", "_lifecycle", "    if parent_process() is not None:", "    if False:"),
    Mutant("a with block ends quietly", "_lifecycle", "strict=not failed and store._failure_told is not True", "strict=False"),
    Mutant("a with block hides its body's error", "_lifecycle", "strict=not failed and ", "strict="),
    Mutant("an error is heard twice", "_lifecycle", " and store._failure_told is not True", ""),
    Mutant("close without a flush", "_lifecycle", "            store._flush()\n", "            pass\n"),
    Mutant("close swallows an interrupt", "_lifecycle", "        except Exception as error:\n            failure, pending", "        except BaseException as error:\n            failure, pending"),
    Mutant("close is never strict", "_lifecycle", "    if strict:\n", "    if False:\n"),
    Mutant("close in a commit", "_lifecycle", "        store._refuse_in_commit()\n", ""),
    # -- keys and values
    Mutant("stand-in of the empty key shown", "_codec", 'data = b"" if stored == EMPTY else stored\n        if', "data = stored\n        if"),
    Mutant("stand-in of the empty key taken for it", "_codec", "return self.unstorable if data == EMPTY else data", "return data"),
    Mutant("keys that do not lead back", "_codec", "if self.lossless or self.encode(text) == stored:", "if True:"),
    Mutant("keys of any length staged", "_codec", "        if len(data) <= self.max_size:\n", "        if True:\n"),
    Mutant("values of any size put", "_buffer", "        if len(data) > MAX_VALUE_BYTES:\n            raise too_large(key, data)\n        buffer", "        buffer"),
    Mutant("values of any size in an update", "_buffer", "            if len(data) > MAX_VALUE_BYTES:\n                raise too_large(key, data)\n            if", "            if"),
    Mutant("values of any size filled in", "_codec", "    if len(data) > MAX_VALUE_BYTES:\n        raise too_large(key, data)\n    return", "    return"),
    Mutant("values of any size put at once", "_codec", "            if len(data) > MAX_VALUE_BYTES:\n                raise too_large(key, data)\n", ""),
    Mutant("keys not normalized", "_codec", "            key = self.normalized(key)", "            pass"),
    Mutant("views of memory not copied", "_codec", "data = memoryview(key).tobytes()", "data = key"),
    Mutant("an old pickle protocol", "_codec", "pickle.dumps, pickle.HIGHEST_PROTOCOL", "pickle.dumps, 2"),
    Mutant("put with an old pickle protocol", "_buffer", "pickled(obj, HIGHEST_PROTOCOL)", "pickled(obj, 2)"),
    # -- keys by an object that encodes them
    Mutant("a key given that does not lead back", "_encoding", "if self._exact or self.encode(key) == stored:", "if True:"),
    Mutant("a stored key encoded", "_encoding", "if type(key) is StoredKey:", "if False:"),
    Mutant("a stored key's prefix encoded", "_encoding", " or type(prefix) is StoredKey:", ":"),
    Mutant("a stored key equal to bytes", "_encoding", "return isinstance(other, StoredKey) and ", "return "),
    Mutant("an encoding that gives no bytes", "_encoding", "if type(data) is not bytes:", "if False:"),
    Mutant("an encoding's own errors", "_encoding", "            except Exception as error:\n                raise self._refusal(\"key\"", "            except TypeError as error:\n                raise self._refusal(\"key\""),
    Mutant("a failure to decode taken for a stranger", "_encoding", "except (MemoryError, RuntimeError):", "except ArithmeticError:"),
    Mutant("one stranger fails its page", "_encoding", "            except ValueError:\n", "            except ArithmeticError:\n"),
    Mutant("bytes pass an encoding by", "_encoding", "        self.plain = 0\n", ""),
    Mutant("a class taken for an encoding", "_encoding", "isinstance(encoding, type) or ", ""),
    Mutant("options that do nothing", "_encoding", "if errors != \"strict\" or normalize:", "if False:"),
    Mutant("a value's key shown as bytes", "_encoding", "return shown(self.decode(stored))", "return shown(stored)"),
    Mutant("wrong bounds of a prefix", "_encoding", "if not isinstance(low, bytes) or not", "if not isinstance(low, bytes) and not"),
    Mutant("prefixes by bytes alone", "_ordered", "Interval(*bounds) if bounds else ", ""),
    Mutant("an encoding that cannot be sent", "_lifecycle", "        pickle.dumps(key_encoding)\n", "        pass\n"),
    Mutant("set operations fail for what is no key", "_codec", "except (TypeError, ValueError):", "except (TypeError, UnicodeError):"),
    Mutant("negative zero is a key", "_ordered_keys", "_double.pack(value + 0.0)", "_double.pack(value)"),
    Mutant("negative zero is read", "_ordered_keys", " or bits == _SIGN - 1:", ":"),
    Mutant("NaN is a key", "_ordered_keys", "    if value != value:\n", "    if False:\n"),
    Mutant("NaN is read", "_ordered_keys", "if value != value or bits", "if bits"),
    Mutant("None in a tuple is its end", "_ordered_keys", 'b"\\0\\xff"  # in a tuple', 'b"\\0"  # in a tuple'),
    Mutant("NUL in text is its end", "_ordered_keys", 'if "\\0" not in value:', "if True:"),
    Mutant("NUL in text is its end where it is read", "_ordered_keys", "_STR and data[(end := data.index(0, at)) + 1] != 0xFF:", "_STR and (end := data.index(0, at)):"),
    Mutant("tuples whose text goes on", "_ordered_keys", 'return head, head + b"\\xff"', "return Interval.of_prefix(head).low, Interval.of_prefix(head).high"),
    Mutant("ints of more bytes than needed", "_ordered_keys", "    if data[at] == 0:\n", "    if False:\n"),
    Mutant("ints of more bytes than needed, in tuples", "_ordered_keys", "_POSITIVE and data[at]:", "_POSITIVE:"),
    Mutant("negative ints of more bytes than needed", "_ordered_keys", "    if data[at] == 0xFF:\n", "    if False:\n"),
    Mutant("short ints with a length", "_ordered_keys", "if size <= _INLINE:\n        raise", "if False:\n        raise"),
    Mutant("ints of 256 bytes", "_ordered_keys", "if size > _MOST:", "if size > _MOST + 1:"),
    Mutant("more after a key", "_ordered_keys", "if end == len(data):", "if end <= len(data):"),
    Mutant("keys cut off", "_ordered_keys", "if end == len(data):", "if end >= len(data):"),
    Mutant("times that are not equal in UTC", "_ordered_times", "if utc != value:", "if False:"),
    Mutant("a zone without an offset", "_ordered_times", "if value.utcoffset() is None:", "if value.tzinfo is None:"),
    Mutant("times before 1970 last", "_ordered_times", "1 << 31, 1 << 63", "0, 0"),
    # -- the mapping
    Mutant("sets know keys in any form", "_codec", "return stored if type(own) is type(key) and own == key else None", "return stored"),
    Mutant("default sentinel returned by pop", "_keyed", "        if default is MISSING:\n            raise KeyNotFoundError(key)\n        return default", "        return default"),
    Mutant("pop, popitem and setdefault not atomic", "_keyed", "return found == old and self._stage_if", "return self._stage_if"),
    Mutant("popitem takes the other end", "_ordered", "reverse=last, values=False", "reverse=not last, values=False"),
    Mutant("del not atomic", "_keyed", "        with self._environment.lock:\n            if self._find(stored) is None:", "        if True:\n            if self._find(stored) is None:"),
    Mutant("in flushes", "_keyed", "return self._find(self._codec.encode(key)) is not None", "return self._fetch(self._codec.encode(key)) is not None"),
    Mutant("put_many does not flush first", "_many", "            self._flush()\n            self._environment.busy", "            self._environment.busy"),
    Mutant("put_many only stages", "_many", "                self._commit(changes)\n", "                self.write_buffer.update(changes)\n"),
    Mutant("read-only not noticed", "_store", "        if self._readonly:\n            _refuse", "        if False:\n            _refuse"),
    Mutant("put into a read-only store", "_store", "            self._accept = Shut(partial(_refuse_readonly, self.db_path))\n", "            pass\n"),
    Mutant("pickled without a flush", "_store", "isinstance(self._environment, Detached):\n            self.flush()", "isinstance(self._environment, Detached):\n            pass"),
    Mutant("equal to any longer mapping", "_ordered", "        if len(self) != len(other):\n            return False\n", ""),
    Mutant("| in the wrong order", "_ordered", "_merged(self, other)", "_merged(other, self)"),
    Mutant("unpickling errors as they come", "_keyed", "        except Exception as error:\n            raise self._unreadable(stored, data, error) from error\n        return value", "        except ArithmeticError as error:\n            raise self._unreadable(stored, data, error) from error\n        return value"),
    Mutant("unpickling errors of [] as they come", "_keyed", "except Exception as error:\n                    raise self._unreadable(key", "except ArithmeticError as error:\n                    raise self._unreadable(key"),
    Mutant("unpickling errors of get as they come", "_keyed", "        except Exception as error:\n            raise self._unreadable(key, data", "        except ArithmeticError as error:\n            raise self._unreadable(key, data"),
    Mutant("unpickling errors of scans and get_many as they come", "_keyed", "            except Exception as error:\n                raise self._unreadable(stored, data, error) from error\n            yield", "            except ArithmeticError as error:\n                raise self._unreadable(stored, data, error) from error\n            yield"),
    Mutant("[] does not look at what is pending", "_keyed", "            or (self._pending and (self.autoflush_on_read or key in self._pending))\n        ):\n            value", "        ):\n            value"),
    Mutant("get does not look at what is pending", "_keyed", "            or (self._pending and (self.autoflush_on_read or key in self._pending))\n        ):\n            return", "        ):\n            return"),
    Mutant("[] does not flush", "_keyed", "(self.autoflush_on_read or key in self._pending))\n        ):\n            value", "key in self._pending)\n        ):\n            value"),
    Mutant("get does not flush", "_keyed", "(self.autoflush_on_read or key in self._pending))\n        ):\n            return", "key in self._pending)\n        ):\n            return"),
    Mutant("in does not look at what is pending", "_keyed", "<= self._plain and key not in self._pending:", "<= self._plain:"),
    Mutant("len does not look at what is pending", "_many", "        if not self._pending:\n            try:\n                entries", "        if True:\n            try:\n                entries"),
    Mutant("large values do not look at what is pending", "_keyed", "        data = self._pending.get(stored, MISSING)\n        if data is MISSING:\n            self._flush_before_read()\n            if", "        data = MISSING\n        if data is MISSING:\n            self._flush_before_read()\n            if"),
    Mutant("update leaves a full buffer", "_many", "            self._flush_if_full()\n", ""),
    Mutant("the stand-in of the empty key in a page", "_codec", "next(iter(stored_keys))[0] and next(reversed(first_and_last))[0]", "True"),
    Mutant("large values copied in two steps", "_reads", "        views = map(getitem, map(get, (key,), (b\"\",)), (slice(start, stop),))", "        views = iter([get(key, b\"\")[start:stop]])"),
    Mutant("parts of several transactions", "_reads", "map(getitem, map(get, (key,)", "map(getitem, map(begin(buffers=True).get, (key,)"),
    Mutant("a large value is never expected", "_keyed", "        self._large = self._direct and _reads.is_large(size)\n", "        self._large = False\n"),
    Mutant("a large value is expected for ever", "_reads", "return _COPIES_AT_ONCE and size >= LARGE", "return _COPIES_AT_ONCE"),
    Mutant("large strings of any form taken out", "_large", "if window[0] != _PROTO or window[1] < 4:", "if False:"),
    Mutant("small strings taken out", "_large", "make is not None and size >= LARGE and", "make is not None and"),
    Mutant("frames that end in the next window skipped", "_large", "            data += cut(bytes, at, at + step)\n", ""),
    Mutant("superset by length alone", "_views", " and sum(1 for _ in self._shared_with(other)) == len(other)", ""),
    Mutant("items compared by key alone", "_views", "data is not None and self._mapping._load(self._mapping._norm_key(key), data) == pair[1]", "data is not None"),
    Mutant("views of one batch", "_views", "        while batch := list(islice(elements, _BATCH)):\n            yield", "        if batch := list(islice(elements, _BATCH)):\n            yield"),
    # -- order
    Mutant("a minimum is always inside", "_interval", 'minimum if with_minimum else minimum + b"\\0"', "minimum"),
    Mutant("a minimum is never inside", "_interval", "minimum if with_minimum else minimum", "minimum"),
    Mutant("a maximum is never inside", "_interval", 'maximum + b"\\0" if with_maximum else maximum', "maximum"),
    Mutant("a prefix that ends with 0xFF", "_interval", 'prefix.rstrip(b"\\xff")', "prefix[:-1] + prefix[-1:].rstrip(b'\\xff')"),
    Mutant("bounds of any length sought", "_interval", "self.low[:size]", "self.low"),
    Mutant("a part of a part is larger", "_interval", "Interval(max(self.low, other.low)", "Interval(min(self.low, other.low)"),
    Mutant("a part of a part ends later", "_interval", "min(highs) if highs", "max(highs) if highs"),
    Mutant("the empty key in any interval", "_interval", "            return self.has_empty\n", "            return True\n"),
    Mutant("the empty key above what it is not in", "_interval", 'self.has_empty = not low and (high is None or high > b"")', "self.has_empty = not low"),
    Mutant("the empty key not looked for beyond the end", "_interval", 'max(high, EMPTY + b"\\0") if self.has_empty and high is not None else high', "high"),
    Mutant("the stand-in of the empty key taken for a key", "_interval", "self.stop != high or (not", "self.stop != high or False and (not"),
    Mutant("pages never sifted", "_interval", "next(reversed(rows))) > EMPTY:", "next(reversed(rows))) >= b'':"),
    Mutant("a bound of the stand-in is that of any key too long", "_codec", "EMPTY if data is self.unstorable else data", "data"),
    Mutant("an empty bound is that of its stand-in", "_codec", 'b"" if data is EMPTY else EMPTY', "EMPTY"),
    Mutant("a page of keys does not end", "_reads", "            keys = takewhile(high.__gt__, keys)\n", "            pass\n"),
    Mutant("a page of items does not end", "_reads", "        pairs = takewhile((high,).__gt__, pairs)\n", "        pass\n"),
    Mutant("a reversed page of keys does not end", "_reads", "            keys = takewhile(low.__le__, keys)\n", "            pass\n"),
    Mutant("a reversed page of items does not end", "_reads", "        pairs = takewhile((low,).__le__, pairs)  #", "        pass  #"),
    Mutant("a reversed page begins with its bound", "_reads", "    return cursor.prev()\n", "    return True\n"),
    Mutant("clear of a part empties the file", "_resize", "        if emptied is WHOLE:\n", "        if emptied is not None:\n"),
    Mutant("clear of a part does not end", "_resize", "while found and (interval.stop is None or cursor.key() < interval.stop):", "while found:"),
    Mutant("clear of a part deletes the stand-in", "_resize", "if interval.contains(cursor.key()):", "if True:"),
    Mutant("clear of a part drops all that is pending", "_flush", "for key, data in changes.items() if interval.contains(key)}", "for key, data in changes.items()}"),
    Mutant("a new store is everybody's to read", "_datafile", "_PRIVATE = 0o600\n", "_PRIVATE = 0o644\n"),
    Mutant("a folder that its readers cannot enter", "_datafile", "    return mode | (mode & 0o444) >> 2\n", "    return mode | 0o100\n"),
    Mutant("a folder that its owner cannot enter", "_datafile", "    return mode | (mode & 0o444) >> 2\n", "    return mode\n"),
    Mutant("a lost lock file is one user's", "_datafile", "            mode = os.stat(data_file(path, options)).st_mode & 0o666 | _PRIVATE\n", "            mode = _PRIVATE\n"),
    Mutant("a lost lock file cannot be opened again", "_datafile", ".st_mode & 0o666 | _PRIVATE\n", ".st_mode & 0o666\n"),
    Mutant("another user's store is none", "_open", "    except PermissionError:\n        raise\n", ""),
    Mutant("mode is not heeded", "_datafile", "    mode: int | None = options.get(\"mode\")\n", "    mode: int | None = None\n"),
    Mutant("a mode that locks its owner out", "_datafile", "    if mode & ~0o177 != _PRIVATE:\n", "    if mode & ~0o777:\n"),
    Mutant("a mode that is decimal", "_datafile", "    if mode & ~0o177 != _PRIVATE:\n", "    if mode & _PRIVATE != _PRIVATE:\n"),
    Mutant("peekitem takes the other end", "_ordered", "row = self._end_row(last)\n        if row is None:\n            raise KeyError(\"peek", "row = self._end_row(not last)\n        if row is None:\n            raise KeyError(\"peek"),
    Mutant("views of a part look outside", "_ordered", "if stored is not None and inside(stored))", "if stored is not None)"),
    Mutant("keys outside of a part are got", "_range", "if self._interval.contains(stored) else default", "if True else default"),
    Mutant("keys outside are in a part", "_range", "return self._interval.contains(stored) and self", "return self"),
    Mutant("keys outside of a part are deleted", "_range", "        if not self._interval.contains(self._codec.encode(key)):\n            raise KeyNot", "        if False:\n            raise KeyNot"),
    Mutant("keys outside of a part are written", "_range", "        if not self._interval.contains(self._codec.encode(key)):\n            raise ValueError", "        if False:\n            raise ValueError"),
    Mutant("keys outside of a part are popped", "_range", "self._store.pop(key, default) if inside else default", "self._store.pop(key, default)"),
    # -- serializers
    Mutant("a serializer is not checked", "_serializer", "    if not all(callable(", "    if not any(callable("),
    Mutant("a serializer's text is not encoded", "_serializer", "        data = data.encode()\n", "        pass\n"),
    Mutant("a serializer's other results are stored", "_serializer", "        if not isinstance(data, (bytes, bytearray, memoryview)):", "        if False:"),
    Mutant("a serializer's buffer is not copied", "_serializer", "        data = bytes(data)  # what", "        pass  # what"),
    Mutant("a serialized value has no limit", "_serializer", "    if len(data) > MAX_VALUE_BYTES:", "    if False:"),
    Mutant("a module is pickled", "_serializer", "serializer.__name__ if isinstance(serializer, ModuleType) else serializer", "serializer"),
    Mutant("another serializer's values read as pickles", "_keyed", "        self._short = self._plain if self._direct and not self._large else 0", "        self._short = 0 if self._large else self._plain"),
    Mutant("another serializer's values read as pickles from the start", "_store", "            self._short = self._plain if self._direct else 0\n", "            self._short = self._plain\n"),
    Mutant("another serializer's values read in parts", "_keyed", "        self._large = self._direct and ", "        self._large = "),
    Mutant("put pickles always", "_buffer", "HIGHEST_PROTOCOL) if self._direct else self._dumps(key, obj)", "HIGHEST_PROTOCOL)"),
    Mutant("update pickles always", "_buffer", "HIGHEST_PROTOCOL) if direct else dumps(key, value)", "HIGHEST_PROTOCOL)"),
    Mutant("put_many pickles always", "_many", "None if self._direct else self._dumps", "None"),
    Mutant("a handle forgets its serializer", "_store", "        self.serializer = _serializer.restored(state[\"serializer\"])\n", "        self.serializer = pickle\n"),
    # -- open and sync
    Mutant("r is not read-only", "_open", "readonly=flag == \"r\"", "readonly=False"),
    Mutant("n empties nothing", "_open", "            store.clear()\n", "            pass\n"),
    Mutant("n leaves a store open that it cannot empty", "_open", "            store.close()\n            raise", "            raise"),
    Mutant("n takes any folder", "_open", "    if flag == \"n\":\n        if os.path.isdir(path) and not", "    if flag == \"n\":\n        if False and not"),
    Mutant("any file is a store", "_open", "        if not is_store(file):", "        if False:"),
    Mutant("an empty file is a store", "_open", "    if _size(file):  # an empty", "    if os.path.exists(file):  # an empty"),
    Mutant("an old shelf is passed by", "_open", "        if shelf := whichdb(path):", "        if False and (shelf := whichdb(path)):"),
    Mutant("w makes a store", "_open", "    if flag in (\"r\", \"w\"):\n", "    if flag == \"r\":\n"),
    Mutant("a file in the folder's place is left to LMDB", "_open", "    if file != path and os.path.exists(path)", "    if False and os.path.exists(path)"),
    Mutant("open flushes before reads", "_open", "\"autoflush_on_read\": False, **options", "**options"),
    Mutant("the protocol is ignored", "_serializer", "_PickleProtocol(protocol) if 0 <= protocol", "_PickleProtocol(protocol) if 9 <= protocol"),
    Mutant("sync does not wait for the disk", "_store", "                self._environment.handle().sync(True)\n", "                pass\n"),
    Mutant("sync always waits once more", "_store", "        if not waits_for_disk(self._lmdb_kwargs):\n", "        if True:\n"),
    Mutant("sync of a read-only store is an error", "_store", "        if self._readonly and not self._is_closed:\n            return", "        if False:\n            return"),
    # -- write-back
    Mutant("loaded values are not kept", "_cache", "                        entry = self._cache.setdefault(stored, entry)\n", "                        pass\n"),
    Mutant("a loaded value replaces the one that is kept", "_cache", "entry = self._cache.setdefault(stored, entry)", "self._cache[stored] = entry"),
    Mutant("an old row is kept", "_cache", "                    row = self._find(stored)\n                    if row == data:\n", "                    row = data\n                    if row == data:\n"),
    Mutant("another's write is never seen", "_cache", "row = data if entry.row == data else self._row_of_another(stored, entry)", "row = data = entry.row"),
    Mutant("another's write replaces what has changed", "_cache", "row == entry.row or self._changed(stored, entry) is not None:", "row == entry.row:"),
    Mutant("an old page replaces what is kept", "_cache", "if row is None or row == entry.row or self._changed", "if row is None or self._changed"),
    Mutant("what has not changed is written", "_cache", "return None if data == row or data == self._dumps(key, self._loads(row)) else data", "return data"),
    Mutant("an equal value with another pickle is written", "_cache", "data == row or data == self._dumps(key, self._loads(row))", "data == row"),
    Mutant("a change is written over what replaced it", "_cache", "while self._cache.get(stored) is entry and entry.row is row:", "while entry.row is row:"),
    Mutant("a change is written again and again", "_cache", "                    entry.row = data\n", "                    break\n"),
    Mutant("writing back ends at the first failure", "_cache", "                failure = failure or self._unwritable(stored, error)\n", "                return self._unwritable(stored, error)\n"),
    Mutant("writing back within writing back", "_cache", "[] if self._writes_back_already() else _items", "_items"),
    Mutant("writing back to a store that is closed meanwhile is an error", "_cache", "wrote back itself\n                    break\n", "wrote back itself\n                    pass\n"),
    Mutant("no bound", "_cache", "or len(self._cache) <= self.max_cached:\n", "or True:\n"),
    Mutant("the first that came is dropped", "_cache", "                self._cache.move_to_end(stored)\n", "                pass\n"),
    Mutant("dropped without a look", "_cache", "                self._write(stored, entry)\n            except", "                pass\n            except"),
    Mutant("dropped though it could not be written", "_cache", "the next flush tells\n                break\n", "the next flush tells\n"),
    Mutant("what is dropped piles up", "_cache", "            self._flush_if_full()\n", "            pass\n"),
    Mutant("a read fails for a flush of what is dropped", "_cache", "        except (lmdb.Error, OSError) as error:  # a read", "        except ArithmeticError as error:  # a read"),
    Mutant("cached values read past the cache", "_writeback", "        self._direct = False  # what", "        pass  # what"),
    Mutant("put does not keep", "_writeback", "            self._keep(stored, value, data)\n", "            pass\n"),
    Mutant("put_many does not keep", "_writeback", "                self._keep(stored, value, changes[stored])\n", "                pass\n"),
    Mutant("setdefault does not keep", "_keyed", "                    self._keep(stored, default, new)\n", "                    pass\n"),
    Mutant("deleted values are kept", "_writeback", "            if data is None:\n                self._cache.pop(key, None)\n", ""),
    Mutant("popped values are kept", "_writeback", "        if done and new is None:\n            self._cache.pop(stored, None)\n", ""),
    Mutant("cleared values are kept", "_writeback", "            raise\n        self._drop_cached(interval)\n", "            raise\n"),
    Mutant("cleared values are kept after an interrupt", "_writeback", "            if self._is_empty(interval):  # inter", "            if False:  # inter"),
    Mutant("values are dropped though nothing was cleared", "_writeback", "            if self._is_empty(interval):  # inter", "            if True:  # inter"),
    Mutant("a clear of a part drops the cache of all", "_cache", "            if interval.contains(stored):\n", "            if True:\n"),
    Mutant("flush writes nothing back", "_writeback", "        failure = self._write_back(self._write)\n        super().flush()", "        failure = None\n        super().flush()"),
    Mutant("flush swallows what cannot be written", "_writeback", "        super().flush()\n        if failure is not None:\n            raise failure\n", "        super().flush()\n"),
    Mutant("a transaction takes what cannot be written", "_writeback", "    def _write_changed(self) -> None:\n        failure = self._write_back(self._write)\n        if failure is not None:\n            raise failure\n", "    def _write_changed(self) -> None:\n        self._write_back(self._write)\n"),
    Mutant("an inner block left elsewhere hides the outer one's end", "_isolation", "        if self.abandoned or self._guard() is None:\n            self.end()\n            return\n        self._refuse_if_broken()\n", "        self._refuse_if_broken()\n        if self.abandoned or self._guard() is None:\n            self.end()\n            return\n"),
    Mutant("a flush does not end a block left elsewhere", "_flush", "            environment.block.own()  # which", "            pass  # which"),
    Mutant("an undone transaction keeps values", "_writeback", "        self._cache.clear()  # without", "        pass  # without"),
    Mutant("a transaction begins without what has changed", "_transaction", "        store._write_changed()\n", ""),
    Mutant("a transaction ends without what has changed", "_transaction", "            block.write_changed(level)\n", ""),
    Mutant("close writes nothing back", "_writeback", "        failure = self._write_back(self._write)\n        try:", "        failure = None\n        try:"),
    Mutant("a strict close swallows what cannot be written", "_writeback", "            raise FlushError(str(failure)) from failure\n", "            pass\n"),
    Mutant("a with block ends past the store's own close", "_lifecycle", "    store.close(strict=not failed", "    close(store, strict=not failed"),
    Mutant("a with block is quiet of what has changed since a failure", "_writeback", "        if self._failure_told and self._write", "        if False and self._write"),
    Mutant("a with block is quiet of what cannot be written", "_writeback", "            self._failure_told = None\n", "            pass\n"),
    Mutant("collection writes nothing back", "_writeback", "self._write_back(self._hand_over)", "None"),
    Mutant("collection waits for the lock", "_writeback", "self._write_back(self._hand_over)", "self._write_back(self._write)"),
    Mutant("a child keeps what its parent has changed", "_writeback", "        super()._forget_pending()\n        self._cache.clear()\n", "        super()._forget_pending()\n"),
    Mutant("a read-only store writes back", "_writeback", "        if options.get(\"readonly\"):", "        if False:"),
    Mutant("a handle forgets the bound", "_writeback", "        self._start_cache(state[\"max_cached\"])\n", "        self._start_cache(None)\n"),
    # -- copies and figures
    Mutant("a backup without what is pending", "_maintenance", "        if not self._readonly:\n            self.flush()\n", ""),
    Mutant("a backup under its name at once", "_backup", 'return f"{target}.{os.urandom(4).hex()}.part"', "return target"),
    Mutant("a backup replaces what is there", "_backup", "    if os.path.lexists(target):", "    if False:"),
    Mutant("a backup replaces a link to nothing", "_backup", "os.path.lexists(target)", "os.path.exists(target)"),
    Mutant("a backup replaces what comes meanwhile", "_backup", "            os.link(part, target)  #", "            os.replace(part, target)  #"),
    Mutant("a backup without links replaces what comes meanwhile", "_backup", "    _refuse_existing(target)\n    os.rename", "    os.rename"),
    Mutant("a failed backup is left", "_backup", "        discard(part)\n        raise", "        raise"),
    Mutant("a backup that is not on the disk", "_backup", "            os.fsync(fd)\n        finally:\n            os.close(fd)\n        shutil", "            pass\n        finally:\n            os.close(fd)\n        shutil"),
    Mutant("a backup that all may read", "_backup", "        shutil.copymode(source, copy)\n", "        os.chmod(copy, 0o644)\n"),
    Mutant("a backup's directory that all may enter", "_backup", "            shutil.copymode(environment.path, part)\n", "            os.chmod(part, 0o755)\n"),
    Mutant("a backup that all may read while it is made", "_backup", "os.mkdir(part, 0o700)", "os.mkdir(part)"),
    Mutant("a backup of a file that all may read while it is made", "_backup", "0o600)", "0o644)"),
    Mutant("a whole copy without the lock", "_backup", "with nullcontext() if compact else environment.lock:", "with nullcontext():"),
    Mutant("a compact copy with the lock", "_backup", "with nullcontext() if compact else environment.lock:", "with environment.lock:"),
    Mutant("free pages always left out", "_backup", "handle.copyfd(fd, compact)", "handle.copyfd(fd, True)"),
    Mutant("a backup does not follow another process's growth", "_backup", "                environment.resize(0)\n", "                raise\n"),
    Mutant("a fork ends a backup", "_backup", "if environment.handle() is handle:", "if True:"),
    Mutant("idle places in the table are readers", "_stats", 'line.rpartition(" ")[2].isdigit()', 'line.strip()[:1].isdigit()'),
    Mutant("used bytes without large values", "_stats", 'stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]', 'stat["branch_pages"] + stat["leaf_pages"]'),
    # -- the command line
    Mutant("any pickle is unpickled by a dump", "_jsonlines", "        if code.name not in _PLAIN:", "        if False:"),
    Mutant("bytes after a pickle are dropped", "_jsonlines", "return end == len(data) - 1", "return True"),
    Mutant("memory for any number", "_jsonlines", 'code.name == "LONG_BINPUT" and (argument or 0) > len(data)', "False"),
    Mutant("shared lists are doubled by a dump", "_jsonlines", "id(item) in seen or ", ""),
    Mutant("depth without an end", "_jsonlines", "depth == _DEEPEST or ", ""),
    Mutant("keys of any type are JSON", "_jsonlines", "(kind is dict and not all(type(key) is str for key in item))", "False"),
    Mutant("lone surrogates are JSON", "_jsonlines", "if not item.isascii() and any(", "if False and any("),
    Mutant("infinity is JSON", "_jsonlines", "if item - item != 0:", "if False:"),
    Mutant("any number is JSON", "_jsonlines", "if item.bit_length() > _INT_BITS:", "if False:"),
    Mutant("the stand-in of the empty key is dumped", "_jsonlines", "base64.b64encode(codec.to_bytes(stored))", "base64.b64encode(stored)"),
    Mutant("a line with more than a row", "_jsonlines", "len(names) != 2 or any(", "any("),
    Mutant("any JSON is a key", "_jsonlines", "if not isinstance(key, (str, bytes)):", "if False:"),
    Mutant("base64 is not checked", "_jsonlines", "base64.b64decode(text, validate=True)", "base64.b64decode(text)"),
    Mutant("NaN is JSON", "_jsonlines", "parse_constant=_refuse", "parse_constant=float"),
    Mutant("what is shown is another key's text", "_keytext", " and _stored(codec, parse(text, key_encoding)) == stored", ""),
    Mutant("keys on several lines", "_keytext", "if text and text.isprintable() and", "if text and"),
    Mutant("bytes in hexadecimal go through the encoding", "_keytext", "StoredKey(bytes.fromhex(text[len(_HEX) :]))", "bytes.fromhex(text[len(_HEX) :])"),
    Mutant("ordered keys are text", "_keytext", "    if isinstance(key_encoding, OrderedKeys):", "    if False:"),
    Mutant("a look makes a store", "_commands", "    if not os.path.isfile(file) or not os.path.getsize(file):", "    if False:"),
    Mutant("a look at an empty file", "_commands", " or not os.path.getsize(file)", ""),
    Mutant("delete makes a store", "_commands", "    _data_file(arguments.path)\n    with", "    with"),
    Mutant("a look makes a lock file", "_commands", "subdir=subdir, lock=lock\n", "subdir=subdir\n"),
    Mutant("two lock files for one store", "_commands", 'if name == "data.mdb" and', "if False and"),
    Mutant("a single file taken for one of a directory", "_commands", ' and not os.path.exists(f"{path}-lock")', ""),
    Mutant("a last flush that fails in silence", "_commands", "store.close(strict=True)", "store.close()"),
    Mutant("a structure checked without a snapshot", "_commands", "        snapshot = store.env.begin()  #", "        snapshot = store.env.begin()\n        snapshot.abort()  #"),
    Mutant("values of a damaged file are read", "_commands", "        if problems:\n", "        if False:\n"),
    Mutant("failing values do not count", "_commands", "return 1 if failed else 0", "return 0"),
    Mutant("what is no shelf is imported", "_commands", 'if not data.endswith(b"."):', "if False:"),
    Mutant("an interrupted backup is left by the command", "_commands", "            _backup.discard(part)\n", ""),
    Mutant("a failed backup succeeds", "_commands", "    for error in errors:\n        raise error\n", ""),
    Mutant("a bar among the rows", "_progress", "(beside_output or not _is_terminal(sys.stdout))", "True"),
    Mutant("a bar in a file", "_progress", "if _is_terminal(sys.stderr) and", "if"),
    Mutant("a closed pipe is an error", "_cli", "    except BrokenPipeError:", "    except ArithmeticError:"),
    Mutant("output lost at the end", "_cli", '    print(end="", flush=True)\n    return int', "    return int"),
    Mutant("an interrupt is a traceback", "_cli", "    except KeyboardInterrupt:\n        return _INTERRUPTED\n", ""),
    Mutant("the usage with each error", "_cli", "    def error(self", "    def error_(self"),
    Mutant("the cause is not told", "_cli", "if isinstance(error, FlushError) and", "if False and"),
    Mutant("messages of several lines", "_cli", 'text = " ".join(str(error).split())', "text = str(error)"),
    # -- transactions
    Mutant("all threads are in the block", "_isolation", "        if get_ident() != self.owner or not self.levels:", "        if not self.levels:"),
    Mutant("what a handler writes amid the commit is lost", "_block", "        elif self.committing:", "        elif False:"),
    Mutant("other processes write beside a block", "_isolation", "            self._writer.lock()\n            if not", "            if not"),
    Mutant("committed though another process wrote", "_writer", "        if number != self._number:", "        if False:"),
    Mutant("not locked again after a fork", "_isolation", "        if self._writer.sleeps != self.environment.sleeps or self._guard() is None:", "        if self._guard() is None:"),
    Mutant("a block that was left is found by the next use alone", "_transaction", "weakref.ref(transaction, partial(_drop, block, self.level))", "weakref.ref(transaction)"),
    Mutant("a traceback keeps a block open", "_transaction", "partial(_leave, transaction._statement)", "partial(_leave_by_hand, transaction)"),
    Mutant("a savepoint does not undo a clear", "_overlay", "            if inner.replaced is not None:", "            if False:"),
    Mutant("a savepoint keeps new keys", "_overlay", "            deque(map(self.changes.pop, new, repeat(None)), maxlen=0)\n", ""),
    Mutant("an inner savepoint's changes outlive the outer one", "_overlay", "                outer.undo.setdefault(key, data)\n", "                pass\n"),
    Mutant("an inner savepoint hides what the outer one undoes", "_overlay", "outer.undo.setdefault(key, data)", "outer.undo[key] = data"),
    Mutant("a savepoint mixes what was before and after a clear", "_overlay", "        if level.undo is not None and level.replaced is None:\n            for key", "        if level.undo is not None:\n            for key"),
    Mutant("iteration sees an emptied file", "_many", "pending.own() and pending.emptied", "False"),
    Mutant("a look-up sees an emptied file", "_block", "self.changes.get(key, None if self.emptied else default)", "self.changes.get(key, default)"),
    Mutant("a thread that ends leaves its block open", "_transaction", "                block.end()\n", "                pass\n"),
    Mutant("locks stay taken after an interrupt", "_locks", "            give(iter(taken))\n            raise\n\n    if sys", "            raise\n\n    if sys"),
    Mutant("deadlocks are not found", "_locks", "        if holder.owner == me:", "        if False:"),
    Mutant("locks are not watched", "_locks", "            _make_all(WatchedLock)", "            pass"),
    Mutant("locks are watched for ever", "_locks", "            _make_all(FileLock)", "            pass"),
    Mutant("an abandoned block is waited for", "_locks", "if holder.abandoned and late:", "if False:"),
    Mutant("the fork hook waits with locks held", "_registry", "filter(acquire_at_once, [", "filter(RLock.acquire, ["),
    Mutant("a child goes on in its parent's block", "_isolation", "        self._broken = _FORKED\n", ""),
    Mutant("a block is left open at exit", "_lifecycle", "    for block in holders_here():\n        block.end()\n", ""),
    Mutant("edit stores what has not changed", "_transaction", "            if changed != data:", "            if True:"),
    Mutant("a block is no commit under way", "_isolation", "environment.busy, environment.block = True, self", "environment.block = self"),
    Mutant("a block's changes stay counted", "_isolation", "            store._pending_bytes = sum(weight(key, data) for key, data in self._buffer.copy().items())\n", ""),
    Mutant("a block ends before one inside of it", "_isolation", "        unordered = level is not self.levels[-1]", "        unordered = False"),
    Mutant("ended in another thread", "_transaction", "    if get_ident() != block.owner:", "    if False:"),
    Mutant("a rollback waits for readers", "_writer", "                txn.commit()  # of nothing", "                txn.abort()  # of nothing"),
    Mutant("collected stores are forgotten by a block", "_isolation", "            if self._buffer or environment.orphans:", "            if self._buffer:"),
    Mutant("collected stores wait for the next commit", "_transaction", "        block.environment.close_orphans_unless_locked()\n", "        pass\n"),
    Mutant("a block outlives the collection of its store", "_isolation", "        self._store = weakref.ref(store)", "        self._store = lambda: store"),
    Mutant("what is pending is not flushed before a block", "_isolation", "                store._flush()\n", "                pass\n"),
]  # fmt: skip

if sys.version_info >= (3, 13):  # there CPython runs what `atexit` holds in such workers, and nothing is lost
    MUTANTS = [mutant for mutant in MUTANTS if mutant.name != "forkserver's workers not closed"]


def apply(mutant: Mutant, package: Path) -> None:
    """Write the mutant into the copy at `package`; ValueError if the code it changes is not there once."""
    module = package / f"{mutant.module}.py"
    source = module.read_text()
    if source.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.old!r} stands {source.count(mutant.old)} times in {module.name}")
    module.write_text(source.replace(mutant.old, mutant.new))


def run(mutant: Mutant) -> tuple[bool, float, str]:
    """Whether the tests kill the mutant, in how many seconds, and the last line they print."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PACKAGE, Path(folder, PACKAGE.name), ignore=shutil.ignore_patterns("__pycache__"))
        apply(mutant, Path(folder, PACKAGE.name))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--timeout=60", "-p", "no:cacheprovider", str(TESTS)]
        command += ["-c", str(TESTS.parent / "pyproject.toml"), "--ignore", str(TESTS / "test_mutants.py")]
        command += ["--ignore", str(TESTS / "test_documents.py")]
        variables = {**os.environ, "PYTHONPATH": folder, "HYPOTHESIS_PROFILE": "ci", "TMPDIR": folder}
        try:
            done = subprocess.run(command, cwd=folder, env=variables, timeout=SECONDS, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            return True, time.monotonic() - start, "the tests did not end"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    # A test that kills the interpreter has noticed it too.
    return (
        done.returncode == 1 or done.returncode < 0,
        time.monotonic() - start,
        (failed or done.stdout.splitlines()[-1:] or [done.stderr])[0],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    if run(UNCHANGED)[0]:
        sys.exit("the tests fail on the package as it is")
    mutants = [m for m in MUTANTS if not options.words or any(word in m.name for word in options.words)]
    survivors = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutant, (killed, seconds, last) in zip(mutants, pool.map(run, mutants)):
            print(f"{'killed  ' if killed else 'SURVIVED'} {seconds:5.0f} s  {mutant.name}: {last[:100]}", flush=True)
            survivors += [] if killed else [mutant.name]
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} mutants killed")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
