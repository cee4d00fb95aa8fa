"""Classes made of a store: with another mapping as a second base, or with attributes of their own."""

from __future__ import annotations

from abc import ABC, ABCMeta, abstractmethod
from collections.abc import MutableMapping
from typing import Any

import pytest

from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._writeback import WritebackStore


class Storage(MutableMapping[str, Any], ABC):
    """The base of another library's storages, in the form of `requests_cache.backends.BaseStorage`."""

    def __init__(self, serializer: Any = None) -> None:
        self.serializer = serializer

    def bulk_delete(self, keys: list[str]) -> None:
        for key in keys:
            self.pop(key, None)

    @abstractmethod
    def close(self) -> None: ...


class Meta(ABCMeta):
    """A metaclass of somebody else's mapping."""


class WithMeta(MutableMapping[str, Any], metaclass=Meta):
    """Such a mapping."""


@pytest.mark.parametrize("kind", [LmdbObjectStore, WritebackStore])
@pytest.mark.parametrize("other", [Storage, WithMeta])
def test_class_with_another_mapping_as_base_is_made(path: str, kind: type[Any], other: type[Any]) -> None:
    """A base of `(MutableMapping, ABC)` fits on the right of a store, and is no abstract class then."""
    made: Any = type(other)("Made", (kind, other), {})  # type: ignore[misc]  # a metaclass
    assert isinstance(made, type(other))
    with made(path, key_encoding="utf-8") as store:
        store.update(a=[1], b=[2])
        assert store["a"] == [1]
        if other is Storage:
            store.bulk_delete(["a", "z"])
            assert store == {"b": [2]}
    with LmdbObjectStore[str, Any](path, key_encoding="utf-8") as plain:
        assert plain["b"] == [2]
