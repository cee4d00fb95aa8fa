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


def test_transaction_commits_at_its_end(store: Store) -> None:
    """Nothing is in the file, nor seen by other threads, before the end. All of it is there afterwards."""
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


def test_transaction_that_raises_changes_nothing(store: Store) -> None:
    """Changes that were pending before it are in the file nevertheless."""
    store["pending"] = 1
    with pytest.raises(Undo), store.transaction():
        store["pending"] = 2
        store["new"] = 1
        store.clear()
        store["newer"] = 1
        raise Undo
    assert store.copy() == in_file(store) == {"pending": 1}
    usable(store)


def test_transaction_reads_see_its_own_writes(open_store: OpenStore) -> None:
    """Every kind of read lays changes, deletions and a `clear` over the file."""
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
    """Check that `store` answers as `model` does, by each method."""
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


def test_transaction_reads_of_bytes_keys_see_its_own_writes(tmp_path: Path) -> None:
    """The fast path of reads does not skip the transaction's own writes, whatever was read before."""
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


def test_iter_across_a_transaction_follows_the_changes(store: Store) -> None:
    """The iterator crosses the beginning and the end, and continues with the items that are there then."""
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


def test_transaction_within_another_is_a_savepoint(store: Store) -> None:
    """An inner block's exception rolls back its own changes. The outer one's rolls back all."""
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


def test_savepoint_keeps_its_own_changes_alone(store: Store) -> None:
    """The cost of a savepoint depends on its own changes, not on the outer block's."""
    with store.transaction():
        store.update((f"k{i}", i) for i in range(1000))
        with store.transaction():
            store["k1"] = "one"
            undo = store._pending.savepoints[-1].undo  # type: ignore[attr-defined]
            assert undo is not None
            assert list(undo) == [b"k1"]


# -- growth


def test_transaction_larger_than_the_map_grows_it(open_store: OpenStore) -> None:
    """The transaction writes many times the size of the map."""
    store = open_store(map_size=1 << 20)
    with store.transaction():
        store.clear()
        for number in range(8):
            store[f"k{number}"] = bytes(1 << 20)
    assert len(in_file(store)) == 8
    usable(store)


def test_transaction_at_the_cap_writes_nothing(open_store: OpenStore) -> None:
    """MapFullError is raised, and nothing of the transaction is there."""
    store = open_store(map_size=1 << 20, max_map_size=1 << 20)
    store["before"] = 1
    with pytest.raises(lmdb.MapFullError, match="max_map_size"), store.transaction():
        store["before"] = 2
        store["k"] = bytes(2 << 20)
    assert store.copy() == in_file(store) == {"before": 1}
    usable(store)


def test_transaction_on_a_full_disk_writes_nothing(store: Store) -> None:
    """LMDB's error is raised. Nothing of the transaction is there, and the store is usable."""
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


def test_transaction_refuses_commits_closes_and_other_stores(store: Store, open_store: OpenStore) -> None:
    """A method that commits or closes, or another store of the file, raises an error. The block continues."""
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


def test_transaction_entered_twice_is_refused(store: Store) -> None:
    """Leaving without entering is refused too, and nothing stays open."""
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


def test_transaction_of_a_closed_or_read_only_store_is_refused(open_store: OpenStore, path: str) -> None:
    """The usual errors are raised."""
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


def test_transaction_of_an_unused_pickled_store_opens_it(store: Store) -> None:
    """A handle opens its file for its first transaction."""
    copy = pickle.loads(pickle.dumps(store))
    with copy.transaction():
        copy["a"] = 1
    copy.close()
    assert store["a"] == 1


def test_transaction_by_an_exit_stack_works(store: Store) -> None:
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


def test_transaction_of_a_dropped_generator_is_rolled_back(store: Store) -> None:
    """The generator's block is rolled back."""
    generator = leaving_open(store)
    next(generator)
    assert store["left"] == 1
    del generator
    gc.collect()
    assert "left" not in store
    usable(store)


def test_transaction_outlived_by_an_inner_one_is_rolled_back(store: Store) -> None:
    """Both transactions are rolled back, and both blocks get an error."""
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
