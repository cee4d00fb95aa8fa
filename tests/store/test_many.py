"""put_many and get_many: all items in one transaction, several values from the buffer and the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.stores import TINY, TOO_LARGE, Store, committed

# -- put_many


@pytest.mark.parametrize(
    "kind", [dict, dict.items, lambda items: iter(items.items()), lambda d: list(map(list, d.items()))]
)
def test_put_many_takes_a_mapping_or_pairs(store: Store, kind: Callable[[dict[str, int]], Any]) -> None:
    """A mapping, pairs, an iterator: all is in the file at the return, nothing is pending."""
    store.put_many(kind({"a": 1, "b": 2}))
    assert committed(store) == {b"a": 1, b"b": 2}
    assert store.write_buffer == {}


def test_put_many_of_nothing_is_no_error(store: Store) -> None:
    """No items are no error."""
    store.put_many({})
    store.put_many([])
    assert not store


def test_put_many_is_one_transaction(store: Store) -> None:
    """More items than `batch_size` are written in one transaction."""
    store.put_many({f"k{i}": i for i in range(5000)})
    assert store.env.info()["last_txnid"] == 1
    assert len(store) == 5000


def test_put_many_flushes_pending_changes_first(store: Store) -> None:
    """Pending changes are flushed in a transaction of their own, before the items, which win over them."""
    store.update({"a": "pending", "b": "pending"})
    store.put_many({"a": "many"})
    assert store.env.info()["last_txnid"] == 2
    assert committed(store) == {b"a": "many", b"b": "pending"}


def test_put_many_same_key_twice_keeps_the_last_value(store: Store) -> None:
    """The last of several values for one key counts, however the key is spelt."""
    store.put_many([("a", 1), ("b", 2), (b"a", 3), (bytearray(b"a"), 4)])
    assert committed(store) == {b"a": 4, b"b": 2}


def _failing_items() -> Iterator[tuple[str, int]]:
    yield "new", 1
    raise OSError("no more")


@pytest.mark.parametrize(
    ("items", "error"),
    [
        (_failing_items, OSError),
        (lambda: [("new", 1), ("bad", lambda: None)], Exception),
        (lambda: [("new", 1), (5, 1)], TypeError),
        (lambda: [("new", 1), ("k" * 600, 1)], ValueError),
        (lambda: [("new", 1), ("large", TOO_LARGE)], lmdb.MapFullError),
        (lambda: [("new", 1), "bad"], ValueError),
    ],
)
def test_put_many_stores_all_or_none(open_store: OpenStore, items: Callable[[], Any], error: type[Exception]) -> None:
    """If the iterable, a key, a value or the map fails, no item is stored, and pending changes stay pending."""
    store = open_store(**TINY)
    store["old"] = 0
    with pytest.raises(error):
        store.put_many(items())
    assert store == {"old": 0}


def test_put_many_iterable_may_use_the_store(store: Store) -> None:
    """The caller's iterable runs with nothing held: it may read and write the store."""
    store["a"] = 1

    def items() -> Iterator[tuple[str, int]]:
        store["b"] = 2
        store.flush()
        yield "c", store["a"] + store["b"]

    store.put_many(items())
    assert store == {"a": 1, "b": 2, "c": 3}


# -- get_many


def test_get_many_merges_buffer_and_file(pending: Store) -> None:
    """Found keys are bytes and come in the order asked for, those not found as they were given."""
    found, missing = pending.get_many(["z", "stored", b"y", "pending"])
    assert list(found.items()) == [(b"stored", 1), (b"pending", 2)]
    assert missing == ["z", b"y"]


@pytest.mark.parametrize(
    ("options", "found", "missing"),
    [
        ({}, {b"a": 1, b"b": 2}, ["y", b"z", bytearray(b"x")]),
        ({"decode_keys": False}, {b"a": 1, b"b": 2}, ["y", b"z", bytearray(b"x")]),
        ({"decode_keys": True}, {"a": 1, "b": 2}, ["y", "z", "x"]),
        ({"decode_keys": True, "decode_not_found": None}, {"a": 1, "b": 2}, ["y", "z", "x"]),
        ({"decode_keys": True, "decode_not_found": False}, {"a": 1, "b": 2}, ["y", b"z", bytearray(b"x")]),
        ({"decode_not_found": True}, {b"a": 1, b"b": 2}, ["y", "z", "x"]),
    ],
)
def test_get_many_decode_options_give_str(
    store: Store, options: dict[str, Any], found: Any, missing: list[Any]
) -> None:
    """`decode_keys` makes found keys str, `decode_not_found` those not found, by default as `decode_keys`."""
    store.update({"a": 1, "b": 2})
    result = store.get_many(["a", "y", b"b", b"z", bytearray(b"x")], **options)
    assert result == (found, missing)
    assert [type(key) for key in result[1]] == [type(key) for key in missing]


def test_get_many_same_key_twice_is_found_once(pending: Store) -> None:
    """A key asked for twice is found once, at its first place. A missing key is reported each time."""
    found, missing = pending.get_many(["stored", "z", "pending", b"stored", "z"], decode_keys=True)
    assert list(found) == ["stored", "pending"]
    assert missing == ["z", "z"]


def test_get_many_key_that_is_no_text_stays_bytes(store: Store) -> None:
    """A key that does not decode stays bytes."""
    store[b"\xff"] = 1
    assert store.get_many([b"\xff", b"\xfe"], decode_keys=True) == ({b"\xff": 1}, [b"\xfe"])


def test_get_many_empty_and_too_long_keys_are_no_error(store: Store) -> None:
    """The empty key is found, a key too long is not, no keys are no error, and an iterator is taken."""
    store[""] = 0
    assert store.get_many(["", "k" * 600, "\0" * 511]) == ({b"": 0}, ["k" * 600, "\0" * 511])
    assert store.get_many([""], decode_keys=True) == ({"": 0}, [])
    assert store.get_many([]) == ({}, [])
    assert store.get_many(iter(["", "z"])) == ({b"": 0}, ["z"])


@pytest.mark.parametrize("options", [{"decode_keys": True}, {"decode_not_found": True}])
def test_get_many_decode_without_an_encoding_is_refused(open_store: OpenStore, options: dict[str, bool]) -> None:
    """Decoding keys without `key_encoding` is a ValueError that names the option."""
    with pytest.raises(ValueError, match="key_encoding"):
        open_store(key_encoding=None).get_many([b"a"], **options)


def test_get_many_pending_changes_win_over_the_file(store: Store) -> None:
    """Deleted and pending keys are reported rightly, though the file still has the old rows."""
    store.autoflush_on_read = False
    store.update({"a": 1, "b": 2})
    store.flush()
    store.delete("a")
    store["b"] = 3
    assert store.get_many(["a", "b"]) == ({b"b": 3}, ["a"])
