"""Data files that were replaced or left by a killed process, while others have them open."""

from __future__ import annotations

import os
import shutil
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import pytest
from support import LIMIT
from support.files import unchanged
from support.programs import started

from lmdb_object_store import LmdbObjectStore

Store = LmdbObjectStore[Any, Any]


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
