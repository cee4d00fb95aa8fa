"""Transactions: one step for all that is in the block, in one thread; savepoints; edits in place; misuse."""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support import (
    LIMIT,
    Interrupt,
    at_checkpoint,
    contents,
    frequent_switches,
    in_child,
    in_each_commit,
    in_thread,
    interrupt,
    looping,
    run_script,
    together,
)

from lmdb_object_store import ConflictError, LmdbObjectStore, StoreClosedError
from lmdb_object_store._environment import registry
from lmdb_object_store._environment.locks import Lock
from lmdb_object_store._transactions.waiting import TransactionLock

Store = LmdbObjectStore[Any, Any]


class Undo(Exception):
    """Ends a block without its changes."""


def in_file(store: Store) -> dict[str, Any]:
    """What is committed, by another thread's read transaction."""
    found: dict[str, Any] = {}

    def read() -> None:
        with store.env.begin() if store._environment.transaction is None else store._environment.begin() as txn:
            found.update({bytes(key).decode(): pickle.loads(data) for key, data in txn.cursor()})

    in_thread(read)
    return found


def usable(store: Store) -> None:
    """The store reads and writes in this thread and in others, and nothing is left of any transaction."""
    assert store._accept is store._pending is store.write_buffer
    assert not store._environment.committing
    assert store._environment.transaction is None
    store["usable"] = 1
    store.flush()
    in_thread(lambda: store.put_many({"usable": 2}))
    assert store.pop("usable") == 2
    store.flush()
    assert store._pending_bytes == 0


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


def test_isolated_from_writers(tmp_path: Path) -> None:
    """Counting up one number in threads of two stores on one file, and in other processes, misses none."""
    path = str(tmp_path / "db")
    with LmdbObjectStore[str, int](path, key_encoding="utf-8", sync=False) as store:
        store["n"] = 0

    def count(rounds: int) -> None:
        with LmdbObjectStore[str, int](path, key_encoding="utf-8", sync=False) as store:
            for _ in range(rounds):
                with store.transaction():
                    store["n"] += 1

    script = "with opened(sync=False) as store:\n    for _ in range(300):\n        with store.transaction():\n"
    script += "            store['n'] += 1\n"
    with frequent_switches():
        together(*[lambda: run_script(script, path) and None] * 2, lambda: count(200), lambda: count(200))
    assert contents(path)["n"] == 1000


def test_writes_of_other_threads_wait(store: Store) -> None:
    """A put, an update, a pop and a put_many of other threads come after the block; none is lost."""
    store["k"] = "before"
    with store.transaction():
        store["k"] = "block"
        begun = [threading.Event() for _ in range(4)]
        actions: list[Callable[[], object]] = [
            lambda: store.put("put", 1),
            lambda: store.update(a=1, b=2),
            lambda: store.pop("k"),
            lambda: store.put_many({"many": 1}),
        ]
        threads = [
            threading.Thread(target=lambda pair=pair: (pair[0].set(), pair[1]()), daemon=True)
            for pair in zip(begun, actions)
        ]
        for thread, event in zip(threads, begun):
            thread.start()
            assert event.wait(LIMIT)
        threads[0].join(0.2)
        assert all(thread.is_alive() for thread in threads)
        assert store.copy() == {"k": "block"}
        assert in_file(store) == {"k": "before"}
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    store.flush()
    assert in_file(store) == {"put": 1, "a": 1, "b": 2, "many": 1}
    assert store._pending_bytes == 0


