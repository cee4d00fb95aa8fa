"""backup(): a consistent copy beside readers and writers, complete or not there; stats()."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.checkpoints import at_copies, in_each_commit
from support.files import contents
from support.programs import in_child, run_script
from support.threads import in_thread, looping

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore, StoreClosedError, StoreStats

Store = LmdbObjectStore[Any, Any]


def parts(folder: Path) -> list[str]:
    """Return the incomplete copies in `folder`."""
    return [name for name in os.listdir(folder) if name.endswith(".part")]


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("subdir", [True, False])
def test_backup_has_the_pending_changes(open_store: OpenStore, tmp_path: Path, subdir: bool, compact: bool) -> None:
    """The copy opens with the store's own options and equals it; nothing else is left in the folder."""
    store = open_store(subdir=subdir)
    store.update({f"k{i}": "x" * i for i in range(300)})
    store.flush()
    store["pending"] = 1
    target = tmp_path / "copy"
    store.backup(target, compact)
    assert sorted(os.listdir(tmp_path)) == sorted(["copy", "db", *([] if subdir else ["db-lock"])])
    assert target.is_dir() is subdir
    with LmdbObjectStore[Any, Any](target, key_encoding="utf-8", subdir=subdir, readonly=True) as copy:
        assert copy == store
        assert copy["pending"] == 1


def test_backup_path_of_any_kind_is_taken(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target may be bytes too, as the constructor's path."""
    store["a"] = 1
    monkeypatch.chdir(tmp_path)
    store.backup(b"copy")
    assert contents(str(tmp_path / "copy")) == {"a": 1}


def test_backup_compact_leaves_free_pages_out(store: Store, tmp_path: Path) -> None:
    """A compact copy has no free pages, and another copy has them."""
    store["large"] = bytes(1 << 20)
    store.flush()
    del store["large"]
    store.backup(tmp_path / "compact")
    store.backup(tmp_path / "whole", compact=False)
    sizes = {name: os.stat(tmp_path / name / "data.mdb").st_size for name in ("db", "compact", "whole")}
    assert sizes["compact"] < 100_000 < 1 << 20 < sizes["whole"]
    assert contents(str(tmp_path / "whole")) == {} == contents(str(tmp_path / "compact"))


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_backup_to_an_existing_target_is_refused(store: Store, tmp_path: Path, kind: str) -> None:
    """FileExistsError names the target, which stays unchanged."""
    target = tmp_path / "copy"
    if kind == "file":
        target.write_bytes(b"mine")
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="copy"):
        store.backup(target)
    assert sorted(os.listdir(tmp_path)) == ["copy", "db"]
    assert kind != "file" or target.read_bytes() == b"mine"


@pytest.mark.parametrize("subdir", [True, False])
def test_backup_target_that_comes_meanwhile_is_not_replaced(
    open_store: OpenStore, tmp_path: Path, subdir: bool
) -> None:
    """The target may be a file or a folder with contents. The copy is removed."""
    store = open_store(subdir=subdir)
    target = tmp_path / "copy"

    def appear() -> None:
        (target.mkdir if subdir else target.touch)()
        if subdir:
            (target / "mine").touch()

    with pytest.raises(FileExistsError), at_copies(appear):
        store.backup(target)
    assert sorted(os.listdir(target)) == ["mine"] if subdir else not target.read_bytes()
    assert not parts(tmp_path)


