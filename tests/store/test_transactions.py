"""Transactions: one step for all that is in the block; savepoints; growth; misuse."""

from __future__ import annotations

import gc
import pickle
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.threads import in_thread
from support.transactions import Undo, in_file, leaving_open, usable

from lmdb_object_store import LmdbObjectStore, StoreClosedError

Store = LmdbObjectStore[Any, Any]


# -- one step


def test_a_block_is_one_transaction(store: Store) -> None:
    """Nothing of it is in the file, nor seen by other threads, before its end; all of it afterwards."""
    store["before"] = 0
    with store.transaction():
        assert in_file(store) == {"before": 0}
        store["a"] = 1
        store.put_many({"b": 2, "c": 3})
        store.update(d=4)
        del store["before"]
        seen: list[Any] = []
        in_thread(lambda: seen.extend([list(store), len(store), "a" in store, store.get("a"), "before" in store]))
        assert seen == [["before"], 1, False, None, True]
        assert in_file(store) == {"before": 0}
        assert not store.write_buffer
    assert in_file(store) == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert not store.write_buffer
    usable(store)


def test_a_block_that_raises_changes_nothing(store: Store) -> None:
    """What was pending before is in the file all the same."""
    store["pending"] = 1
    with pytest.raises(Undo), store.transaction():
        store["pending"] = 2
        store["new"] = 1
        store.clear()
        store["newer"] = 1
        raise Undo
    assert store.copy() == in_file(store) == {"pending": 1}
    usable(store)


def test_every_kind_of_read_sees_the_blocks_own_writes(open_store: OpenStore) -> None:
    """Changes, deletions and a `clear`, laid over the file."""
    for autoflush in (True, False):
        store = open_store(autoflush_on_read=autoflush)
        store.clear()
        store.put_many({f"k{i}": i for i in range(9)})
        with store.transaction():
            store["k3"] = "three"
            del store["k4"]
            store["new"] = "large" * 50_000
            model = {**{f"k{i}": i for i in range(9)}, "k3": "three", "new": "large" * 50_000}
            del model["k4"]
            check(store, model)
            part = store.range("k2", "k5")
            assert dict(part) == {"k2": 2, "k3": "three", "k5": 5}
            part.clear()
            for key in ("k2", "k3", "k5"):
                del model[key]
            check(store, model)
            store.clear()
            check(store, {})
            assert store.setdefault("k1", "again") == "again"
            assert store.setdefault("k1", "no") == "again"
            check(store, {"k1": "again"})
        check(store, {"k1": "again"})
        assert in_file(store) == {"k1": "again"}


def check(store: Store, model: dict[str, Any]) -> None:
    """`store` answers as `model` does, in each way there is."""
    keys = [*model, "k4", "no"]
    for key in keys:
        assert store.get(key, "none") == model.get(key, "none")
        assert (key in store) is store.exists(key) is store.exists(key, flush=True) is (key in model)
        if key in model:
            assert store[key] == model[key]
    assert store.get_many(keys, decode_keys=True) == (model, [key for key in keys if key not in model])
    assert list(store) == sorted(model)
    assert list(reversed(store)) == sorted(model, reverse=True)
    assert dict(store.items()) == store.copy() == store | {} == model
    assert store == model
    assert len(store) == len(model)
    assert bool(store) is bool(model)
    assert store.keys() & set(keys) == model.keys()
    assert list(store.irange("k2", "k6")) == [key for key in sorted(model) if "k2" <= key <= "k6"]
    if model:
        assert store.peekitem() == max(model.items())
        assert store.peekitem(last=False) == min(model.items())
        with pytest.raises(Undo), store.transaction():
            assert store.popitem() == max(model.items())
            assert store.pop(min(model), None) == (min(model.items())[1] if len(model) > 1 else None)
            raise Undo


