"""Promises of any mutable mapping, tested alike on `dict` and on the store."""

from __future__ import annotations

import json
import operator
import string
from collections import ChainMap, OrderedDict
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, MutableMapping, ValuesView
from types import MappingProxyType
from typing import Any

import pytest
from support.mappings import DATA, Make


class KeysOnly:
    """Has `keys` and `[]` alone, which is all that `update` asks for."""

    def keys(self) -> Iterable[str]:
        return ["c", "d"]

    def __getitem__(self, key: str) -> int:
        return {"c": 30, "d": 4}[key]


# -- one key


def test_mapping_is_a_mutable_mapping(m: Any) -> None:
    """The mapping is an instance of the abstract classes, and so are its views."""
    assert isinstance(m, MutableMapping)
    assert isinstance(m.keys(), KeysView)
    assert isinstance(m.items(), ItemsView)
    assert isinstance(m.values(), ValuesView)


def test_getitem_gives_the_value(m: Any) -> None:
    """`[]` gives the value."""
    assert [m[key] for key in DATA] == [1, 2, 3]


def test_get_missing_key_gives_the_default(m: Any) -> None:
    """`get` gives the value, or None, or the default."""
    assert (m.get("a"), m.get("z"), m.get("z", 9), m.get("a", 9)) == (1, None, 9, 1)


def test_get_stored_none_is_a_value(m: Any) -> None:
    """None as a value is not taken for a missing key."""
    m["n"] = None
    assert m["n"] is None
    assert m.get("n", 9) is None
    assert "n" in m
    assert m.setdefault("n", 9) is None
    assert m.pop("n", 9) is None


def test_contains_tells_keys_from_all_else(m: Any) -> None:
    """`in` tells the keys from all else."""
    assert "a" in m
    assert "z" not in m
    assert "" not in m


def test_setitem_existing_key_replaces_the_value(m: Any) -> None:
    """A key that is set again has the new value, once."""
    m["b"] = 20
    assert list(m.items()) == [("a", 1), ("b", 20), ("c", 3)]


def test_setitem_empty_key_comes_first(make: Make) -> None:
    """The empty key is a key like any other, and the first in order."""
    m = make({"": 0, **DATA})
    assert m[""] == 0
    assert list(m) == ["", "a", "b", "c"]
    assert m.pop("") == 0
    assert "" not in m


def test_del_removes_the_key_everywhere(m: Any) -> None:
    """`del` removes a key from all that is asked of the mapping."""
    del m["b"]
    assert "b" not in m
    assert m.get("b") is None
    assert list(m) == ["a", "c"]
    assert len(m) == 2


def test_setitem_deleted_key_is_there_again(m: Any) -> None:
    """A deleted key can be set again."""
    del m["c"]
    m["c"] = 30
    assert m["c"] == 30
    assert len(m) == 3


@pytest.mark.parametrize(
    "call", [lambda m: m["z"], lambda m: operator.delitem(m, "z"), lambda m: m.pop("z")], ids=["get", "del", "pop"]
)
def test_getitem_missing_key_raises_key_error(m: Any, call: Callable[[Any], Any]) -> None:
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
def test_getitem_impossible_key_raises_type_error(m: Any, call: Callable[[Any], Any]) -> None:
    """An object that cannot be a key is a TypeError everywhere, and changes nothing."""
    with pytest.raises(TypeError):
        call(m)
    assert m == DATA


# -- pop, popitem, setdefault, clear


def test_pop_removes_the_key_and_gives_its_value(m: Any) -> None:
    """`pop` removes the key and gives its value; the default is for a missing one."""
    assert m.pop("b") == 2
    assert m.pop("b", None) is None
    assert m.pop("b", 9) == 9
    assert m == {"a": 1, "c": 3}


def test_popitem_takes_the_last_item(m: Any) -> None:
    """`popitem` takes items from the end until there is none."""
    assert [m.popitem() for _ in range(3)] == [("c", 3), ("b", 2), ("a", 1)]
    assert not m
    with pytest.raises(KeyError):
        m.popitem()


def test_setdefault_keeps_an_existing_value(m: Any) -> None:
    """`setdefault` keeps what is there and stores what is not."""
    assert m.setdefault("a", 9) == 1
    assert m.setdefault("d", 4) == 4
    assert m.setdefault("e") is None
    assert m == {**DATA, "d": 4, "e": None}


def test_clear_leaves_an_empty_mapping(m: Any) -> None:
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
def test_update_takes_mappings_pairs_and_keywords(
    m: Any, update: Callable[[Any], None], changes: dict[str, Any]
) -> None:
    """`update` takes a mapping, pairs, what has `keys`, and keywords; the last value for a key counts."""
    assert update(m) is None  # type: ignore[func-returns-value]  # that is what is tested
    assert m == {**DATA, **changes}


