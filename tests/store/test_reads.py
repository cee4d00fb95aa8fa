"""One read of the file: the memory that it takes, and the pages that it asks for."""

from __future__ import annotations

import pytest
from conftest import OpenStore

from lmdb_object_store._environment import read as _reads
from lmdb_object_store._environment.read import PAGE_BYTES

directions = pytest.mark.parametrize("reverse", [False, True])


@directions
def test_page_of_large_values_ends_with_the_row_that_fills_it(open_store: OpenStore, reverse: bool) -> None:
    """A page of large values has as many rows as make up PAGE_BYTES, and says that there are more."""
    store = open_store()
    half = PAGE_BYTES // 2
    store.put_many({f"k{number}": bytes(half) for number in range(7)})
    low: bytes = b""
    high: bytes | None = None
    sizes = []
    while True:
        rows, ended = _reads.page(store._environment, low, high, 1000, reverse=reverse, values=True)
        sizes.append(len(rows))
        if ended:
            break
        last = next(reversed(rows))
        low, high = (low, last) if reverse else (last + b"\0", high)
    assert sizes == [2, 2, 2, 1]
    assert [key for key, _ in store.items()] == [f"k{number}" for number in range(7)]


@directions
def test_page_of_keys_reads_no_values(open_store: OpenStore, reverse: bool) -> None:
    """Keys alone come by the number asked for, however large their values are."""
    store = open_store()
    store.put_many({f"k{number}": bytes(PAGE_BYTES) for number in range(4)})
    rows, ended = _reads.page(store._environment, b"", None, 3, reverse=reverse, values=False)
    assert (rows, ended) == ([b"k3", b"k2", b"k1"] if reverse else [b"k0", b"k1", b"k2"], False)
