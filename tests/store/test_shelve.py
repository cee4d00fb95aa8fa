"""open(), sync() and scripts written for `shelve`, as their users run them."""

from __future__ import annotations

import dbm
import dbm.dumb
import os
import pickle
import shelve
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.files import contents
from support.programs import in_child, run_script

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._shelve.writeback import WritebackStore


def listing(directory: Path) -> dict[str, bytes]:
    """Return all files below `directory`, with their contents, and its folders."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else b"" for path in directory.rglob("*")
    }


def old_shelf(path: str) -> shelve.Shelf[Any]:
    """Make a shelf of the kind that each Python has."""
    return shelve.Shelf(dbm.dumb.open(path))  # type: ignore[arg-type]


@pytest.fixture
def filled(path: str) -> str:
    """Return the path of a store with one item."""
    with lmdb_object_store.open(path) as store:
        store["k"] = [1]
    return path


# -- flags


@pytest.mark.parametrize("flag", ["r", "w"])
def test_open_r_or_w_without_a_store_is_refused(tmp_path: Path, flag: str) -> None:
    """A missing path, an empty folder, or an empty file of a killed process gets no store."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "data.mdb").touch()
    before = listing(tmp_path)
    for name in ("missing", "empty", "killed"):
        with pytest.raises(FileNotFoundError, match="'c' makes one") as caught:
            lmdb_object_store.open(tmp_path / name, flag)
        assert isinstance(caught.value, dbm.error)
        assert caught.value.filename == str(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        lmdb_object_store.open(tmp_path / "missing" / "file", flag, subdir=False)
    assert listing(tmp_path) == before


def test_open_r_reads_and_refuses_writes(filled: str) -> None:
    """A write raises an error, and `sync` none."""
    with lmdb_object_store.open(filled, "r") as store:
        assert store["k"] == [1]
        store.sync()
        writes: list[Callable[[], object]] = [
            lambda: store.pop("k"),
            lambda: store.put("k", 2),
            store.clear,
            store.flush,
        ]
        for write in writes:
            with pytest.raises(lmdb.ReadonlyError):
                write()
    assert contents(filled) == {"k": [1]}


def test_open_r_write_raises_what_dbm_error_catches(filled: str) -> None:
    """A script that catches `dbm.error` continues, as with a shelf. The text says how to open the store."""
    with lmdb_object_store.open(filled, "r") as store:
        writes: list[Callable[[], object]] = [
            lambda: store.__setitem__("k", 2),
            lambda: store.__delitem__("k"),
            lambda: store.delete("k"),
            lambda: store.update(k=2),
            lambda: store.update(),
            lambda: store.put_many({}),
            lambda: store.setdefault("k", 2),
            lambda: store.pop("k"),
            lambda: store.range("a").popitem(),
            lambda: store.prefix("k").clear(),
            store.popitem,
            store.clear,
            store.flush,
            store.transaction().__enter__,
            store.edit("k").__enter__,
        ]
        for write in writes:
            with pytest.raises(dbm.error, match=r"open read-only.*flag 'w'") as caught:
                write()
            assert isinstance(caught.value, lmdb.ReadonlyError)
            assert isinstance(caught.value, PermissionError)
            assert filled in str(caught.value)
            again = pickle.loads(pickle.dumps(caught.value))
            assert (type(again), str(again)) == (type(caught.value), str(caught.value))


@pytest.mark.parametrize("flag", ["w", "c"])
def test_open_w_or_c_keeps_what_is_there(filled: str, flag: str) -> None:
    """Both flags keep the items, and writes add to them."""
    with lmdb_object_store.open(filled, flag) as store:
        assert store == {"k": [1]}
        store["new"] = 2
    assert contents(filled) == {"k": [1], "new": 2}


def test_open_n_empties_the_store(filled: str) -> None:
    """The store is empty at once, also for other stores of it in the process. Files beside it stay."""
    Path(filled, "notes.txt").write_text("kept")
    with lmdb_object_store.open(filled) as other, lmdb_object_store.open(filled, "n") as store:
        assert not store
        assert not other
        store["new"] = 1
    assert contents(filled) == {"new": 1}
    assert Path(filled, "notes.txt").read_text() == "kept"


@pytest.mark.parametrize("flag", ["c", "n"])
@pytest.mark.parametrize("made", ["nothing", "folder", "killed", "lock"])
def test_open_c_or_n_makes_a_store(tmp_path: Path, flag: str, made: str) -> None:
    """No file, an empty folder, and an unfinished file of a killed process become a store."""
    path = tmp_path / "db"
    if made != "nothing":
        path.mkdir()
    if made in ("killed", "lock"):
        (path / "lock.mdb").touch()
    if made == "killed":
        (path / "data.mdb").touch()
    with lmdb_object_store.open(path, flag) as store:
        store["k"] = 1
    assert contents(str(path)) == {"k": 1}


def test_open_n_refuses_a_path_that_is_no_store(tmp_path: Path) -> None:
    """A folder of other files, a file, and another kind of data file stay unchanged, with nothing new beside them."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("kept")
    (tmp_path / "file").write_text("kept")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data.mdb").write_bytes(b"kept" * 5000)
    before = listing(tmp_path)
    for name, options, error in (
        ("folder", {}, FileExistsError),
        ("file", {}, NotADirectoryError),
        ("file", {"subdir": False}, FileExistsError),
        ("other", {}, FileExistsError),
        ("folder", {"subdir": False}, IsADirectoryError),
    ):
        with pytest.raises(error) as caught:
            lmdb_object_store.open(tmp_path / name, "n", **options)
        assert isinstance(caught.value, dbm.error)
        assert listing(tmp_path) == before


@pytest.mark.parametrize("flag", ["r", "w", "c"])
def test_open_another_file_is_refused_by_each_flag(tmp_path: Path, flag: str) -> None:
    """LMDB would leave a lock file beside such a file."""
    (tmp_path / "file").write_text("kept")
    (tmp_path / "data.mdb").write_bytes(b"kept" * 5000)
    before = listing(tmp_path)
    for path, options in ((tmp_path, {}), (tmp_path / "file", {}), (tmp_path / "file", {"subdir": False})):
        with pytest.raises(OSError, match="file"):
            lmdb_object_store.open(path, flag, **options)
        assert listing(tmp_path) == before


@pytest.mark.parametrize("flag", ["r", "w", "c"])
def test_open_beside_an_old_shelf_is_refused(tmp_path: Path, flag: str) -> None:
    """A script whose import was changed finds its old file, and no empty store takes its place."""
    name = str(tmp_path / "shelf")
    with old_shelf(name) as shelf:
        shelf["k"] = 1
    before = listing(tmp_path)
    with pytest.raises(FileExistsError, match=r"shelf of dbm\.dumb"):
        lmdb_object_store.open(name, flag)
    assert listing(tmp_path) == before
    with lmdb_object_store.open(name, "n") as store:
        store["new"] = 2
    with lmdb_object_store.open(name, flag) as store:
        assert store == {"new": 2}
    with old_shelf(name) as shelf:
        assert dict(shelf) == {"k": 1}


@pytest.mark.parametrize("flag", ["n", "c"])
def test_open_n_or_c_on_an_empty_file_begins_a_store_in_it(tmp_path: Path, flag: str) -> None:
    """Programs that give `open` the file which `tempfile.mkstemp` has made, as pylast does, find their store in it."""
    descriptor, path = tempfile.mkstemp(dir=tmp_path)
    os.close(descriptor)
    with lmdb_object_store.open(path, flag) as store:
        store["k"] = [1]
    assert os.path.isfile(path)
    for later in ("r", "w", "c"):
        with lmdb_object_store.open(path, later) as store:
            assert store == {"k": [1]}
    with lmdb_object_store.open(path, "w", writeback=True) as store:
        store["k"].append(2)
    with lmdb_object_store.open(path, "r", subdir=False) as store:
        assert store == {"k": [1, 2]}
    with pytest.raises(NotADirectoryError):
        lmdb_object_store.open(path, subdir=True)
    with lmdb_object_store.open(path, "n") as store:
        assert store == {}
    assert {file.name for file in tmp_path.iterdir()} == {Path(path).name, f"{Path(path).name}-lock"}
    os.remove(path)
    os.remove(f"{path}-lock")


@pytest.mark.parametrize("flag", ["r", "w"])
def test_open_r_or_w_on_an_empty_file_finds_no_store(tmp_path: Path, flag: str) -> None:
    """No store is made."""
    (tmp_path / "file").touch()
    before = listing(tmp_path)
    with pytest.raises(FileNotFoundError, match="no store"):
        lmdb_object_store.open(tmp_path / "file", flag)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("flag", ["r", "w", "c", "n"])
def test_open_data_file_of_a_folder_is_refused(filled: str, flag: str) -> None:
    """The file would have another lock file than for those who open the folder. An empty one is refused too."""
    os.mkdir(filled + ".killed")
    Path(filled + ".killed", "data.mdb").touch()
    for path in (os.path.join(filled, "data.mdb"), os.path.join(filled + ".killed", "data.mdb")):
        with pytest.raises((OSError, lmdb.InvalidError)):
            lmdb_object_store.open(path, flag)
        assert not os.path.exists(f"{path}-lock")
    assert contents(filled) == {"k": [1]}


def test_open_n_of_a_store_that_it_cannot_empty_closes_it(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's items stay."""
    with monkeypatch.context() as patch:
        patch.setattr(LmdbObjectStore, "_commit", lambda *_, **__: (_ for _ in ()).throw(lmdb.DiskError("full")))
        with pytest.raises(lmdb.DiskError):
            lmdb_object_store.open(filled, "n")
    assert contents(filled) == {"k": [1]}  # it would not open a file that is open


@pytest.mark.parametrize("flag", ["", "x", "rw", "cf", "C", None, 0])
def test_open_unknown_flag_is_refused(path: str, flag: Any) -> None:
    """The error lists the valid flags."""
    with pytest.raises(ValueError, match="flag must be 'r', 'w', 'c' or 'n'"):
        lmdb_object_store.open(path, flag)
    assert not os.path.exists(path)


def test_open_with_readonly_beside_the_flag_is_refused(filled: str) -> None:
    """Two answers would contradict each other."""
    with pytest.raises(TypeError, match="readonly"):
        lmdb_object_store.open(filled, "r", readonly=False)
    with pytest.raises(ValueError, match="read-only"):
        lmdb_object_store.open(filled, "r", writeback=True)


@pytest.mark.posix
@pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="takes another user's part")
def test_open_r_without_permission_to_write_needs_lock_false(tmp_path: Path) -> None:
    """LMDB needs its lock file. A store can be read without it if the caller guarantees that nobody writes."""
    path = tmp_path / "db"
    with lmdb_object_store.open(path, mode=0o644) as store:
        store["k"] = [1]
    for entry in (*path.iterdir(), path):
        entry.chmod(stat.S_IMODE(entry.stat().st_mode) & ~0o222)
    for folder in (tmp_path, *tmp_path.parents):
        if folder == tmp_path or folder.name.startswith(("pytest-", "popen-")):  # these are the tests' own
            folder.chmod(folder.stat().st_mode | 0o055)
        if not folder.stat().st_mode & 0o001:
            pytest.skip("no other user can reach the folder for temporary files")

    def child() -> None:
        os.seteuid(65534)
        for flag, error in (("r", PermissionError), ("w", lmdb.ReadonlyError)):
            with pytest.raises(error) as caught:
                lmdb_object_store.open(path, flag)
            assert isinstance(caught.value, dbm.error)
        with lmdb_object_store.open(path, "r", lock=False) as store:
            assert store == {"k": [1]}

    in_child(child)
    (path / "lock.mdb").chmod(0o666)

    def child_with_lock() -> None:
        os.seteuid(65534)
        with lmdb_object_store.open(path, "r") as store:
            assert store == {"k": [1]}

    in_child(child_with_lock)


