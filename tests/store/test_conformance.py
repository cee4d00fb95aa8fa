"""What holds for any mutable mapping, tested alike on `dict` and on the store; then what only the store promises."""

from __future__ import annotations

import json
import marshal
import operator
import pickle
import string
from collections import ChainMap, OrderedDict
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    Set,
    ValuesView,
)
from types import MappingProxyType
from typing import Any

import pytest
from conftest import OpenStore

from lmdb_object_store import OrderedKeys
from lmdb_object_store._writeback import WritebackStore

# Sorted, so that a dict's order of insertion is the store's order of keys.
DATA = {"a": 1, "b": 2, "c": 3}
Make = Callable[[dict[str, Any]], Any]
Operator = Callable[[Any, Any], Any]

STORES: list[dict[str, Any]] = [
    {"autoflush_on_read": autoflush, "batch_size": batch_size}
    for autoflush in (True, False)
    for batch_size in (1, 1000)
]
STORES.append({"autoflush_on_read": True, "batch_size": 1000, "key_encoding": OrderedKeys()})
# Stores that keep their values, some or all, and one that does not pickle: as mappings they are the same.
OTHER_STORES: list[dict[str, Any]] = [
    {"kind": WritebackStore, **STORES[0], "max_cached": None},
    {"kind": WritebackStore, **STORES[3], "max_cached": None},
    {"kind": WritebackStore, **STORES[3], "max_cached": 1},
    {"serializer": marshal, **STORES[3]},
]
SET_OPERATORS = [operator.and_, operator.or_, operator.sub, operator.xor]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


def _name(options: dict[str, Any] | None) -> str:
    return (
        "dict" if options is None else "-".join(getattr(option, "__name__", str(option)) for option in options.values())
    )


@pytest.fixture(params=[None, *STORES, *OTHER_STORES], ids=_name)
def make(request: pytest.FixtureRequest, open_store: OpenStore, path: str) -> Make:
    """Makes a mapping of given items: a dict, or a store with each set of options."""
    made = 0

    def mapping(items: dict[str, Any]) -> Any:
        nonlocal made
        made += 1
        if request.param is None:
            return dict(items)
        store = open_store(path=f"{path}{made}", **request.param)
        for key, value in items.items():
            store[key] = value
        return store

    return mapping


@pytest.fixture
def m(make: Make) -> Any:
    """A mapping of `DATA`."""
    return make(DATA)


@pytest.fixture
def empty(make: Make) -> Any:
    """A mapping of nothing."""
    return make({})


class KeysOnly:
    """Has `keys` and `[]` alone, which is all that `update` asks for."""

    def keys(self) -> Iterable[str]:
        return ["c", "d"]

    def __getitem__(self, key: str) -> int:
        return {"c": 30, "d": 4}[key]


# -- one key


def test_is_a_mutable_mapping(m: Any) -> None:
    """It is an instance of the abstract classes, and so are its views."""
    assert isinstance(m, MutableMapping)
    assert isinstance(m.keys(), KeysView)
    assert isinstance(m.items(), ItemsView)
    assert isinstance(m.values(), ValuesView)


def test_subscript(m: Any) -> None:
    """`[]` gives the value."""
    assert [m[key] for key in DATA] == [1, 2, 3]


def test_get(m: Any) -> None:
    """`get` gives the value, or None, or the default."""
    assert (m.get("a"), m.get("z"), m.get("z", 9), m.get("a", 9)) == (1, None, 9, 1)


def test_stored_none_is_a_value(m: Any) -> None:
    """None as a value is not taken for a missing key."""
    m["n"] = None
    assert m["n"] is None
    assert m.get("n", 9) is None
    assert "n" in m
    assert m.setdefault("n", 9) is None
    assert m.pop("n", 9) is None


def test_in(m: Any) -> None:
    """`in` tells the keys from all else."""
    assert "a" in m
    assert "z" not in m
    assert "" not in m


def test_set_replaces(m: Any) -> None:
    """A key that is set again has the new value, once."""
    m["b"] = 20
    assert list(m.items()) == [("a", 1), ("b", 20), ("c", 3)]


def test_the_empty_key(make: Make) -> None:
    """The empty key is a key like any other, and the first in order."""
    m = make({"": 0, **DATA})
    assert m[""] == 0
    assert list(m) == ["", "a", "b", "c"]
    assert m.pop("") == 0
    assert "" not in m


