"""Power cuts: a new store is on the disk, with its name, before anything is committed to it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest
from support.files import unchanged
from support.programs import in_child

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._cli import main as _cli

Store = LmdbObjectStore[Any, Any]
FORMATS = [pytest.param(0, id="LMDB 0.9"), pytest.param(1, id="LMDB 1.0")]

needs_folders = pytest.mark.skipif(os.name == "nt", reason="Windows cannot sync a folder")


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the folders and files that Python has synced, and the permissions that it has set, in order."""
    events: list[str] = []
    names: dict[tuple[int, int], str] = {}

    def name_of(status: os.stat_result) -> str:
        return names[status.st_dev, status.st_ino]

    def opened(path: Any, *arguments: Any, **options: Any) -> int:
        fd = real_open(path, *arguments, **options)
        status = os.fstat(fd)
        names[status.st_dev, status.st_ino] = os.path.realpath(path)
        return fd

    def fsync(fd: int) -> None:
        events.append(f"sync {name_of(os.fstat(fd))}")
        real_fsync(fd)

    def chmod(path: Any, mode: int, **options: Any) -> None:
        events.append(f"chmod {os.path.realpath(path)}")
        real_chmod(path, mode, **options)

    real_open, real_fsync, real_chmod = os.open, os.fsync, os.chmod
    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "chmod", chmod)
    return events


def begin(path: str, *, subdir: bool = True, version: int = 0) -> Path:
    """Begin a file as a process does that is killed before its first commit; return the data file."""
    lmdb.open(path, subdir=subdir, lib_version=version).close()
    return Path(path, "data.mdb") if subdir else Path(path)


# -- a new store


@needs_folders
@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun by a process that was killed"])
@pytest.mark.parametrize("subdir", [True, False])
def test_constructor_of_a_new_store_syncs_its_folders(path: str, synced: list[str], subdir: bool, begun: bool) -> None:
    """The folder has the data file's name on the disk, and its parent has the folder's, before anything is written."""
    if begun:
        begin(path, subdir=subdir)
    store = Store(path, subdir=subdir)
    parent = os.path.dirname(path)
    assert synced == [f"sync {folder}" for folder in ([path, parent] if subdir else [parent])]
    store[b"a"] = 1
    store.close()
    synced.clear()
    Store(path, subdir=subdir).close()
    assert synced == []


@needs_folders
def test_constructor_of_a_new_store_syncs_the_folders_that_links_lead_to(tmp_path: Path, synced: list[str]) -> None:
    """The names that matter are where the file is, not where the link is."""
    (tmp_path / "real" / "st").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "st")
    Store(tmp_path / "link").close()
    assert synced == [f"sync {tmp_path / 'real' / 'st'}", f"sync {tmp_path / 'real'}"]


@needs_folders
@pytest.mark.parametrize(
    "options", [{"sync": False}, {"readonly": True}, {"map_async": True, "writemap": True}], ids=str
)
def test_constructor_that_waits_for_no_disk_syncs_nothing(
    path: str, synced: list[str], options: dict[str, Any]
) -> None:
    """A store that does not wait for the disk, or cannot write, does not wait here either."""
    begin(path)
    Store(path, **options).close()
    assert synced == []


