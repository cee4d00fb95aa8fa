"""Changes whose keys all lie beyond the last key of the file are appended in key order, and fill the pages."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from hypothesis import given
from hypothesis import strategies as st
from support.stores import Store

from lmdb_object_store import LmdbObjectStore, OrderedKeys
from lmdb_object_store._environment import write as _write

Items = dict[str, bytes]
Load = Callable[[Store, Items], Any]

MIB = 1 << 20


def items_of(numbers: Iterable[int], sizes: tuple[int, int] = (500, 1300)) -> Items:
    """Return an item for each number, with a value of a size from `sizes`. The keys sort as the numbers do."""
    source = random.Random(18)
    return {f"key:{number:012}": bytes(source.randint(*sizes)) for number in numbers}


def shuffled(items: Items) -> Items:
    """Return the items in another order."""
    pairs = list(items.items())
    random.Random(1).shuffle(pairs)
    return dict(pairs)


def rows(store: Store) -> list[tuple[bytes, bytes]]:
    """Return the rows of the file, as they are stored."""
    with store.env.begin() as txn:
        return list(txn.cursor())


def file_bytes(store: Store) -> int:
    """Return the size of the file."""
    return Path(store.db_path, "data.mdb").stat().st_size


def data_bytes(store: Store) -> int:
    """Return the size of all keys and values, as they are stored."""
    return sum(len(key) + len(data) for key, data in rows(store))


def put_in_parts(store: Store, items: Items) -> None:
    """Put all items by 7 calls of `put_many`."""
    pairs = list(items.items())
    for start in range(0, len(pairs), part := -(-len(pairs) // 7)):
        store.put_many(pairs[start : start + part])


def put_in_transaction(store: Store, items: Items) -> None:
    """Put each item by itself, within one transaction."""
    with store.transaction():
        for key, value in items.items():
            store[key] = value


def put_after_clear(store: Store, items: Items) -> None:
    """Replace other rows, which lie beyond the items, in one transaction."""
    store["z"] = b"gone"
    with store.transaction():
        store.clear()
        store.update(items)


def put_one_by_one(store: Store, items: Items) -> None:
    """Put and flush each item by itself."""
    for key, value in items.items():
        store[key] = value
        store.flush()


LOADS: dict[str, Load] = {
    "put_many": lambda store, items: store.put_many(items),
    "put_many of shuffled items": lambda store, items: store.put_many(shuffled(items)),
    "put_many in parts": put_in_parts,
    "update": lambda store, items: store.update(items),
    "transaction": put_in_transaction,
    "clear and update": put_after_clear,
    "flushes": put_one_by_one,
}


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return the results of the attempts to append: True if the changes were appended."""
    results: list[bool] = []
    append = _write._append

    def noted(*arguments: Any) -> bool:
        results.append(append(*arguments))
        return results[-1]

    monkeypatch.setattr(_write, "_append", noted)
    return results


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_load_of_sorted_items_fills_the_pages(open_store: OpenStore, load: Load) -> None:
    """The file is at most 1.2 times its data. Without appending it is 1.6 times its data."""
    store = open_store(sync=False, batch_size=None, batch_bytes=MIB, map_size=64 * MIB)
    items = items_of(range(5000))
    load(store, items)
    store.flush()
    assert dict(store) == items
    assert list(store) == sorted(items)
    assert file_bytes(store) <= 1.2 * data_bytes(store)


def test_load_of_sorted_items_fills_the_pages_with_ordered_keys(open_store: OpenStore) -> None:
    """Keys of `OrderedKeys` are compared as they are stored."""
    store = open_store(sync=False, key_encoding=OrderedKeys(), map_size=64 * MIB)
    source = random.Random(18)
    items = {("user", number): bytes(source.randint(500, 1300)) for number in range(-2000, 3000)}
    store.put_many(items)
    assert list(store.items()) == list(items.items())
    assert file_bytes(store) <= 1.2 * data_bytes(store)


@pytest.mark.parametrize("size", [3000, 100_000])
def test_load_of_values_on_pages_of_their_own_keeps_all(open_store: OpenStore, size: int) -> None:
    """LMDB keeps values of more than half a page outside of the tree. They are appended too."""
    store = open_store(sync=False, map_size=64 * MIB)
    items = items_of(range(100), (size, size))
    store.put_many(shuffled(items))
    assert list(store.items()) == list(items.items())


def test_load_of_keys_around_the_last_one_keeps_all(open_store: OpenStore, attempts: list[bool]) -> None:
    """The first change lies beyond the last key, and others do not: one replaces a row, and one goes before it."""
    store = open_store()
    store.put_many({"b": 1, "d": 2})
    store.put_many({"f": 3, "d": 4, "a": 5, "e": 6, "c": 7})
    assert list(store.items()) == [("a", 5), ("b", 1), ("c", 7), ("d", 4), ("e", 6), ("f", 3)]
    assert attempts == [True, False]


def test_load_of_the_last_key_itself_replaces_its_value(open_store: OpenStore, attempts: list[bool]) -> None:
    """The last key of the file is not beyond itself."""
    store = open_store()
    store.put_many({"a": 1, "b": 2})
    store.put_many({"b": 3})
    store.put_many({"b": 4, "c": 5})
    store.put_many({"d": 6, "c": 7})
    assert list(store.items()) == [("a", 1), ("b", 4), ("c", 7), ("d", 6)]
    assert attempts == [True, False]


