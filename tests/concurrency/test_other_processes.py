"""Other processes on the same file: they grow it, write to it, and die while they read."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.files import contents
from support.programs import run_script
from support.stores import assert_no_reader

from lmdb_object_store import LmdbObjectStore

MIB = 1024 * 1024

Store = LmdbObjectStore[Any, Any]


def put_and_flush(store: Store) -> None:
    store["new"] = 1
    store.flush()


# A fork would have this process open the file again.
GROW = "with opened(map_size=64 << 20) as store: store['large'] = bytes(8 << 20)"

AFTER_GROWTH: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("old"),
    "in": lambda store: "old" in store,
    "get_many": lambda store: store.get_many(["old", "none"]),
    "iter": list,
    "reversed": lambda store: list(reversed(store)),
    "items": lambda store: list(store.items()),
    "put": put_and_flush,
    "put_many": lambda store: store.put_many({"new": 1}),
    "pop": lambda store: store.pop("old"),
    "popitem": lambda store: store.popitem(),
    "setdefault": lambda store: store.setdefault("new", 1),
    "clear": lambda store: store.clear(),
    "repr": repr,
}


@pytest.mark.parametrize("call", AFTER_GROWTH.values(), ids=AFTER_GROWTH)
def test_methods_after_another_process_grew_the_map_adopt_it(
    path: str, open_store: OpenStore, call: Callable[[Store], object]
) -> None:
    """The first call after another process has outgrown this map works, and so do all later ones."""
    store = open_store(map_size=MIB)
    store.put_many({"old": 1})
    run_script(GROW, path)
    call(store)
    assert store.env.info()["map_size"] > 8 * MIB
    store["after"] = 2
    store.flush()
    assert store["after"] == 2


def test_iter_while_another_process_grows_the_map_misses_no_key(path: str, open_store: OpenStore) -> None:
    """A loop in progress while another process outgrows the map sees every key that was there all the while."""
    store = open_store(map_size=MIB)
    names = [f"k{i:04}" for i in range(3000)]
    store.put_many(dict.fromkeys(names, 1))
    iterator = iter(store)
    first = [next(iterator) for _ in range(5)]
    run_script(GROW, path)
    assert first + list(iterator) == [*names, "large"]


def test_growth_by_several_processes_at_once_loses_nothing(path: str, open_store: OpenStore) -> None:
    """Processes that write and grow one file at the same time lose nothing."""
    source = """
        name = sys.argv[2]
        with opened(map_size=1 << 20, batch_size=5) as store:
            for number in range(60):
                store[f"{name} {number}"] = bytes(40_000)
                assert len(store[f"{name} {number // 2}"]) == 40_000
    """
    open_store(map_size=MIB).close()
    threads = [threading.Thread(target=run_script, args=(source, path, name), daemon=True) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert contents(path).keys() == {f"{name} {number}" for name in "abcd" for number in range(60)}


READ_AND_DIE = """
    store = opened()
    transaction = store.env.begin()
    transaction.get(b"key")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.posix
def test_open_frees_the_reader_slot_of_a_killed_process(path: str, open_store: OpenStore) -> None:
    """A process killed during a read has no reader slot once another process opens the file."""
    store = open_store()
    store.put_many({"key": 1})
    run_script(READ_AND_DIE, path, status=-signal.SIGKILL)
    assert "no active" not in store.env.readers()
    run_script("opened()", path)
    assert_no_reader(store)


@pytest.mark.posix
def test_read_with_a_full_reader_table_frees_killed_processes_slots(path: str, open_store: OpenStore) -> None:
    """A read that needs a slot clears a reader table full of killed processes' readers."""
    store = open_store(max_readers=2)
    store.put_many({"key": 1})
    source = """
        store = opened()
        transactions = [store.env.begin(), store.env.begin()]
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run_script(source, path, status=-signal.SIGKILL)
    assert store["key"] == 1
    assert_no_reader(store)


@pytest.mark.posix
def test_flush_after_a_reader_was_killed_uses_its_pages(path: str, open_store: OpenStore) -> None:
    """A file at its cap, full of pages that a killed process was reading, takes writes again."""
    store = open_store(map_size=MIB, max_map_size=MIB)
    store.put_many({"key": bytes(100_000)})
    run_script(READ_AND_DIE, path, status=-signal.SIGKILL)
    for number in range(40):
        store.put_many({"key": bytes([number]) * 100_000})
    assert store["key"] == bytes([39]) * 100_000


def test_open_while_another_process_grows_the_file_works(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LMDB refuses to open a file that outgrows its map at that moment: the store opens it again."""
    opened = lmdb.open
    refusals = 3

    def refusing(*arguments: Any, **options: Any) -> lmdb.Environment:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise lmdb.MapResizedError("mdb_txn_begin")
        return opened(*arguments, **options)

    monkeypatch.setattr(lmdb, "open", refusing)
    store = open_store()
    store["key"] = 1
    assert store["key"] == 1
    assert refusals == -1
