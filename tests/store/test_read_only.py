"""A store that is opened to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lmdb
import pytest
from conftest import OpenStore


def test_read_only_store_reads_and_refuses_writes(open_store: OpenStore) -> None:
    """A read-only store is read in every way and written in none: lmdb.ReadonlyError, also with nothing to write."""
    with open_store() as writer:
        writer["a"] = 1
    store = open_store(readonly=True)
    writes: list[Callable[[], Any]] = [
        lambda: store.put("b", 1),
        lambda: store.__setitem__("b", 1),
        lambda: store.__delitem__("a"),
        lambda: store.delete("a"),
        lambda: store.pop("a"),
        lambda: store.pop("z", None),
        lambda: store.popitem(),
        lambda: store.setdefault("a", 1),
        lambda: store.update({"b": 1}),
        lambda: store.put_many({"b": 1}),
        lambda: store.put_many({}),
        lambda: store.clear(),
        lambda: store.flush(),
    ]
    for write in writes:
        with pytest.raises(lmdb.ReadonlyError):
            write()
    assert store == {"a": 1}
    assert store.exists("a", flush=True)
    assert store.get_many(["a"]) == ({b"a": 1}, [])
    store.close(strict=True)
