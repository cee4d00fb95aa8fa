"""Who may read a store: its files' and its folder's permissions, by `mode` and by the umask."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support import in_child

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there a folder's access list decides")

NOBODY = 65534


@pytest.fixture
def umask() -> Iterator[int]:
    """A umask that takes nothing away."""
    before = os.umask(0)
    yield 0
    os.umask(before)


def bits(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def permissions(path: str, subdir: bool = True) -> tuple[int | None, int, int]:
    """Those of the store's folder, of its data file and of its lock file."""
    if subdir:
        return bits(path), bits(os.path.join(path, "data.mdb")), bits(os.path.join(path, "lock.mdb"))
    return None, bits(path), bits(f"{path}-lock")


@pytest.mark.parametrize("subdir", [True, False])
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077])
@pytest.mark.parametrize("mode", [None, 0o600, 0o640, 0o644, 0o660, 0o666, 0o755])
def test_a_new_store_is_its_owners_alone_unless_mode_says_otherwise(
    mode: int | None, mask: int, subdir: bool, path: str, open_store: OpenStore, umask: int
) -> None:
    """Files have the bits of `mode`, 0o600 by default; who may read them may enter the folder; the umask counts too."""
    os.umask(mask)
    options = {} if mode is None else {"mode": mode}
    open_store(subdir=subdir, **options)["a"] = 1
    files = 0o600 if mode is None else mode & 0o666
    folder = 0o700 if mode is None else {0o640: 0o750, 0o644: 0o755, 0o660: 0o770, 0o666: 0o777}.get(mode, mode | 0o100)
    expected = (folder & ~mask if subdir else None, files & ~mask, files & ~mask)
    assert permissions(path, subdir) == expected


@pytest.mark.parametrize("options", [{}, {"mode": 0o660}])
def test_what_exists_is_left_as_it_is(options: dict[str, Any], path: str, open_store: OpenStore, umask: int) -> None:
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
def test_a_new_lock_file_is_as_open_as_the_data_file(
    subdir: bool, path: str, open_store: OpenStore, umask: int
) -> None:
    """A store whose lock file was lost, or not copied, does not become a single user's; `mode` still decides."""
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_mode_outlives_a_fork_and_a_pickle(path: str, open_store: OpenStore, umask: int) -> None:
    """What a fork, or a worker that gets the store, has to create anew is created with the same mode."""
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
def test_a_mode_that_is_none_is_refused(mode: Any, path: str) -> None:
    """Decimal 600, say, or one with which the store could not be opened again; nothing is created."""
    with pytest.raises(ValueError if isinstance(mode, int) else TypeError, match=r"^mode .*0o660") as caught:
        LmdbObjectStore(path, mode=mode)
    assert (oct(mode) if isinstance(mode, int) else repr(mode)) in str(caught.value)
    assert not os.path.exists(path)


# As another user: a program of its own, since a process that has changed its user is of no more use as a test.
_AS_NOBODY = f"""
import os, sys, tempfile
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
    """Where others may create a store: in a folder that anybody may enter, which one of pytest's is not."""
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


def test_another_user_is_refused_unless_mode_says_otherwise(
    shared_path: str, open_store: OpenStore, umask: int
) -> None:
    """The default keeps others out. To read a store with its lock file they must be let write to it."""
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


def test_an_owner_who_is_not_root_enters_the_folder(shared_path: str) -> None:
    """Root may enter any folder: another user creates, writes and opens again, with the default and with a mode."""
    assert as_nobody(f"{shared_path}-1") == "['by']"
    assert as_nobody(f"{shared_path}-2", mode=0o600) == "['by']"
    assert permissions(f"{shared_path}-1") == permissions(f"{shared_path}-2") == (0o700, 0o600, 0o600)


def test_open_tells_of_another_users_store(shared_path: str) -> None:
    """To look into its folder is not allowed: that is no sign that there is no store."""
    lmdb_object_store.open(shared_path).close()

    def child() -> None:
        os.seteuid(NOBODY)
        for flag in ("r", "w", "c", "n"):
            with pytest.raises(PermissionError, match=r"data\.mdb"):
                lmdb_object_store.open(shared_path, flag)
        with pytest.raises((lmdb.Error, OSError), match=r"[Pp]ermission denied"):
            LmdbObjectStore(shared_path)

    in_child(child)
