"""The permissions of a store's files and of its folder, by `mode` and by the umask."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.programs import in_child, run_script

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there a folder's access list decides")

NOBODY = 65534


@pytest.fixture
def umask() -> Iterator[int]:
    """Set a umask that removes no permission."""
    before = os.umask(0)
    yield 0
    os.umask(before)


def bits(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def permissions(path: str, subdir: bool = True) -> tuple[int | None, int, int]:
    """Return the permissions of the store's folder, of its data file and of its lock file."""
    if subdir:
        return bits(path), bits(os.path.join(path, "data.mdb")), bits(os.path.join(path, "lock.mdb"))
    return None, bits(path), bits(f"{path}-lock")


@pytest.mark.parametrize("subdir", [True, False])
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077])
@pytest.mark.parametrize("mode", [None, 0o600, 0o640, 0o644, 0o660, 0o666, 0o755])
def test_open_new_store_gives_its_files_the_mode(
    mode: int | None, mask: int, subdir: bool, path: str, open_store: OpenStore, umask: int
) -> None:
    """Files have the bits of `mode`, by default 0o600, less the umask. Readers of the files may enter the folder."""
    os.umask(mask)
    options = {} if mode is None else {"mode": mode}
    open_store(subdir=subdir, **options)["a"] = 1
    files = 0o600 if mode is None else mode & 0o666
    folder = 0o700 if mode is None else {0o640: 0o750, 0o644: 0o755, 0o660: 0o770, 0o666: 0o777}.get(mode, mode | 0o100)
    expected = (folder & ~mask if subdir else None, files & ~mask, files & ~mask)
    assert permissions(path, subdir) == expected


@pytest.mark.parametrize("options", [{}, {"mode": 0o660}])
def test_open_existing_store_changes_no_permissions(
    options: dict[str, Any], path: str, open_store: OpenStore, umask: int
) -> None:
    """Opening, writing and growing change no permissions, neither of a folder that was there nor of a store's files."""
    os.mkdir(path)
    os.chmod(path, 0o711)
    open_store().close()
    assert permissions(path) == (0o711, 0o600, 0o600)
    os.chmod(os.path.join(path, "data.mdb"), 0o640)
    os.chmod(os.path.join(path, "lock.mdb"), 0o664)
    with open_store(**options) as store:
        store.put_many({"large": bytes(12 << 20)})
    assert permissions(path) == (0o711, 0o640, 0o664)


@pytest.mark.parametrize("subdir", [True, False])
def test_open_without_a_lock_file_gives_it_the_data_files_permissions(
    subdir: bool, path: str, open_store: OpenStore, umask: int
) -> None:
    """A store without its lock file does not become a single user's. `mode` still decides."""
    options: dict[str, Any]
    for mode, options, expected in (
        (0o664, {}, 0o664),
        (0o664, {"mode": 0o600}, 0o600),
        (0o600, {}, 0o600),
        (0o444, {}, 0o644),  # even a reader must be able to open the lock file to write
    ):
        open_store(subdir=subdir, **options).close()
        data, lock = (f"{path}/data.mdb", f"{path}/lock.mdb") if subdir else (path, f"{path}-lock")
        os.chmod(data, mode)
        os.unlink(lock)
        open_store(subdir=subdir, readonly=True, **options).close()
        assert (bits(data), bits(lock)) == (mode, expected)


@pytest.mark.posix
def test_mode_after_a_fork_and_a_pickle_stays(path: str, open_store: OpenStore, umask: int) -> None:
    """A fork, or a worker that gets the store, creates files with the same mode."""
    store = open_store(mode=0o660)
    store["a"] = 1
    store.flush()
    os.unlink(os.path.join(path, "lock.mdb"))
    in_child(lambda: None)
    assert store["a"] == 1
    assert permissions(path) == (0o770, 0o660, 0o660)

    handle = pickle.dumps(store)
    store.close()
    for name in ("data.mdb", "lock.mdb"):
        os.unlink(os.path.join(path, name))
    os.rmdir(path)
    with pickle.loads(handle) as copy:
        copy["b"] = 2
    assert permissions(path) == (0o770, 0o660, 0o660)


@pytest.mark.parametrize("mode", [600, 0o400, 0o060, 0, -1, 0o1600, 0o10600, "600", 0o600 + 0.5])
def test_open_with_a_wrong_mode_is_refused(mode: Any, path: str) -> None:
    """Decimal 600, or a mode by which the store could not be opened again, is refused. Nothing is created."""
    with pytest.raises(ValueError if isinstance(mode, int) else TypeError, match=r"^mode .*0o660") as caught:
        LmdbObjectStore(path, mode=mode)
    assert (oct(mode) if isinstance(mode, int) else repr(mode)) in str(caught.value)
    assert not os.path.exists(path)


