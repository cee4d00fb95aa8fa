"""Files that are no sound store: a clear error in the caller's terms, and the file as it was."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lmdb
import pytest
from harness import mounted
from support.files import unchanged
from support.programs import Child, run_script

from lmdb_object_store import FlushError, LmdbObjectStore
from lmdb_object_store._environment.paths import identity

FORMATS = [pytest.param(0, id="LMDB 0.9"), pytest.param(1, id="LMDB 1.0")]
Store = LmdbObjectStore[Any, Any]


def make(path: str, **options: Any) -> Path:
    """Make a store with some pages of all kinds, and return its data file."""
    store: Store = LmdbObjectStore(path, key_encoding="utf-8", map_size=1 << 28, **options)
    for turn in range(3):
        store.put_many({f"k{number:03}": bytes(100 * turn + number) for number in range(500)})
        store.put_many({f"large{turn}": bytes(20_000)})
    store.close()
    return Path(path, "data.mdb")


def opened(path: str, **options: Any) -> None:
    """Open the store at `path`, and read and write it."""
    with LmdbObjectStore[Any, Any](path, key_encoding="utf-8", **options) as store:
        list(store.items())
        if "readonly" not in options:
            store["new"] = 1


@pytest.mark.posix
@pytest.mark.parametrize("version", FORMATS)
def test_open_truncated_file_raises(path: str, version: int) -> None:
    """A file cut at any place is an error when it is opened, not a SIGBUS when it is read."""
    file = make(path, lib_version=version)
    whole = file.read_bytes()
    source = random.Random(version)
    sizes = [1, 100, 4095, 4096, 4097, 4300, 8191, 8192, 8193, len(whole) - 4096, len(whole) - 1]

    def cut(size: int) -> None:
        file.write_bytes(whole[:size])
        with unchanged(file.parent), pytest.raises(lmdb.Error, match=r"truncated|INVALID|NOTFOUND"):
            opened(path, lib_version=version)
        with unchanged(file.parent), pytest.raises(lmdb.Error):
            opened(path, lib_version=version, readonly=True)

    for size in sizes + [source.randrange(4097, len(whole)) for _ in range(60)]:
        Child(lambda size=size: cut(size)).join()  # type: ignore[misc]
    file.write_bytes(whole)
    opened(path, lib_version=version)


@pytest.mark.parametrize("version", FORMATS)
def test_open_truncated_file_with_writemap_raises(path: str, version: int) -> None:
    """The file is refused before LMDB extends it, because its length shows that it is truncated."""
    file = make(path, lib_version=version)
    whole = file.read_bytes()
    for part in (0.99, 0.7, 0.4, 0.1):
        file.write_bytes(whole[: int(len(whole) * part)])
        with unchanged(file.parent), pytest.raises(lmdb.CorruptedError, match="truncated"):
            opened(path, lib_version=version, writemap=True)
    file.write_bytes(whole)
    opened(path, lib_version=version, writemap=True)


def test_open_truncated_file_names_its_sizes(path: str) -> None:
    """The error names the file, its size and its expected size."""
    file = make(path)
    size = file.stat().st_size
    os.truncate(file, size - 1)
    with pytest.raises(lmdb.CorruptedError) as caught:
        LmdbObjectStore(path)
    for word in (file, size - 1, size, "truncated"):
        assert str(word) in str(caught.value)


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize("free", [100, 3000], ids=["few", "more than a page lists"])
def test_open_file_whose_last_pages_are_free_works(path: str, version: int, free: int) -> None:
    """LMDB leaves free pages at the end unwritten. Such a file is whole, though its meta page names a larger size."""
    make(path, lib_version=version)
    with lmdb.open(path, map_size=1 << 28, lib_version=version) as environment:
        with environment.begin(write=True) as txn:
            for number in range(100, 400):
                txn.delete(b"k%03d" % number)
        for _ in range(2):  # free pages must be at hand: then those that come and go in one transaction join them
            with environment.begin(write=True) as txn:
                txn.put(b"z", bytes(4096 * free))
                txn.delete(b"z")
        claimed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    assert Path(path, "data.mdb").stat().st_size < claimed
    opened(path, lib_version=version)
    opened(path, lib_version=version, readonly=True)


@pytest.mark.parametrize("version", FORMATS)
def test_open_truncated_file_with_free_last_pages_raises(path: str, version: int) -> None:
    """The file is truncated if pages in use are missing as well."""
    test_open_file_whose_last_pages_are_free_works(path, version, 100)
    file = Path(path, "data.mdb")
    size = file.stat().st_size
    for less in range(1, 40):
        os.truncate(file, size - less * 4096)
        with pytest.raises(lmdb.Error, match=r"truncated|NOTFOUND"):
            LmdbObjectStore(path, lib_version=version)


def test_open_beside_a_writing_process_works(path: str) -> None:
    """A file that grows and changes at that very moment is never taken for a truncated one."""
    make(path)
    source = """
        store = opened(sync=False)
        print("ready", flush=True)
        for turn in range(300):
            store.put_many({f"k{turn}": os.urandom(1000 * turn)})
            store.put_many({f"k{turn // 2}": 0})
    """
    writer = threading.Thread(target=run_script, args=(source, path), daemon=True)
    writer.start()
    rounds = 0
    while writer.is_alive():
        LmdbObjectStore(path, readonly=True).close()
        rounds += 1
    assert rounds > 10


def directory(path: Path) -> None:
    """Make a directory in the place of a file."""
    path.mkdir()
    (path / "data.mdb").mkdir()


def garbage(path: Path) -> None:
    """Make a file of garbage in the place of LMDB's."""
    path.mkdir()
    (path / "data.mdb").write_bytes(random.Random(0).randbytes(50_000))