def test_a_put_at_any_point_of_a_beginning_or_an_end(tmp_path: Path) -> None:
    """Another thread's put, whenever it comes, is neither lost nor part of a block that is undone."""
    number = 0
    with LmdbObjectStore[str, int](tmp_path / "db", key_encoding="utf-8", sync=False) as store:
        more = True
        while more:
            waiting: list[threading.Thread] = []

            def put(number: int = number, waiting: list[threading.Thread] = waiting) -> None:
                thread = threading.Thread(target=lambda: store.put(f"other{number}", number), daemon=True)
                waiting.append(thread)
                thread.start()
                thread.join(0.01)  # it may have to wait for the block

            def body() -> None:
                with suppress(Undo), store.transaction():
                    store["mine"] = 1
                    raise Undo

            more = at_checkpoint(number, put, body)
            for thread in waiting:
                thread.join(LIMIT)
                assert not thread.is_alive()
            if more:
                assert store[f"other{number}"] == number
            assert "mine" not in store
            store.flush()
            assert store._pending_bytes == 0
            number += 1
    assert number > 30
    assert len(contents(str(tmp_path / "db"))) == number - 1


def test_readers_go_on(store: Store) -> None:
    """Reads of other threads, large and small, pages and counts, see the file as it was; none waits for the block."""
    store.put_many({"small": 0, "large": bytes(200_000)})

    def read() -> None:
        assert store["small"] == 0
        assert store["large"] == bytes(200_000)
        assert len(store) == len(list(store)) == 2
        assert store.get_many(["small", "new"])[1] == ["new"]

    with looping(read, read, read):
        for _ in range(20):
            with pytest.raises(Undo), store.transaction():
                for number in range(20):
                    store["small"] = number + 1
                    store["new"] = number
                    assert store["small"] == number + 1
                raise Undo
        with store.transaction():
            pass


def test_an_undone_block_does_not_wait_for_readers(tmp_path: Path) -> None:
    """Nor do they for it, however many they are and however little they do in between."""
    with LmdbObjectStore[bytes, int](tmp_path / "db") as store:
        store.put_many({b"key": 1})

        def read() -> None:
            for _ in range(1000):
                store[b"key"]

        def undo() -> None:
            for _ in range(5):
                with pytest.raises(Undo), store.transaction():
                    store[b"key"] = 2
                    raise Undo

        with looping(read, read, read):
            in_thread(undo, limit=10)
        assert store[b"key"] == 1


def test_a_read_does_not_wait_to_flush(store: Store, open_store: OpenStore) -> None:
    """What another store of the file has pending is read as ever, and flushed by a read after the block."""
    other = open_store()
    other["pending"] = 1
    with store.transaction():
        store["a"] = 1

        def read() -> None:
            assert other.get("a", "none") == "none"
            assert other.copy() == {"pending": 1} == other
            assert (len(other), other.exists("a")) == (1, False)

        in_thread(read, limit=5)
        assert other.write_buffer
    assert other.get("a") == 1
    assert not other.write_buffer


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
            undo = store._pending.levels[-1].undo  # type: ignore[attr-defined]
            assert undo is not None
            assert list(undo) == [b"k1"]


# -- edits in place


def test_edit(store: Store) -> None:
    """The object is stored at the end of the block."""
    store["list"] = [1]
    with store.edit("list") as value:
        value.append(2)
        assert store["list"] == [1]
    assert store["list"] == [1, 2]
    assert in_file(store) == {"list": [1, 2]}
    with store.edit("new", default=list) as value:
        value.append(1)
    with store.edit("other", default={"n": 1}) as other:
        other["n"] += 1
    with store.edit("untouched", dict):
        pass
    with store.edit("none", None) as none:
        assert none is None
    expected = {"list": [1, 2], "new": [1], "other": {"n": 2}, "untouched": {}, "none": None}
    assert store.copy() == in_file(store) == expected
    usable(store)


def test_edit_without_a_change_writes_nothing(store: Store) -> None:
    """The same pickle is not stored again; what the block has written under the key itself stays."""
    store["list"] = [1]
    store.flush()
    before = store.env.info()["last_txnid"]
    with store.edit("list") as value:
        value.append(2)
        value.pop()
    assert store.env.info()["last_txnid"] == before
    with store.edit("list"):
        store["list"] = "otherwise"
    assert store["list"] == "otherwise"


