"""Promises of a store beyond a dict: the first item, foreign keys, changes in a loop, values that are copies."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from conftest import OpenStore
from support.mappings import DATA, STORES, option_names

from lmdb_object_store import OrderedKeys


class Unloadable:
    """Can be pickled, and never be unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return _refuse, ()


def _refuse() -> None:
    raise ArithmeticError("refused")


@pytest.fixture(params=STORES, ids=option_names)
def filled(request: pytest.FixtureRequest, open_store: OpenStore) -> Any:
    """Open a store of `DATA` with each set of options."""
    store = open_store(**request.param)
    store.update(DATA)
    return store


def test_popitem_last_false_takes_the_first_item(filled: Any) -> None:
    """`popitem(last=False)` takes items from the front, pending ones and stored ones alike."""
    filled.flush()
    filled["aa"] = 9
    assert [filled.popitem(last=False) for _ in range(4)] == [("a", 1), ("aa", 9), ("b", 2), ("c", 3)]
    with pytest.raises(KeyError):
        filled.popitem(last=False)


@pytest.mark.parametrize("key", [1, None, 1.5, (), ("a",), object(), frozenset()])
def test_foreign_key_is_refused_by_every_method(filled: Any, key: Any) -> None:
    """A key of a foreign type is a TypeError in every method that takes one."""
    if isinstance(filled.key_encoding, OrderedKeys) and type(key) not in (object, frozenset):
        return  # none of a foreign type there
    calls: list[Callable[[], Any]] = [
        lambda: filled[key],
        lambda: operator.setitem(filled, key, 1),
        lambda: operator.delitem(filled, key),
        lambda: key in filled,
        lambda: filled.get(key),
        lambda: filled.put(key, 1),
        lambda: filled.delete(key),
        lambda: filled.exists(key),
        lambda: filled.exists(key, flush=False),
        lambda: filled.pop(key),
        lambda: filled.pop(key, 1),
        lambda: filled.setdefault(key, 1),
        lambda: filled.update({key: 1}),
        lambda: filled.get_many([key]),
        lambda: filled.put_many({key: 1}),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="Key"):
            call()
    assert filled == DATA


def test_iter_whose_loop_deletes_keys_empties_the_store(filled: Any) -> None:
    """`for key in store: del store[key]` empties the store."""
    seen = []
    for key in filled:
        seen.append(key)
        del filled[key]
    assert seen == ["a", "b", "c"]
    assert not filled


def test_iter_whose_loop_adds_keys_meets_each_key_once(filled: Any) -> None:
    """A loop whose body writes meets each key once, in order, and what was there all the while for certain."""
    seen = []
    for key in filled:
        seen.append(key)
        if len(key) == 1:
            filled[f"{key}+"] = 0
    assert seen == sorted(set(seen))
    assert set(DATA) <= set(seen)


def test_repr_names_path_and_counts(filled: Any) -> None:
    """`repr` names the path and the counts of what is stored and pending, and writes nothing."""
    filled.flush()
    filled.put("d", 4)
    pending = len(filled.write_buffer)
    assert repr(filled) == f"<LmdbObjectStore {filled.db_path!r}: {4 - pending} stored, {pending} pending>"
    assert len(filled.write_buffer) == pending


def test_repr_reads_no_value(filled: Any) -> None:
    """`repr` of a store and of its views does not touch the values."""
    filled["bad"] = Unloadable()
    filled.flush()
    for shown in (filled, filled.keys(), filled.values(), filled.items()):
        assert filled.db_path in repr(shown)


def test_reads_of_keys_unpickle_no_value(filled: Any) -> None:
    """A read of keys works although a value cannot be unpickled."""
    filled["bad"] = Unloadable()
    assert "bad" in filled
    assert filled.exists("bad")
    assert list(filled) == ["a", "b", "bad", "c"]
    assert list(reversed(filled.keys())) == ["c", "bad", "b", "a"]
    assert len(filled) == 4
    assert filled.keys() & {"bad", "z"} == {"bad"}
    assert filled != {}
    assert filled.get("a") == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store["bad"],
        lambda store: store.get("bad", 1),
        lambda store: store.pop("bad"),
        lambda store: store.pop("bad", 1),
        lambda store: store.setdefault("bad", 1),
        lambda store: store.get_many(["a", "bad"]),
        lambda store: list(store.values()),
        lambda store: list(store.items()),
        lambda store: store == {**DATA, "bad": 1},
        lambda store: store | {},
        lambda store: {} | store,
        lambda store: 9 in store.values(),
        lambda store: ("bad", 1) in store.items(),
        lambda store: store.items() & {("bad", 1)},
    ],
)
def test_values_that_cannot_be_unpickled_raise_and_stay(filled: Any, call: Callable[[Any], Any]) -> None:
    """A read of such a value raises RuntimeError with the key and the cause, and the row stays."""
    filled["bad"] = Unloadable()
    with pytest.raises(RuntimeError, match="bad") as caught:
        call(filled)
    assert isinstance(caught.value.__cause__, ArithmeticError)
    assert "bad" in filled
    del filled["bad"]
    assert filled == DATA


def test_setitem_replaces_a_value_that_cannot_be_unpickled(filled: Any) -> None:
    """A value that cannot be unpickled can be overwritten and deleted."""
    filled["bad"] = Unloadable()
    filled["bad"] = 5
    assert filled["bad"] == 5
    filled["bad"] = Unloadable()
    filled.delete("bad")
    assert filled == DATA


def test_put_keeps_a_copy_of_the_value(filled: Any) -> None:
    """Later changes to a stored object do not reach the store."""
    value = [1]
    filled["list"] = value
    value.append(2)
    assert filled["list"] == [1]
    filled["list"].append(3)
    assert filled["list"] == [1]


def test_put_value_that_cannot_be_pickled_changes_nothing(filled: Any) -> None:
    """The pickler's own error reaches the caller, and what was there stays."""
    for write in (filled.put, filled.__setitem__, filled.setdefault):
        with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
            write("d" if write == filled.setdefault else "a", lambda: None)
    assert filled == DATA


def test_keys_set_operators_with_foreign_elements_find_none(filled: Any) -> None:
    """Set operations take any object. An object that cannot be a key or an item is not found."""
    assert filled.keys() & [1, None, "a", [], "\ud800"] == {"a"}
    assert filled.items() & [1, None, ("a", 1), (1, 1), ("\ud800", 1), ([], 1)] == {("a", 1)}
    assert {1, "a", "\ud800"} - filled.keys() == {1, "\ud800"}
    assert filled.keys() ^ {1, "a"} == {1, "b", "c"}
    assert not filled.keys() >= {"a", 1}
    assert filled.keys().isdisjoint([[], {}])


def test_keys_set_operators_with_many_elements_are_right(filled: Any) -> None:
    """Set operations with more elements than one read takes are right for all of them."""
    keys = [f"k{i:04}" for i in range(3000)]
    filled.put_many((key, key) for key in keys[::2])
    assert filled.keys() & keys == set(keys[::2])
    assert filled.keys() >= set(keys[::2])
    assert not filled.keys() >= set(keys)
    assert set(keys) - filled.keys() == set(keys[1::2])


def test_eq_mapping_of_another_kind_from_the_left_is_true(filled: Mapping[str, int]) -> None:
    """A mapping that knows nothing of the store equals it."""

    class Plain(Mapping[str, int]):
        def __getitem__(self, key: str) -> int:
            return DATA[key]

        def __iter__(self) -> Iterator[str]:
            return iter(DATA)

        def __len__(self) -> int:
            return len(DATA)

    assert Plain() == filled
    assert filled == Plain()
