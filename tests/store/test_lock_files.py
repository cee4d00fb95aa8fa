"""Lock files that other programs read, copy, delete and replace while stores are open."""

from __future__ import annotations

import errno
import io
import logging
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support import LIMIT
from support.checkpoints import at_copies
from support.files import contents
from support.lock_file_tools import TOOLS
from support.programs import run_script
from support.threads import in_thread

from lmdb_object_store import ConflictError, LmdbObjectStore, _errors
from lmdb_object_store._buffer import resize as _resize
from lmdb_object_store._environment.lock_file import ProcessLocks
from lmdb_object_store._environment.write import write as write_changes

Store = LmdbObjectStore[Any, Any]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="locks of open file descriptions are Linux's alone")

LOSING = ["copytree", "zip", "hash"]  # LMDB's locks are lost by them; the lock file is the same
REPLACING = ["rm", "replace"]

# Runs each line that it gets, with the store as `store`, and answers with what the expression gives.
_SERVER = """
import sys
from lmdb_object_store import LmdbObjectStore
store = LmdbObjectStore(sys.argv[1], key_encoding="utf-8")
print("open", flush=True)
for line in sys.stdin:
    print(eval(line), flush=True)
store.close(strict=True)
"""


class Other:
    """Another process that has the store at `path` open."""

    def __init__(self, path: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.answer() == "open"

    def answer(self) -> str:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def answers_within(self, seconds: float) -> bool:
        """Return True if it prints something in time."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def tell(self, expression: str) -> None:
        """Have it evaluate `expression`."""
        assert self._process.stdin is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()

    def do(self, expression: str) -> str:
        """Return the text of the value of `expression` there."""
        self.tell(expression)
        return self.answer()

    def close(self) -> None:
        """Close its store, and check that it ends in order."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            assert self._process.wait(LIMIT) == 0
        finally:
            self._process.kill()
            self._process.stdout.close()


@pytest.fixture
def start(path: str) -> Iterator[Callable[[], Other]]:
    """Start other processes at `path`, and end them after the test."""
    others: list[Other] = []

    def started() -> Other:
        others.append(Other(path))
        return others[-1]

    yield started
    for other in others:
        other.close()


@pytest.fixture
def store(path: str) -> Iterator[Store]:
    """Open a store that is closed before the other processes are."""
    with LmdbObjectStore[Any, Any](path, key_encoding="utf-8") as store:
        store["before"] = 0
        store.flush()
        yield store


def use(tool: str, path: str) -> None:
    """Run `tool` on the folder at `path`, in this process."""
    TOOLS[tool](Path(path), Path(f"{path} scratch"))


@pytest.mark.parametrize("tool", TOOLS)
def test_flush_after_a_tool_at_the_lock_file_waits_for_a_transaction(
    start: Callable[[], Other], store: Store, path: str, tool: str
) -> None:
    """A flush, and a transaction, wait for that of a process that opened the store after the tool; none is lost."""
    use(tool, path)
    other = start()
    for name, write in {"flush": store.flush, "transaction": lambda: in_transaction(store)}.items():
        other.do("[t := store.transaction(), t.__enter__()]")
        store[name] = 1
        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), f"{name} did not wait"
        other.do(f"[store.put('other {name}', 2), t.__exit__(None, None, None)]")
        thread.join(LIMIT)
        assert not thread.is_alive()
    expected = {"before": 0, "flush": 1, "other flush": 2, "transaction": 1, "other transaction": 2, "inside": 3}
    assert dict(store) == expected
    assert other.do("dict(store)") == repr(dict(sorted(expected.items())))


def in_transaction(store: Store) -> None:
    """Write one item in a transaction."""
    with store.transaction():
        store["inside"] = 3


@pytest.mark.parametrize("tool", TOOLS)
def test_other_process_after_a_tool_sees_the_readers_of_this_one(
    start: Callable[[], Other], store: Store, path: str, tool: str
) -> None:
    """LMDB in another process does not take this one for dead: its readers keep their pages."""
    use(tool, path)
    store["after"] = 1
    store.flush()
    with store.env.begin() as txn:
        other = start()
        other.do("store.env.reader_check()")
        pid = str(os.getpid())
        assert pid in other.do("[line.split()[0] for line in store.env.readers().splitlines()]")
        for number in range(5):
            other.do(f"[store.update((str(i), {number}) for i in range(500)), store.flush()]")
        assert [key for key, _ in txn.cursor()] == [b"after", b"before"]


