"""Classes made of a store: with another mapping as a second base, or with attributes of their own."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Callable, MutableMapping
from types import FunctionType
from typing import Any

import pytest

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore, OrderedKeys, WritebackStore


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
    """A mapping with a metaclass of its own."""


@pytest.mark.parametrize("kind", [LmdbObjectStore, WritebackStore])
@pytest.mark.parametrize("other", [Storage, WithMeta])
def test_class_with_another_mapping_as_base_is_made(path: str, kind: type[Any], other: type[Any]) -> None:
    """The base `(MutableMapping, ABC)` fits on the right of a store, and the class is not abstract then."""
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


# -- attributes of the other base


@pytest.mark.parametrize("first", [False, True])
def test_attribute_of_other_base_is_that_base_s_own(path: str, first: bool) -> None:
    """`BaseStorage` of requests-cache sets `serializer` and gets it back, and the store keeps its own."""

    class Made(LmdbObjectStore[str, Any], Storage):
        def __init__(self, path: str, **options: Any) -> None:
            if first:
                Storage.__init__(self, "theirs")
            super().__init__(path, key_encoding="utf-8", **options)
            if not first:
                Storage.__init__(self, "theirs")

    for _ in range(2):
        store: Any = Made(path)
        with store:
            store["k"] = [1]
            assert store.serializer == "theirs"
            assert store["k"] == [1]
            copied: Any = copy.copy(store)
            with copied:
                assert copied.serializer == "theirs"
                assert copied["k"] == [1]


# -- attributes of a subclass, in copies


class Counted(LmdbObjectStore[str, Any]):
    """A store with attributes of its own; some are set before the store is opened."""

    def __init__(self, path: str, **options: Any) -> None:
        self.label = ["set before"]
        super().__init__(path, key_encoding="utf-8", **options)
        self._count = 3


class CountedWriteback(WritebackStore[str, Any]):
    """The same, of a store that keeps its values."""

    def __init__(self, path: str, **options: Any) -> None:
        self.label = ["set before"]
        super().__init__(path, key_encoding="utf-8", max_cached=5, **options)
        self._count = 3


COPIES: list[Callable[[Any], Any]] = [
    lambda store: pickle.loads(pickle.dumps(store)),
    lambda store: pickle.loads(pickle.dumps(store, 0)),
    copy.copy,
    copy.deepcopy,
]


@pytest.mark.parametrize("kind", [Counted, CountedWriteback])
@pytest.mark.parametrize("copied", COPIES)
def test_copy_of_subclass_has_its_attributes(path: str, kind: type[Any], copied: Callable[[Any], Any]) -> None:
    """A copy has the attributes that were set before the opening, after it, and from outside. The copy works."""
    with kind(path, batch_size=7, batch_bytes=8000) as store:
        store["k"] = [1]
        store.extra = store.label
        list(store)
        store.batch_size = 8
        with copied(store) as second:
            assert type(second) is kind
            assert (second.label, second._count) == (["set before"], 3)
            assert second.extra is second.label
            assert (second.batch_size, second.batch_bytes, second.key_encoding) == (8, 8000, "utf-8")
            assert second["k"] == [1]
            with copied(second) as third:
                assert (third.label, third._count) == (["set before"], 3)


@pytest.mark.parametrize("kind", [Counted, CountedWriteback])
def test_state_of_subclass_has_no_attribute_of_the_store(path: str, kind: type[Any]) -> None:
    """The state never has a lock or a file of the store's, whatever was done to the store."""
    with kind(path) as store:
        store.put_many({f"{i}": [i] for i in range(100)})
        with store.transaction():
            store["t"] = 1
        with store.edit("t", 0):
            pass
        steps = iter(store.items())
        next(steps)
        store.pop("t")
        store.popitem()
        store.clear()
        store.backup(path + ".backup")
        store.stats()
        repr(store)
        assert store.__getstate__()["attributes"].keys() == {"label", "_count"}


def test_state_of_plain_store_has_no_attributes(path: str) -> None:
    """Attributes set from outside are not copied, because a store of the package's own classes has none to keep."""
    with LmdbObjectStore[str, Any](path, key_encoding="utf-8") as store:
        store.foo = 1  # type: ignore[attr-defined]
        assert store.__getstate__()["attributes"] == {}