def test_delete(m: Any) -> None:
    """`del` removes a key from all that is asked of the mapping."""
    del m["b"]
    assert "b" not in m
    assert m.get("b") is None
    assert list(m) == ["a", "c"]
    assert len(m) == 2


def test_delete_then_set_again(m: Any) -> None:
    """A deleted key can be set again."""
    del m["c"]
    m["c"] = 30
    assert m["c"] == 30
    assert len(m) == 3


@pytest.mark.parametrize(
    "call", [lambda m: m["z"], lambda m: operator.delitem(m, "z"), lambda m: m.pop("z")], ids=["get", "del", "pop"]
)
def test_missing_key(m: Any, call: Callable[[Any], Any]) -> None:
    """A missing key is a KeyError whose only argument is the key, and changes nothing."""
    with pytest.raises(KeyError) as caught:
        call(m)
    assert caught.value.args == ("z",)
    assert m == DATA


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m[[]],
        lambda m: m.get([]),
        lambda m: [] in m,
        lambda m: m.pop([]),
        lambda m: m.pop([], 1),
        lambda m: m.setdefault([], 1),
        lambda m: m.update([([], 1)]),
        lambda m: operator.setitem(m, [], 1),
        lambda m: operator.delitem(m, []),
    ],
)
def test_impossible_key(m: Any, call: Callable[[Any], Any]) -> None:
    """What can be no key is a TypeError everywhere, and changes nothing."""
    with pytest.raises(TypeError):
        call(m)
    assert m == DATA


# -- pop, popitem, setdefault, clear


def test_pop(m: Any) -> None:
    """`pop` removes the key and gives its value; the default is for a missing one."""
    assert m.pop("b") == 2
    assert m.pop("b", None) is None
    assert m.pop("b", 9) == 9
    assert m == {"a": 1, "c": 3}


def test_popitem_takes_the_last(m: Any) -> None:
    """`popitem` takes items from the end until there is none."""
    assert [m.popitem() for _ in range(3)] == [("c", 3), ("b", 2), ("a", 1)]
    assert not m
    with pytest.raises(KeyError):
        m.popitem()


def test_setdefault(m: Any) -> None:
    """`setdefault` keeps what is there and stores what is not."""
    assert m.setdefault("a", 9) == 1
    assert m.setdefault("d", 4) == 4
    assert m.setdefault("e") is None
    assert m == {**DATA, "d": 4, "e": None}


def test_clear(m: Any) -> None:
    """`clear` leaves an empty mapping that can be filled again."""
    m["pending"] = 1
    m.clear()
    assert (len(m), bool(m), list(m), m.get("a"), "pending" in m) == (0, False, [], None, False)
    m["a"] = 5
    assert m == {"a": 5}


# -- update, | and ==


@pytest.mark.parametrize(
    ("update", "changes"),
    [
        (lambda m: m.update(), {}),
        (lambda m: m.update({}), {}),
        (lambda m: m.update({"c": 30, "d": 4}), {"c": 30, "d": 4}),
        (lambda m: m.update([("d", 4), ("c", 29), ("c", 30)]), {"c": 30, "d": 4}),
        (lambda m: m.update(iter([["c", 30], "d4"])), {"c": 30, "d": "4"}),
        (lambda m: m.update(KeysOnly()), {"c": 30, "d": 4}),
        (lambda m: m.update(c=30, d=4), {"c": 30, "d": 4}),
        (lambda m: m.update({"c": 29, "d": 4}, c=30), {"c": 30, "d": 4}),
        (lambda m: m.update(self=1, other=2, key=3), {"self": 1, "other": 2, "key": 3}),
        (lambda m: m.update(MappingProxyType({"c": 30}), d=4), {"c": 30, "d": 4}),
    ],
    ids=["nothing", "empty", "mapping", "pairs", "iterator", "keys", "keywords", "both", "self", "proxy"],
)
def test_update(m: Any, update: Callable[[Any], None], changes: dict[str, Any]) -> None:
    """`update` takes a mapping, pairs, what has `keys`, and keywords; the last value for a key counts."""
    assert update(m) is None  # type: ignore[func-returns-value]  # that is what is tested
    assert m == {**DATA, **changes}


@pytest.mark.parametrize("argument", [5, [1], None, object()])
def test_update_refuses_what_is_no_mapping(m: Any, argument: object) -> None:
    """What `update` cannot iterate as pairs is a TypeError."""
    with pytest.raises(TypeError):
        m.update(argument)
    with pytest.raises(TypeError):
        m.update({}, {})
    assert m == DATA