# As another user: a program of its own, since a process that has changed its user is of no more use as a test.
_AS_NOBODY = f"""
import logging, os, sys, tempfile
path, options = sys.argv[1], eval(sys.argv[2])
import lmdb
from lmdb_object_store import LmdbObjectStore
with tempfile.TemporaryDirectory() as warm:  # all is imported now: that user may not be able to read the package
    LmdbObjectStore(warm).close()
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
try:
    with LmdbObjectStore(path, key_encoding="utf-8", **options) as store:
        if not options.get("readonly"):
            store["by"] = "nobody"
        names = sorted(store)
    LmdbObjectStore(path, **options).close()
    print(names)
except (lmdb.Error, OSError) as error:
    print("refused")
"""


@pytest.fixture
def shared_path() -> Iterator[str]:
    """Return a path at which others may create a store: pytest's own folders may not be entered by them."""
    if not hasattr(os, "getuid") or os.getuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as folder:
        if not all(bits(str(parent)) & 0o001 for parent in Path(folder).parents):
            pytest.skip("the folder for temporary files is private")
        os.chmod(folder, 0o777)
        yield os.path.join(folder, "db")


def as_nobody(path: str, **options: Any) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, path, repr(options)], capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_open_by_another_user_needs_mode(shared_path: str, open_store: OpenStore, umask: int) -> None:
    """The default refuses other users. Reading a store with its lock file needs permission to write to that file."""
    for mode, options, answer in (
        (None, {}, "refused"),
        (None, {"readonly": True, "lock": False}, "refused"),
        (0o644, {"readonly": True}, "refused"),
        (0o644, {"readonly": True, "lock": False}, "['root']"),
        (0o666, {}, "['by', 'root']"),
    ):
        path = f"{shared_path}-{mode}"
        with open_store(path=path, **({} if mode is None else {"mode": mode})) as store:
            store["root"] = 1
        assert as_nobody(path, **options) == answer, mode


def test_open_by_an_owner_who_is_not_root_works(shared_path: str) -> None:
    """Root may enter any folder: another user creates, writes and opens again, with the default and with a mode."""
    assert as_nobody(f"{shared_path}-1") == "['by']"
    assert as_nobody(f"{shared_path}-2", mode=0o600) == "['by']"
    assert permissions(f"{shared_path}-1") == permissions(f"{shared_path}-2") == (0o700, 0o600, 0o600)


@pytest.mark.posix
def test_open_c_beside_another_users_store_raises(shared_path: str) -> None:
    """The folder may not be entered. That is no sign that there is no store."""
    lmdb_object_store.open(shared_path).close()

    def child() -> None:
        os.seteuid(NOBODY)
        for flag in ("r", "w", "c", "n"):
            with pytest.raises(PermissionError, match=r"data\.mdb"):
                lmdb_object_store.open(shared_path, flag)
        with pytest.raises((lmdb.Error, OSError), match=r"[Pp]ermission denied"):
            LmdbObjectStore(shared_path)

    in_child(child)


# -- the lock file's owner


def as_user(user: int, groups: list[int], body: Callable[[], object]) -> None:
    """Run `body` in a fork that is `user`, whose group has the same number, for good."""

    def child() -> None:
        os.setgroups(groups)
        os.setgid(user)
        os.setuid(user)
        body()

    in_child(child)