def test_bytes_keys_and_large_values(tmp_path: Path) -> None:
    """The short way to read is not gone past the block's own writes, whatever was read before."""
    with LmdbObjectStore[bytes, Any](tmp_path / "db") as store:
        store.put_many({b"small": 1, b"large": bytes(200_000)})
        with store.transaction():
            for _ in range(2):
                assert store[b"small"] == 1
                assert store[b"large"] == bytes(200_000)
                store[b"small"], store[b"more"] = 2, bytes(100_000)
                assert (store[b"small"], store[b"more"], len(store)) == (2, bytes(100_000), 3)
                store[b"small"] = 1
            store.clear()
            assert store.get(b"large") is store.get(b"small") is None
            assert b"large" not in store
        assert not store


def test_an_iterator_crosses_the_beginning_and_the_end(store: Store) -> None:
    """It goes on with what is there then."""
    store.update({f"k{i:04}": i for i in range(3000)})
    before = iter(store)
    assert next(before) == "k0000"
    with pytest.raises(Undo), store.transaction():
        store["k2999x"] = 1
        inside = iter(store)
        assert next(inside) == "k0000"
        assert list(before)[-1] == "k2999x"
        raise Undo
    assert list(inside)[-1] == "k2999"
    assert not store.write_buffer


# -- savepoints


def test_savepoints(store: Store) -> None:
    """An inner block's exception undoes its own part; an outer one's undoes all."""
    store.put_many({"a": 0, "b": 0})
    with store.transaction():
        store["a"] = 1
        with pytest.raises(Undo), store.transaction():
            store["a"] = 2
            store["new"] = 2
            del store["b"]
            with store.transaction():
                store["new"] = 3
                store.clear()
                store["newer"] = 4
            assert store.copy() == {"newer": 4}
            raise Undo
        assert store.copy() == {"a": 1, "b": 0}
        with store.transaction():
            store["b"] = 5
        with pytest.raises(Undo), store.transaction():
            store.clear()
            store["a"] = store["later"] = 6
            raise Undo
    assert in_file(store) == {"a": 1, "b": 5}
    with store.transaction(), suppress(Undo), store.transaction():
        store["a"] = 7
        with store.transaction():
            store["a"] = store["b"] = 8
        raise Undo
    assert in_file(store) == {"a": 1, "b": 5}
    with pytest.raises(Undo), store.transaction():
        with store.transaction():
            store["a"] = 6
        raise Undo
    assert store.copy() == {"a": 1, "b": 5}
    usable(store)


def test_a_savepoint_costs_its_own_changes(store: Store) -> None:
    """What it keeps is what it has changed, not what the outer block has."""
    with store.transaction():
        store.update((f"k{i}", i) for i in range(1000))
        with store.transaction():
            store["k1"] = "one"
            undo = store._pending.savepoints[-1].undo  # type: ignore[attr-defined]
            assert undo is not None
            assert list(undo) == [b"k1"]


# -- growth


def test_growth(open_store: OpenStore) -> None:
    """A block of many times the map."""
    store = open_store(map_size=1 << 20)
    with store.transaction():
        store.clear()
        for number in range(8):
            store[f"k{number}"] = bytes(1 << 20)
    assert len(in_file(store)) == 8
    usable(store)


def test_growth_at_the_cap(open_store: OpenStore) -> None:
    """MapFullError, and nothing of the block is there."""
    store = open_store(map_size=1 << 20, max_map_size=1 << 20)
    store["before"] = 1
    with pytest.raises(lmdb.MapFullError, match="max_map_size"), store.transaction():
        store["before"] = 2
        store["k"] = bytes(2 << 20)
    assert store.copy() == in_file(store) == {"before": 1}
    usable(store)


def test_a_disk_that_is_full_at_the_commit(store: Store) -> None:
    """LMDB's error; nothing of the block is there, and the store is usable."""
    store["a"] = 1
    with pytest.raises(lmdb.DiskError), store.transaction():
        store["a"] = 2
        patch = pytest.MonkeyPatch()
        patch.setattr("lmdb_object_store._buffer.resize.write", full)
    patch.undo()
    assert store.copy() == {"a": 1}
    usable(store)


