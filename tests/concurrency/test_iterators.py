"""Iterators of a store that is closed while they are in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from conftest import OpenStore
from support.threads import frequent_switches, in_thread, together

from lmdb_object_store import LmdbObjectStore, OrderedKeys, StoreClosedError
from lmdb_object_store._environment import read as _reads
from lmdb_object_store._shelve.writeback import WritebackStore

Store = LmdbObjectStore[Any, Any]

ITERATORS: list[Callable[[Store], Iterator[Any]]] = [
    iter,
    reversed,
    lambda store: iter(store.keys()),
    lambda store: reversed(store.keys()),
    lambda store: iter(store.values()),
    lambda store: reversed(store.values()),
    lambda store: iter(store.items()),
    lambda store: reversed(store.items()),
    lambda store: store.irange(),
    lambda store: store.irange(reverse=True),
    lambda store: iter(store.range()),
    lambda store: iter(store.range().items()),
    lambda store: iter(store.range(store.peekitem(last=False)[0]).values()),
]


class Plain:
    """Keys by an object: text."""

    def encode(self, key: str) -> bytes:
        return key.encode()

    def decode(self, data: bytes) -> str:
        return data.decode()


@pytest.mark.parametrize(("kind", "pending"), [(LmdbObjectStore, False), (WritebackStore, True)])
@pytest.mark.parametrize("key_encoding", [None, "utf-8", "latin-1", OrderedKeys(), Plain()])
@pytest.mark.parametrize("begin", ITERATORS)
def test_iterator_of_closed_store_raises_at_next_step(
    open_store: OpenStore, begin: Callable[[Store], Iterator[Any]], key_encoding: Any, kind: Any, pending: bool
) -> None:
    """The error comes at once, on the first page, a later one and the last. The loop does not end quietly."""
    keys: list[Any] = [f"{i:04}" if key_encoding else b"%04d" % i for i in range(1500)]
    options = {"autoflush_on_read": False, "batch_size": None, "sync": False}
    with open_store(kind=kind, key_encoding=key_encoding, **options) as first:
        first.put_many({key: [1] for key in keys})
    for taken in (0, 1, 32, 33, 1500):
        store: Store = open_store(kind=kind, key_encoding=key_encoding, **options)
        if pending:
            store.update({key: [2] for key in keys[::100]})
        steps, other = begin(store), begin(store)
        assert len(list(islice(steps, taken))) == taken
        assert next(other)
        del other
        store.close()
        with pytest.raises(StoreClosedError):
            next(steps)
        assert list(steps) == []


def test_iterator_that_has_ended_stays_so_after_close(open_store: OpenStore) -> None:
    """A loop over all keys may end before the store is closed."""
    store = open_store()
    store.update(a=1, b=2)
    for steps in (iter(store), iter(store.items())):
        assert len(list(steps)) == 2
        assert next(steps, None) is None
    steps = iter(store)
    list(steps)
    store.close()
    assert next(steps, None) is None


def test_iterator_that_is_dropped_leaves_nothing(open_store: OpenStore) -> None:
    """A store keeps no page of an abandoned loop."""
    store = open_store()
    store.update({f"{i:04}": i for i in range(100)})
    for _ in range(3):
        next(iter(store))
        next(iter(store.items()))
        next(iter(store.values()))
        for _ in store:
            break
        list(store)
    assert not store._open_pages


def test_iterator_whose_value_closes_the_store_raises_at_next_step(open_store: OpenStore) -> None:
    """A value closes the store as it is unpickled. The loop still gets that value."""
    store = open_store()
    store.update(a=Closes(), b=2)
    Closes.store = store
    steps = iter(store.values())
    assert next(steps) is None
    with pytest.raises(StoreClosedError):
        next(steps)


class Closes:
    """A value that closes a store as it is unpickled."""

    store: Store

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Closes.close, ()

    @staticmethod
    def close() -> None:
        Closes.store.close()


@pytest.mark.parametrize("begin", [iter, lambda store: iter(store.items())])
def test_iterator_whose_page_is_read_as_the_store_is_closed_raises(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, begin: Callable[[Store], Iterator[Any]]
) -> None:
    """Another thread closes the store between the reading of a page and its first row."""
    store = open_store()
    store.put_many({"a": 1, "b": 2})
    read_page = _reads.page

    def page(*arguments: Any, **options: Any) -> Any:
        rows = read_page(*arguments, **options)
        in_thread(store.close)
        return rows

    monkeypatch.setattr(_reads, "page", page)
    with pytest.raises(StoreClosedError):
        next(begin(store))


def test_iterator_beside_a_thread_that_closes_gives_no_short_answer(open_store: OpenStore) -> None:
    """A loop gets all keys or StoreClosedError, whenever another thread closes the store."""
    keys = [f"{i:04}" for i in range(3000)]
    for _ in range(20):
        store = open_store()
        store.put_many(dict.fromkeys(keys, 1))
        outcomes: list[object] = []

        def loop(store: Store = store, outcomes: list[object] = outcomes) -> None:
            try:
                outcomes.append(len(list(store.items())))
            except StoreClosedError as error:
                outcomes.append(error)

        with frequent_switches():
            together(loop, loop, store.close)
        assert all(outcome == 3000 or isinstance(outcome, StoreClosedError) for outcome in outcomes)
        assert len(outcomes) == 2


def test_iterator_of_store_that_was_opened_again_raises(path: str) -> None:
    """The iterator would continue behind the rest of its page."""
    store: Any = LmdbObjectStore(path, key_encoding="utf-8")
    store.update({f"{i:04}": i for i in range(2000)})
    steps, pairs = iter(store), iter(store.items())
    assert (next(steps), next(pairs)) == ("0000", ("0000", 0))
    store.close()
    store.__init__(path, key_encoding="utf-8")
    for left in (steps, pairs):
        with pytest.raises(StoreClosedError):
            next(left)
    assert len(list(store)) == 2000
    store.close()