# -- the other arguments


@pytest.mark.parametrize("kind", [str, os.fsencode, Path, lambda path: Path(os.fsdecode(path))])
def test_open_path_of_any_kind_is_taken(path: str, kind: Callable[[str], Any]) -> None:
    """The path is taken by position, and by the name that `shelve.open` gives it."""
    with lmdb_object_store.open(kind(path), "c") as store:
        store["k"] = 1
    with lmdb_object_store.open(filename=kind(path), flag="r") as store:
        assert store == {"k": 1}


def test_open_passes_options_on(path: str) -> None:
    """Keys are text, and reads flush nothing, unless options say otherwise; all other options are passed on."""
    with lmdb_object_store.open(path) as store:
        assert type(store) is LmdbObjectStore
        assert (store.key_encoding, store.autoflush_on_read, store.batch_size) == ("utf-8", False, 1000)
    with lmdb_object_store.open(path, writeback=True, max_cached=5, batch_size=7) as store:
        assert isinstance(store, WritebackStore)
        assert (store.max_cached, store.batch_size) == (5, 7)
    with lmdb_object_store.open(path, key_encoding=None, autoflush_on_read=True) as store:
        assert (store.key_encoding, store.autoflush_on_read) == (None, True)
    with lmdb_object_store.open(path + ".mdb", subdir=False) as store:
        store["k"] = 1
    assert Path(path + ".mdb").is_file()
    wrong: list[dict[str, Any]] = [{"max_cached": 5}, {"nonsense": 1}]
    for options in wrong:
        with pytest.raises(TypeError, match=next(iter(options))):
            lmdb_object_store.open(path, **options)


