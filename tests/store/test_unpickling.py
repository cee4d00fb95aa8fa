"""Values that cannot be unpickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from support.stores import Store, Unloadable

# -- unpickling


@pytest.mark.parametrize("flush", [False, True])
def test_get_value_that_cannot_be_unpickled_names_its_key(store: Store, flush: bool) -> None:
    """The error is a RuntimeError that names the key and the place of the value, with its cause chained."""
    store["bad"] = Unloadable()
    if flush:
        store.flush()
    where = "DB" if flush else "buffered"
    for read in (store.get, store.__getitem__, store.pop, lambda key: store.get_many([key])):
        with pytest.raises(RuntimeError) as caught:
            read("bad")
        assert str(caught.value) == f"Failed to unpickle {where} key 'bad': refused"
        assert isinstance(caught.value.__cause__, ArithmeticError)
    assert "bad" in store


# -- names of 0.1.0


@pytest.mark.parametrize("key", ["bad", b"bad"])
def test_get_stored_value_that_is_no_pickle_names_its_key(store: Store, key: Any) -> None:
    """Each read of it is a RuntimeError that names the key and chains the cause."""
    with store.env.begin(write=True) as txn:
        txn.put(b"bad", b"no pickle")
    reads: list[Callable[[], object]] = [
        lambda: store[key],
        lambda: store.get(key),
        lambda: store.get_many([key]),
        lambda: store.pop(key),
        lambda: list(store.values()),
        lambda: list(reversed(store.items())),
    ]
    for read in reads:
        with pytest.raises(RuntimeError, match="Failed to unpickle DB key 'bad'") as caught:
            read()
        assert isinstance(caught.value.__cause__, pickle.UnpicklingError)
    assert "bad" in store