def test_edit_that_fails(store: Store) -> None:
    """A missing key, an exception, a value that cannot be pickled or unpickled, a bad key: nothing has changed."""
    store["list"] = [1]
    with pytest.raises(KeyError) as missing, store.edit("missing"):
        pass
    assert missing.value.args == ("missing",)
    with pytest.raises(Undo), store.edit("list") as value:
        value.append(2)
        raise Undo
    with pytest.raises((pickle.PicklingError, AttributeError)), store.edit("list") as value:
        value.append(lambda: None)
    with pytest.raises(Undo), store.edit("new", default=raise_undo):
        pass
    with pytest.raises(TypeError):
        store.edit(5)
    with pytest.raises(ValueError, match="at most 511"):
        store.edit("k" * 2000)
    store.flush()
    with store.env.begin(write=True) as txn:
        txn.put(b"bad", b"no pickle")
    with pytest.raises(RuntimeError, match="bad"), store.edit("bad"):
        pass
    del store["bad"]
    assert store.copy() == {"list": [1]}
    usable(store)


def raise_undo() -> None:
    raise Undo


def test_edit_in_a_transaction_is_a_savepoint(store: Store) -> None:
    """Its exception undoes itself alone; its end commits nothing."""
    with store.transaction():
        with store.edit("a", list) as value:
            value.append(1)
        with pytest.raises(Undo), store.edit("a") as value:
            value.append(2)
            raise Undo
        assert store["a"] == [1]
        assert in_file(store) == {}
    assert in_file(store) == {"a": [1]}


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


def test_another_process_writes_while_room_is_made(open_store: OpenStore, path: str) -> None:
    """ConflictError, and nothing of the block is there; run again, it succeeds. (The other one uses LMDB alone.)"""
    store = open_store(map_size=1 << 20)
    store["n"] = 1
    store.flush()
    resize = type(store._environment).resize
    script = """
        import lmdb, pickle
        with lmdb.open(path, map_size=1 << 20) as environment, environment.begin(write=True) as txn:
            txn.put(b"n", pickle.dumps(5))
    """

    def resize_late(environment: Any, size: int) -> None:
        run_script(script, path)
        resize(environment, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store._environment), "resize", resize_late)
        with pytest.raises(ConflictError, match="again"), store.transaction():
            store["n"] += 1
            store["large"] = bytes(2 << 20)
    assert issubclass(ConflictError, lmdb.Error)
    assert in_file(store) == {"n": 5}
    usable(store)
    with store.transaction():
        store["n"] += 1
        store["large"] = bytes(2 << 20)
    assert in_file(store)["n"] == 6


def test_a_disk_that_is_full_at_the_commit(store: Store) -> None:
    """LMDB's error; nothing of the block is there, and the store is usable."""
    store["a"] = 1
    with pytest.raises(lmdb.DiskError), store.transaction():
        store["a"] = 2
        patch = pytest.MonkeyPatch()
        patch.setattr("lmdb_object_store._buffer.resize._write", full)
    patch.undo()
    assert store.copy() == {"a": 1}
    usable(store)


def full(*_: object) -> None:
    raise lmdb.DiskError("No space left on device")


def test_another_process_has_grown_the_file(open_store: OpenStore, path: str) -> None:
    """A block adopts the size as it begins."""
    store = open_store(map_size=1 << 20)
    run_script("with opened() as store:\n    store['large'] = bytes(8 << 20)\n", path)
    with store.transaction():
        assert len(store["large"]) == 8 << 20
        store["a"] = 1
    assert store["a"] == 1


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


def test_close_in_another_thread_waits(open_store: OpenStore, path: str) -> None:
    """The block is committed, then the store closes."""
    store = open_store()
    thread = threading.Thread(target=store.close, daemon=True)
    with store.transaction():
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        store["a"] = 1
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert contents(path) == {"a": 1}