@pytest.mark.parametrize("tool", TOOLS)
def test_commit_after_a_lock_file_was_replaced_warns(
    store: Store, path: str, tool: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning names the cause, once, and not where nothing was lost."""
    use(tool, path)
    for number in range(3):
        store["a"] = number
        store.flush()
    for thread in threading.enumerate():
        if thread.name == "lmdb_object_store log":
            thread.join(LIMIT)
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [path in message and "deleted or replaced" in message for message in messages] == [True] * (
        tool in REPLACING
    )


@pytest.mark.parametrize("tool", TOOLS)
def test_transaction_commits_if_nobody_wrote_after_a_tool_within(store: Store, path: str, tool: str) -> None:
    """The block commits, also if the lock file was replaced within it."""
    with store.transaction():
        store["before"] += 1
        use(tool, path)
        store["after"] = store["before"]
    store.close()
    assert contents(path) == {"before": 1, "after": 1}


@pytest.mark.parametrize("tool", REPLACING)
def test_transaction_raises_if_another_program_wrote_by_a_new_lock_file(store: Store, path: str, tool: str) -> None:
    """ConflictError, and nothing of the block is there: a program that uses LMDB alone does not wait for it."""
    script = "import lmdb, sys\nwith lmdb.open(sys.argv[1]).begin(write=True) as txn: txn.put(b'theirs', b'N.')"

    def block() -> None:
        with store.transaction():
            store["ours"] = 1
            use(tool, path)
            subprocess.run([sys.executable, "-c", script, path], check=True, timeout=LIMIT)

    with pytest.raises(ConflictError):
        block()
    assert dict(store) == {"before": 0, "theirs": None}
    in_transaction(store)
    assert dict(store) == {"before": 0, "theirs": None, "inside": 3}


def test_lock_file_begun_during_a_commit_does_not_undo_it(
    start: Callable[[], Other], store: Store, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that begins a lock file while another one commits does not write over that commit."""
    others = []
    write = write_changes

    def write_late(*arguments: Any) -> None:
        use("rm", path)
        others.append(start())  # LMDB notes the last commit there, which is the one before this
        monkeypatch.undo()
        write(*arguments)

    monkeypatch.setattr(_resize, "write", write_late)
    store["ours"] = 1
    store.flush()
    others[0].do("[store.put('theirs', 2), store.flush()]")
    assert dict(store) == {"before": 0, "ours": 1, "theirs": 2}


def test_flush_after_the_lock_file_was_moved_aside_uses_the_new_one(
    start: Callable[[], Other], store: Store, path: str
) -> None:
    """A process that has the moved file open notices by the numbers of the commits; no commit is written over."""
    os.rename(Path(path, "lock.mdb"), Path(path, "lock.old"))
    other = start()
    for number in range(3):
        other.do(f"[store.put('theirs', {number}), store.flush(), store.put('also', {number}), store.flush()]")
        store["ours"] = number
        store.flush()
        expected = {"also": number, "before": 0, "ours": number, "theirs": number}
        assert dict(store) == expected
        assert other.do("dict(store)") == repr(expected)


@pytest.mark.parametrize("tool", TOOLS)
def test_flush_of_a_process_that_opened_after_a_tool_waits_for_a_transaction(
    start: Callable[[], Other], store: Store, path: str, tool: str
) -> None:
    """A transaction that was open before the tool keeps the others from writing to its end; none is lost."""
    with store.transaction():
        store["before"] += 1
        use(tool, path)
        other = start()
        other.tell("[store.put('theirs', 2), store.flush()]")
        assert not other.answers_within(0.3)
        store["ours"] = 1
    other.answer()
    assert dict(store) == {"before": 1, "ours": 1, "theirs": 2}


def test_process_with_a_new_lock_file_waits_for_announced_reads(
    store: Store, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process waits for the end of the last read, and continues at the limit."""
    ours, theirs = store._environment.process_locks, ProcessLocks(path, {})
    theirs._open_data_file(readonly=False)
    theirs.wait_for_reads()  # there are none
    assert ours.begin_read()
    assert ours.begin_read()
    theirs.wait_for_reads()  # for a moment
    monkeypatch.setattr("lmdb_object_store._environment.lock_file._READERS_SECONDS", LIMIT)
    waiting = threading.Thread(target=theirs.wait_for_reads, daemon=True)
    waiting.start()
    ours.end_read()
    waiting.join(0.2)
    assert waiting.is_alive()
    ours.end_read()
    waiting.join(LIMIT)
    assert not waiting.is_alive()
    theirs.close()


def test_readonly_store_with_a_new_lock_file_does_not_wait_for_reads(store: Store, path: str) -> None:
    """A reader writes over no page. It reads at once, and writers with the new lock file see it."""
    code = """
        with opened(readonly=True) as store:
            assert len(list(store)) == 201
            os.unlink(os.path.join(path, "lock.mdb"))
            store._environment.process_locks.begin_read()
            start = __import__("time").monotonic
            before = start()
            assert len(list(store)) == 201
            print(start() - before < 0.15)
    """
    store.update({str(number): number for number in range(200)})
    store.close()
    assert run_script(code, path).stdout == "True\n"


def test_opening_with_a_new_lock_file_waits_for_reads(store: Store, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait happens after a replaced lock file too, whichever process has made the new one."""
    waits: list[bool] = []
    monkeypatch.setattr(ProcessLocks, "wait_for_reads", lambda locks: waits.append(locks.held))
    use("replace", path)
    store["after"] = 1
    store.flush()
    assert waits == [True]
    store.close()
    use("rm", path)
    LmdbObjectStore[Any, Any](path).close()
    assert waits == [True, True]
    LmdbObjectStore[Any, Any](path).close()
    assert waits == [True, True]


def test_scan_after_a_lock_file_was_deleted_uses_the_new_one(
    start: Callable[[], Other], store: Store, path: str
) -> None:
    """A process that only reads notices too: writers by the new lock file see its scan."""
    store.update({str(number): number for number in range(200)})
    store.flush()
    use("rm", path)
    other = start()
    assert len(list(store)) == 201
    with store.env.begin():
        assert str(os.getpid()) in other.do("[line.split()[0] for line in store.env.readers().splitlines()]")


def test_backup_is_made_again_if_the_lock_file_was_deleted_meanwhile(
    start: Callable[[], Other], store: Store, path: str, tmp_path: Path
) -> None:
    """Writers by another lock file do not see the copy, and may write over its pages: it does not count."""
    store.update({str(number): 0 for number in range(1000)})

    def let_another_write() -> None:
        use("rm", path)
        start().do("[store.update(dict.fromkeys(store, 1)), store.flush()]")

    with at_copies(let_another_write, lambda: None):
        store.backup(tmp_path / "copy")
    assert set(contents(str(tmp_path / "copy")).values()) == {1}


def test_open_waits_for_no_transaction(start: Callable[[], Other], store: Store) -> None:
    """A store opens, reads and buffers while another process is in a transaction."""
    with store.transaction():
        other = start()
        assert other.do("[store['before'], store.put('theirs', 1)]") == "[0, None]"
    other.do("store.flush()")
    assert store["theirs"] == 1


@pytest.mark.posix
def test_descriptors_are_closed_with_the_store(open_store: OpenStore, path: str) -> None:
    """A store that is closed, has forked, or could not be opened leaves no descriptor of its files open."""

    def open_files() -> list[str]:
        links = (Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
        return [os.readlink(link) for link in links if link.is_symlink() and path in os.readlink(link)]

    store = open_store()
    store["a"] = 1
    store.flush()
    assert open_files()
    pid = os.fork()
    if pid == 0:
        os._exit(bool(open_files()))
    assert os.waitpid(pid, 0)[1] == 0
    assert store["a"] == 1
    store.close()
    assert open_files() == []
    Path(path, "data.mdb").write_bytes(b"no store")
    with pytest.raises(lmdb.Error):
        open_store()
    assert open_files() == []


def test_open_while_a_program_is_being_started_works(open_store: OpenStore, start: Callable[[], Other]) -> None:
    """A child that another thread has forked has the same descriptors, until it executes a program."""
    store = open_store()
    store.flush()
    locks = store._environment.process_locks
    assert locks._lock_file is not None
    assert locks._data_file is not None
    inherited = [os.dup(file.fileno()) for file in (locks._lock_file, locks._data_file)]
    locks.keep_others_from_writing()
    store.close()
    again = open_store()
    again["a"] = 1
    again.flush()
    assert start().do("[store.put('b', 2), store.flush()]") == "[None, None]"
    for descriptor in inherited:
        os.close(descriptor)


def test_readers_that_find_the_file_closed_read_again(store: Store) -> None:
    """A scan whose file another thread closes at its first step, as a fork does, reads again."""
    store.update({str(number): number for number in range(2000)})
    store.flush()
    begin_read = store._environment.process_locks.begin_read

    def begin_late() -> bool:
        with store._environment.lock:
            store._environment.suspend()
        store._environment.process_locks.begin_read = begin_read  # type: ignore[method-assign]
        return begin_read()

    store._environment.process_locks.begin_read = begin_late  # type: ignore[method-assign]
    in_thread(lambda: len(list(store)))
    assert len(list(store)) == 2001


@pytest.mark.parametrize("refused", ["all", "on the lock file"])
def test_store_on_a_file_system_without_such_locks_works(
    path: str, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Nothing is reported, and the store writes, reads, forks and closes as usual."""
    from fcntl import fcntl as real

    def fcntl(file: Any, command: int, argument: bytes) -> Any:
        if refused == "all" or (isinstance(file, io.FileIO) and str(file.name).endswith("lock.mdb")):
            raise OSError(errno.ENOTSUP, "no such locks")
        return real(file, command, argument)

    monkeypatch.setattr("lmdb_object_store._environment.lock_file.fcntl", fcntl)
    with LmdbObjectStore[Any, Any](path, key_encoding="utf-8", map_size=1 << 20) as store:
        store.update({str(number): bytes(1000) for number in range(3000)})
        store.flush()
        use("rm", path)
        assert len(list(store)) == len(store.get_many(map(str, range(3000)))[0]) == 3000
        store._environment.process_locks.wait_for_reads()
        in_transaction(store)
        assert in_child_too(store)
    assert len(contents(path)) == 3001


def in_child_too(store: Store) -> bool:
    """Return True if a fork reads the store."""
    pid = os.fork()
    if pid == 0:
        os._exit(len(store) != 3001)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("tool", REPLACING)
def test_lock_file_that_vanishes_at_each_opening_is_given_up(
    path: str, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    """The file is opened many times, and at last without a watch on its lock file."""
    opened: list[object] = []

    def vanish(locks: ProcessLocks, handle: Any, known: Any) -> bool:
        opened.append(handle)
        use(tool, path)
        return take_over(locks, handle, known)

    take_over = ProcessLocks.take_over
    monkeypatch.setattr(ProcessLocks, "take_over", vanish)
    with LmdbObjectStore[Any, Any](path, key_encoding="utf-8") as store:
        assert len(opened) == 100
        store["a"] = 1
    assert contents(path) == {"a": 1}


def test_lock_file_that_vanishes_before_each_write_is_an_error(store: Store, path: str) -> None:
    """The error names a remedy, and the change stays pending."""
    locks = store._environment.process_locks

    def vanished() -> bool:
        use("rm", path)
        return True

    store["a"] = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lmdb_object_store._environment.write._ATTEMPTS", 3)
        patch.setattr(locks, "lock_file_is_deleted", vanished)
        for write in (store.flush, store.transaction().__enter__):
            with pytest.raises(lmdb.LockError, match="Leave the lock file alone"):
                write()
    store.flush()
    assert dict(store) == {"a": 1, "before": 0}


def test_warning_at_the_end_of_the_interpreter_is_logged_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning is logged in this thread if no thread can be started any more."""

    def refuse(_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    _errors.log_in_thread("%s", "the warning")
    assert "the warning" in caplog.text