def empty(path: Path) -> None:
    """Make a data file that nobody has written to yet."""
    path.mkdir()
    (path / "data.mdb").touch()


def pipe(path: Path) -> None:
    """Make a pipe, on which LMDB would wait forever, and all threads with it."""
    path.mkdir()
    os.mkfifo(path / "data.mdb")


def text(path: Path) -> None:
    """Make a file in the place of a directory."""
    path.write_text("not a store")


def inside_a_file(path: Path) -> None:
    """Make a file as a part of the path."""
    path.parent.rmdir()
    path.parent.write_text("a file")


NO_STORES: dict[str, tuple[Callable[[Path], None], dict[str, Any]]] = {
    "a directory for the data file": (directory, {}),
    "no LMDB file": (garbage, {}),
    "no LMDB file, read-only": (garbage, {"readonly": True}),
    "an empty file, read-only": (empty, {"readonly": True}),
    "an empty file, read-only without a lock": (empty, {"readonly": True, "lock": False}),
    "a pipe": (pipe, {}),
    "a pipe, read-only": (pipe, {"readonly": True, "lock": False}),
    "a file for the directory": (text, {}),
    "no LMDB file, without a directory": (text, {"subdir": False}),
    "a directory, without a directory": (directory, {"subdir": False}),
    "a path through a file": (inside_a_file, {}),
    "a missing parent": (lambda path: path.parent.rmdir(), {}),
    "a missing parent, without a directory": (lambda path: path.parent.rmdir(), {"subdir": False}),
    "nothing, read-only": (lambda path: None, {"readonly": True}),
    "nothing, and it is not to be made": (lambda path: None, {"create": False}),
}