@pytest.mark.parametrize("pairs", [[("d",)], [("d", 4, 5)], ["d"]])
def test_update_refuses_what_is_no_pair(m: Any, pairs: list[Any]) -> None:
    """An element that is no pair is a ValueError."""
    with pytest.raises(ValueError, match=r"unpack|length"):
        m.update(pairs)
    assert m == DATA


def test_update_keeps_what_came_before_an_error(m: Any) -> None:
    """`update` is not atomic: what the iterable gave before it raised is kept."""

    def items() -> Iterator[tuple[str, int]]:
        yield "d", 4
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        m.update(items())
    assert m == {**DATA, "d": 4}


def test_update_with_itself(m: Any) -> None:
    """A mapping may be updated with itself."""
    m.update(m)
    m.update(m.items())
    assert m == DATA


@pytest.mark.parametrize("kind", [dict, OrderedDict, MappingProxyType])
def test_or(m: Any, kind: Callable[[Any], Any]) -> None:
    """`|` gives a new dict in which the right operand wins, on either side."""
    other = kind({"c": 30, "d": 4})
    left, right = m | other, other | m
    assert left == {"a": 1, "b": 2, "c": 30, "d": 4}
    assert right == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert isinstance(left, dict)
    assert isinstance(right, dict)
    assert list(left) == ["a", "b", "c", "d"]
    assert list(right) == ["c", "d", "a", "b"]
    assert m == DATA


def test_or_of_two(make: Make) -> None:
    """`|` of two of a kind is a dict, of which the right one wins."""
    assert make(DATA) | make({"c": 30}) == {**DATA, "c": 30}


@pytest.mark.parametrize("other", [5, [("d", 4)], None, {"d"}])
def test_or_refuses_what_is_no_mapping(m: Any, other: object) -> None:
    """`|` with what is no mapping is a TypeError, on either side."""
    with pytest.raises(TypeError):
        m | other
    with pytest.raises(TypeError):
        other | m


@pytest.mark.parametrize("other", [{"c": 30, "d": 4}, [("c", 30), ("d", 4)]])
def test_ior(m: Any, other: Any) -> None:
    """`|=` updates in place, from pairs too."""
    before = m
    m |= other
    assert m is before
    assert m == {"a": 1, "b": 2, "c": 30, "d": 4}


def test_ior_of_a_dict(m: Any) -> None:
    """A dict takes the mapping by `|=`."""
    target = {"a": 10, "d": 4}
    target |= m
    assert target == {"a": 1, "d": 4, "b": 2, "c": 3}


def test_ior_refuses_what_is_no_mapping(m: Any) -> None:
    """`|=` with what `update` would refuse is a TypeError."""
    with pytest.raises(TypeError):
        m |= 5


EQUAL = [{"c": 3, "b": 2, "a": 1}, OrderedDict(DATA), MappingProxyType(DATA), ChainMap(DATA)]
DIFFERENT = [{}, {"a": 1, "b": 2}, {**DATA, "d": 4}, {**DATA, "c": 4}, {"a": 1, "b": 2, "z": 3}, {1: 1, 2: 2, 3: 3}]


@pytest.mark.parametrize("other", EQUAL, ids=lambda other: type(other).__name__)
def test_equal(m: Any, other: Any) -> None:
    """It equals any mapping of the same items, in whatever order, from both sides."""
    assert m == other
    assert other == m
    assert (m != other, other != m) == (False, False)


@pytest.mark.parametrize("other", [*DIFFERENT, None, 3, [("a", 1)], set(DATA)])
def test_unequal(m: Any, other: Any) -> None:
    """It differs from a mapping of other items and from what is no mapping, from both sides."""
    assert m != other
    assert other != m
    assert (m == other, other == m) == (False, False)


def test_equal_to_another_of_its_kind(make: Make) -> None:
    """Two of a kind are compared by their items."""
    m, same, other = make(DATA), make(DATA), make({**DATA, "c": 4})
    assert m == same
    assert m == m
    assert m != other


def test_unhashable(m: Any) -> None:
    """Neither it nor its set-like views can be hashed."""
    for unhashable in (m, m.keys(), m.items()):
        with pytest.raises(TypeError, match="unhashable"):
            hash(unhashable)


# -- the whole


def test_len_and_bool(m: Any, empty: Any) -> None:
    """`len` counts the keys, and only an empty mapping is false."""
    assert (len(m), bool(m)) == (3, True)
    assert (len(empty), bool(empty)) == (0, False)