@pytest.mark.parametrize("protocol", [0, 2, 4, pickle.HIGHEST_PROTOCOL, -1, None])
@pytest.mark.parametrize("writeback", [False, True])
def test_open_protocol_is_that_of_the_pickles(path: str, protocol: int | None, writeback: bool) -> None:
    """The protocol is taken by position too, as by a script. Pickles of any protocol are read."""
    with lmdb_object_store.open(path, "c", protocol, writeback) as store:
        store["k"] = [1]
        store["k"].append(2)
        store.sync()
        expected = pickle.dumps([1, 2] if writeback else [1], pickle.HIGHEST_PROTOCOL if protocol is None else protocol)
        with store.env.begin() as txn:
            assert txn.get(b"k") == expected
        with pickle.loads(pickle.dumps(store)) as handle:
            handle["k"] = handle["k"]
        with store.env.begin() as txn:
            assert txn.get(b"k") == expected
    with lmdb_object_store.open(path, "r") as store:
        assert store["k"][0] == 1


def test_open_unknown_protocol_is_refused(path: str) -> None:
    """The error comes before anything is made. Another serializer's protocol is refused too."""
    with pytest.raises(ValueError, match="protocol"):
        lmdb_object_store.open(path, protocol=99)
    with pytest.raises(TypeError, match="serializer"):
        lmdb_object_store.open(path, protocol=2, serializer=pickle)
    assert not os.path.exists(path)


