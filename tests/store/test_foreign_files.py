"""Files that LMDB opens and a store cannot use: refused when they are opened, with a message that says why."""

from __future__ import annotations

import io
import mmap
import os
import random
import shutil
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import pytest
from support import LIMIT
from support.files import unchanged
from support.programs import in_child, run_script, started

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._cli import main as _cli
from lmdb_object_store._environment.pages import named_databases, newest_meta

FORMATS = [pytest.param(0, id="LMDB 0.9"), pytest.param(1, id="LMDB 1.0")]
Store = LmdbObjectStore[Any, Any]

# Where the flags of the main database stand in a meta page, after the page's header of 16 or 24 bytes.
MAIN_FLAGS = 24 + 48 + 4
FLAGS = {
    "MDB_REVERSEKEY": 0x02,
    "MDB_DUPSORT": 0x04,
    "MDB_INTEGERKEY": 0x08,
    "MDB_DUPSORT, MDB_DUPFIXED": 0x14,
}


def flagged(path: str, flags: int, version: int) -> None:
    """Make a file with an item whose main database has `flags`, which py-lmdb does not make any more."""
    with lmdb.open(path, lib_version=version):
        pass
    file = Path(path, "data.mdb")
    data = bytearray(file.read_bytes())
    half = len(data) // 2
    for page in (0, half):
        for at in (page + (24 if version else 16) + MAIN_FLAGS,):
            struct.pack_into("=H", data, at, flags)
    file.write_bytes(data)
    with lmdb.open(path, lib_version=version) as environment, environment.begin(write=True) as txn:
        txn.put(b"12345678", b"value")


def with_names(path: str, *names: bytes, items: int = 0, empty: bool = False, version: int = 0) -> None:
    """Make a file that has the named databases `names`, and `items` items beside them."""
    with lmdb.open(path, max_dbs=len(names), map_size=1 << 30, sync=False, lib_version=version) as environment:
        with environment.begin(write=True) as txn:
            for number in range(items):
                txn.put(b"k%07d" % number, b"value %d" % number)
        for name in names:
            database = environment.open_db(name)
            if not empty:
                with environment.begin(write=True, db=database) as txn:
                    txn.put(b"a", b"1")


def names_in(path: str, *names: bytes) -> dict[bytes, dict[bytes, bytes]]:
    """Return the items of the named databases `names`."""
    with (
        lmdb.open(path, max_dbs=len(names), map_size=1 << 30) as environment,
        environment.begin() as txn,
    ):
        return {name: dict(txn.cursor(environment.open_db(name, txn=txn, create=False))) for name in names}


# -- flags of the main database


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize(("name", "flags"), FLAGS.items(), ids=FLAGS)
def test_open_file_with_flags_is_refused(path: str, name: str, flags: int, version: int) -> None:
    """A database whose keys or values have another order is refused, to read too, and stays as it is."""
    flagged(path, flags, version)
    ways: list[dict[str, Any]] = [{}, {"readonly": True}, {"readonly": True, "lock": False}]
    for options in ways:
        with unchanged(Path(path)), pytest.raises(lmdb.IncompatibleError) as caught:
            LmdbObjectStore(path, lib_version=version, **options)
        for word in (path, f"the flag {name},", "py-lmdb before 1.1"):
            assert word in str(caught.value)


def test_open_file_with_flags_leaves_no_environment_open(path: str) -> None:
    """The file can be opened by py-lmdb in the same process afterwards."""
    flagged(path, FLAGS["MDB_REVERSEKEY"], 0)
    for _ in range(2):
        with pytest.raises(lmdb.IncompatibleError):
            LmdbObjectStore(path)
    with lmdb.open(path) as environment:
        assert environment.stat()["entries"] == 1


