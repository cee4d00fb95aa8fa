"""Files that LMDB opens and a store cannot use: refused when they are opened, with a message that says why."""

from __future__ import annotations

import io
import mmap
import os
import random
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import lmdb
import pytest
from support.files import unchanged
from support.programs import in_child, run_script

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