@needs_folders
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES], ids=errno.errorcode.get)
def test_constructor_on_a_file_system_without_folder_sync_works(
    path: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Some network and FUSE file systems cannot sync a folder, and some folders may not be read."""

    def fsync(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with Store(path) as store:
        store[b"a"] = 1
    with Store(path) as store:
        assert store[b"a"] == 1


@needs_folders
def test_constructor_on_a_disk_that_fails_is_an_error(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk is raised. Nothing stays open: the next attempt succeeds."""

    def fsync(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            LmdbObjectStore(path)
    with Store(path) as store:
        store[b"a"] = 1


@pytest.mark.posix
@needs_folders
def test_fork_of_an_empty_store_still_works(path: str, synced: list[str]) -> None:
    """The file is opened again, and is still a new one."""
    with Store(path) as store:
        in_child(lambda: store.put_many({b"a": 1}))
        assert store[b"a"] == 1


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("strace"), reason="needs strace")
def test_new_store_is_on_the_disk_before_its_first_commit(path: str, tmp_path: Path) -> None:
    """LMDB's system calls write both meta pages and sync the file. The folders are synced before any commit."""
    source = """
import sys
from lmdb_object_store import LmdbObjectStore
store = LmdbObjectStore(sys.argv[1])
store[b"a"] = 1
store.flush()
print("flushed", flush=True)
"""
    log = tmp_path / "log"
    trace = ["strace", "-f", "-y", "-s", "16", "-o", str(log), "-e", "trace=fsync,fdatasync,pwrite64,pwritev,write"]
    found_at = str(Path(lmdb_object_store.__file__).parents[1])
    ended = subprocess.run(
        [*trace, sys.executable, "-c", source, path],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": found_at},
    )
    if "ptrace" in ended.stderr and ended.returncode:
        pytest.skip("this user may not trace")
    assert ended.returncode == 0, ended.stderr
    lines = log.read_text().splitlines()

    def first(call: str, name: str) -> int:
        found = [at for at, line in enumerate(lines) if f" {call}(" in line and f"<{name}>" in line]
        assert found, f"{call} of {name} is missing"
        return found[0]

    begun = first("pwrite64", f"{path}/data.mdb")
    file, folder, parent = (
        first("fdatasync", f"{path}/data.mdb"),
        first("fsync", path),
        first("fsync", os.path.dirname(path)),
    )
    commit = next(at for at, line in enumerate(lines) if at > begun and "pwrite" in line and "data.mdb" in line)
    flushed = next(at for at, line in enumerate(lines) if '"flushed' in line)
    assert begun < file < folder < parent < commit < flushed


# -- a file that was begun


def lost_pages(file: Path) -> list[bytes]:
    """Return what a power cut can leave of the two pages of a new file: one of them, or none."""
    data = file.read_bytes()
    half = len(data) // 2
    zeros = bytes(half)
    return [zeros + data[half:], data[:half] + zeros, zeros * 2]


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize("subdir", [True, False])
def test_open_begun_file_says_that_it_holds_nothing(
    path: str, subdir: bool, version: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """LMDB reports only an invalid file. The message says that nothing is lost, and names a remedy."""
    file = begin(path, subdir=subdir, version=version)
    lock = f"{path}/lock.mdb" if subdir else f"{path}-lock"
    ways: list[dict[str, Any]] = [{}, {"readonly": True}, {"writemap": True}]  # the last one would extend the file
    for data in lost_pages(file):
        file.write_bytes(data)
        for options in ways:
            with unchanged(file.parent), pytest.raises(lmdb.InvalidError) as caught:
                LmdbObjectStore(path, subdir=subdir, lib_version=version, **options)
            for word in (f"{file} was begun and holds nothing", f"Delete it and {lock}"):
                assert word in str(caught.value)
        for flag in "rwcn":
            with pytest.raises(lmdb.InvalidError, match="holds nothing"):
                lmdb_object_store.open(path, flag, subdir=subdir, lib_version=version)
        assert _cli.main(["keys", path]) == 1
        assert "holds nothing" in capsys.readouterr().err
    file.unlink()
    os.unlink(lock)
    with Store(path, subdir=subdir, lib_version=version) as store:
        store[b"a"] = 1


@pytest.mark.parametrize("version", FORMATS)
def test_open_damaged_store_does_not_say_that_it_holds_nothing(path: str, version: int) -> None:
    """Zeros in a file that had contents, or in one of another program, are no sign of an unused store."""
    file = begin(path, version=version)
    half = file.stat().st_size // 2
    with Store(path, lib_version=version) as store:
        for number in range(3):  # each commit writes one of the two pages
            store.put_many({b"a": number})
    data = file.read_bytes()
    first, second, zeros = data[:half], data[half : 2 * half], bytes(half)
    cases = [zeros + data[half:], first + zeros + data[2 * half :], zeros + second, first + zeros, second + zeros]
    cases += [bytes(len(data)), zeros * 3, zeros * 4, zeros + b"x" * half, b"x" * half + zeros, bytes(100), b"x"]
    for damaged in cases:
        file.write_bytes(damaged)
        with unchanged(file.parent), pytest.raises(lmdb.Error) as caught:
            LmdbObjectStore(path, lib_version=version)
        assert "holds nothing" not in str(caught.value)


# -- a backup


@needs_folders
@pytest.mark.parametrize("subdir", [True, False])
def test_backup_sets_permissions_before_it_syncs(path: str, tmp_path: Path, synced: list[str], subdir: bool) -> None:
    """A backup that a power cut leaves has the permissions of the store."""
    with Store(path, subdir=subdir) as store:
        store[b"a"] = 1
        synced.clear()
        store.backup(tmp_path / "copy")
    part = next(event.removeprefix("chmod ") for event in synced)
    folder = os.path.dirname(part)
    assert synced == (
        [f"chmod {part}", f"sync {part}", f"chmod {folder}", f"sync {folder}", f"sync {tmp_path}"]
        if subdir
        else [f"chmod {part}", f"sync {part}", f"sync {tmp_path}"]
    )


@needs_folders
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize("subdir", [True, False])
def test_backup_on_a_file_system_without_folder_sync_works(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subdir: bool, number: int
) -> None:
    """The copy itself is synced. A folder that cannot be synced is no reason to fail."""
    real_fsync: Callable[[int], None] = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(number, os.strerror(number))
        real_fsync(fd)

    with Store(path, subdir=subdir) as store:
        store[b"a"] = 1
        monkeypatch.setattr(os, "fsync", fsync)
        store.backup(tmp_path / "copy")
    with Store(tmp_path / "copy", subdir=subdir, readonly=True) as store:
        assert store[b"a"] == 1