# -- named databases


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize("empty", [False, True], ids=["with items", "empty"])
@pytest.mark.parametrize("items", [0, 1, 200])
def test_open_file_with_named_databases_is_refused(path: str, items: int, empty: bool, version: int) -> None:
    """The error lists the databases, with items beside them too. They stay unchanged."""
    with_names(path, b"users", b"a", b"z\xff", items=items, empty=empty, version=version)
    ways: list[dict[str, Any]] = [{}, {"readonly": True}, {"readonly": True, "lock": False}, {"max_dbs": 5}]
    for options in ways:
        with unchanged(Path(path)), pytest.raises(lmdb.IncompatibleError) as caught:
            LmdbObjectStore(path, lib_version=version, **options)
        assert "'a', 'users', 0x7aff." in str(caught.value)
        assert path in str(caught.value)


@pytest.mark.parametrize("version", FORMATS)
def test_open_large_file_with_named_databases_is_refused(path: str, version: int) -> None:
    """One database among very many items is found by the pages that belong to no item."""
    with_names(path, b"k0050000x", items=100_000, version=version)
    with pytest.raises(lmdb.IncompatibleError, match="'k0050000x'"):
        LmdbObjectStore(path, lib_version=version)


def test_open_file_with_many_named_databases_lists_some(path: str) -> None:
    """The message stays short."""
    with_names(path, *(b"name%03d" % number for number in range(500)))
    with pytest.raises(lmdb.IncompatibleError, match="'name009' and 490 more"):
        LmdbObjectStore(path)


def record_of_a_database(path: str) -> bytes:
    """Return the bytes that LMDB stores for a named database."""
    with_names(path, b"name")
    with lmdb.open(path) as environment, environment.begin() as txn:
        data = txn.get(b"name")
    assert data is not None
    assert len(data) == 48
    return data


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize("items", [1, 10, 100_000])
def test_open_file_with_values_like_databases_works(path: str, tmp_path: Path, items: int, version: int) -> None:
    """A value that has the very bytes of a database's record is an item like any other."""
    record = record_of_a_database(str(tmp_path / "other"))
    with lmdb.open(path, map_size=1 << 30, lib_version=version) as environment:
        with environment.begin(write=True) as txn:
            for number in range(items):
                txn.put(b"%07d" % number, record)
        with environment.begin(write=True) as txn:  # free pages, and others for large values
            for number in range(1, items, 2):
                txn.delete(b"%07d" % number)
            txn.put(b"large", bytes(1 << 20))
    raw = Store(path, lib_version=version)
    assert raw.env.stat()["entries"] == (items + 1) // 2 + 1
    raw.close()


@pytest.mark.parametrize("version", FORMATS)
def test_open_any_store_of_items_alone_works(path: str, version: int) -> None:
    """All pages of a store are accounted for, whatever was written, deleted and cleared."""
    for turn in range(12):
        with Store(path, key_encoding="utf-8", lib_version=version, map_size=1 << 28) as store:
            store.put_many({f"{turn}-{number}": bytes(number % 7 * 3000) for number in range(2000)})
            for number in range(0, 2000, 3):
                store.delete(f"{turn}-{number}")
            store.flush()
            if turn % 4 == 3:
                store.range(f"{turn - 2}").clear()
            if turn % 6 == 5:
                store.clear()
    Store(path, lib_version=version).close()


