"""Containers on one volume: process ids that are equal, a process 1 that starts again, a mount that is read-only."""

from __future__ import annotations

import logging
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from lmdb import verify
from support import LIMIT
from support.checkpoints import at_copies
from support.files import contents
from support.threads import in_thread

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._cli import commands as _commands
from lmdb_object_store._cli.main import main
from lmdb_object_store._environment import access as _access

_PID_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
# Mounts its second argument over the third, read-only, then runs the rest.
_READ_ONLY = 'mount --bind "$1" "$2" && mount -o remount,bind,ro "$2" && shift 2 && exec "$@"'
_PRELUDE = """
import logging, os, sys
from lmdb_object_store import LmdbObjectStore
path = sys.argv[1]
"""


def _can(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run([*command, "true"], capture_output=True, timeout=LIMIT).returncode == 0


needs_pid_namespaces = pytest.mark.skipif(not _can(*_PID_NAMESPACE), reason="no permission for pid namespaces")
needs_mounts = pytest.mark.skipif(not _can("unshare", "--mount"), reason="no permission to mount")


def python(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", _PRELUDE + program, *arguments]


def environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(lmdb_object_store.__file__).parents[1])}


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run `command` until the block ends; it has printed its first line when the block begins."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ())
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline(), "it has failed"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LIMIT)


def ended(command: list[str]) -> str:
    """Run `command` to its end; return what it printed."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environ())
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


# -- process ids


@needs_pid_namespaces
@pytest.mark.parametrize("readonly", [True, False])
def test_open_with_another_containers_process_id_names_the_cause_and_the_remedies(readonly: bool, path: str) -> None:
    """Both processes have the number 1. The second error is LMDB's as before. The first process continues."""
    first = """
with LmdbObjectStore(path) as store:
    print("open", flush=True)
    store[b"a"] = sys.stdin.readline()
"""
    second = f"""
import lmdb
try:
    LmdbObjectStore(path, readonly={readonly})
except lmdb.LockError as error:
    print(error)
"""
    with running([*_PID_NAMESPACE, *python(first, path)]) as process:
        message = ended([*_PID_NAMESPACE, *python(second, path)])
        process.communicate("kept", timeout=LIMIT)
    assert message.startswith("mdb_txn_begin: Resource temporarily unavailable: ")
    for words in ("same process id, 1.", path, "container", "--pid=host", "shareProcessNamespace", "hostPID"):
        assert words in message, words
    with LmdbObjectStore[bytes, str](path) as store:
        assert store[b"a"] == "kept"


_HOLD = 'store = LmdbObjectStore(path); print("open", flush=True); sys.stdin.read()'
_READ = "store = LmdbObjectStore(path); reader = store.env.begin(); print(os.getpid(), flush=True); sys.stdin.read()"
_OVERWRITE = """
with LmdbObjectStore(path) as store:
    for number in range(60):
        store[b"a"] = bytes(200_000)
        store.flush()
"""


def check_few_pages(path: str) -> None:
    """Check that overwrites use pages again: 60 took 0.6 MB then, and 12.8 MB while a reader kept all pages."""
    assert os.path.getsize(os.path.join(path, "data.mdb")) < 1_000_000


@needs_pid_namespaces
def test_open_as_process_1_again_uses_pages_that_the_killed_process_1_read(path: str) -> None:
    """A container's process is killed during a read and starts again, while another process has the file open."""
    with running(python(_HOLD, path)):
        with running([*_PID_NAMESPACE, *python(_READ, path)]):
            pass
        ended([*_PID_NAMESPACE, *python(_OVERWRITE, path)])
    check_few_pages(path)


@pytest.mark.skipif(sys.platform != "linux", reason="the lock file's layout is that of Linux")
def test_open_with_a_dead_readers_process_id_uses_the_pages_that_it_read(open_store: OpenStore, path: str) -> None:
    """Process ids are used again: the dead reader here gets the id of the test, which then opens the store."""
    with running(python(_HOLD, path)):
        with running(python(_READ, path)) as reader:
            pass
        give_reader(path, reader.pid, os.getpid())
        store = open_store()
        assert store.stats().readers == 0
        for _ in range(60):
            store.put_many({"a": bytes(200_000)})
    check_few_pages(path)


def give_reader(path: str, pid: int, to: int) -> None:
    """Make the one reader of process `pid` in the lock file at `path` one of process `to`."""
    # Two cache lines, then a line for each reader: transaction, process id, thread.
    with open(os.path.join(path, "lock.mdb"), "r+b") as file:
        data = file.read()
        places = [at for at in range(128, len(data), 64) if struct.unpack_from("=Qi", data, at)[1] == pid]
        file.seek(places[0] + 8)
        file.write(struct.pack("=i", to))
    assert len(places) == 1


