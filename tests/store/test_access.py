"""Errors of opening name the file that this user may not open. A missing lock file gets the owner of the data."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._environment import access as _access

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs the permissions of POSIX")

# The file that may not be opened, how, whether to read alone: the file that is named, and words of the message.
REFUSALS: dict[str, tuple[str, int, bool, str, tuple[str, ...]]] = {
    "folder to enter": ("", os.X_OK, True, "", ("enter the folder", "chmod")),
    "data to read": ("data.mdb", os.R_OK, True, "data.mdb", ("may not read", "permissions 600", "chown")),
    "data to write": ("data.mdb", os.W_OK, False, "data.mdb", ("may not write to", "readonly=True")),
    "lock file of a reader": ("lock.mdb", os.R_OK | os.W_OK, True, "lock.mdb", ("lists its readers", "lock=False")),
    "lock file of a writer": ("lock.mdb", os.R_OK | os.W_OK, False, "lock.mdb", ("Give it the owner",)),
    "lock file to create": ("", os.W_OK, True, "lock.mdb", ("may not create", "lock=False")),
    "data to create": ("", os.W_OK, False, "data.mdb", ("may not create",)),
    "something else": ("other", os.R_OK, False, "data.mdb", ("may not open",)),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_of_a_file_names_it_and_the_way_out(path: str, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """The message names the file, its owner and permissions, and what to do."""
    denied, how, reads, named, words = REFUSALS[case]
    LmdbObjectStore[Any, Any](path).close()
    if case == "lock file to create":
        os.unlink(Path(path, "lock.mdb"))
    if case == "data to create":
        os.unlink(Path(path, "data.mdb"))
    at = os.path.join(path, denied) if denied else path
    monkeypatch.setattr(_access, "_may", lambda file, access: (file, access) != (at, how))
    file, message = _access.refusal(path, {"readonly": reads})
    assert file == (os.path.join(path, named) if named else path)
    assert [word for word in (*words, file) if word not in message] == []


def test_refusal_names_an_owner_without_a_name_by_number(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container knows few of the host's users. A file that may not be looked at is named alone."""
    if os.geteuid():
        pytest.skip("needs root, who may give files away")
    LmdbObjectStore[Any, Any](path).close()
    os.chown(Path(path, "data.mdb"), 54321, -1)
    monkeypatch.setattr(_access, "_may", lambda file, access: access == os.X_OK)
    assert "data.mdb (owner 54321, permissions 600)" in _access.refusal(path, {})[1]
    assert _access._owned(f"{path}/missing") == f"{path}/missing"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (lmdb.LockError("mdb_txn_begin: Resource temporarily unavailable"), ("another container", "--pid=host")),
        (lmdb.Error("Read-only file system"), ("readonly=True",)),
        (lmdb.ReadonlyError("Permission denied"), ("may not enter",)),
        (lmdb.Error("something else"), ()),
    ],
)
def test_explain_of_an_error_of_lmdb_adds_the_way_out(path: str, error: lmdb.Error, words: tuple[str, ...]) -> None:
    """The error keeps its class and the beginning of its text."""
    before = str(error)
    codes = {"Resource": errno.EAGAIN, "Read-only": errno.EROFS}
    object.__setattr__(error, "code", next((code for word, code in codes.items() if word in before), None))
    _access.explain(path, {}, error)
    assert str(error).startswith(before)
    assert [word for word in words if word not in str(error)] == []
    assert words or str(error) == before


def test_create_lock_file_beside_the_data_of_another_gives_it_away(
    path: str, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file goes to the owner, else to the group, else it is this user's. An existing file keeps its owner."""
    open_store().close()
    lock, given = Path(path, "lock.mdb"), []

    def refused(_: int, uid: int, gid: int) -> None:
        given.append((uid, gid))
        raise PermissionError

    lock.unlink()
    owner = os.stat(Path(path, "data.mdb"))
    monkeypatch.setattr(os, "geteuid", lambda: owner.st_uid + 1)
    monkeypatch.setattr(os, "fchown", refused)
    for _ in range(2):
        _access.create_lock_file(path, {}, 0o600)
    assert given == [(owner.st_uid, owner.st_gid), (-1, owner.st_gid)]
    assert lock.stat().st_size == 0


def test_open_to_write_without_permission_raises_as_a_file_does(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PermissionError, which `except dbm.error` catches, and LMDB's class, for each flag."""

    def refused(*_: object, **options: object) -> None:
        raise lmdb.ReadonlyError("Permission denied")

    lmdb_object_store.open(path).close()
    monkeypatch.setattr("lmdb_object_store._shelve.open.LmdbObjectStore", refused)
    for flag in ("r", "w", "c"):
        with pytest.raises(PermissionError) as caught:
            lmdb_object_store.open(path, flag)
        assert isinstance(caught.value, lmdb.ReadonlyError)