def leaving_open(store: Store) -> Generator[None, None, None]:
    with store.transaction():
        store["left"] = 1
        yield


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
    with pytest.raises(RuntimeError, match="undone with"):
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_generator_that_is_dropped_in_another_thread(store: Store) -> None:
    """It is undone when its own thread uses the store again; nothing hangs."""
    held = [leaving_open(store)]
    next(held[0])
    in_thread(held.clear)
    assert "left" not in store
    usable(store)


def leaving_two_open(store: Store) -> Generator[None, None, None]:
    with store.transaction(), store.edit("left", list) as value:
        value.append(1)
        yield


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("leave", [leaving_open, leaving_two_open])
@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.get("left"),
        lambda store: store.put("a", 1),
        len,
        LmdbObjectStore.flush,
        LmdbObjectStore.sync,
        pickle.dumps,
        lambda store: store.put_many({"a": 1}),
        lambda store: store.transaction().__enter__(),
    ],
)
def test_any_use_undoes_what_was_dropped_in_another_thread(store: Store, leave: Any, use: Any) -> None:
    """Be it an outer block with an inner one, or one that would be refused within."""
    held = [leave(store)]
    next(held[0])
    in_thread(held.clear)
    use(store)
    assert "left" not in store
    usable(store)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_close_after_a_block_was_dropped_in_another_thread(open_store: OpenStore, path: str) -> None:
    """It undoes that, and closes; so does a flush of another store of the file."""
    store, other = open_store(), open_store()
    for use in (other.flush, store.close):
        held = [leaving_two_open(store)]
        next(held[0])
        in_thread(held.clear)
        other["a"] = 1
        use()
    other.close()
    assert contents(path) == {"a": 1}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_writers_do_not_wait_for_ever_for_a_dropped_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """They get an error that says what has happened."""
    monkeypatch.setattr("lmdb_object_store._transactions.waiting._PATIENCE", 0.2)
    held = [leaving_open(store)]
    next(held[0])

    def write() -> None:
        held.clear()
        for call in (store.flush, lambda: store.put("a", 1), lambda: store.transaction().__enter__()):
            with pytest.raises(RuntimeError, match="another thread"):
                call()

    in_thread(write)
    assert "left" not in store
    usable(store)


def test_left_in_another_thread(store: Store) -> None:
    """An error there; undone in its own."""
    transaction = store.transaction()
    transaction.__enter__()
    store["a"] = 1

    def leave() -> None:
        with pytest.raises(RuntimeError, match="another thread"):
            transaction.__exit__(None, None, None)

    in_thread(leave)
    assert "a" not in store
    usable(store)


def test_an_inner_block_that_is_left_in_another_thread(store: Store) -> None:
    """The outer one cannot go on."""
    with pytest.raises(RuntimeError, match="another thread"), store.transaction():
        store["a"] = 1
        inner = store.transaction()
        inner.__enter__()

        def leave() -> None:
            with pytest.raises(RuntimeError, match="another thread"):
                inner.__exit__(None, None, None)

        in_thread(leave)
        with pytest.raises(RuntimeError, match="another thread"):
            store["b"] = 1
    assert not store
    usable(store)


def test_a_thread_that_ends_inside_a_block(store: Store) -> None:
    """It is undone as the thread ends: others write on."""
    generator = leaving_open(store)
    in_thread(lambda: next(generator))
    assert "left" not in store
    usable(store)
    with pytest.raises(RuntimeError):
        next(generator)


def test_a_store_that_is_dropped_with_its_block(path: str) -> None:
    """Also in a cycle: nothing of the block is written, and the file can be used again."""
    for cycle in (False, True):
        store: Any = LmdbObjectStore[str, Any](path, key_encoding="utf-8")
        generator = leaving_open(store)
        next(generator)
        if cycle:
            store.itself = [store, generator]
        gone = weakref.ref(store)
        with pytest.warns(ResourceWarning, match="unclosed"):
            del generator, store
            gc.collect()
        assert gone() is None
        assert contents(path) == {}


