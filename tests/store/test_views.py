"""The views of a mapping, tested alike on `dict` and on the store: sets of keys and items, and values."""

from __future__ import annotations

import operator
from collections.abc import Callable, Set
from typing import Any

import pytest
from support.mappings import DATA, Make

Operator = Callable[[Any, Any], Any]

SET_OPERATORS = [operator.and_, operator.or_, operator.sub, operator.xor]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


def test_views_give_keys_values_and_items_in_order(m: Any) -> None:
    """The views have the keys, values and items in order, and in the opposite order by `reversed`."""
    for view, expected in (
        (m.keys(), ["a", "b", "c"]),
        (m.values(), [1, 2, 3]),
        (m.items(), [("a", 1), ("b", 2), ("c", 3)]),
    ):
        assert list(view) == expected
        assert list(reversed(view)) == expected[::-1]
        assert len(view) == 3


def test_views_show_later_changes(m: Any) -> None:
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


def test_views_contain_keys_values_and_pairs(m: Any) -> None:
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


def test_items_contains_of_no_pair_is_false(m: Any) -> None:
    """`in` a view of items is False for an object that is no pair, and raises nothing."""
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
def test_keys_set_operators_give_sets(m: Any, operate: Operator) -> None:
    """Views of keys have the operators of sets, on either side, and give sets."""
    for other in OTHERS:
        _check_operator(operate, m.keys(), set(DATA), other)


@pytest.mark.parametrize("operate", SET_OPERATORS)
def test_items_set_operators_give_sets(m: Any, operate: Operator) -> None:
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
def test_views_set_operators_of_two_mappings_give_sets(make: Make, operate: Operator) -> None:
    """The views of two mappings are combined as sets are."""
    m, other = make(DATA), make({"b": 2, "c": 4, "d": 5})
    assert operate(m.keys(), other.keys()) == operate(set(m), set(other))
    assert operate(m.items(), other.items()) == operate(set(m.items()), set(other.items()))
    assert operate(m.keys(), m.keys()) == operate(set(m), set(m))


@pytest.mark.parametrize("operate", SET_OPERATORS)
def test_views_set_operators_take_any_iterable(m: Any, operate: Operator) -> None:
    """Views are combined with any iterable, which sets are not, on either side."""
    expected = operate(set(DATA), {"b", "z"})
    assert operate(m.keys(), ["b", "z", "b"]) == expected
    assert operate(m.keys(), iter(["b", "z"])) == expected
    assert operate(["b", "z", "b"], m.keys()) == operate({"b", "z"}, set(DATA))
    assert operate(m.items(), [("b", 2)]) == operate(set(DATA.items()), {("b", 2)})


@pytest.mark.parametrize("operate", SET_OPERATORS)
def test_views_set_operators_of_no_iterable_are_refused(m: Any, operate: Operator) -> None:
    """A view and an object that is not iterable raise a TypeError, on either side."""
    for view in (m.keys(), m.items()):
        with pytest.raises(TypeError):
            operate(view, 5)
        with pytest.raises(TypeError):
            operate(5, view)


@pytest.mark.parametrize("compare", COMPARISONS)
def test_keys_compare_as_sets_do(m: Any, compare: Operator) -> None:
    """Views of keys compare as sets do, from either side."""
    for other in OTHERS:
        assert compare(m.keys(), other) is compare(set(DATA), set(other)), other
        assert compare(other, m.keys()) is compare(set(other), set(DATA)), other


@pytest.mark.parametrize("compare", COMPARISONS)
def test_items_compare_as_sets_do(m: Any, compare: Operator) -> None:
    """Views of items compare as sets do, from either side."""
    for other in OTHER_ITEMS:
        assert compare(m.items(), other) is compare(set(DATA.items()), set(other)), other
        assert compare(other, m.items()) is compare(set(other), set(DATA.items())), other


@pytest.mark.parametrize("compare", COMPARISONS)
def test_views_of_two_mappings_compare_as_sets_do(make: Make, compare: Operator) -> None:
    """The views of two mappings compare as sets do, those of items even with unhashable values."""
    m, other = make({"a": 1, "b": 2}), make({"a": 1, "b": 2, "c": 3})
    assert compare(m.keys(), other.keys()) is compare(set(m), set(other))
    assert compare(m.items(), other.items()) is compare(set(m.items()), set(other.items()))
    assert compare(m.items(), m.items()) is compare(set(m), set(m))
    assert compare(make({"a": []}).items(), make({"a": []}).items()) is compare(1, 1)


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_views_comparison_with_no_set_is_refused(m: Any, compare: Operator) -> None:
    """A view has no order with an object that is no set, and is not equal to it."""
    for view in (m.keys(), m.items()):
        with pytest.raises(TypeError):
            compare(view, ["a", "b"])
        with pytest.raises(TypeError):
            compare(5, view)
        assert view != ["a", "b", "c"]


def test_isdisjoint_takes_any_iterable(m: Any) -> None:
    """`isdisjoint` takes any iterable."""
    assert m.keys().isdisjoint(["x", "y"])
    assert m.keys().isdisjoint([])
    assert m.keys().isdisjoint({1, None})
    assert not m.keys().isdisjoint(iter(["x", "c"]))
    assert m.items().isdisjoint([("a", 2), ("z", 1)])
    assert not m.items().isdisjoint({"a": 1}.items())
    with pytest.raises(TypeError):
        m.keys().isdisjoint(5)


def test_items_of_unhashable_values_are_looked_up(make: Make) -> None:
    """Items whose values cannot be hashed can still be looked up and intersected."""
    m = make({"a": [1], "b": {}})
    assert ("a", [1]) in m.items()
    assert ("a", [2]) not in m.items()
    assert [1] in m.values()
    assert m.items() & {("a", 1)} == set()
    assert m.items() == {"a": [1], "b": {}}.items()