def test_iteration(m: Any) -> None:
    """Iteration gives the keys in order, `reversed` in the opposite order."""
    assert list(m) == ["a", "b", "c"]
    assert list(reversed(m)) == ["c", "b", "a"]


def test_iteration_of_nothing(empty: Any) -> None:
    """An empty mapping iterates to nothing, either way and by every view."""
    for view in (empty, empty.keys(), empty.values(), empty.items()):
        assert list(view) == []
        assert list(reversed(view)) == []


def test_iterators_are_independent(m: Any) -> None:
    """Two iterators over one mapping do not disturb each other."""
    assert [(a, b) for a in m for b in m] == [(a, b) for a in DATA for b in DATA]


def test_used_as_a_mapping(m: Any) -> None:
    """Code that expects a mapping takes it: unpacking, `dict`, ChainMap, json, templates, `format_map`, `match`."""
    assert dict(m) == {**m} == DATA
    assert [*m] == sorted(m) == list(DATA)
    assert dict(**m) == DATA
    assert dict(ChainMap({"d": 4}, m)) == {**DATA, "d": 4}
    assert json.dumps(dict(m)) == json.dumps(DATA)
    assert string.Template("$a-$b").substitute(m) == "{a}-{b}".format_map(m) == "1-2"
    match m:
        case {"a": first, **rest}:
            assert (first, rest) == (1, {"b": 2, "c": 3})
        case _:
            pytest.fail("not taken for a mapping")


# -- views


def test_views(m: Any) -> None:
    """The views have the keys, values and items in order, and in the opposite order by `reversed`."""
    for view, expected in (
        (m.keys(), ["a", "b", "c"]),
        (m.values(), [1, 2, 3]),
        (m.items(), [("a", 1), ("b", 2), ("c", 3)]),
    ):
        assert list(view) == expected
        assert list(reversed(view)) == expected[::-1]
        assert len(view) == 3


def test_views_are_live(m: Any) -> None:
    """A view shows what was changed after it was made."""
    keys, values, items = m.keys(), m.values(), m.items()
    m["d"] = 4
    del m["a"]
    assert list(keys) == ["b", "c", "d"]
    assert list(values) == [2, 3, 4]
    assert list(items) == [("b", 2), ("c", 3), ("d", 4)]
    assert len(keys) == len(values) == len(items) == 3
    assert "d" in keys
    assert 4 in values
    assert ("d", 4) in items
    assert "a" not in keys


def test_in_views(m: Any) -> None:
    """`in` a view looks for the key, the value, the pair."""
    keys = m.keys()
    assert "a" in keys
    assert "z" not in keys
    assert 3 in m.values()
    assert 9 not in m.values()
    assert "a" not in m.values()
    assert ("a", 1) in m.items()
    assert ("a", 2) not in m.items()
    assert ("z", 1) not in m.items()


def test_what_is_no_pair_is_not_in_items(m: Any) -> None:
    """What is no pair is in no view of items: False, not an error."""
    for element in (5, None, "a", (), ("a",), ("a", 1, 1), ["a", 1]):
        assert element not in m.items(), element


OTHERS: list[Any] = [
    set(),
    {"a"},
    {"a", "b", "c"},
    {"a", "b", "c", "d"},
    {"b", "z"},
    {"x", "y", "z"},
    frozenset({"a", "z"}),
    {"a": 1, "z": 2}.keys(),
    {"a", 1, None, (1, 2)},
]
OTHER_ITEMS: list[Any] = [
    set(),
    {("a", 1)},
    set(DATA.items()),
    {("a", 1), ("b", 2), ("c", 3), ("d", 4)},
    {("a", 2), ("z", 1), ("c", 3)},
    frozenset({("a", 1), ("b", 1)}),
    {"a": 1, "b": 3}.items(),
    {("a", 1), 5, "a", None, (1, 2), ("a", 1, 1)},
]


@pytest.mark.parametrize("operate", SET_OPERATORS)
def test_set_operators_of_keys(m: Any, operate: Operator) -> None:
    """Views of keys have the operators of sets, on either side, and give sets."""
    for other in OTHERS:
        _check_operator(operate, m.keys(), set(DATA), other)


@pytest.mark.parametrize("operate", SET_OPERATORS)
def test_set_operators_of_items(m: Any, operate: Operator) -> None:
    """Views of items have the operators of sets, on either side, and give sets."""
    for other in OTHER_ITEMS:
        _check_operator(operate, m.items(), set(DATA.items()), other)