def test_what_a_collected_store_had_pending(path: str, open_store: OpenStore) -> None:
    """It is committed as a block begins; if the store is collected inside of one, after its end."""
    store = open_store()
    held: list[Store] = [LmdbObjectStore(path, key_encoding="utf-8")]
    held[0]["before"] = 1
    with pytest.warns(ResourceWarning, match="unclosed"), store._environment.lock:
        in_thread(held.clear)  # which cannot close it, as this thread has the lock
    with store.transaction():
        assert store.copy() == {"before": 1}
        held.append(LmdbObjectStore(path, key_encoding="utf-8"))
        held[0]["inside"] = 1
        with pytest.warns(ResourceWarning, match="unclosed"):
            held.clear()
        assert store.copy() == {"before": 1}
    assert store.copy() == {"before": 1, "inside": 1}
    usable(store)


# -- several files


def test_two_stores_in_both_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that waits first gets an error that says so, and its transaction is undone; the other one's commits.

    Each wait has a limit. The second thread begins its wait while the first one waits already.
    """
    monkeypatch.setattr("lmdb_object_store._transactions.waiting._PATIENCE", 1)
    a, b = (LmdbObjectStore[str, Any](tmp_path / name, key_encoding="utf-8") for name in "ab")
    both = threading.Barrier(2)
    refused: list[str] = []

    def move(name: str, first: Store, second: Store, step: Callable[[Store], None], delay: float) -> None:
        try:
            with first.transaction():
                first[name] = 1
                both.wait(LIMIT)
                time.sleep(delay)
                step(second)
        except RuntimeError as error:
            refused.append(name if "same order" in str(error) else str(error))

    def inner(store: Store) -> None:
        with store.transaction():
            store["inner"] = 1

    for step in (inner, Store.flush, lambda store: store.put("put", 1), lambda store: store.put_many({"many": 1})):
        a.clear()
        b.clear()
        refused.clear()
        together(lambda: move("ab", a, b, step, 0), lambda: move("ba", b, a, step, 0.5))  # noqa: B023
        assert refused == ["ab"]
        assert "ab" not in a
        assert "ba" in b
    for store in (a, b):
        usable(store)
        store.close()


def test_a_thread_without_a_transaction_waits_for_one_as_long_as_it_takes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is for those who may be waited for."""
    monkeypatch.setattr("lmdb_object_store._transactions.waiting._PATIENCE", 0.01)
    writer = threading.Thread(target=lambda: store.put_many({"after": 1}))
    with store.transaction():
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        store["inside"] = 1
    writer.join(LIMIT)
    assert store.copy() == {"after": 1, "inside": 1}
    usable(store)


def test_the_stand_in_of_a_lock_is_there_no_longer_than_need_be(store: Store) -> None:
    """Outside of transactions the lock is CPython's own, which is faster."""
    lock = store._environment.lock
    assert type(lock) is Lock
    with store.transaction():
        assert type(store._environment.lock) is TransactionLock
    assert store._environment.lock is lock


# -- forks


def test_a_fork_inside_a_block(store: Store, path: str) -> None:
    """The child gets errors until it has left the block, and writes nothing; the parent goes on and commits."""
    store["before"] = 1

    def child() -> None:
        for use in (
            lambda: store["a"],
            lambda: store.put("a", 2),
            lambda: "a" in store,
            lambda: len(store),
            store.copy,
        ):
            with pytest.raises(RuntimeError, match="forked"):
                use()
        in_thread(lambda: store.__setitem__("thread", 1))
        with pytest.raises(RuntimeError, match="forked"):
            store.transaction().__enter__()
        raise Undo

    def fork_inside(leave: Callable[[], None]) -> None:
        with store.transaction():
            store["a"] = 1
            pid = os.fork()
            if pid == 0:
                leave()
                return
            assert os.waitpid(pid, 0)[1] == 0
            assert store["a"] == 1
            store["b"] = 1

    def leave_by_an_error() -> None:
        with pytest.raises(Undo):
            fork_inside(child)
        if os.getpid() != parent:
            after()

    def leave_at_the_end() -> None:
        with pytest.raises(RuntimeError, match="forked"):
            fork_inside(lambda: None)
        if os.getpid() != parent:
            after()

    def after() -> None:
        assert "a" not in store
        store["child"] = 1
        assert store["child"] == 1

    parent = os.getpid()
    for body in (leave_by_an_error, leave_at_the_end):
        store.clear()
        status = 1
        try:
            body()
            status = 0
        except BaseException as error:
            if os.getpid() != parent:
                sys.stderr.write(f"{error!r}\n")
            elif not isinstance(error, pytest.fail.Exception):  # the parent's block succeeds: nothing is raised
                raise
        finally:
            if os.getpid() != parent:
                os._exit(status)
        assert in_file(store) == {"a": 1, "b": 1}