def test_backup_without_hard_links_still_replaces_nothing(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is renamed on a file system without hard links, and still replaces nothing."""

    def link(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", link)
    store = open_store(subdir=False)
    store.backup(tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size
    with pytest.raises(FileExistsError), at_copies((tmp_path / "second").touch):
        store.backup(tmp_path / "second")
    assert not parts(tmp_path)


@pytest.mark.parametrize("subdir", [True, False])
def test_backup_has_the_permissions_of_the_store(open_store: OpenStore, tmp_path: Path, subdir: bool) -> None:
    """A store that only its owner may read has such a backup, from the first byte on."""
    store = open_store(subdir=subdir)
    data = tmp_path / "db" / "data.mdb" if subdir else tmp_path / "db"
    data.chmod(0o640)
    (tmp_path / "db").chmod(0o750 if subdir else 0o640)

    def look() -> None:
        assert (tmp_path / parts(tmp_path)[0]).stat().st_mode & 0o077 == 0

    with at_copies(look):
        store.backup(tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mode & 0o777 == (0o750 if subdir else 0o640)
    assert not subdir or (tmp_path / "copy" / "data.mdb").stat().st_mode & 0o777 == 0o640


def test_backup_into_a_missing_folder_is_refused(store: Store, tmp_path: Path) -> None:
    """The folder is not made."""
    with pytest.raises(FileNotFoundError):
        store.backup(tmp_path / "nowhere" / "copy")
    assert os.listdir(tmp_path) == ["db"]


def test_backup_of_a_read_only_store_works(open_store: OpenStore, tmp_path: Path) -> None:
    """A read-only store has nothing to flush."""
    store = open_store()
    store["a"] = 1
    store.close()
    with LmdbObjectStore[Any, Any](tmp_path / "db", key_encoding="utf-8", readonly=True) as readonly:
        readonly.backup(tmp_path / "copy")
        assert readonly.stats().entries == 1
    assert contents(str(tmp_path / "copy")) == {"a": 1}


def test_backup_of_an_unpickled_handle_opens_it(store: Store, tmp_path: Path) -> None:
    """A handle opens its file first, and a closed store refuses."""
    store["a"] = 1
    with pickle.loads(pickle.dumps(store)) as handle:
        handle.backup(tmp_path / "copy")
    with pickle.loads(pickle.dumps(store)) as handle:
        assert handle.stats().entries == 1
    assert contents(str(tmp_path / "copy")) == {"a": 1}
    store.close()
    with pytest.raises(StoreClosedError):
        store.backup(tmp_path / "second")
    with pytest.raises(StoreClosedError):
        store.stats()


def test_backup_within_a_commit_is_refused(store: Store, tmp_path: Path) -> None:
    """The copy would lack the changes being committed. RuntimeError is raised, as by flush()."""

    def handler() -> None:
        with pytest.raises(RuntimeError, match="commit"):
            store.backup(tmp_path / "copy")

    assert in_each_commit(handler, lambda: store.put_many({"a": 1})) == 1
    assert os.listdir(tmp_path) == ["db"]


def test_backup_whose_flush_fails_copies_nothing(open_store: OpenStore, tmp_path: Path) -> None:
    """The caller gets the error, and the change is still pending."""
    store = open_store(map_size=1 << 18, max_map_size=1 << 18)
    store["large"] = bytes(1 << 20)
    with pytest.raises(lmdb.MapFullError):
        store.backup(tmp_path / "copy")
    assert os.listdir(tmp_path) == ["db"]
    del store["large"]


@pytest.mark.parametrize("compact", [True, False])
def test_backup_lets_other_threads_commit_and_read(store: Store, tmp_path: Path, compact: bool) -> None:
    """A compact copy leaves the write lock free. Another copy must have it: LMDB waits in the copy
    for the end of a write, whose abort would wait for the copy."""
    store["a"] = 1
    free: list[bool] = []

    def look() -> None:
        lock = store._environment.lock

        def try_lock() -> None:
            free.append(lock.acquire(blocking=False))
            if free[-1]:
                lock.release()

        in_thread(try_lock)
        in_thread(lambda: store["a"])

    with at_copies(look):
        store.backup(tmp_path / "copy", compact)
    assert free == [compact]


@pytest.mark.parametrize("compact", [True, False])
def test_backup_beside_writers_and_growth_is_one_moment(open_store: OpenStore, tmp_path: Path, compact: bool) -> None:
    """Each copy is of one moment: it has both keys of each transaction, and all earlier commits."""
    store = open_store(map_size=1 << 18)
    store.put_many({"a": (0, b""), "b": (0, b"")})
    written = 0

    def write() -> None:
        nonlocal written
        number = written + 1
        # The map grows from 256 KiB again and again.
        store.put_many({"a": (number, b""), "b": (number, b""), f"filler{number}": bytes(200_000)})
        written = number

    with looping(write, lambda: store["a"]):
        for number in range(8):
            before = written
            store.backup(tmp_path / f"copy{number}", compact)
            copy = contents(str(tmp_path / f"copy{number}"))
            assert copy["a"] == copy["b"]
            assert copy["a"][0] >= before
            assert len(copy) == 2 + copy["a"][0]
    assert store.stats().map_size > 1 << 18


@pytest.mark.posix
def test_backup_with_a_fork_before_the_copy_is_complete(store: Store, tmp_path: Path) -> None:
    """The fork closes the file, and the copy begins again. The child's own backup is complete too."""
    store["a"] = 1
    with at_copies(lambda: in_child(lambda: store.backup(tmp_path / "child")), lambda: None):
        store.backup(tmp_path / "copy")
    assert contents(str(tmp_path / "copy")) == {"a": 1} == contents(str(tmp_path / "child"))


def test_backup_with_a_close_before_the_copy_is_refused(store: Store, tmp_path: Path) -> None:
    """StoreClosedError is raised, and nothing is left."""
    with pytest.raises(StoreClosedError), at_copies(store.close):
        store.backup(tmp_path / "copy")
    assert os.listdir(tmp_path) == ["db"]


def test_backup_of_a_file_that_another_process_grows_is_complete(
    open_store: OpenStore, path: str, tmp_path: Path
) -> None:
    """The copy adopts the larger size."""
    store = open_store(map_size=1 << 18)
    store["a"] = 1
    with at_copies(lambda: run_script("with opened() as store: store['large'] = bytes(1 << 20)", path), lambda: None):
        store.backup(tmp_path / "copy")
    assert contents(str(tmp_path / "copy")) == {"a": 1, "large": bytes(1 << 20)}


@pytest.mark.parametrize("subdir", [True, False])
def test_backup_that_is_interrupted_leaves_nothing(open_store: OpenStore, tmp_path: Path, subdir: bool) -> None:
    """The interrupt takes effect at the end of LMDB's copy, which is then removed."""
    store = open_store(subdir=subdir)
    interrupted = threading.Event()

    def interrupt() -> None:
        interrupted.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), at_copies(interrupt):
        store.backup(tmp_path / "copy")
    assert interrupted.is_set()
    assert not parts(tmp_path)
    assert not (tmp_path / "copy").exists()