def _check_operator(operate: Operator, view: Set[Any], model: set[Any], other: Any) -> None:
    for result, expected in (
        (operate(view, other), operate(model, set(other))),
        (operate(other, view), operate(set(other), model)),
    ):
        assert result == expected
        assert isinstance(result, set)


@pytest.mark.parametrize("operate", SET_OPERATORS)
def test_set_operators_of_two_views(make: Make, operate: Operator) -> None:
    """The views of two mappings are combined as sets are."""
    m, other = make(DATA), make({"b": 2, "c": 4, "d": 5})
    assert operate(m.keys(), other.keys()) == operate(set(m), set(other))
    assert operate(m.items(), other.items()) == operate(set(m.items()), set(other.items()))
    assert operate(m.keys(), m.keys()) == operate(set(m), set(m))


@pytest.mark.parametrize("operate", SET_OPERATORS)
def test_set_operators_take_any_iterable(m: Any, operate: Operator) -> None:
    """Views, unlike sets, are combined with any iterable, on either side."""
    expected = operate(set(DATA), {"b", "z"})
    assert operate(m.keys(), ["b", "z", "b"]) == expected
    assert operate(m.keys(), iter(["b", "z"])) == expected
    assert operate(["b", "z", "b"], m.keys()) == operate({"b", "z"}, set(DATA))
    assert operate(m.items(), [("b", 2)]) == operate(set(DATA.items()), {("b", 2)})


@pytest.mark.parametrize("operate", SET_OPERATORS)
def test_set_operators_refuse_what_cannot_be_iterated(m: Any, operate: Operator) -> None:
    """A view and what cannot be iterated have nothing in common but a TypeError, on either side."""
    for view in (m.keys(), m.items()):
        with pytest.raises(TypeError):
            operate(view, 5)
        with pytest.raises(TypeError):
            operate(5, view)


@pytest.mark.parametrize("compare", COMPARISONS)
def test_comparisons_of_keys(m: Any, compare: Operator) -> None:
    """Views of keys compare as sets do, from either side."""
    for other in OTHERS:
        assert compare(m.keys(), other) is compare(set(DATA), set(other)), other
        assert compare(other, m.keys()) is compare(set(other), set(DATA)), other


@pytest.mark.parametrize("compare", COMPARISONS)
def test_comparisons_of_items(m: Any, compare: Operator) -> None:
    """Views of items compare as sets do, from either side."""
    for other in OTHER_ITEMS:
        assert compare(m.items(), other) is compare(set(DATA.items()), set(other)), other
        assert compare(other, m.items()) is compare(set(other), set(DATA.items())), other


@pytest.mark.parametrize("compare", COMPARISONS)
def test_comparisons_of_two_views(make: Make, compare: Operator) -> None:
    """The views of two mappings compare as sets do, those of items even with unhashable values."""
    m, other = make({"a": 1, "b": 2}), make({"a": 1, "b": 2, "c": 3})
    assert compare(m.keys(), other.keys()) is compare(set(m), set(other))
    assert compare(m.items(), other.items()) is compare(set(m.items()), set(other.items()))
    assert compare(m.items(), m.items()) is compare(set(m), set(m))
    assert compare(make({"a": []}).items(), make({"a": []}).items()) is compare(1, 1)


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_comparisons_refuse_what_is_no_set(m: Any, compare: Operator) -> None:
    """A view has no order with what is no set, and is not equal to it."""
    for view in (m.keys(), m.items()):
        with pytest.raises(TypeError):
            compare(view, ["a", "b"])
        with pytest.raises(TypeError):
            compare(5, view)
        assert view != ["a", "b", "c"]


def test_isdisjoint(m: Any) -> None:
    """`isdisjoint` takes any iterable."""
    assert m.keys().isdisjoint(["x", "y"])
    assert m.keys().isdisjoint([])
    assert m.keys().isdisjoint({1, None})
    assert not m.keys().isdisjoint(iter(["x", "c"]))
    assert m.items().isdisjoint([("a", 2), ("z", 1)])
    assert not m.items().isdisjoint({"a": 1}.items())
    with pytest.raises(TypeError):
        m.keys().isdisjoint(5)