def test_isolated_though_it_forks(store: Store, path: str) -> None:
    """If another process writes while the file is closed for a fork, the block is refused: at its next use, too."""
    store["n"] = 1
    with pytest.raises(ConflictError), store.transaction():
        store["n"] = 2
        in_child(lambda: None)
        run_script("with opened() as store:\n    store['n'] = 5\n", path)
        for use in (lambda: store["n"], lambda: list(store), lambda: store.put("n", 3)):
            with pytest.raises(ConflictError):
                use()
    assert store.copy() == {"n": 5}
    usable(store)
    with store.transaction():
        store["n"] += 1
        in_child(lambda: None)
    assert store["n"] == 6


def test_a_fork_in_another_thread(path: str) -> None:
    """It waits for the block's end, also where the block goes on to another file; the child is in order."""
    run_script(
        """
        second = LmdbObjectStore(path + " second", key_encoding="utf-8")  # whose lock a fork takes first
        store = opened()
        forking, statuses = threading.Event(), []

        def fork():
            forking.set()
            pid = os.fork()
            if pid == 0:
                os._exit(0 if store.copy() == {"a": 1} and not store.flush() else 1)
            statuses.append(os.waitpid(pid, 0)[1])

        thread = threading.Thread(target=fork)
        with store.transaction():
            store["a"] = 1
            thread.start()
            forking.wait()
            thread.join(0.1)
            with second.transaction():
                second["b"] = 1
            assert thread.is_alive()
        thread.join()
        assert statuses == [0]
        assert second.copy() == {"b": 1}
        """,
        path,
        python=("-Wignore",),  # of forks beside threads
    )


def test_a_fork_that_waits_for_a_transaction_has_no_other_lock(store: Store, tmp_path: Path) -> None:
    """The thread of the transaction can go on to another file, also once the flush before the fork is over."""

    def prepare() -> None:
        registry._before_fork()
        prepared.append(bool(store._environment._handle or second._environment._handle))
        registry._release_locks()

    prepared: list[bool] = []
    thread = threading.Thread(target=prepare, daemon=True)
    with LmdbObjectStore[str, Any](tmp_path / "second", key_encoding="utf-8") as second:
        for outer, inner in ((store, second), (second, store)):
            with outer.transaction():
                thread.start()
                thread.join(0.1)
                assert thread.is_alive()
                with inner.transaction():
                    inner["inner"] = 1
                assert not prepared
            thread.join(LIMIT)
            assert prepared.pop() is False
            thread = threading.Thread(target=prepare, daemon=True)
        assert store.copy() == second.copy() == {"inner": 1}
    usable(store)


# -- interrupts, handlers