def owner(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_uid, status.st_gid


@pytest.mark.parametrize("subdir", [True, False])
@pytest.mark.parametrize("readonly", [True, False])
def test_open_by_root_without_a_lock_file_gives_the_lock_file_to_the_datas_owner(
    subdir: bool, readonly: bool, shared_path: str
) -> None:
    """A service works after root has looked at its store, which had been copied without the lock file."""
    data, lock = (
        (f"{shared_path}/data.mdb", f"{shared_path}/lock.mdb") if subdir else (shared_path, f"{shared_path}-lock")
    )
    as_user(NOBODY, [], lambda: LmdbObjectStore(shared_path, subdir=subdir).close())
    os.unlink(lock)
    LmdbObjectStore(shared_path, subdir=subdir, readonly=readonly).close()
    assert owner(lock) == owner(data) == (NOBODY, NOBODY)
    assert bits(lock) == 0o600

    def go_on() -> None:
        with LmdbObjectStore[bytes, int](shared_path, subdir=subdir) as store:
            store[b"a"] = 1

    as_user(NOBODY, [], go_on)


def test_open_by_the_command_line_of_root_gives_the_lock_file_to_the_datas_owner(shared_path: str) -> None:
    """Root looks at a store by `sudo lmdb-object-store keys`."""
    as_user(NOBODY, [], lambda: LmdbObjectStore(shared_path).close())
    os.unlink(f"{shared_path}/lock.mdb")
    run_script("from lmdb_object_store._cli.main import main; main(['keys', path])", shared_path, status=None)
    assert owner(f"{shared_path}/lock.mdb") == (NOBODY, NOBODY)


def test_open_by_a_member_of_the_datas_group_gives_the_lock_file_to_the_group(shared_path: str, umask: int) -> None:
    """A user who is not root can give a file to a group of theirs: the other members can use the store."""
    member, team = 65532, 65533

    def create() -> None:
        LmdbObjectStore(shared_path, mode=0o660).close()
        os.chown(shared_path, -1, team)
        os.chown(f"{shared_path}/data.mdb", -1, team)
        os.unlink(f"{shared_path}/lock.mdb")

    as_user(NOBODY, [team], create)
    as_user(member, [team], lambda: LmdbObjectStore(shared_path).close())
    assert owner(f"{shared_path}/lock.mdb") == (member, team)
    as_user(NOBODY, [team], lambda: LmdbObjectStore(shared_path).close())


def test_open_by_root_leaves_other_files_to_their_owners(shared_path: str) -> None:
    """A lock file that exists keeps its owner, nothing is created with lock=False, and a new store is root's."""
    as_user(NOBODY, [], lambda: LmdbObjectStore(shared_path).close())
    lock = f"{shared_path}/lock.mdb"
    os.chown(lock, 0, 0)
    LmdbObjectStore(shared_path).close()
    assert owner(lock) == (0, 0)
    os.unlink(lock)
    LmdbObjectStore(shared_path, lock=False).close()
    assert not os.path.exists(lock)
    for name in (lock, f"{shared_path}/data.mdb"):
        if os.path.exists(name):
            os.unlink(name)
    LmdbObjectStore(shared_path).close()
    assert owner(lock) == owner(f"{shared_path}/data.mdb") == (0, 0)


def test_open_by_root_follows_no_link_in_place_of_the_lock_file(shared_path: str) -> None:
    """The owner of the folder could otherwise have root give them a file that is not theirs."""
    as_user(NOBODY, [], lambda: LmdbObjectStore(shared_path).close())
    lock, target = f"{shared_path}/lock.mdb", f"{shared_path}-target"
    os.unlink(lock)
    os.symlink(target, lock)
    LmdbObjectStore(shared_path).close()
    assert owner(target) == (0, 0), "LMDB follows the link, and root's new file stays root's"


# -- messages


@pytest.mark.parametrize(
    ("refused", "permissions_of", "options", "words"),
    [
        ("", 0o600, {}, ["may not enter", "chmod"]),
        ("data.mdb", 0o600, {}, ["may not read", "chmod"]),
        ("data.mdb", 0o600, {"readonly": True}, ["may not read", "chmod"]),
        ("data.mdb", 0o644, {}, ["may not write to", "readonly=True"]),
        ("lock.mdb", 0o644, {"readonly": True}, ["may not write to", "lock=False", "readers"]),
        ("lock.mdb", 0o600, {}, ["may not write to", "owner and the permissions of", "data.mdb"]),
        ("lock.mdb", None, {"readonly": True}, ["may not create", "lock=False"]),
        ("lock.mdb", None, {}, ["may not create"]),
    ],
)
def test_open_without_permission_names_the_file_and_the_way_out(
    refused: str, permissions_of: int | None, options: dict[str, Any], words: list[str], shared_path: str, umask: int
) -> None:
    """The constructor's error is LMDB's as before; `open(…, "r")` has PermissionError with the file."""
    LmdbObjectStore(shared_path, mode=0o666).close()
    file = os.path.join(shared_path, refused) if refused else shared_path
    if permissions_of is None:
        os.unlink(file)
        os.chmod(shared_path, 0o755)
    else:
        os.chmod(file, permissions_of)
    expected = [file, "Permission denied", *words] if refused else ["Permission denied", shared_path, *words]
    if permissions_of is not None:
        expected += ["root", f"{permissions_of:o}"]

    def child() -> None:
        with pytest.raises(lmdb.ReadonlyError) as caught:
            LmdbObjectStore(shared_path, **options)
        assert not [word for word in expected if word not in str(caught.value)], str(caught.value)
        assert options.get("readonly") or "lock=False" not in str(caught.value), "writers need the locks"
        looked_into = "may not read" in words or not refused  # open() looks into the data file first
        if options.get("readonly") or looked_into:
            with pytest.raises(PermissionError) as refusal:
                lmdb_object_store.open(shared_path, "r" if options.get("readonly") else "w")
            assert refusal.value.filename == (file if refused else f"{shared_path}/data.mdb")
            assert looked_into or not [word for word in words if word not in str(refusal.value)], str(refusal.value)
        else:
            with pytest.raises(lmdb.ReadonlyError) as caught:
                lmdb_object_store.open(shared_path, "w")
            assert not [word for word in expected if word not in str(caught.value)], str(caught.value)

    as_user(NOBODY, [], child)