def test_open_is_not_imported_by_a_star() -> None:
    """A module that takes all names keeps Python's own function."""
    namespace: dict[str, Any] = {}
    exec("from lmdb_object_store import *", namespace)
    assert "LmdbObjectStore" in namespace
    assert "open" not in namespace


# -- sync


def test_sync_commits_the_pending_changes(path: str, open_store: OpenStore) -> None:
    """The changes are in the file then, and other processes see them."""
    store, other = open_store(), open_store()
    store["k"] = 1
    assert "k" not in other
    store.sync()
    assert other["k"] == 1
    store.sync()


@pytest.mark.parametrize("flag", ["c", "r"])
@pytest.mark.parametrize("writeback", [False, True])
def test_sync_of_a_closed_store_does_nothing(filled: str, flag: str, writeback: bool) -> None:
    """Celery's beat calls `sync` once more after it has closed its shelf."""
    store = lmdb_object_store.open(filled, flag, writeback=writeback and flag == "c")
    changed = store["k"]
    store.close()
    changed.append(2)
    store.sync()
    store.sync()
    assert store.write_buffer == {}
    with pytest.raises(ValueError, match="closed"):
        store.flush()
    assert contents(filled) == {"k": [1]}


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({}, 0),
        ({"sync": False}, 1),
        ({"metasync": False}, 1),
        ({"sync": False, "writemap": True, "map_async": True}, 1),
    ],
)
def test_sync_without_lmdbs_own_waits_for_the_disk(open_store: OpenStore, options: dict[str, Any], times: int) -> None:
    """`sync` waits for the disk if a commit does not."""
    synced: list[object] = []

    def profile(_: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ == "sync":
            synced.append(called.__self__)

    store = open_store(**options)
    store["k"] = 1
    sys.setprofile(profile)
    try:
        store.sync()
    finally:
        sys.setprofile(None)
    assert synced == [store.env] * times


# -- scripts

SCRIPT = """
import shelve

def count(path):
    with shelve.open(path) as words:
        for word in "to be or not to be".split():
            words[word] = words.get(word, 0) + 1
    with shelve.open(path, flag="r") as words:
        print(sorted(words.items()), len(words), "be" in words, "is" in words)

def edit(path):
    shelf = shelve.open(path, writeback=True)
    shelf["list"] = []
    shelf["list"].append(1)
    shelf.setdefault("dict", {})["a"] = {"b": 1}
    shelf["dict"]["a"]["b"] += 1
    shelf.sync()
    for key in sorted(shelf.keys()):
        print(key, shelf[key])
    for key, value in shelf.items():
        if key == "list":
            value.append("from the loop")
    shelf.close()
    shelf = shelve.open(path, "w", None, True)
    print(shelf["list"], shelf["dict"])
    del shelf["list"]
    try:
        shelf["list"]
    except KeyError:
        print("gone")
    print(shelf.pop("list", "default"), sorted(shelf), dict(shelf) == {key: shelf[key] for key in shelf})
    shelf.update({"x": 1}, y=2)
    shelf.clear()
    print(len(shelf), bool(shelf), list(shelf))
    shelf.close()
    shelf.close()
    try:
        shelf["x"]
    except ValueError:
        print("closed")

def old(path):
    shelf = shelve.open(path, protocol=2)
    shelf["a"] = (1, 2)
    shelf.close()
    shelf = shelve.open(path, "n")
    print(len(shelf))
    shelf.close()
    import dbm
    for flag in "rw":
        try:
            shelve.open(path + "-missing", flag)
        except dbm.error:
            print("missing")

import sys
count(sys.argv[1] + "1")
edit(sys.argv[1] + "2")
old(sys.argv[1] + "3")
"""


def test_script_for_shelve_runs_on(tmp_path: Path) -> None:
    """The script prints the same with its import changed and nothing else."""
    changed = SCRIPT.replace("import shelve\n", "import lmdb_object_store as shelve\n", 1)
    assert changed != SCRIPT
    (tmp_path / "shelve").mkdir()
    (tmp_path / "store").mkdir()
    python = ("-W", "error")
    expected = run_script(SCRIPT, str(tmp_path / "shelve" / "s")).stdout
    assert "closed" in expected
    ended = run_script(changed, str(tmp_path / "store" / "s"), python=python)
    assert ended.stdout == expected
    assert ended.stderr == ""