def test_an_interrupt_anywhere(tmp_path: Path) -> None:
    """All of the block is committed, or nothing; the store is usable at once, while the interrupt is dealt with."""
    number, more = 0, True
    outcomes = set()
    with LmdbObjectStore[str, Any](tmp_path / "db", key_encoding="utf-8", sync=False) as store:
        while more:
            store["pending"] = number

            def body(number: int = number) -> None:
                with store.transaction():
                    store["a"] = number
                    with store.edit("list", list) as value:
                        value.append(number)
                    with store.transaction():
                        store["b"] = number

            try:
                more = at_checkpoint(number, interrupt, body)
            except Interrupt as caught:
                if number % 2:  # before this thread has another look
                    in_thread(lambda number=number: store.put("thread", number))  # type: ignore[misc]
                store["handled"] = number
                assert store["pending"] == number
                found = (store.get("a") == number, store.get("b") == number, number in store.get("list", []))
                assert found in ((True,) * 3, (False,) * 3), number
                outcomes.add(found[0])
                usable(store)
                assert in_file(store)["handled"] == number
                del caught
            else:
                assert not more or store["a"] == number
            number += 1
    assert number > 100
    assert outcomes == {True, False}


def test_an_interrupt_in_a_savepoint_undoes_it(store: Store) -> None:
    """Wherever it comes, a block that catches it goes on without the inner one's changes, or with all of them."""
    number, more = 0, True
    while more:
        with store.transaction():
            store["outer"] = number
            store["a"] = store["b"] = -1

            def inner(number: int = number) -> None:
                with store.transaction():
                    store["a"] = number
                    with store.transaction():
                        store["b"] = number
                        store["c"] = number

            with suppress(Interrupt):
                more = at_checkpoint(number, interrupt, inner)
            found = (store["a"] == number, store["b"] == number, store.get("c") == number)
            assert found in ((True,) * 3, (False,) * 3), number
        assert store["outer"] == number
        number += 1
    assert number > 30
    usable(store)


def test_a_signal_handler_is_part_of_the_block(store: Store) -> None:
    """What it writes is undone with it; amid the commit it comes after it, and stays pending."""
    previous = signal.signal(signal.SIGUSR1, lambda *_: store.update(handler=store.get("a")))
    try:
        with pytest.raises(Undo), store.transaction():
            store["a"] = 1
            signal.raise_signal(signal.SIGUSR1)
            assert store["handler"] == 1
            raise Undo
        assert not store

        def body() -> None:
            with store.transaction():
                store["a"] = 2
                store["b"] = 2

        in_each_commit(lambda: signal.raise_signal(signal.SIGUSR1), body)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert in_file(store) == {"a": 2, "b": 2}
    assert store.write_buffer == {b"handler": pickle.dumps(2, pickle.HIGHEST_PROTOCOL)}
    usable(store)


def test_a_handler_anywhere(tmp_path: Path) -> None:
    """A handler that reads, writes, pops and is refused what commits, at any point: nothing of it is lost."""
    number, more = 0, True
    with LmdbObjectStore[str, int](tmp_path / "db", key_encoding="utf-8", sync=False) as store:
        while more:
            store["pending"] = number
            seen: list[int | None] = []

            def handler(number: int = number, seen: list[int | None] = seen) -> None:
                store["handler"] = number
                store["gone"] = number
                assert store.pop("gone") == number
                assert store.setdefault("handler", -1) == number
                assert store["pending"] == number
                seen.append(store.get("handler"))

            def body(number: int = number) -> None:
                with store.transaction():
                    store["a"] = number

            more = at_checkpoint(number, handler, body)
            if more:
                assert seen == [number]
                assert store["handler"] == number
            assert store["a"] == number
            assert "gone" not in store
            usable(store)
            number += 1
    assert number > 30