@pytest.mark.posix
@pytest.mark.parametrize("subdir", [True, False])
def test_backup_on_a_full_disk_leaves_nothing(open_store: OpenStore, tmp_path: Path, subdir: bool) -> None:
    """The error leaves nothing, the store works, and a backup succeeds once there is space."""
    import resource

    store = open_store(subdir=subdir)
    store["large"] = bytes(1 << 20)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    store.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, hard))
    try:
        with pytest.raises((lmdb.Error, OSError)):
            store.backup(tmp_path / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert not parts(tmp_path)
    assert not (tmp_path / "copy").exists()
    assert len(store["large"]) == 1 << 20
    store.backup(tmp_path / "copy")


@pytest.mark.posix
@pytest.mark.parametrize("subdir", [True, False])
@pytest.mark.parametrize("when", ["written", "named"])
def test_backup_killed_before_it_is_complete_has_a_temporary_name(
    path: str, tmp_path: Path, when: str, subdir: bool
) -> None:
    """The incomplete copy has a temporary name, and the next backup to the same path succeeds."""
    run_script(
        """
        store = opened(subdir=sys.argv[2] == "True")
        store["large"] = bytes(1 << 20)
        for name in {"written": ["fsync"], "named": ["link", "rename"]}[sys.argv[3]]:
            setattr(os, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        store.backup(path + "-copy")
        """,
        path, str(subdir), when, status=-signal.SIGKILL,
    )  # fmt: skip
    [part] = parts(tmp_path)
    assert part.startswith("db-copy.")
    assert not (tmp_path / "db-copy").exists()
    run_script("opened(subdir=sys.argv[2] == 'True').backup(path + '-copy')", path, str(subdir))
    with LmdbObjectStore[Any, Any](f"{path}-copy", key_encoding="utf-8", subdir=subdir) as copy:
        assert len(copy["large"]) == 1 << 20


def test_backup_killed_at_any_moment_is_complete_or_absent(path: str, tmp_path: Path) -> None:
    """The process is killed when its temporary file is seen, or a little later. The copy is complete or not there."""
    source = "store = opened(); store.update({str(i): bytes(1 << 20) for i in range(24)}); store.flush()\n"
    run_script(source, path)
    program = "import sys; from lmdb_object_store import LmdbObjectStore as S; S(sys.argv[1]).backup(sys.argv[2])"
    found_at = str(Path(lmdb_object_store.__file__).parents[1])
    for number in range(4):
        target = tmp_path / f"copy{number}"
        process = subprocess.Popen(
            [sys.executable, "-c", program, path, target], env={**os.environ, "PYTHONPATH": found_at}
        )
        while process.poll() is None and not list(tmp_path.glob(f"copy{number}.*.part/data.mdb")):
            pass
        for _ in range(number * 2000):
            pass
        process.kill()
        process.wait()
        if target.exists():
            assert len(contents(str(target))) == 24


# -- stats


def test_stats_of_an_empty_store_are_zero(store: Store) -> None:
    """An empty store has no entries and no bytes."""
    stats = store.stats()
    assert (stats.entries, stats.pending, stats.depth, stats.used_bytes, stats.readers) == (0, 0, 0, 0, 0)
    assert stats.map_size == store.env.info()["map_size"]


@pytest.mark.parametrize("subdir", [True, False])
def test_stats_are_those_of_lmdb_and_of_the_buffer(open_store: OpenStore, path: str, subdir: bool) -> None:
    """Each figure is compared with its source, and nothing is flushed."""
    store = open_store(subdir=subdir, batch_size=None)
    store.put_many({f"k{i:05}": i for i in range(5000)})
    store.put_many({"large": bytes(100_000)})
    store["pending"] = 1
    del store["k00000"]
    stats, theirs = store.stats(), store.env.stat()
    assert (stats.entries, stats.pending) == (5001, 2)
    assert (stats.depth, stats.branch_pages, stats.leaf_pages) == (2, 1, theirs["leaf_pages"])
    assert stats.leaf_pages > 10
    assert stats.overflow_pages == 25
    assert stats.page_bytes == theirs["psize"]
    assert stats.used_bytes == (1 + stats.leaf_pages + 25) * stats.page_bytes
    assert stats.file_bytes == os.stat(f"{path}/data.mdb" if subdir else path).st_size > stats.used_bytes
    assert len(store.write_buffer) == 2


def test_stats_count_the_readers_of_all_processes(store: Store, path: str) -> None:
    """Open transactions are counted, and earlier uses of a reader slot are not."""
    store["a"] = 1
    assert store["a"] == 1
    assert store.stats().readers == 0
    transaction = store.env.begin()
    assert store.stats().readers == 1
    program = "reader = opened(); mine = reader.env.begin(); print(reader.stats().readers, flush=True); os._exit(0)"
    counted = run_script(program, path)
    assert counted.stdout == "2\n"
    assert store.stats().readers == 2, "that of a process that ended counts until it is looked for"
    assert store.env.reader_check() == 1
    transaction.abort()
    assert store.stats().readers == 0, "an idle place in the table counts"


def test_stats_count_the_commits_and_changes_of_a_store(open_store: OpenStore) -> None:
    """Each commit of this store counts, whatever set it off, with its changes. Those of other stores do not."""
    store, other = open_store(batch_size=3), open_store()

    def figures() -> tuple[int, int]:
        stats = store.stats()
        return stats.commits, stats.changes

    assert figures() == (0, 0)
    store.update(a=1, b=2)
    store["a"] = 3
    assert figures() == (0, 0)
    store.flush()
    assert figures() == (1, 2)
    store.flush()
    assert figures() == (1, 2)
    store.put_many({"c": 1, "d": 2, "e": 3})
    assert figures() == (2, 5)
    with store.transaction():
        del store["a"]
        store["f"] = 1
        assert figures() == (2, 5)
    assert figures() == (3, 7)
    for key in "bcd":
        del store[key]
    assert figures() == (4, 10)
    store["g"] = 1
    assert store.get("missing") is None
    assert figures() == (5, 11)
    store.clear()
    assert figures() == (6, 11)
    other.put_many({"h": 1})
    assert figures() == (6, 11)


def test_stats_do_not_count_a_commit_that_failed(full: Store) -> None:
    """A commit counts once its changes are in the file."""
    before = full.stats()
    with pytest.raises(lmdb.MapFullError):
        full.flush()
    after = full.stats()
    assert (after.commits, after.changes) == (before.commits, before.changes) == (1, 1)


@pytest.mark.posix
def test_stats_of_a_child_count_its_own_commits(store: Store) -> None:
    """A child of a fork counts from zero, and the parent goes on with its own figures."""
    store["a"] = 1

    def child() -> None:
        assert (store.stats().commits, store.stats().changes) == (0, 0)
        store.put_many({"b": 1, "c": 2})
        assert (store.stats().commits, store.stats().changes) == (1, 2)

    in_child(child)
    assert (store.stats().commits, store.stats().changes) == (1, 1)


def test_stats_unpickle_nothing(path: str, open_store: OpenStore) -> None:
    """A value that no unpickler reads counts like any other."""
    with lmdb.open(path) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"broken", b"no pickle")
    assert open_store().stats().entries == 1


def test_stats_are_frozen_and_public(store: Store) -> None:
    """The figures are a frozen dataclass of whole numbers."""
    stats = store.stats()
    assert type(stats) is StoreStats
    assert all(type(value) is int for value in dataclasses.asdict(stats).values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.entries = 1  # type: ignore[misc]
    assert StoreStats.__module__ == "lmdb_object_store"
    assert pickle.loads(pickle.dumps(stats)) == stats
    with pytest.raises(AttributeError, match="nothing_of_it"):
        lmdb_object_store.nothing_of_it  # type: ignore[attr-defined]  # noqa: B018


def test_backup_and_stats_import_their_modules_late(path: str) -> None:
    """The modules that are slow to import are not imported by the package itself."""
    program = """
    def imported():
        return sorted({"argparse", "dataclasses", "json", "pickletools", "shutil"} & set(sys.modules))
    with opened() as store:
        store["a"] = 1
        print(imported())
        store.stats()
        print(imported())
    """
    assert run_script(program, path).stdout == "[]\n['dataclasses']\n"