def test_open_beside_writers_always_works(path: str) -> None:
    """Pages that others write at that very moment are not taken for databases, nor their commits for another file."""
    source = """
        import random
        store = opened(sync=False)
        for turn in range(400):
            store.put_many({f"k{random.randrange(3000)}": os.urandom(random.choice([3, 48, 5000])) for _ in range(30)})
            for _ in range(10):
                store.delete(f"k{random.randrange(3000)}")
            store.flush()
    """
    Store(path).close()
    rounds = 0
    writers = [threading.Thread(target=run_script, args=(source, path), daemon=True) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        Store(path, readonly=rounds % 2 == 0).close()
        rounds += 1
    assert rounds > 10


def test_open_while_another_process_grows_the_file_works(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file outgrows the map between LMDB's opening and the first transaction: the larger map is adopted."""
    Store(path, map_size=1 << 20).close()
    source = """
        opened().put_many({"large": bytes(20 << 20)})
    """

    def opened(*arguments: Any, **options: Any) -> lmdb.Environment:
        monkeypatch.undo()
        handle = lmdb.open(*arguments, **options)
        run_script(source, path)
        return handle

    monkeypatch.setattr(lmdb, "open", opened)
    with Store(path, key_encoding="utf-8", map_size=1 << 20) as store:
        assert len(store["large"]) == 20 << 20
        store["more"] = 1


class CountingFile(io.FileIO):
    """A file that counts how often it is read."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size) or b""


@pytest.mark.parametrize("version", FORMATS)
def test_named_databases_of_a_large_file_reads_few_pages(path: str, version: int) -> None:
    """A file of very many items is opened as fast as a small one: its list of free pages is read, and no item."""
    with lmdb.open(path, map_size=1 << 30, sync=False, lib_version=version) as environment:
        for turn in range(5):
            with environment.begin(write=True) as txn:
                for number in range(turn, 100_000, turn + 1):
                    txn.put(b"%07d" % number, bytes(48))
        page_size, pages = environment.stat()["psize"], environment.stat()["leaf_pages"]
        assert pages > 1000
    with CountingFile(os.path.join(path, "data.mdb")) as file:
        assert named_databases(file, page_size, newest_meta(file, page_size)) == []
        assert file.reads < 30


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize("items", [100, 3000])
def test_named_databases_of_a_damaged_file_finds_none(path: str, items: int, version: int) -> None:
    """Whatever a file of items holds instead, the look at its pages ends, and takes nothing for a database."""
    source = random.Random(items)
    with Store(path, key_encoding="utf-8", lib_version=version) as store:
        for _ in range(3):
            store.put_many({f"{source.random()}": bytes(source.choice([0, 48])) for _ in range(items)})
            store.put_many({"large": bytes(20_000)})
    file = Path(path, "data.mdb")
    whole = file.read_bytes()
    pages = len(whole) // mmap.PAGESIZE
    for turn in range(100):
        damaged = bytearray(whole)
        for _ in range(source.choice([1, 5, 50])):
            start = source.randrange(2, pages) * mmap.PAGESIZE
            size = source.choice([mmap.PAGESIZE, 200])
            damaged[start : start + size] = source.choice([bytes(size), source.randbytes(size)])
        file.write_bytes(damaged)
        with file.open("rb", buffering=0) as data:
            meta = newest_meta(data, mmap.PAGESIZE)
            assert named_databases(data, mmap.PAGESIZE, meta) == [], turn


COMMANDS: dict[str, list[str]] = {
    "info": [],
    "keys": [],
    "get": ["users"],
    "set": ["users", "1"],
    "delete": ["users"],
    "dump": [],
    "load": [],
    "backup": ["copy"],
    "verify": [],
}


@pytest.mark.parametrize(("command", "more"), COMMANDS.items(), ids=COMMANDS)
def test_command_on_named_databases_is_refused(
    path: str, command: str, more: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command says why it does nothing, and prints no record as a value."""
    with_names(path, b"users", items=3)
    monkeypatch.chdir(Path(path).parent)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"key": "users", "value": 1}\n')))
    with unchanged(Path(path).parent):
        assert _cli.main([command, path, *more]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "named databases" in err
    assert "'users'" in err
    assert names_in(path, b"users") == {b"users": {b"a": b"1"}}


def test_import_shelve_into_named_databases_is_refused(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shelf that has the name of a database as a key does not replace it."""
    import shelve

    with shelve.open(str(tmp_path / "old")) as shelf:
        shelf["users"] = 1
    with_names(path, b"users")
    assert _cli.main(["import-shelve", str(tmp_path / "old"), path]) == 1
    assert "named databases" in capsys.readouterr().err
    assert names_in(path, b"users") == {b"users": {b"a": b"1"}}


@pytest.mark.parametrize("flag", ["r", "w", "c", "n"])
def test_open_with_any_flag_leaves_named_databases_alone(path: str, flag: str) -> None:
    """The flag "n" empties a store, but no named database."""
    with_names(path, b"users", items=3)
    with unchanged(Path(path)), pytest.raises(lmdb.IncompatibleError, match="'users'"):
        lmdb_object_store.open(path, flag)
    assert names_in(path, b"users") == {b"users": {b"a": b"1"}}


@pytest.mark.parametrize("in_transaction", [False, True])
def test_clear_after_another_program_added_databases_is_refused(path: str, in_transaction: bool) -> None:
    """The databases came after the store was opened. `clear` would lose them, and stores nothing."""
    store = Store(path, max_dbs=1)
    store[b"a"] = 1
    store.flush()
    with store.env.begin(write=True) as txn:
        txn.put(b"key", b"value", db=store.env.open_db(b"late", txn=txn))

    def clear() -> None:
        if in_transaction:
            with store.transaction():
                store.clear()
        else:
            store.clear()

    with pytest.raises(lmdb.IncompatibleError, match="'late'"):
        clear()
    assert store[b"a"] == 1
    store[b"b"] = 2  # the store still works
    store.close(strict=True)
    assert names_in(path, b"late") == {b"late": {b"key": b"value"}}


def test_open_with_max_dbs_works(path: str) -> None:
    """The option reaches LMDB, and does not depend on the file's contents."""
    with Store(path, max_dbs=3) as store:
        store[b"a"] = 1
    with Store(path, max_dbs=3) as store:
        assert store[b"a"] == 1


# -- a file with holes


@pytest.mark.posix
def test_verify_of_a_file_with_holes_ends_before_lmdb_reads_them(path: str) -> None:
    """Zeros in the middle, as an interrupted download leaves them, are reported. A read could end the process."""
    with Store(path, key_encoding="utf-8", map_size=1 << 26) as store:
        store.put_many({f"{number:04}": bytes(50) for number in range(1000)})
        last = store.env.info()["last_pgno"]
    file = Path(path, "data.mdb")
    whole = file.read_bytes()

    def verified() -> None:
        for page in range(2, last + 1):
            start, end = page * mmap.PAGESIZE, (page + 1) * mmap.PAGESIZE
            file.write_bytes(whole[:start] + bytes(mmap.PAGESIZE) + whole[end:])
            assert _cli.main(["verify", path]) == 1, page

    in_child(verified)


# -- a data file that was replaced

_HOLD = """
    store = opened()
    for number in range(int(sys.argv[2])):
        store.put_many({"old": number})
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_open(path: str, commits: int) -> Iterator[None]:
    """Have another process open the store at `path`, to which it has committed `commits` times."""
    holder = started(_HOLD, path, str(commits))
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        yield
    finally:
        holder.communicate("", timeout=LIMIT)


def backup_of(path: str, commits: int) -> str:
    """Make a store with `commits` commits, each with other values, and return its data file."""
    with Store(path, key_encoding="utf-8") as store:
        for left in reversed(range(commits)):
            store.put_many({f"k{number:03}": number + left for number in range(100)})
    return os.path.join(path, "data.mdb")


@pytest.mark.skipif(os.name == "nt", reason="Windows replaces no file that is open")
@pytest.mark.parametrize(("live", "restored"), [(5, 1), (6, 1), (1, 6), (1, 5), (4, 2), (4, 3)])
def test_open_replaced_file_is_refused(path: str, tmp_path: Path, live: int, restored: int) -> None:
    """A backup put in the place of a file that a process has open is refused until all processes have closed it."""
    with held_open(path, live):
        shutil.copy(backup_of(str(tmp_path / "backup"), restored), tmp_path / "new")
        os.replace(tmp_path / "new", os.path.join(path, "data.mdb"))
        ways: list[dict[str, Any]] = [{}, {"readonly": True}]
        for options in ways:
            with unchanged(Path(path)), pytest.raises(lmdb.Error) as caught:
                LmdbObjectStore(path, **options)
            for word in (os.path.join(path, "data.mdb"), "replaced", f"delete {os.path.join(path, 'lock.mdb')}"):
                assert word in str(caught.value)
    os.unlink(os.path.join(path, "lock.mdb"))
    with Store(path, key_encoding="utf-8") as store:
        assert dict(store) == {f"k{number:03}": number for number in range(100)}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere such a file is refused")
def test_open_replaced_file_of_one_commit_more_works(path: str, tmp_path: Path) -> None:
    """The file looks like one whose lock file was begun during a commit, so it gets a new lock file."""
    with held_open(path, 3):
        shutil.copy(backup_of(str(tmp_path / "backup"), 4), tmp_path / "new")
        os.replace(tmp_path / "new", os.path.join(path, "data.mdb"))
        with Store(path, key_encoding="utf-8") as store:
            assert dict(store) == {f"k{number:03}": number for number in range(100)}
        for _ in range(2):
            with Store(path, key_encoding="utf-8") as store:
                store["more"] = 1
                assert dict(store) == {**{f"k{number:03}": number for number in range(100)}, "more": 1}


# Holds LMDB's lock of those who write, and never ends its transaction.
_WRITE = """
    import lmdb
    with lmdb.open(path).begin(write=True):
        print("ready", flush=True)
        sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs mutexes that outlive their owner")
@pytest.mark.parametrize("readonly", [False, True])
def test_open_file_of_a_process_killed_within_a_commit_works(path: str, readonly: bool) -> None:
    """Its last transaction is in the file, and not yet in the lock file: LMDB mends that, and nothing is lost."""
    commits = 77
    with held_open(path, commits):
        with open(os.path.join(path, "lock.mdb"), "r+b") as file:
            at = file.read(256).index(struct.pack("=Q", commits))  # as a commit leaves it until its very end
            writer = started(_WRITE, path)
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            file.seek(at)
            file.write(struct.pack("=Q", commits - 1))
        writer.kill()
        writer.communicate(timeout=LIMIT)
        with Store(path, key_encoding="utf-8", readonly=readonly) as store:
            assert store["old"] in ((commits - 2, commits - 1) if readonly else (commits - 1,))
        with Store(path, key_encoding="utf-8") as store:
            assert store["old"] == commits - 1
            store["new"] = 1
            store.flush()
            assert dict(store) == {"old": commits - 1, "new": 1}
            assert store.env.info()["last_txnid"] == commits + 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs mutexes that outlive their owner")
def test_open_beside_killed_writers_works(path: str) -> None:
    """Wherever a writer is killed, the store opens and has what was acknowledged."""
    source = """
        store = opened()
        for number in range(int(sys.argv[2]), 1 << 30):
            store.put_many({"number": number})
            print(number, flush=True)
    """
    with held_open(path, 1):
        acknowledged = 0
        for turn in range(8):
            writer = started(source, path, str(acknowledged))
            assert writer.stdout is not None
            for _ in range(3 + turn):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
            acknowledged = int([str(acknowledged), *writer.stdout.read().split()][-1])
            writer.communicate(timeout=LIMIT)
            with Store(path, key_encoding="utf-8") as store:
                assert store["number"] in (acknowledged, acknowledged + 1)
                store.put_many({"number": acknowledged})


# -- one file by two ways


def files_below(folder: Path) -> list[str]:
    """Return the names of all files below `folder`, with the folders that they are in."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir())


@pytest.mark.parametrize("lock_file", [True, False], ids=["with its lock file", "without its lock file"])
@pytest.mark.parametrize("linked", ["data.mdb", "link"])
def test_constructor_on_the_data_file_of_a_folder_is_refused(tmp_path: Path, linked: str, lock_file: bool) -> None:
    """The store would have a second lock file. The message says which path to take; so does a link to it."""
    folder = tmp_path / "st"
    with Store(folder) as store:
        store[b"a"] = 1
    if not lock_file:
        os.unlink(folder / "lock.mdb")
    path = folder / "data.mdb"
    if linked == "link":
        path = tmp_path / "link"
        path.symlink_to(folder / "data.mdb")
    before = files_below(tmp_path)
    ways: list[dict[str, Any]] = [{"subdir": False}, {}, {"subdir": False, "readonly": True}]
    for options in ways:
        with pytest.raises(lmdb.InvalidError, match=rf"{path} is the store at {folder}, .*Open {folder}$"):
            LmdbObjectStore(path, **options)
    assert files_below(tmp_path) == before
    with Store(path, subdir=False, readonly=True, lock=False) as store:  # no lock file at all
        assert store[b"a"] == 1
    with Store(folder) as store:
        assert store[b"a"] == 1


def test_constructor_on_the_folder_of_a_single_file_is_refused(tmp_path: Path) -> None:
    """A store that was made with `subdir=False` and happens to be called data.mdb has its lock file beside it."""
    path = tmp_path / "data.mdb"
    for _ in range(2):
        with Store(path, subdir=False) as store:
            store[b"a"] = 1
    ways: list[dict[str, Any]] = [{}, {"subdir": False}]
    for options in ways:
        with pytest.raises(
            lmdb.InvalidError, match=rf"{tmp_path} is the store at {path}, .* {path} with subdir=False$"
        ):
            LmdbObjectStore(tmp_path, **options)
    assert files_below(tmp_path) == ["data.mdb", "data.mdb-lock"]


def test_constructor_with_two_lock_files_takes_the_folder(tmp_path: Path) -> None:
    """Version 1.0 recommended the second way. Its lock file, left behind, does no harm to the folder."""
    Store(tmp_path).close()
    (tmp_path / "data.mdb-lock").touch()
    Store(tmp_path).close()
    with pytest.raises(lmdb.InvalidError, match=rf"Open {tmp_path}$"):
        LmdbObjectStore(tmp_path / "data.mdb", subdir=False)


def test_constructor_on_a_linked_data_file_needs_its_only_lock_file(tmp_path: Path) -> None:
    """A data.mdb that is a link, as caches of build tools have, is read where nobody opens its target."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "st").mkdir()
    with Store(tmp_path / "made") as store:
        store[b"a"] = 1
    targets: list[tuple[str, dict[str, Any]]] = [("blob", {"subdir": False}), ("data.mdb", {})]
    for name, opened in targets:
        target = tmp_path / "cache" / name
        shutil.copy(tmp_path / "made" / "data.mdb", target)
        link = tmp_path / "st" / "data.mdb"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        with Store(tmp_path / "st", readonly=True) as store:
            assert store[b"a"] == 1
        where = target if opened else target.parent
        Store(where, **opened).close()
        with pytest.raises(lmdb.InvalidError, match=rf"st is the store at {where}, .*Open {where}"):
            LmdbObjectStore(tmp_path / "st")


def test_constructor_on_links_to_folders_works(tmp_path: Path) -> None:
    """A folder that is reached through a link has the same lock file."""
    with Store(tmp_path / "st") as store:
        store[b"a"] = 1
    (tmp_path / "link").symlink_to(tmp_path / "st")
    with Store(tmp_path / "link") as store:
        assert store[b"a"] == 1


@pytest.mark.posix
def test_fork_after_the_lock_file_was_deleted_keeps_the_way(tmp_path: Path) -> None:
    """A single file called data.mdb is opened again as it was, though nothing tells its way any more."""
    path = tmp_path / "data.mdb"
    with Store(path, subdir=False) as store:
        store[b"a"] = 1
        store.flush()
        os.unlink(f"{path}-lock")
        in_child(lambda: store[b"a"])
        assert store[b"a"] == 1


def test_commands_take_the_one_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line opens a data file by its folder, and a single file by itself, whichever it is given."""
    with Store(tmp_path / "st", key_encoding="utf-8") as store:
        store["a"] = 1
    (tmp_path / "link").symlink_to(tmp_path / "st" / "data.mdb")
    (tmp_path / "one").mkdir()
    with Store(tmp_path / "one" / "data.mdb", subdir=False, key_encoding="utf-8") as store:
        store["b"] = 1
    before = files_below(tmp_path)
    for path, key in (("st", "a"), ("st/data.mdb", "a"), ("link", "a"), ("one", "b"), ("one/data.mdb", "b")):
        assert _cli.main(["keys", str(tmp_path / path)]) == 0
        assert capsys.readouterr().out == f"{key}\n"
        assert _cli.main(["set", str(tmp_path / path), key, "2"]) == 0
    assert files_below(tmp_path) == before