@pytest.mark.slow  # a storm: 3,000 interrupts of each kind of block
@pytest.mark.parametrize("nested", ["", "with store.transaction(): "])
def test_a_storm_of_interrupts(path: str, nested: str) -> None:
    """After thousands of real interrupts no block was in part, nothing is locked, and no reader slot is taken."""
    source = f"""
        from itertools import count
        numbers = count(1)
        store = opened(sync=False, map_size=1 << 20, batch_size=5)
        store["a"] = store["b"] = 0
        store.flush()
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        interrupts = partial = 0
        while interrupts < 3000:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                while True:
                    number = next(numbers)
                    with store.transaction():
                        store["a"] = number
                        {nested}store["c"] = number
                        store["b"] = number
            except KeyboardInterrupt:
                interrupts += 1
                signal.setitimer(signal.ITIMER_REAL, 0)
                partial += store["a"] != store["b"] or store.write_buffer != {{}}
                partial += store._environment.transaction is not None
        assert partial == 0, partial
        assert store["a"] > 100
        store["after"] = 1
        store.flush()
        thread = threading.Thread(target=lambda: store.put_many({{"large": bytes(80 << 20)}}), daemon=True)
        thread.start()
        thread.join(15)
        assert not thread.is_alive()
        assert "no active" in store.env.readers(), store.env.readers()
        store.close(strict=True)
    """
    run_script(source, path)


# -- kill -9


@pytest.mark.parametrize("stage", ["before", "inside", "nested", "commit", "growth", "grown"])
def test_killed_in_every_stage(path: str, stage: str) -> None:
    """Nothing of the block is in the file; another process writes on at once, though the killed one had the lock."""
    with LmdbObjectStore[str, Any](path, key_encoding="utf-8", map_size=1 << 20) as store:
        store["a"] = 0
    told, tell = os.pipe()

    def here(now: str) -> None:
        if now == stage:
            os.write(tell, b".")
            signal.pause()

    def write() -> None:
        store = LmdbObjectStore[str, Any](path, key_encoding="utf-8", map_size=1 << 20)
        store["pending"] = 1
        resize = type(store._environment).resize

        def watched(environment: Any, size: int) -> None:
            here("growth")
            resize(environment, size)
            here("grown")

        type(store._environment).resize = watched  # type: ignore[assignment,method-assign]
        transaction = store.transaction()
        in_each_commit(lambda: here("before"), transaction.__enter__)
        store["a"] = 1
        store["large"] = bytes(2 << 20 if stage.startswith("grow") else 100)
        here("inside")
        with store.transaction():
            store["a"] = 2
            here("nested")
        in_each_commit(lambda: here("commit"), lambda: transaction.__exit__(None, None, None))

    pid = os.fork()
    if pid == 0:
        try:
            write()
        finally:
            os._exit(1)
    assert select.select([told], [], [], LIMIT)[0], "the child has not come so far"
    with LmdbObjectStore[str, Any](path, key_encoding="utf-8") as store:
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        with store.transaction():
            assert store["a"] == 0
            assert ("pending" in store) is (stage != "before")
            assert "large" not in store
            store["a"] = 3
    os.close(told)
    os.close(tell)
    assert contents(path)["a"] == 3


# -- the end of the process


def test_exit_with_a_block_open(path: str) -> None:
    """In the main thread, in a daemon thread: no hang, nothing of it is written, nothing is printed."""
    for where in ("begin()", "threading.Thread(target=begin, daemon=True).start(); open.wait()"):
        done = run_script(
            f"""
            store = opened()
            store["before"] = 1
            open, never = threading.Event(), threading.Event()
            def leaving_open():
                with store.transaction():
                    store["left"] = 1
                    yield
            kept = leaving_open()
            def begin():
                next(kept)
                open.set()
                if threading.current_thread() is not threading.main_thread():
                    never.wait()
            {where}
            """,
            path,
        )
        assert done.stderr == ""
        assert contents(path) == {"before": 1}


def test_exit_while_writes_wait_for_a_block(path: str) -> None:
    """They are written if the block ends in time."""
    run_script(
        """
        import time
        store, other = opened(), opened()
        open = threading.Event()
        def body():
            with store.transaction():
                store["block"] = 1
                open.set()
                time.sleep(0.3)
        threading.Thread(target=body, daemon=True).start()
        open.wait()
        other["pending"] = 1
        """,
        path,
    )
    assert contents(path) == {"block": 1, "pending": 1}