@pytest.mark.parametrize(
    ("batch", "spared"), [({"c": 2, "a": 3}, "sorted"), ({"c": 2, "a": 3, "d": 4}, "_pairs")], ids=["first", "among"]
)
def test_load_of_keys_around_the_last_one_spares_what_appending_needs(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, batch: dict[str, int], spared: str
) -> None:
    """Keys are not sorted if the last change is not beyond the last key, and rows are not if any is not."""
    store = open_store()
    store.put_many({"b": 1})
    monkeypatch.setattr(_write, spared, lambda *_: pytest.fail("in vain"), raising=False)
    store.put_many(batch)
    assert dict(store) == {"b": 1, **batch}


def test_load_with_a_deletion_keeps_all(open_store: OpenStore, attempts: list[bool]) -> None:
    """A flush with a deletion writes its changes one by one, also where all keys lie beyond the last key."""
    store = open_store()
    store["a"] = 1
    store.flush()
    store.update({"b": 2, "c": 3, "d": 4})
    store.delete("c")
    store.flush()
    assert list(store.items()) == [("a", 1), ("b", 2), ("d", 4)]
    assert attempts == [True]


def test_load_in_another_order_than_that_of_the_file_keeps_all(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, attempts: list[bool]
) -> None:
    """LMDB silently skips a row that is not beyond the last one. All rows are then put without appending."""

    pairs = _write._pairs
    monkeypatch.setattr(_write, "_pairs", lambda changes, keys: pairs(changes, keys[::-1]))
    store = open_store(batch_size=None)
    items = items_of(range(100))
    store.put_many(shuffled(items))
    store.update(shuffled(more := items_of(range(100, 200))))
    store.flush()
    assert list(store.items()) == [*items.items(), *more.items()]
    assert attempts == [False, False]


def test_load_that_fills_the_map_is_appended_once_it_has_grown(open_store: OpenStore, attempts: list[bool]) -> None:
    """The transaction that did not fit is aborted, and all is appended in the next one."""
    store = open_store(sync=False, map_size=MIB)
    store.put_many(first := items_of(range(500)))
    store.put_many(second := items_of(range(500, 5000)))
    assert list(store.items()) == [*first.items(), *second.items()]
    assert attempts == [True, True]  # the attempt that did not fit ended by MapFullError
    assert file_bytes(store) <= 1.2 * data_bytes(store)


def test_load_beyond_the_cap_keeps_the_file_and_room_to_delete(open_store: OpenStore) -> None:
    """Pages are kept to delete with, as for every other write."""
    store = open_store(sync=False, map_size=MIB, max_map_size=2 * MIB)
    store.put_many(items := items_of(range(1000)))
    with pytest.raises(lmdb.MapFullError):
        store.put_many(items_of(range(1000, 2500)))
    assert dict(store) == items
    for key in items:
        del store[key]
    store.flush()
    assert rows(store) == []


def test_load_of_keys_of_nul_bytes_keeps_the_order(open_store: OpenStore) -> None:
    """The empty key is stored as 511 NUL bytes, and sorts there."""
    store = open_store(key_encoding=None)
    store.put_many({b"\0": 1, b"\0\0": 2, b"": 3, b"\1": 4})
    store.put_many({b"\2": 5, b"\1\0": 6})
    assert list(store.items()) == [(b"\0", 1), (b"\0\0", 2), (b"", 3), (b"\1", 4), (b"\1\0", 6), (b"\2", 5)]


# -- any sequence of writes

_KEYS = st.one_of(st.integers(0, 60).map(lambda number: f"k{number:02}"), st.just(""), st.text("ab\0", max_size=4))
_VALUES = st.one_of(st.integers(0, 9), st.binary(min_size=500, max_size=700), st.just(bytes(5000)))
_BATCHES = st.dictionaries(_KEYS, _VALUES, max_size=12)
_LATER = st.tuples(st.integers(0, 3), st.integers(1, 20), st.booleans())  # keys behind all others so far
_STEPS = st.one_of(
    st.tuples(st.just("put_many"), _BATCHES),
    st.tuples(st.just("put_many"), _BATCHES.map(lambda batch: dict(sorted(batch.items())))),
    st.tuples(st.just("update"), _BATCHES),
    st.tuples(st.just("append"), _LATER),
    st.tuples(st.just("delete"), _KEYS),
    st.tuples(st.just("flush"), st.none()),
    st.tuples(st.just("clear"), st.none()),
    st.tuples(st.just("replace all"), _BATCHES),
)


@given(steps=st.lists(_STEPS, max_size=15))
def test_load_any_sequence_of_writes_gives_the_rows_of_a_dict(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]]
) -> None:
    """The file has what a dict has, in the order of the keys, and LMDB finds each key."""
    model: dict[str, Any] = {}
    last = 0
    path = tmp_path_factory.mktemp("any") / "db"
    with LmdbObjectStore(str(path), key_encoding="utf-8", sync=False) as store:
        for name, given_ in steps:
            if name in ("put_many", "update"):
                getattr(store, name)(given_)
                model.update(given_)
            elif name == "append":
                before, count, backwards = given_
                numbers = range(max(0, last - before), last + count)
                last += count
                batch = items_of(reversed(numbers) if backwards else numbers)
                store.put_many(batch)
                model.update(batch)
            elif name == "delete":
                store.delete(given_)
                model.pop(given_, None)
            elif name == "flush":
                store.flush()
            elif name == "clear":
                store.clear()
                model.clear()
            else:
                with store.transaction():
                    store.clear()
                    store.update(given_)
                model = dict(given_)
        store.flush()
        stored = [key for key, _ in rows(store)]
        assert stored == sorted(key.encode() or bytes(511) for key in model)
        assert len(store) == len(model)
        assert {key: store[key] for key in model} == model