@pytest.mark.parametrize(("prepare", "options"), NO_STORES.values(), ids=NO_STORES)
def test_open_path_of_no_store_raises_and_changes_nothing(
    tmp_path: Path, prepare: Callable[[Path], None], options: dict[str, Any]
) -> None:
    """The error is LMDB's or the system's, and names the path. Nothing is changed or left behind."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "db"
    prepare(path)
    with unchanged(tmp_path), pytest.raises((lmdb.Error, OSError)) as caught:
        LmdbObjectStore(str(path), **options)
    assert str(path) in str(caught.value)
    assert not [file for file in tmp_path.rglob("*") if "lock" in file.name and not path.exists()]


@pytest.mark.parametrize("version", [0, 1])
def test_open_file_of_the_other_format_raises(path: str, version: int) -> None:
    """A file of LMDB 0.9 opened as one of 1.0, or the reverse, is refused and left alone."""
    file = make(path, lib_version=version)
    with unchanged(file.parent), pytest.raises(lmdb.InvalidError, match="MDB_INVALID"):
        LmdbObjectStore(path, lib_version=1 - version)
    opened(path, lib_version=version)


def test_open_empty_file_to_read_raises(path: str) -> None:
    """The error says that the file is empty, and names a remedy."""
    empty(Path(path))
    with pytest.raises(lmdb.InvalidError, match=r"data.mdb is empty.*readonly"):
        LmdbObjectStore(path, readonly=True)
    opened(path)
    opened(path, readonly=True)


def test_open_on_a_read_only_file_system_needs_readonly(tmp_path: Path) -> None:
    """The file is read with readonly=True. Any other use raises an error with the reason."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not mounted(disk):
        pytest.skip("this user may not mount")
    try:
        path = str(disk / "db")
        make(path)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        opened(path, readonly=True)
        for place in (path, str(disk / "new")):
            with pytest.raises((lmdb.Error, OSError), match=r"(?i)read-only") as caught:
                LmdbObjectStore(place)
            assert place in str(caught.value)
        with LmdbObjectStore[Any, Any](path, readonly=True) as store, pytest.raises(lmdb.ReadonlyError):
            store[b"a"] = 1
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.posix
def test_open_on_a_full_disk_raises(tmp_path: Path) -> None:
    """No room for the lock file, which LMDB maps, is an error and not a SIGBUS. With room again the store opens."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not mounted(disk):
        pytest.skip("this user may not mount")
    try:
        make(str(disk / "db"))
        (disk / "db" / "lock.mdb").unlink()
        for left in (0, 1, 2, 10):
            with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while True:
                    filler.write(bytes(4096))
            os.truncate(disk / "filler", (disk / "filler").stat().st_size - left * 4096)

            def refused() -> None:
                for place, readonly in (("db", False), ("db", True), ("new", False)):
                    with pytest.raises(OSError, match="no room"):
                        LmdbObjectStore(str(disk / place), readonly=readonly)

            Child(refused).join()
            (disk / "filler").unlink()
        opened(str(disk / "db"))
        opened(str(disk / "new"))
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_open_by_a_link_uses_the_same_lock_file(tmp_path: Path) -> None:
    """Processes that reach a file by its path and by a link to it have one lock file."""
    file, link = tmp_path / "db", tmp_path / "link"
    with LmdbObjectStore[Any, Any](file, subdir=False) as store:
        store[b"a"] = 1
    link.symlink_to(file)
    with LmdbObjectStore[Any, Any](link, subdir=False) as store:
        assert store[b"a"] == 1
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["db", "db-lock", "link"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_open_path_that_is_no_text_works(tmp_path: Path) -> None:
    """A path may be any bytes that the system takes."""
    path = os.fsencode(tmp_path) + b"/\xff"
    with LmdbObjectStore[Any, Any](path) as store:
        store[b"a"] = 1
    with LmdbObjectStore[Any, Any](path, readonly=True) as store:
        assert store[b"a"] == 1
    assert os.path.exists(path + b"/data.mdb")


def test_open_empty_path_raises() -> None:
    """The empty path is not taken for the current directory."""
    with pytest.raises(ValueError, match="db_path is empty"):
        LmdbObjectStore("")


def test_open_file_in_place_of_the_folder_raises(tmp_path: Path) -> None:
    """The error says so, and the file stays unchanged."""
    (tmp_path / "file").write_text("kept")
    with pytest.raises(lmdb.InvalidError, match=r"file is a file, .*take another path"):
        LmdbObjectStore(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.posix
def test_open_without_permission_raises(path: str) -> None:
    """The error says that the right to read or write the file is missing."""
    file = make(path)
    file.chmod(0o400 if os.geteuid() else 0o600)

    def without_rights() -> None:
        if os.geteuid() == 0:
            os.chmod(file.parent.parent, 0o755)
            os.chmod(file.parent, 0o755)
            os.setuid(65534)
        with pytest.raises((lmdb.Error, OSError), match=r"(?i)permission|denied"):
            LmdbObjectStore(path)

    with unchanged(file.parent):
        Child(without_rights).join()


GONE = "deleted or replaced"


@pytest.mark.posix
@pytest.mark.parametrize("what", ["file", "directory"])
def test_write_after_the_file_was_deleted_is_refused(path: str, what: str) -> None:
    """A write is refused, as it would vanish with the process; reads use the open file. After a fork
    they are refused too."""
    make(path)
    with LmdbObjectStore[Any, Any](path, key_encoding="utf-8") as store:
        if what == "file":
            Path(path, "data.mdb").unlink()
        else:
            shutil.rmtree(path)
        store._environment.data_file_checked_at = 0.0
        before = store["k001"], len(store)
        store["pending"] = 1
        for write in (store.flush, lambda: store.put_many({"many": 1}), store.transaction().__enter__):
            with pytest.raises(lmdb.Error, match=GONE):
                write()
        assert (store["k001"], len(store) - 1, store["pending"]) == (*before, 1)

        def child() -> None:
            with pytest.raises(lmdb.Error, match=GONE):
                store["k001"]

        Child(child).join()
        store["pending"] = 1
        with pytest.raises(lmdb.Error, match=GONE):
            store["k001"]
        assert not Path(path, "data.mdb").exists()
        with pytest.raises(FlushError, match="1 changes"):
            store.close(strict=True)


@pytest.mark.posix
@pytest.mark.parametrize("forks", [False, True])
def test_fork_after_the_file_was_replaced_is_refused(path: str, tmp_path: Path, forks: bool) -> None:
    """Another file in its place is not taken for it after a fork, and neither file is written to."""
    make(path)
    other = make(str(tmp_path / "other"))
    with pytest.raises(FlushError), LmdbObjectStore[Any, Any](path, key_encoding="utf-8") as store:
        os.replace(other, Path(path, "data.mdb"))
        if forks:
            Child(lambda: None).join()
        store["pending"] = 1
        store._environment.data_file_checked_at = 0.0
        with unchanged(tmp_path), pytest.raises(lmdb.Error, match=GONE):
            store.flush()


@pytest.mark.posix
def test_fork_after_the_file_was_replaced_by_its_number_is_refused(path: str) -> None:
    """The file system may give the old file's number to the next file that is made."""
    make(path)
    with pytest.raises(FlushError), LmdbObjectStore[Any, Any](path, key_encoding="utf-8") as store:
        environment = store._environment
        Child(lambda: None).join()
        shutil.rmtree(path)
        run_script("opened().update(other=2)", path)
        environment.identity = identity(path, {})  # as if it were so here
        store["pending"] = 1
        with pytest.raises(lmdb.Error, match=GONE):
            store.flush()


def test_open_short_file_with_a_damaged_free_list_raises(path: str) -> None:
    """A short file whose list of free pages cannot be read counts as truncated."""
    test_open_file_whose_last_pages_are_free_works(path, 0, 3000)
    file = Path(path, "data.mdb")
    whole = file.read_bytes()
    source = random.Random(0)
    noticed = 0
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(2000):
            damaged[source.randrange(8192, len(damaged))] = source.randrange(256)
        file.write_bytes(damaged)
        try:
            LmdbObjectStore(path).close()
        except lmdb.CorruptedError:
            noticed += 1
    assert noticed