def test_views_of_unhashable_values(make: Make) -> None:
    """Items whose values cannot be hashed can still be looked up and intersected."""
    m = make({"a": [1], "b": {}})
    assert ("a", [1]) in m.items()
    assert ("a", [2]) not in m.items()
    assert [1] in m.values()
    assert m.items() & {("a", 1)} == set()
    assert m.items() == {"a": [1], "b": {}}.items()


# -- what the store promises beyond a dict


class Unloadable:
    """Can be pickled, and never be unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return _refuse, ()


def _refuse() -> None:
    raise ArithmeticError("refused")


@pytest.fixture(params=STORES, ids=_name)
def filled(request: pytest.FixtureRequest, open_store: OpenStore) -> Any:
    """A store of `DATA` with each set of options."""
    store = open_store(**request.param)
    store.update(DATA)
    return store


def test_popitem_can_take_the_first(filled: Any) -> None:
    """`popitem(last=False)` takes items from the front, pending ones and stored ones alike."""
    filled.flush()
    filled["aa"] = 9
    assert [filled.popitem(last=False) for _ in range(4)] == [("a", 1), ("aa", 9), ("b", 2), ("c", 3)]
    with pytest.raises(KeyError):
        filled.popitem(last=False)


@pytest.mark.parametrize("key", [1, None, 1.5, (), ("a",), object(), frozenset()])
def test_foreign_keys(filled: Any, key: Any) -> None:
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


def test_keys_may_be_deleted_in_the_loop_over_them(filled: Any) -> None:
    """`for key in store: del store[key]` empties the store."""
    seen = []
    for key in filled:
        seen.append(key)
        del filled[key]
    assert seen == ["a", "b", "c"]
    assert not filled


def test_keys_may_be_added_in_a_loop(filled: Any) -> None:
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


def test_only_values_are_unpickled(filled: Any) -> None:
    """What does not need a value that cannot be unpickled is not disturbed by it."""
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
def test_values_that_cannot_be_unpickled_are_never_skipped(filled: Any, call: Callable[[Any], Any]) -> None:
    """A read that needs such a value raises RuntimeError with the key and the cause, and the row stays."""
    filled["bad"] = Unloadable()
    with pytest.raises(RuntimeError, match="bad") as caught:
        call(filled)
    assert isinstance(caught.value.__cause__, ArithmeticError)
    assert "bad" in filled
    del filled["bad"]
    assert filled == DATA


def test_such_a_value_can_be_replaced(filled: Any) -> None:
    """A value that cannot be unpickled can be overwritten and deleted."""
    filled["bad"] = Unloadable()
    filled["bad"] = 5
    assert filled["bad"] == 5
    filled["bad"] = Unloadable()
    filled.delete("bad")
    assert filled == DATA


def test_values_are_copies(filled: Any) -> None:
    """The store keeps what was put, not the object: later changes to it stay outside."""
    value = [1]
    filled["list"] = value
    value.append(2)
    assert filled["list"] == [1]
    filled["list"].append(3)
    assert filled["list"] == [1]


def test_a_value_that_cannot_be_pickled_changes_nothing(filled: Any) -> None:
    """The pickler's own error reaches the caller, and what was there stays."""
    for write in (filled.put, filled.__setitem__, filled.setdefault):
        with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
            write("d" if write == filled.setdefault else "a", lambda: None)
    assert filled == DATA


def test_set_operations_with_foreign_elements(filled: Any) -> None:
    """Set operations look for any object: what cannot be a key or an item is simply not there."""
    assert filled.keys() & [1, None, "a", [], "\ud800"] == {"a"}
    assert filled.items() & [1, None, ("a", 1), (1, 1), ("\ud800", 1), ([], 1)] == {("a", 1)}
    assert {1, "a", "\ud800"} - filled.keys() == {1, "\ud800"}
    assert filled.keys() ^ {1, "a"} == {1, "b", "c"}
    assert not filled.keys() >= {"a", 1}
    assert filled.keys().isdisjoint([[], {}])


def test_many_set_elements_are_looked_up(filled: Any) -> None:
    """Set operations with more elements than one read takes are right for all of them."""
    keys = [f"k{i:04}" for i in range(3000)]
    filled.put_many((key, key) for key in keys[::2])
    assert filled.keys() & keys == set(keys[::2])
    assert filled.keys() >= set(keys[::2])
    assert not filled.keys() >= set(keys)
    assert set(keys) - filled.keys() == set(keys[1::2])


def test_a_mapping_of_another_kind_compares_from_the_left(filled: Mapping[str, int]) -> None:
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