# -- reading without locks


@needs_mounts
def test_open_on_a_read_only_mount_is_logged_once_and_can_be_copied(open_store: OpenStore, tmp_path: Path) -> None:
    """A volume is mounted read-only in one container, and is written to in another."""
    folder, mount = tmp_path / "volume", tmp_path / "mount"
    folder.mkdir()
    mount.mkdir()
    path = str(folder / "db")
    store = open_store(path=path)
    store.put_many({"a": 1})
    program = """
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
stores = [LmdbObjectStore(path, readonly=True) for _ in range(3)]
stores[0].backup(sys.argv[2])
for store in stores:
    store.close()
from lmdb_object_store._cli.main import main
for name in ("keys", "verify"):
    main([name, path])
main(["backup", path, sys.argv[2] + "-2"])
"""
    command = ["unshare", "--mount", "sh", "-c", _READ_ONLY, "sh", str(folder), str(mount)]
    command += python(program, str(mount / "db"), str(tmp_path / "copy"))
    first, *others = ended(command).splitlines()
    assert first.startswith(f"WARNING lmdb_object_store {mount}/db is open without locks, because its file system is")
    assert others == ["a", "1 values, 0 of which cannot be read"]
    assert contents(str(tmp_path / "copy")) == contents(str(tmp_path / "copy-2")) == {"a": 1}
    os.unlink(f"{path}/lock.mdb")
    shutil.rmtree(tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy-2")
    assert ended(command).splitlines() == others, "nobody can have it open"


@needs_mounts
def test_open_to_write_on_a_read_only_mount_names_the_way_out(open_store: OpenStore, tmp_path: Path) -> None:
    """LMDB says `Read-only file system`, and has no class for this error."""
    folder, mount = tmp_path / "volume", tmp_path / "mount"
    folder.mkdir()
    mount.mkdir()
    open_store(path=str(folder / "db")).close()
    program = """
import lmdb
try:
    LmdbObjectStore(path)
except lmdb.Error as error:
    print(type(error) is lmdb.Error, error)
"""
    command = ["unshare", "--mount", "sh", "-c", _READ_ONLY, "sh", str(folder), str(mount)]
    message = ended([*command, *python(program, str(mount / "db"))])
    assert message.startswith(f"True {mount}/db: Read-only file system: open it with readonly=True")


# Mounts the folder `lower` over itself, writable, as a container has the layers of its image.
_IMAGE_LAYER = """
mount -t tmpfs none "$1/changes" && mkdir "$1/changes/upper" "$1/changes/work" &&
mount -t overlay none -o "lowerdir=$1/lower,upperdir=$1/changes/upper,workdir=$1/changes/work" "$1/lower" &&
shift && exec "$@"
"""


@needs_mounts
def test_read_of_an_image_layers_store_follows_writers_once_it_was_open_to_write(
    open_store: OpenStore, tmp_path: Path
) -> None:
    """Linux maps the image's own file to a reader that comes first, and writers write to a copy of it."""
    for name in ("lower", "changes"):
        (tmp_path / name).mkdir()
    open_store(path=str(tmp_path / "lower" / "db")).close()
    command = ["unshare", "--mount", "sh", "-c", _IMAGE_LAYER, "sh", str(tmp_path)]
    if not _can(*command):
        pytest.skip("no overlay file system")
    program = """
import subprocess
LmdbObjectStore(path).close()
write = "import sys; from lmdb_object_store import LmdbObjectStore as S; S(sys.argv[1]).put_many({b'a': sys.argv[2]})"
with LmdbObjectStore(path, readonly=True) as reader:
    for number in "123":
        subprocess.run([sys.executable, "-c", write, path, number], check=True)
        print(reader[b"a"])
"""
    assert ended([*command, *python(program, str(tmp_path / "lower" / "db"))]).split() == ["1", "2", "3"]


def test_open_without_locks_is_logged_once_where_a_lock_file_exists(
    open_store: OpenStore, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing lock file means that nobody has the file open. Stores with locks log nothing."""
    open_store().close()
    open_store(readonly=True).close()
    assert not caplog.records
    lock = os.path.join(path, "lock.mdb")
    os.rename(lock, f"{path}-lock")
    open_store(readonly=True, lock=False).close()
    assert not caplog.records
    os.rename(f"{path}-lock", lock)
    for _ in range(2):
        open_store(readonly=True, lock=False).close()
        open_store(lock=False).close()
    assert [(record.name, record.levelname) for record in caplog.records] == [("lmdb_object_store", "WARNING")]
    assert caplog.messages[0].startswith(f"{path} is open without locks, because of lock=False. ")


def test_open_without_locks_is_logged_with_nothing_held(open_store: OpenStore, path: str) -> None:
    """A logging handler may use the store itself, in another thread too."""
    open_store().close()
    found: list[int] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            in_thread(lambda: found.append(len(open_store(readonly=True, lock=False))), limit=5)

    handler = Handler()
    logging.getLogger("lmdb_object_store").addHandler(handler)
    try:
        open_store(readonly=True, lock=False)
    finally:
        logging.getLogger("lmdb_object_store").removeHandler(handler)
    assert found == [0]


# -- copies without locks

_COMMIT = """
with LmdbObjectStore(path, key_encoding="utf-8", **eval(sys.argv[2])) as store:
    print("open", flush=True)
    for line in sys.stdin:
        store.put_many({str(key): int(line) for key in range(100)})
        print("committed", flush=True)
"""


@contextmanager
def committing(path: str, **options: Any) -> Iterator[Callable[[], None]]:
    """Return a function by which another process commits the next number, as the value of a hundred keys."""
    with running(python(_COMMIT, path, repr(options))) as process:
        numbers = count()

        def commit() -> None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{next(numbers)}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "committed\n"

        commit()
        yield commit


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("subdir", [True, False])
def test_backup_without_locks_is_made_again_if_another_process_commits_meanwhile(
    subdir: bool, compact: bool, open_store: OpenStore, path: str, tmp_path: Path
) -> None:
    """The third copy is the first beside which nothing commits; nothing else is left."""
    with committing(path, subdir=subdir) as commit:
        store = open_store(readonly=True, lock=False, subdir=subdir)
        before = sorted(os.listdir(tmp_path))
        with at_copies(commit, commit):
            store.backup(tmp_path / "copy", compact)
        assert sorted(os.listdir(tmp_path)) == sorted([*before, "copy"])
        with LmdbObjectStore[str, int](tmp_path / "copy", key_encoding="utf-8", subdir=subdir, lock=False) as copy:
            assert copy == dict.fromkeys(map(str, range(100)), 2)


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("subdir", [True, False])
def test_backup_without_locks_is_refused_if_another_process_commits_each_time(
    subdir: bool, compact: bool, open_store: OpenStore, path: str, tmp_path: Path
) -> None:
    """The error says what to do, and nothing is left of the copies."""
    with committing(path, subdir=subdir) as commit:
        store = open_store(readonly=True, lock=False, subdir=subdir)
        before = sorted(os.listdir(tmp_path))
        with (
            pytest.raises(lmdb.Error, match=r"cannot be copied here.*Copy it where its lock file"),
            at_copies(*[commit] * 5),
        ):
            store.backup(tmp_path / "copy", compact)
        assert sorted(os.listdir(tmp_path)) == before
        store.backup(tmp_path / "copy", compact)


_BUSY = """
import random
with LmdbObjectStore(path, sync=False) as store:
    for number in range(10**9):
        store.put_many({bytes([key]): [number] * random.choice([1, 200, 900]) for key in range(200)})
        if number == 10:
            print("open", flush=True)
        if number % 20 == 0:
            time.sleep(0.03)  # a real writer rests too: else no copy would be whole
"""
_COPIES = """
import lmdb
from lmdb import verify
copies = refused = 0
end = time.monotonic() + 2
with LmdbObjectStore(path, readonly=True, lock=False) as store:
    while time.monotonic() < end:
        copy = f"{path}-{copies}"
        try:
            store.backup(copy, compact=copies % 2 == 0)
        except lmdb.Error:
            refused += 1
            continue
        copies += 1
        assert not verify.verify(copy)
        with LmdbObjectStore(copy, readonly=True) as copied:
            numbers = {number for value in copied.values() for number in value}
            assert len(copied) == 200 and len(numbers) == 1, numbers
print(copies, refused)
"""


def test_backup_without_locks_beside_a_busy_writer_is_whole_or_refused(path: str) -> None:
    """Each copy that is complete holds one commit of a process that writes all keys in each."""
    with running(python(f"import time{_BUSY}", path)):
        copies, _ = map(int, ended(python(f"import time{_COPIES}", path)).split())
    assert copies > 0


def test_verify_without_locks_is_refused_if_another_process_commits_meanwhile(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pages used again can look like damage there."""
    with committing(path) as commit:

        def check(*_: object, **__: object) -> list[str]:
            commit()
            return ["page 7 is none"]

        monkeypatch.setattr(verify, "verify", check)
        assert main(["verify", path]) == 1
        assert "page 7" in capsys.readouterr().out, "with locks it is damage"
        monkeypatch.setattr(_access, "has_locks", lambda _: False)
        monkeypatch.setattr(_commands, "has_locks", lambda _: False)
        assert main(["verify", path]) == 1
        out, err = capsys.readouterr()
        assert "page 7" not in out
        assert "cannot be checked here" in err
