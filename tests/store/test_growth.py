"""Real files that outgrow their maps, here and in another process, and a size that the machine refuses."""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.programs import run_script

from lmdb_object_store._buffer import resize as _resize
from lmdb_object_store._environment import write as _write
from lmdb_object_store._environment.write import write as write_changes

KIB, MIB = 1 << 10, 1 << 20


# -- real files


@pytest.fixture
def rewrites(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the number of changes of each write transaction that is begun."""
    begun: list[int] = []
    write = write_changes

    def counted(environment: Any, changes: Any, *more: Any) -> None:
        begun.append(len(changes))
        write(environment, changes, *more)

    monkeypatch.setattr(_resize, "write", counted)
    return begun


def map_size(store: Any) -> int:
    """Return the bytes of the store's map."""
    size: int = store.env.info()["map_size"]
    return size


def items(count: int, size: int = 1000) -> dict[str, bytes]:
    """Return `count` values of `size` bytes."""
    return {f"k{i:06}": i.to_bytes(4, "big") * (size // 4) for i in range(count)}


def test_flush_into_a_full_map_grows_it(open_store: OpenStore) -> None:
    """A flush that does not fit grows the map by the contract's step, and stores all of it."""
    store = open_store(batch_size=10_000, map_size=MIB)
    store.update(items(2000))
    assert map_size(store) == MIB
    store.flush()
    assert map_size(store) == 65 * MIB
    assert store == items(2000)


def test_put_many_into_a_full_map_grows_it(open_store: OpenStore) -> None:
    """`put_many` grows the map too, also for an iterator, which is read once."""
    store = open_store(map_size=MIB)
    store.put_many(iter(items(2000).items()))
    assert map_size(store) == 65 * MIB
    assert store == items(2000)


def test_delete_and_clear_in_a_full_map_grow_it(open_store: OpenStore) -> None:
    """A delete needs pages too, and finds them in a map that is full."""
    store = open_store(map_size=128 * KIB, max_map_size=128 * KIB, batch_size=1)
    with suppress(lmdb.MapFullError):
        for key, value in items(1000).items():
            store[key] = value
    assert store.write_buffer, "the map has never been full"
    store.delete(next(reversed(store.write_buffer)))
    before = dict(store)
    store.max_map_size = None
    for key in before:
        del store[key]
    store.clear()
    assert not store


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [20, 1000, 9000])
def test_delete_in_a_map_at_its_cap_finds_pages(open_store: OpenStore, version: int, batch: int, size: int) -> None:
    """However small the commits that filled it, each key can be deleted, and the space is there for others."""
    store = open_store(batch, map_size=256 * KIB, max_map_size=256 * KIB, sync=False, lib_version=version)
    source = random.Random(size)
    for _ in range(4):
        with pytest.raises(lmdb.MapFullError):  # noqa: PT012
            while True:
                store[f"k{source.randrange(10**6)}"] = source.randbytes(size)
        store.batch_size = None
        for key in list(store.write_buffer):
            store.delete(key)  # takes back what did not fit
        store.flush()
        store.batch_size = 1
        for key in source.sample(list(store), len(store) // 2):
            del store[key]
        store.batch_size = batch
        stored = {f"new{number}": number for number in range(5)}
        store.put_many(stored)
        assert stored.items() <= dict(store).items()
    store.clear()


def test_delete_where_less_is_free_than_is_kept_makes_room(open_store: OpenStore) -> None:
    """A file that was filled before there was a cap takes deletions, and nothing new until they have made room."""
    store = open_store(None, map_size=MIB)
    store.put_many(items(690))
    assert map_size(store) == MIB
    store.max_map_size = MIB
    for key in list(items(5)):
        with pytest.raises(lmdb.MapFullError):
            store.put_many({"new": 1})
        del store[key]
        store.flush()
    for key in list(items(690))[5:300]:
        del store[key]
    store.flush()
    store.put_many({"new": 1})


@pytest.mark.parametrize("more", [4096, 3 * 4096, 20_000])
@pytest.mark.parametrize("version", [0, 1])
def test_delete_where_the_last_step_was_short_finds_pages(open_store: OpenStore, more: int, version: int) -> None:
    """A map that can grow by only a few pages keeps room to delete as well."""
    store = open_store(None, map_size=MIB, max_map_size=MIB + more, sync=False, lib_version=version)
    number = 0
    with suppress(lmdb.MapFullError):
        while True:
            store.put_many((f"{number + i:08}", bytes(200)) for i in range(5))
            number += 5
    store.batch_size = 1
    for key in list(store)[:300]:
        del store[key]
    store.clear()


@pytest.mark.parametrize("batch", [1000, None])
def test_delete_many_in_a_map_at_its_cap_flushes_sooner(open_store: OpenStore, batch: int | None) -> None:
    """Near its cap a store flushes deletions sooner, as many as find pages: they are never accepted and stuck."""
    store = open_store(batch, map_size=16 * MIB, max_map_size=16 * MIB, sync=False)
    source = random.Random(3)
    waiting = []
    store.batch_size = 1000
    with pytest.raises(lmdb.MapFullError):  # noqa: PT012
        while True:
            waiting.append(f"{source.randrange(10**9):09}")
            store[waiting[-1]] = bytes(1000)
    for key in list(store.write_buffer):
        store.delete(key)  # which sets off no flush that would fail
    store.flush()
    store.batch_size = batch
    keys = list(store)
    source.shuffle(keys)
    for key in keys[:3000]:
        del store[key]
    for key in keys[3000:3500]:
        store.pop(key)
    assert len(store) == len(keys) - 3500
    store.put_many({"new": bytes(1000)})


@pytest.mark.parametrize("batch", [1, 10])
def test_put_at_the_cap_fits_once_the_oldest_are_deleted(open_store: OpenStore, batch: int) -> None:
    """Items that did not fit are undone, the oldest are deleted, and they fit, many times. Nothing else is lost."""
    store = open_store(batch, map_size=MIB, max_map_size=MIB, sync=False, autoflush_on_read=False)
    source = random.Random(batch)
    expected: dict[str, bytes] = {}
    full = 0
    for number in range(1500):
        key, value = f"k{number}", source.randbytes(source.randrange(4000))
        try:
            store[key] = value
        except lmdb.MapFullError:
            full += 1
            waiting = {key.decode(): store[key] for key in store.write_buffer}
            store.batch_size = None
            for old in [*waiting, *list(expected)[:20]]:
                store.delete(old)
                expected.pop(old, None)
            store.flush()
            store.batch_size = batch
            store.update(waiting)
            expected.update(waiting)
        else:
            expected[key] = value
    store.flush()
    assert dict(store) == dict(sorted(expected.items()))
    assert full > 5


def test_growth_stops_at_the_cap(open_store: OpenStore) -> None:
    """The last step ends at the cap, and what fits there is stored, beside the pages that are kept to delete with."""
    store = open_store(map_size=MIB, max_map_size=3 * MIB + 100)
    store.put_many(items(1950))
    assert map_size(store) == 3 * MIB
    assert len(store) == 1950
    with pytest.raises(lmdb.MapFullError):
        store.put_many({f"more{number}": bytes(2000) for number in range(100)})


def test_growth_of_many_steps_takes_few_rewrites(
    open_store: OpenStore, rewrites: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of many steps is not rewritten at each of them, and ends at one of the contract's sizes."""
    monkeypatch.setattr(_resize, "MIN_GROWTH", 64 * KIB)
    store = open_store(map_size=64 * KIB)
    store.put_many(items(6000))
    assert len(rewrites) <= 3
    assert map_size(store) in {64 * KIB << steps for steps in (7, 8)}
    assert store == items(6000)


def test_growth_with_many_free_pages_takes_single_steps(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overwriting in a file with many free pages takes single steps: what counts is the pages in use."""
    monkeypatch.setattr(_resize, "MIN_GROWTH", 64 * KIB)
    store = open_store(map_size=64 * KIB)
    store.put_many(items(3000))
    store.put_many((key, b"") for key in items(3000))
    grown = map_size(store)
    assert grown <= 16 * MIB
    for _ in range(3):
        store.put_many(items(1000))
    assert map_size(store) <= 2 * grown


def test_flush_at_the_cap_raises_an_error_that_says_all(open_store: OpenStore) -> None:
    """MapFullError at the cap names the size, the cap and the need; what was to be flushed stays pending."""
    store = open_store(map_size=MIB, max_map_size=2 * MIB)
    store["small"] = 1
    store.flush()
    store["large"] = b"x" * 5 * MIB
    with pytest.raises(lmdb.MapFullError) as caught:
        store.flush()
    message = str(caught.value)
    assert str(2 * MIB) in message
    assert "max_map_size" in message
    assert store.db_path in message
    needed = [int(word) for word in message.replace(";", " ").replace(",", " ").split() if word.isdigit()]
    assert any(5 * MIB < size < 6 * MIB for size in needed)
    assert set(store.write_buffer) == {b"large"}
    assert store["small"] == 1
    assert len(store["large"]) == 5 * MIB


def test_flush_after_a_full_map_stores_what_stayed_pending(open_store: OpenStore) -> None:
    """Pending changes are stored once there is room: something was deleted, or the cap was raised."""
    store = open_store(map_size=MIB, max_map_size=MIB)
    store["large"] = b"x" * 2 * MIB
    with pytest.raises(lmdb.MapFullError):
        store.flush()
    store.max_map_size = 4 * MIB
    store.flush()
    assert map_size(store) == 4 * MIB
    assert not store.write_buffer
    assert len(store["large"]) == 2 * MIB


def test_put_many_at_the_cap_stores_none(open_store: OpenStore) -> None:
    """`put_many` that does not fit leaves the file as it was, and nothing pending."""
    store = open_store(map_size=MIB, max_map_size=MIB)
    store["a"] = 1
    with pytest.raises(lmdb.MapFullError):
        store.put_many({"a": 2, **items(2000)})
    assert store == {"a": 1}
    assert not store.write_buffer


def test_growth_beside_readers_ends(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers in a tight loop neither delay growth forever nor see an error or a wrong value."""
    monkeypatch.setattr(_resize, "MIN_GROWTH", 64 * KIB)
    store = open_store(map_size=64 * KIB)
    store["fixed"] = "value"
    store.flush()
    done, started, wrong = threading.Event(), threading.Barrier(4), list[object]()

    def read() -> None:
        started.wait(30)
        while not done.is_set():
            try:
                if (value := store["fixed"]) != "value":
                    wrong.append(value)
            except Exception as error:
                wrong.append(error)

    readers = [threading.Thread(target=read, daemon=True) for _ in range(3)]
    for reader in readers:
        reader.start()
    started.wait(30)
    try:
        for round in range(6):
            store.put_many((f"{round}-{key}", value) for key, value in items(64 << round).items())
    finally:
        done.set()
        for reader in readers:
            reader.join(30)
    assert wrong == []
    assert map_size(store) > MIB
    assert not any(reader.is_alive() for reader in readers)


# -- grown by another process


OTHER_PROCESS = """
with opened(map_size=64 << 20) as store:
    store.put_many((f"other{i}", bytes(1000)) for i in range(5000))
"""

USES = [
    lambda store: store["other7"] == bytes(1000),
    lambda store: store.get("other7") == bytes(1000),
    lambda store: "other7" in store,
    lambda store: len(list(store)) == 5001,
    lambda store: len(list(reversed(store.items()))) == 5001,
    lambda store: store.get_many(["other7", "z"])[1] == ["z"],
    lambda store: store.popitem() == ("other999", bytes(1000)),
    lambda store: bool(store),
    lambda store: store.put_many({"more": 1}) is None,
    lambda store: (store.put("more", 1), store.flush()) == (None, None),
    lambda store: store.clear() is None,
]


@pytest.mark.parametrize("use", USES)
def test_growth_by_another_process_is_adopted(open_store: OpenStore, use: Any) -> None:
    """After another process has grown the file beyond this one's map, every call works."""
    store = open_store(map_size=MIB)
    store["mine"] = 1
    store.flush()
    run_script(OTHER_PROCESS, store.db_path)
    assert use(store)
    assert map_size(store) >= 5 * MIB


def test_len_after_growth_by_another_process_is_right(open_store: OpenStore) -> None:
    """`len` is right beyond this process's map, which it has no use for; the next read adopts the other's."""
    store = open_store(map_size=MIB)
    store["mine"] = 1
    store.flush()
    run_script(OTHER_PROCESS, store.db_path)
    assert len(store) == 5001
    assert map_size(store) == MIB
    assert "other7" in store
    assert len(store) == 5001
    assert map_size(store) >= 5 * MIB


# -- a size that the machine refuses


@pytest.mark.parametrize("write", ["flush", "put_many", "clear"])
def test_growth_that_the_machine_refuses_leaves_the_store_usable(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    """lmdb.MemoryError from growth is raised, everything is kept, and the store works on at its old size."""
    store = open_store(map_size=MIB)
    store["a"] = 1
    store.flush()
    with monkeypatch.context() as patched:
        patched.setattr(_resize, "next_map_size", lambda *_: 1 << 47)
        _write_too_much(store, write, patched)
    assert map_size(store) == MIB
    assert store["a"] == 1
    store["b"] = 2
    store.flush()
    assert set(store) >= {"a", "b"}


def _write_too_much(store: Any, write: str, patched: pytest.MonkeyPatch) -> None:
    if write == "put_many":
        with pytest.raises(lmdb.MemoryError):
            store.put_many(items(2000))
        assert not store.write_buffer
        return
    if write == "clear":
        patched.setattr(_resize, "write", _full)
    store["large"] = b"x" * 2 * MIB
    with pytest.raises(lmdb.MemoryError):
        getattr(store, write)()
    assert list(store.write_buffer) == [b"large"]
    assert len(store["large"]) == 2 * MIB


def _full(*_: object) -> None:
    raise lmdb.MapFullError("full")


def test_max_map_size_below_map_size_bounds_growth_alone(open_store: OpenStore) -> None:
    """`max_map_size` is the store's own option, and bounds growth alone: a larger `map_size` stays."""
    store = open_store(map_size=4 * MIB, max_map_size=2 * MIB)
    assert (store.max_map_size, map_size(store)) == (2 * MIB, 4 * MIB)
    store["a"] = b"x" * 3 * MIB
    store.flush()
    store["b"] = b"x" * 3 * MIB
    with pytest.raises(lmdb.MapFullError):
        store.flush()


def test_growth_makes_new_reads_wait_while_the_map_moves(open_store: OpenStore) -> None:
    """Growth aborts a transaction and moves the map: both times new reads wait for the lock, and no longer after it."""
    store = open_store(map_size=MIB)
    environment, handle = store._environment, store.env
    gates: dict[str, bool] = {}

    def is_shut() -> bool:
        return environment.begin == environment._begin_under_lock

    class Watched:
        """An LMDB environment or transaction that notes whether the gate is closed at the critical calls."""

        def __init__(self, real: Any) -> None:
            self.real = real

        def __getattr__(self, name: str) -> Any:
            if name in ("abort", "set_mapsize"):
                gates[name] = is_shut()
            found = getattr(self.real, name)
            return found if name != "begin" else lambda **options: Watched(found(**options))

    environment._handle = Watched(handle)  # type: ignore[assignment]
    store.put_many({"large": bytes(2 * MIB)})
    assert gates == {"abort": True, "set_mapsize": True}
    assert not is_shut()
    environment._handle = handle
    assert len(store["large"]) == 2 * MIB


def test_flush_of_a_large_batch_writes_it_in_order(open_store: OpenStore) -> None:
    """Neighbours share pages then. The order in which new pages fill shows whether the batch was sorted."""
    source = random.Random(0)
    store = open_store(sync=False, map_size=1 << 28, batch_size=None)
    store.put_many({source.randbytes(16).hex(): None for _ in range(10 * _write.SORTED_FROM)})
    rows = {f"z{number:06}": number for number in range(_write.SORTED_FROM - 1)}
    rows["!"] = 0  # the first key of the file: a batch behind its last key would be appended
    shuffled = list(rows.items())
    source.shuffle(shuffled)
    before = store.env.stat()["leaf_pages"]
    store.put_many(shuffled)
    bytes_needed = sum(len(key) + len(data) for key, data in raw_rows(store) if key.startswith(b"z"))
    assert (store.env.stat()["leaf_pages"] - before) * 4096 < 1.5 * bytes_needed
    assert {key: store[key] for key in rows} == rows


def raw_rows(store: Any) -> list[tuple[bytes, bytes]]:
    """Return the rows of the file, as they are stored."""
    with store.env.begin() as txn:
        return list(txn.cursor())
