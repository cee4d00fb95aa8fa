"""The keys that IPython offers after `store["` and a tab."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from conftest import OpenStore

from lmdb_object_store import LmdbObjectStore, OrderedKeys
from lmdb_object_store._mapping import ordered as _ordered


@pytest.mark.parametrize(
    ("key_encoding", "keys"),
    [(None, [b"a", b"b"]), ("utf-8", ["a", "b"]), (OrderedKeys(), [("x", 2), 1])],
)
def test_completions_are_the_keys(open_store: OpenStore, key_encoding: Any, keys: list[Any]) -> None:
    """The completions are the keys as iteration gives them, pending ones included, and those of a part are its own."""
    store = open_store(key_encoding=key_encoding)
    store.put_many({keys[0]: 1})
    store[keys[1]] = 2
    assert store._ipython_key_completions_() == keys
    assert store.range(keys[1])._ipython_key_completions_() == keys[1:]


def test_completions_flush_nothing(open_store: OpenStore) -> None:
    """Pressing the tab key is no read of the program's."""
    store = open_store(autoflush_on_read=True)
    store["a"] = 1
    assert store._ipython_key_completions_() == ["a"]
    assert store.write_buffer


def test_completions_are_bounded_in_number(open_store: OpenStore) -> None:
    """The first thousand keys are completed: more would fill the screen."""
    store = open_store()
    store.put_many({f"{i:05}": i for i in range(5000)})
    assert store._ipython_key_completions_() == [f"{i:05}" for i in range(1000)]


def test_completions_are_bounded_in_time(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that take long to decode are left out when the time is over."""
    store = open_store()
    store.put_many({f"{i:05}": i for i in range(5000)})
    clock = iter(range(1000))
    monkeypatch.setattr(_ordered, "monotonic", lambda: next(clock) / 1000)
    keys = store._ipython_key_completions_()
    assert keys == [f"{i:05}" for i in range(len(keys))]
    assert 50 <= len(keys) <= 200


def test_completions_of_unusable_store_are_empty(open_store: OpenStore, tmp_path: Any) -> None:
    """An error would be printed into the prompt, so there are no completions."""
    store = open_store()
    store["a"] = 1
    part = store.range("a")
    store.close()
    assert part._ipython_key_completions_() == []
    assert store._ipython_key_completions_() == []
    with LmdbObjectStore[str, Any](tmp_path / "gone", key_encoding="utf-8") as other:
        handle = pickle.loads(pickle.dumps(other))
    for file in (tmp_path / "gone").iterdir():
        file.unlink()
    (tmp_path / "gone").rmdir()
    (tmp_path / "gone").write_text("no store")
    assert handle._ipython_key_completions_() == []
