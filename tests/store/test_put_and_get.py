"""put, get, [] and flush: the buffer first, then the file; missing keys; the quick start."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from support.stores import MIB, Store, committed

from lmdb_object_store import LmdbObjectStore


class Counted:
    """Counts how often it is unpickled."""

    unpickled = 0

    def __setstate__(self, state: object) -> None:
        Counted.unpickled += 1

    def __getstate__(self) -> object:
        return {"some": "state"}


def test_quick_start_programs_give_what_they_show(tmp_path: Path) -> None:
    """The first steps of a newcomer work as documented: options, items, deletes, many at once, a strict close."""
    path = str(tmp_path / "path-to-db")
    with LmdbObjectStore[str, Any](
        path,
        batch_size=1000,
        autoflush_on_read=True,
        key_encoding="utf-8",
        map_size=128 * MIB,
        subdir=True,
        readonly=False,
        max_map_size=4 << 30,
    ) as store:
        store["user:42"] = {"name": "Ada", "plan": "pro"}
        assert store.get("user:42") == {"name": "Ada", "plan": "pro"}
        assert "user:42" in store
        assert store.exists("user:42", flush=False) is True
        del store["user:42"]
        store.put_many({f"k{i}": {"i": i} for i in range(10_000)})
        assert store.get_many(["k1", "kX"], decode_keys=True) == ({"k1": {"i": 1}}, ["kX"])
    again: Store = LmdbObjectStore(path, key_encoding="utf-8")
    try:
        assert (len(again), "user:42" in again) == (10_000, False)
        again.close(strict=True)
    finally:
        again.close()


def test_put_waits_in_memory_until_flush(store: Store) -> None:
    """`put` and `[]=` write to the buffer, `flush` persists it."""
    store.put("a", 1)
    store["b"] = 2
    assert committed(store) == {}
    store.flush()
    assert committed(store) == {b"a": 1, b"b": 2}
    assert store.write_buffer == {}


def test_get_reads_the_buffer_then_the_file(store: Store) -> None:
    """`get` answers from the buffer if the key is there, else from the file."""
    store["a"] = "old"
    store.flush()
    store["a"] = "new"
    assert store.get("a") == "new"
    assert committed(store) == {b"a": "old"}
    store.delete("a")
    assert store.get("a", "gone") == "gone"


def test_getitem_and_del_of_a_missing_key_raise_key_error(store: Store) -> None:
    """`[]` and `del` raise KeyError for a missing key, `get` returns its default."""
    assert store.get("z") is None
    assert store.get("z", default=5) == 5
    for call in (store.__getitem__, store.__delitem__):
        with pytest.raises(KeyError) as caught:
            call("z")
        assert caught.value.args == ("z",)
        assert str(caught.value) == "Key not found: 'z'"


def test_put_pickles_by_the_highest_protocol(store: Store) -> None:
    """Buffer and file hold the value's pickle of the highest protocol."""
    value = {"some": [1, 2.5, None]}
    expected = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    store["a"] = value
    assert store.write_buffer == {b"a": expected}
    store.flush()
    with store.env.begin() as txn:
        assert txn.get(b"a") == expected


def test_get_unpickles_a_value_once(store: Store) -> None:
    """A read unpickles its value once, and other values are not unpickled."""
    store["a"] = Counted()
    for flush in (False, True):
        if flush:
            store.flush()
        before = Counted.unpickled
        store["a"]
        store.get("a")
        store.get_many(["a", "a"])
        assert "a" in store
        assert Counted.unpickled - before == 3


def test_copy_gives_a_dict_of_its_own(store: Store) -> None:
    """`copy` gives a dict, which no longer follows the store."""
    store.update(a=1, b=2)
    copy = store.copy()
    del store["a"]
    assert type(copy) is dict
    assert copy == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("user:7", "Key not found: 'user:7'"),
        (b"user:7", "Key not found: 'user:7'"),
        (b"\xff\xfe", "Key not found: 0xfffe"),
    ],
)
def test_getitem_missing_key_message_is_that_of_0_1_0(store: Store, key: Any, text: str) -> None:
    """The message reads as in 0.1.0, though the error's only argument is the key."""
    for call in (store.__getitem__, store.__delitem__, store.pop):
        with pytest.raises(KeyError) as caught:
            call(key)
        assert (caught.value.args, str(caught.value)) == ((key,), text)


def test_getitem_long_key_is_cut_in_the_message(store: Store) -> None:
    """A message about a key stays readable, and has the key's length."""
    with pytest.raises(KeyError) as caught:
        store["k" * 500]
    assert len(str(caught.value)) < 150
    with pytest.raises(ValueError, match="600") as refused:
        store[b"k" * 600] = 1
    assert len(str(refused.value)) < 250
    assert "192" not in str(refused.value)


def test_repr_of_a_store_that_cannot_be_read_raises_nothing(store: Store) -> None:
    """`repr` raises nothing, and shows LMDB's error."""
    store.env.close()
    assert repr(store).startswith("<LmdbObjectStore ")
    assert "closed" in repr(store)
