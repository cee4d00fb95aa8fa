"""Paths to one data file: as a single file, by its folder and by links, with one lock file for all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import lmdb
import pytest
from support.programs import in_child

from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._cli import main as _cli

Store = LmdbObjectStore[Any, Any]


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