@pytest.mark.parametrize("argument", [5, [1], None, object()])
def test_update_refuses_what_is_no_mapping(m: Any, argument: object) -> None:
    """An argument that `update` cannot iterate as pairs is a TypeError."""
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


def test_update_with_itself_changes_nothing(m: Any) -> None:
    """A mapping may be updated with itself."""
    m.update(m)
    m.update(m.items())
    assert m == DATA


@pytest.mark.parametrize("kind", [dict, OrderedDict, MappingProxyType])
def test_or_gives_a_dict_in_which_the_right_wins(m: Any, kind: Callable[[Any], Any]) -> None:
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


def test_or_of_two_of_a_kind_gives_a_dict(make: Make) -> None:
    """`|` of two mappings of a kind is a dict, in which the right one wins."""
    assert make(DATA) | make({"c": 30}) == {**DATA, "c": 30}


@pytest.mark.parametrize("other", [5, [("d", 4)], None, {"d"}])
def test_or_refuses_what_is_no_mapping(m: Any, other: object) -> None:
    """`|` with what is no mapping is a TypeError, on either side."""
    with pytest.raises(TypeError):
        m | other
    with pytest.raises(TypeError):
        other | m


@pytest.mark.parametrize("other", [{"c": 30, "d": 4}, [("c", 30), ("d", 4)]])
def test_ior_updates_in_place(m: Any, other: Any) -> None:
    """`|=` updates in place, from pairs too."""
    before = m
    m |= other
    assert m is before
    assert m == {"a": 1, "b": 2, "c": 30, "d": 4}


def test_ior_of_a_dict_takes_the_mapping(m: Any) -> None:
    """A dict takes the mapping by `|=`."""
    target = {"a": 10, "d": 4}
    target |= m
    assert target == {"a": 1, "d": 4, "b": 2, "c": 3}


def test_ior_refuses_what_is_no_mapping(m: Any) -> None:
    """`|=` refuses the arguments that `update` refuses."""
    with pytest.raises(TypeError):
        m |= 5


EQUAL = [{"c": 3, "b": 2, "a": 1}, OrderedDict(DATA), MappingProxyType(DATA), ChainMap(DATA)]
DIFFERENT = [{}, {"a": 1, "b": 2}, {**DATA, "d": 4}, {**DATA, "c": 4}, {"a": 1, "b": 2, "z": 3}, {1: 1, 2: 2, 3: 3}]


@pytest.mark.parametrize("other", EQUAL, ids=lambda other: type(other).__name__)
def test_eq_mapping_of_the_same_items_is_true(m: Any, other: Any) -> None:
    """The mapping equals any mapping of the same items, in any order, from both sides."""
    assert m == other
    assert other == m
    assert (m != other, other != m) == (False, False)


@pytest.mark.parametrize("other", [*DIFFERENT, None, 3, [("a", 1)], set(DATA)])
def test_eq_mapping_of_other_items_is_false(m: Any, other: Any) -> None:
    """The mapping differs from a mapping of other items and from any other object, from both sides."""
    assert m != other
    assert other != m
    assert (m == other, other == m) == (False, False)


def test_eq_of_two_of_a_kind_compares_items(make: Make) -> None:
    """Two of a kind are compared by their items."""
    m, same, other = make(DATA), make(DATA), make({**DATA, "c": 4})
    assert m == same
    assert m == m
    assert m != other


def test_hash_of_mapping_and_views_is_refused(m: Any) -> None:
    """Neither the mapping nor its set-like views can be hashed."""
    for unhashable in (m, m.keys(), m.items()):
        with pytest.raises(TypeError, match="unhashable"):
            hash(unhashable)


# -- the whole


def test_len_counts_the_keys(m: Any, empty: Any) -> None:
    """`len` counts the keys, and only an empty mapping is false."""
    assert (len(m), bool(m)) == (3, True)
    assert (len(empty), bool(empty)) == (0, False)


def test_iter_gives_the_keys_in_order(m: Any) -> None:
    """Iteration gives the keys in order, `reversed` in the opposite order."""
    assert list(m) == ["a", "b", "c"]
    assert list(reversed(m)) == ["c", "b", "a"]


def test_iter_of_an_empty_mapping_gives_nothing(empty: Any) -> None:
    """An empty mapping iterates to nothing, either way and by every view."""
    for view in (empty, empty.keys(), empty.values(), empty.items()):
        assert list(view) == []
        assert list(reversed(view)) == []


def test_iter_twice_gives_independent_iterators(m: Any) -> None:
    """Two iterators over one mapping do not disturb each other."""
    assert [(a, b) for a in m for b in m] == [(a, b) for a in DATA for b in DATA]


def test_mapping_is_taken_where_a_mapping_is_expected(m: Any) -> None:
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
