"""Readers and iterations beside writers and growth; calls that are one step among threads."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from itertools import count, islice, pairwise
from typing import Any

import lmdb
import pytest
from conftest import OpenStore, races
from support.files import contents
from support.threads import in_thread, looping, together

from lmdb_object_store import LmdbObjectStore

MIB = 1024 * 1024
Store = LmdbObjectStore[Any, Any]


# -- readers beside a writer


@pytest.mark.slow  # 64 MiB, written one small flush at a time
@races
def test_get_beside_a_writer_and_growth_is_right(open_store: OpenStore) -> None:
    """While the map grows again and again, no reader sees an error, a wrong value or a missing key."""
    store = open_store(map_size=128 * 1024, batch_size=7, max_map_size=1 << 30, sync=False)
    names = [f"k{i:02}" for i in range(40)]
    store.put_many({name: (name, 0) for name in names})

    def check(name: str, value: Any) -> None:
        assert value[0] == name, "another key's value"

    def read_one() -> None:
        name = random.choice(names)
        check(name, store[name])
        assert name in store
        assert store.exists(name)

    def read_many() -> None:
        found, missing = store.get_many(names, decode_keys=True)
        assert missing == []
        for name, value in found.items():
            check(name, value)

    def scan() -> None:
        assert [name for name in store if name in names] == names
        for name, value in islice(store.items(), len(names)):
            check(name, value)

    def measure() -> None:
        assert len(store) >= len(names)

    with looping(read_one, read_one, read_many, scan, measure):
        for size in (1, 80, 160, 400):
            store.put_many({f"large {size}": (f"large {size}", bytes(size * MIB // 4))})
            for name in names:
                store[name] = (name, size)
    assert store.env.info()["map_size"] > 64 * MIB


@pytest.mark.slow  # 230 MiB on the disk for each number of readers
@pytest.mark.parametrize("readers", [3, 8])
def test_growth_beside_readers_in_a_tight_loop_does_not_hang(open_store: OpenStore, readers: int) -> None:
    """Readers that never pause do not keep the map from growing, and see no error."""
    store = open_store(map_size=MIB)
    store.put_many({"key": "value"})

    def read() -> None:
        for _ in range(200):
            assert store["key"] == "value"

    def grow() -> None:
        for size in (2, 80, 150):
            store.put_many({f"large {size}": bytes(size * MIB)})

    with looping(*[read] * readers):
        in_thread(grow, limit=20)
    assert store.env.info()["map_size"] > 200 * MIB


def test_write_that_fails_beside_readers_in_a_tight_loop_does_not_hang(open_store: OpenStore) -> None:
    """Readers that never pause do not keep a write that cannot succeed from being undone."""
    store = open_store(map_size=MIB, max_map_size=MIB)
    store.put_many({"key": "value"})

    def read() -> None:
        for _ in range(200):
            assert store["key"] == "value"

    def fail() -> None:
        for _ in range(20):
            with pytest.raises(lmdb.MapFullError):
                store.put_many({"large": bytes(2 * MIB)})

    with looping(*[read] * 4):
        in_thread(fail, limit=20)
    assert "large" not in store


@races
def test_iter_beside_writers_and_growth_is_in_order_and_misses_none(open_store: OpenStore) -> None:
    """Keys come in order, none twice, and no key that is there all the while is missed."""
    store = open_store(map_size=128 * 1024, batch_size=5, autoflush_on_read=False, sync=False)
    lasting = [f"k{i:04}" for i in range(0, 3000, 2)]
    store.put_many({name: name for name in lasting})
    numbers = count()

    def come_and_go() -> None:
        number = next(numbers)
        name = f"k{(number * 37 % 1500) * 2 + 1:04}"
        store[name] = name * 100
        store.delete(f"k{((number - 200) * 37 % 1500) * 2 + 1:04}")

    def upwards() -> None:
        keys = list(store)
        assert all(one < other for one, other in pairwise(keys))
        assert set(lasting) <= set(keys)

    def downwards() -> None:
        items = list(reversed(store.items()))
        assert all(one[0] > other[0] for one, other in pairwise(items))
        assert {name: name for name in lasting}.items() <= dict(items).items()

    with looping(come_and_go, come_and_go):
        for size in range(1, 6):
            upwards()
            downwards()
            store.put_many({f"large {size}": bytes(size * 10 * MIB)})


# -- one step among threads


@races
def test_setdefault_by_several_threads_gives_all_one_value(open_store: OpenStore) -> None:
    """If several threads set a default at once, one of them does, and all get its value."""
    store = open_store(batch_size=3)
    for turn in range(60):
        given: list[int] = []

        def set_default(turn: int = turn, given: list[int] = given) -> None:
            given.append(store.setdefault(f"k{turn}", threading.get_ident()))

        together(*[set_default] * 4)
        assert given == [store[f"k{turn}"]] * 4


TAKING: dict[str, Callable[[Store, str], object]] = {
    "pop": lambda store, key: store.pop(key),
    "popitem": lambda store, key: store.popitem(),
    "del": lambda store, key: store.__delitem__(key),
}


@races
@pytest.mark.parametrize("take", TAKING.values(), ids=TAKING)
@pytest.mark.parametrize("batch_size", [1, 1000])
def test_pop_by_several_threads_gives_one_of_them_the_item(
    open_store: OpenStore, take: Callable[[Store, str], object], batch_size: int
) -> None:
    """If several threads remove one item at once, one gets it, and the others get a KeyError."""
    store = open_store(batch_size=batch_size)
    for turn in range(60):
        store["key"] = turn
        outcomes: list[object] = []

        def try_to_take(outcomes: list[object] = outcomes) -> None:
            try:
                take(store, "key")
            except KeyError:
                outcomes.append("none")
            else:
                outcomes.append("taken")

        together(*[try_to_take] * 4)
        assert sorted(map(str, outcomes)) == ["none"] * 3 + ["taken"]


@races
def test_popitem_by_several_threads_gives_each_item_once(open_store: OpenStore) -> None:
    """Threads that remove items until there are none get each item exactly once."""
    store = open_store(batch_size=10)
    items = {f"k{i:03}": i for i in range(400)}
    store.update(items)
    taken: list[tuple[str, int]] = []

    def take_all(last: bool) -> None:
        try:
            while True:
                taken.append(store.popitem(last=last))
        except KeyError:
            pass

    together(*[lambda last=last: take_all(last) for last in (True, True, False, False)])
    assert sorted(taken) == sorted(items.items())
    assert not store


@races
def test_put_by_several_threads_loses_nothing(path: str, open_store: OpenStore) -> None:
    """Threads that write at once lose nothing of each other's."""
    store = open_store(batch_size=7)

    def put(writer: int) -> None:
        for number in range(100):
            store[f"{writer} {number}"] = (writer, number)

    together(*[lambda writer=writer: put(writer) for writer in range(6)])
    store.close()
    assert contents(path) == {f"{w} {n}": (w, n) for w in range(6) for n in range(100)}