class Locked(Counted):
    """A store with a lock, which cannot be pickled."""

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(path, **options)
        self.lock = threading.Lock()


@pytest.mark.parametrize("copied", COPIES)
def test_copy_of_subclass_with_unpicklable_attribute_raises(path: str, copied: Callable[[Any], Any]) -> None:
    """The error names the attribute and what to override; the store stays as it was."""
    with Locked(path) as store:
        store["k"] = 1
        with pytest.raises(TypeError, match=r"Locked.*'lock'.*cannot be.*__getstate__.*__setstate__") as caught:
            copied(store)
        assert "lock" in str(caught.value.__cause__)
        assert store["k"] == 1


class Remade(Locked):
    """A store with a lock that does as the error says."""

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["attributes"]["lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.lock = threading.Lock()


@pytest.mark.parametrize("copied", COPIES)
def test_copy_of_subclass_that_leaves_an_attribute_out_works(path: str, copied: Callable[[Any], Any]) -> None:
    """The way that the error names is enough."""
    with Remade(path) as store, copied(store) as second:
        assert second.lock is not store.lock
        assert second.label == ["set before"]


class Helper:
    """Knows the store that it helps."""

    def __init__(self, store: Any) -> None:
        self.store = store


@pytest.mark.parametrize("copied", COPIES)
def test_copy_of_subclass_whose_attribute_leads_back_to_it_works(path: str, copied: Callable[[Any], Any]) -> None:
    """The copy is right, as of any object with such a helper."""
    with Counted(path) as store, Counted(path) as other:
        for one, two in ((store, other), (other, store)):
            one.helper, one.friend = Helper(one), Helper(two)  # type: ignore[attr-defined]
        second: Any = copied(store)
        if copied is not copy.copy:
            assert second.helper.store is second
            assert second.friend.store.friend.store is second
        second.close()


def test_pickle_of_subclass_leaves_functions_to_the_pickler(path: str) -> None:
    """cloudpickle, which Dask uses, takes a lambda. `pickle` itself refuses it."""

    class Reducer(pickle.Pickler):
        def reducer_override(self, value: object) -> Any:
            return (str, ("a lambda",)) if isinstance(value, FunctionType) else NotImplemented

    with Counted(path) as store:
        store.key = lambda value: value  # type: ignore[attr-defined]
        written = io.BytesIO()
        Reducer(written).dump(store)
        with pickle.loads(written.getvalue()) as second:
            assert second.key == "a lambda"
        with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
            pickle.dumps(store)


def test_unpickle_of_a_store_that_version_1_0_pickled_works(path: str) -> None:
    """A queue of jobs may have handles from before an upgrade: their state has no attributes of a subclass."""
    with LmdbObjectStore[Any, Any](path, key_encoding="utf-8") as store:
        store["a"] = 1
        state = store.__getstate__()
    del state["attributes"]
    handle = LmdbObjectStore.__new__(LmdbObjectStore)
    handle.__setstate__(state)
    with handle:
        assert handle["a"] == 1


def test_unpickle_of_a_store_by_the_module_that_version_1_0_named_works(path: str) -> None:
    """Version 1.0 pickled the class as `lmdb_object_store._store.LmdbObjectStore`."""
    with LmdbObjectStore[Any, Any](path, key_encoding="utf-8") as store:
        store["a"] = 1
        pickled = pickle.dumps(store, 0)
    named = b"clmdb_object_store\nLmdbObjectStore\n"
    assert named in pickled
    with pickle.loads(pickled.replace(named, b"clmdb_object_store._store\nLmdbObjectStore\n")) as handle:
        assert handle["a"] == 1


@pytest.mark.parametrize("options", [{}, {"protocol": 2}, {"writeback": True}, {"key_encoding": OrderedKeys()}])
def test_pickle_of_a_store_names_public_modules(path: str, options: dict[str, Any]) -> None:
    """A handle in a queue can be read after an upgrade that moves the modules of this package."""
    with lmdb_object_store.open(path, **options) as store:
        store["a"] = 1
        pickled = pickle.dumps(store, 2)
    assert b"lmdb_object_store" in pickled
    assert b"lmdb_object_store." not in pickled
    with pickle.loads(pickled) as handle:
        assert handle["a"] == 1
        assert type(handle) is type(store)
        assert type(handle.serializer) is type(store.serializer)