def full(*_: object) -> None:
    raise lmdb.DiskError("No space left on device")


# -- misuse


def test_what_a_block_refuses(store: Store, open_store: OpenStore) -> None:
    """What commits, closes, or belongs to another store of the same file: an error, and the block goes on."""
    other = open_store(1)
    with store.transaction():
        store["a"] = 1
        other["b"] = 2
        assert other.copy() == {"b": 2}
        for refused in (
            store.flush,
            store.close,
            lambda: pickle.dumps(store),
            other.flush,
            other.clear,
            lambda: other.put_many({"c": 3}),
            other.close,
            lambda: other.transaction().__enter__(),
            lambda: other.edit("a", 1).__enter__(),
        ):
            with pytest.raises(RuntimeError, match="transaction open"):
                refused()
        with pytest.raises(lmdb.Error, match="set_mapsize"):
            open_store(map_size=1 << 30)
        assert store["a"] == 1
    assert in_file(store) == {"a": 1}
    other.flush()
    assert store.copy() == {"a": 1, "b": 2}
    usable(store)


def test_a_statement_is_for_one_use(store: Store) -> None:
    """Entered twice, or left without having been entered: an error. Nothing is left open."""
    once = store.transaction()
    with once:
        store["a"] = 1
        with pytest.raises(RuntimeError, match="used before"), once:
            pass
        store["b"] = 1
    with pytest.raises(RuntimeError, match="used before"), once:
        pass
    with pytest.raises(RuntimeError, match="not entered"):
        store.transaction().__exit__(None, None, None)
    assert store.copy() == {"a": 1, "b": 1}
    usable(store)


def test_closed_and_read_only(open_store: OpenStore, path: str) -> None:
    """The usual errors."""
    store = open_store()
    store["a"] = [1]
    store.close()
    for begin in (store.transaction, lambda: store.edit("a")):
        with pytest.raises(StoreClosedError):
            begin().__enter__()
    with LmdbObjectStore[str, Any](path, key_encoding="utf-8", readonly=True) as reader:
        for begin in (reader.transaction, lambda: reader.edit("a")):
            with pytest.raises(lmdb.ReadonlyError):
                begin().__enter__()


def test_a_pickled_store_that_nobody_has_used(store: Store) -> None:
    """It opens its file for its first transaction."""
    copy = pickle.loads(pickle.dumps(store))
    with copy.transaction():
        copy["a"] = 1
    copy.close()
    assert store["a"] == 1


def test_by_an_exit_stack(store: Store) -> None:
    """`contextlib.ExitStack` enters and leaves it as `with` does."""
    with ExitStack() as stack:
        stack.enter_context(store.transaction())
        store["a"] = 1
    with pytest.raises(Undo), ExitStack() as stack:
        stack.enter_context(store.transaction())
        value = stack.enter_context(store.edit("a"))
        assert value == 1
        store["a"] = 2
        raise Undo
    assert in_file(store) == {"a": 1}
    usable(store)


def test_a_generator_that_is_dropped(store: Store) -> None:
    """Its block is undone."""
    generator = leaving_open(store)
    next(generator)
    assert store["left"] == 1
    del generator
    gc.collect()
    assert "left" not in store
    usable(store)


def test_a_generator_that_outlives_the_block_it_began_in(store: Store) -> None:
    """Both are undone, and both are told."""
    with pytest.raises(RuntimeError, match="inside of it"), store.transaction():
        store["outer"] = 1
        generator = leaving_open(store)
        next(generator)
    with pytest.raises(RuntimeError, match="rolled back with"):
        next(generator)
    with store.transaction():
        with pytest.raises(RuntimeError, match="inside of it"), store.transaction():
            store["outer"] = 2
            generator = leaving_open(store)
            next(generator)
        generator.close()
        store["kept"] = 1
    assert store.copy() == {"kept": 1}
    usable(store)
