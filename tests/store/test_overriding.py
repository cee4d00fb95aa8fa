"""A subclass that overrides `[]`: what changes, and what to use instead. The documents have the examples."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
from conftest import OpenStore

from lmdb_object_store import LmdbObjectStore


class Noting(LmdbObjectStore[Any, Any]):
    """Notes the calls of the methods that it overrides."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.calls: list[str] = []
        super().__init__(*args, **options)

    def __getitem__(self, key: Any) -> Any:
        self.calls.append("get")
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.calls.append("set")
        super().__setitem__(key, value)


class NotingDict(dict[Any, Any]):
    """The same for a dict."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        super().__init__()

    def __getitem__(self, key: Any) -> Any:
        self.calls.append("get")
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.calls.append("set")
        super().__setitem__(key, value)


OTHERS: dict[str, Callable[[Any], object]] = {
    "get": lambda mapping: mapping.get("a"),
    "pop": lambda mapping: mapping.pop("a"),
    "popitem": lambda mapping: mapping.popitem(),
    "setdefault": lambda mapping: (mapping.setdefault("a", 2), mapping.setdefault("b", 2)),
    "update": lambda mapping: mapping.update({"a": 2}, b=3),
    "|=": lambda mapping: mapping.__ior__({"a": 2}),
    "|": lambda mapping: mapping | {"b": 2},
    "==": lambda mapping: mapping == {"a": 1},
    "items": lambda mapping: list(mapping.items()),
    "values": lambda mapping: list(mapping.values()),
    "copy": lambda mapping: mapping.copy(),
    "clear": lambda mapping: mapping.clear(),
}


@pytest.mark.parametrize("call", OTHERS.values(), ids=OTHERS)
def test_getitem_overridden_is_called_by_no_other_method(open_store: OpenStore, call: Callable[[Any], object]) -> None:
    """Each method works by itself, as in a dict, also with an overridden `__setitem__`."""
    mappings: tuple[Any, Any] = NotingDict(), open_store(kind=Noting)
    for mapping in mappings:
        mapping["a"] = 1
        assert mapping["a"] == 1
        assert mapping.calls == ["set", "get"]
        call(mapping)
        assert mapping.calls == ["set", "get"]


def test_getitem_overridden_may_use_the_other_methods(open_store: OpenStore) -> None:
    """An override that calls `get` or `setdefault` does not call itself."""

    class Nested(LmdbObjectStore[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return self.get(key) if key in self else self.setdefault(key, {})

    store = open_store(kind=Nested)
    assert store["a"] == {}
    assert store.copy() == {"a": {}}


def test_userdict_around_a_store_goes_through_its_getitem(open_store: OpenStore) -> None:
    """All methods of a UserDict do: it takes a store as its `data`."""

    class Doubling(UserDict[str, int]):
        def __init__(self, store: Any) -> None:
            self.data = store

        def __getitem__(self, key: str) -> int:
            return self.data[key] // 2

        def __setitem__(self, key: str, value: int) -> None:
            self.data[key] = value * 2

    store = open_store()
    doubled = Doubling(store)
    doubled.update(a=1, b=2)
    doubled.setdefault("c", 3)
    assert store == {"a": 2, "b": 4, "c": 6}
    assert doubled == {"a": 1, "b": 2, "c": 3}
    assert (doubled.get("a"), list(doubled.values()), doubled.pop("b")) == (1, [1, 2, 3], 2)
    doubled.clear()
    assert not store
