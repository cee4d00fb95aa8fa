"""An I/O error on a meta page, after which LMDB refuses every use of its environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.files import contents
from support.programs import run_script

# `fail_meta_pages(n)` makes the next n writes of a meta page fail. They are the only short ones.
PRELOAD = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <unistd.h>

static int failing = 0;

void fail_meta_pages(int count) { failing = count; }

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at)
{
    static ssize_t (*next)(int, const void *, size_t, off_t);
    if (!next)
        next = dlsym(RTLD_NEXT, "pwrite64");
    if (failing && size < 512) {
        failing--;
        errno = EIO;
        return -1;
    }
    return next(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }
"""

PANIC = """
import ctypes, logging, lmdb
logging.basicConfig()
fail_meta_pages = ctypes.CDLL(None).fail_meta_pages
store = opened(lib_version={version})
store.put_many({{"stored": 1}})
store["pending"] = 2
fail_meta_pages(1)
try:
    store.flush()
except lmdb.Error as error:
    assert "Input/output" in str(error), error
else:
    raise AssertionError("the write did not fail")
assert store.write_buffer.keys() == {{b"pending"}}
if not {version}:
    try:
        store.env.begin()
    except lmdb.PanicError:
        pass
    else:
        raise AssertionError("LMDB does not refuse to go on")
"""

NEXT_USES = {
    "flush": "store.flush()",
    "get": "assert store.get('stored') == 1 and store['pending'] == 2",
    "in": "store.autoflush_on_read = False; assert 'stored' in store",
    "items": "store.autoflush_on_read = False; assert list(store.items()) == [('pending', 2), ('stored', 1)]",
    "len": "store.autoflush_on_read = False; assert len(store) == 2",
    "put_many": "store.put_many({'many': 3}); del store['many']",
    "pop": "assert store.pop('stored') == 1; store['stored'] = 1",
    "transaction": "with store.transaction(): store['inside'] = 1; del store['inside']",
    "clear": "store.clear(); store.update(stored=1, pending=2)",
    "backup": "store.backup(path + '-backup')",
    "close": "store.close()",
    "exit": "",
}


@pytest.fixture
def failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the scripts of this test write through `PRELOAD`."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, and a loader that knows LD_PRELOAD")
    source, library = tmp_path / "failing.c", tmp_path / "failing.so"
    source.write_text(PRELOAD)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=60)
    monkeypatch.setenv("LD_PRELOAD", str(library))


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("use", NEXT_USES.values(), ids=NEXT_USES)
def test_next_use_after_a_failed_meta_page_opens_the_file_again(
    path: str, failing_disk: None, use: str, version: int
) -> None:
    """Pending changes are written, whatever is used first. The log tells why the file was opened again."""
    ended = run_script(PANIC.format(version=version) + use, path)
    assert "is opened again after a failed write" in ended.stderr
    assert contents(path) == {"stored": 1, "pending": 2}


def test_transaction_whose_meta_page_fails_is_undone_and_can_run_again(path: str, failing_disk: None) -> None:
    """The error of the commit is raised, and nothing of the block is in the file."""
    source = """
        import ctypes, lmdb
        store = opened()
        for attempt in range(2):
            ctypes.CDLL(None).fail_meta_pages(1 - attempt)
            try:
                with store.transaction():
                    store["key"] = attempt
            except lmdb.Error as error:
                assert attempt == 0
                assert "Input/output" in str(error)
        assert attempt == 1
    """
    run_script(source, path)
    assert contents(path) == {"key": 1}


def test_backup_after_a_transaction_whose_meta_page_failed_works(path: str, failing_disk: None) -> None:
    """A copy has nothing to flush then, and opens the file again itself."""
    source = """
        import ctypes, lmdb
        store = opened()
        store.put_many({"key": 1})
        ctypes.CDLL(None).fail_meta_pages(1)
        try:
            with store.transaction():
                store["key"] = 2
        except lmdb.Error:
            store.backup(path + "-backup")
    """
    run_script(source, path)
    assert contents(path + "-backup") == {"key": 1}


def test_disk_that_fails_each_time_keeps_what_is_pending(path: str, failing_disk: None) -> None:
    """Each flush raises the error of the disk; the first one after that succeeds."""
    source = """
        import ctypes, lmdb
        store = opened()
        store["key"] = 1
        ctypes.CDLL(None).fail_meta_pages(6)
        failures = 0
        while store.write_buffer:
            try:
                store.flush()
            except lmdb.Error as error:
                assert "Input/output" in str(error), error
                failures += 1
        print(failures)
    """
    assert int(run_script(source, path).stdout) >= 3
    assert contents(path) == {"key": 1}
