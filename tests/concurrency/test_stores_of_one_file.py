"""Several stores on one file: opened, used and closed by several threads."""

from __future__ import annotations

import threading
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import OpenStore, races
from support.files import contents
from support.threads import together

from lmdb_object_store import LmdbObjectStore, StoreClosedError

MIB = 1024 * 1024
Store = LmdbObjectStore[Any, Any]


@races
def test_close_beside_readers_gives_right_values_or_the_closed_error(open_store: OpenStore) -> None:
    """A reader whose store is closed meanwhile gets a right value or StoreClosedError, nothing else."""
    for turn in range(20):
        store = open_store(autoflush_on_read=turn % 2 == 0)
        store.update({f"k{i}": i for i in range(50)})
        closed = threading.Event()

        def read(store: Store = store, closed: threading.Event = closed) -> None:
            try:
                while True:
                    assert store["k7"] == 7
                    assert dict(store.items())["k8"] == 8
                    assert store.get_many(["k9"]) == ({b"k9": 9}, [])
                    assert len(store) == 50
                    assert "k10" in store
            except StoreClosedError:
                assert closed.is_set()

        def close(store: Store = store, closed: threading.Event = closed) -> None:
            closed.set()
            store.close(strict=True)

        together(read, read, read, close)


@races
def test_close_beside_writers_keeps_all_accepted_writes(path: str, open_store: OpenStore) -> None:
    """Writes that were accepted before the store closed are in the file."""
    accepted: dict[str, int] = {}
    for turn in range(20):
        store = open_store(batch_size=3)
        begun = threading.Barrier(3)

        def write(name: str, store: Store = store, begun: threading.Barrier = begun) -> None:
            begun.wait(30)
            with pytest.raises(StoreClosedError):  # noqa: PT012
                for number in count():
                    store[f"{name} {number % 20}"] = number
                    accepted[f"{name} {number % 20}"] = number

        def close(store: Store = store, begun: threading.Barrier = begun) -> None:
            begun.wait(30)
            for _ in range(20):
                assert store.get("none") is None
            store.close(strict=True)

        together(partial(write, f"a{turn}"), partial(write, f"b{turn}"), close)
    assert contents(path) == accepted


@pytest.mark.slow  # 640 flushes that wait for the disk
@races
def test_open_by_several_threads_at_once_shares_an_environment(tmp_path: Path) -> None:
    """Sixteen threads that open a file at once all succeed, with one environment, and see each other's data."""
    for turn in range(40):
        stores: list[Store] = []
        path = str(tmp_path / f"db{turn}")

        def open_one(path: str = path, stores: list[Store] = stores) -> None:
            stores.append(LmdbObjectStore(path, key_encoding="utf-8"))

        together(*[open_one] * 16)
        assert len({id(store.env) for store in stores}) == 1
        for number, store in enumerate(stores):
            store[f"k{number}"] = number
            store.flush()
        assert len(stores[0]) == 16
        together(*[store.close for store in stores])
        assert len(contents(path)) == 16


def test_open_twice_gives_two_buffers_and_one_file(open_store: OpenStore) -> None:
    """A second store on a path has a buffer of its own and shares the file."""
    one, other = open_store(), open_store(autoflush_on_read=False)
    one["key"] = 1
    assert "key" not in other
    one.flush()
    assert other["key"] == 1
    other["key"] = 2
    assert one["key"] == 1
    other.flush()
    assert one["key"] == 2
    assert one.env is other.env


@pytest.mark.parametrize("option", [{"readonly": True}, {"sync": False}, {"writemap": True}, {"max_dbs": 3}], ids=str)
def test_open_twice_with_a_contradicting_option_is_refused(open_store: OpenStore, option: dict[str, Any]) -> None:
    """The error names the option that contradicts the first store, and leaves that store unchanged."""
    store = open_store()
    (name,) = option
    with pytest.raises(ValueError, match=name):
        open_store(**option)
    store["key"] = 1
    store.flush()
    assert store["key"] == 1


def test_open_twice_with_a_larger_map_size_grows_the_map(open_store: OpenStore) -> None:
    """The larger `map_size` of two stores on one path holds, whichever comes first."""
    open_store(map_size=4 * MIB)
    assert open_store(map_size=16 * MIB).env.info()["map_size"] == 16 * MIB
    assert open_store(map_size=2 * MIB).env.info()["map_size"] == 16 * MIB


def test_close_of_the_last_store_closes_the_file(path: str, open_store: OpenStore) -> None:
    """The environment of a path lives as long as a store of it, and no longer."""
    one, other = open_store(), open_store()
    one["one"] = 1
    one.close()
    other["other"] = 2
    assert other["one"] == 1
    other.close()
    assert contents(path) == {"one": 1, "other": 2}
