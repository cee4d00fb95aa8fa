"""del, delete, pop and clear: a deletion waits in the buffer, and one that fails deletes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.stores import TINY, Store, Unloadable, committed

# -- deletion


def test_del_missing_key_raises_and_delete_does_not(pending: Store) -> None:
    """`del` raises KeyError for what is not there, `delete` schedules a deletion without a look."""
    del pending["stored"]
    assert pending.write_buffer[b"stored"] is None
    assert "stored" not in pending
    with pytest.raises(KeyError):
        del pending["stored"]
    pending.delete("stored")
    pending.delete("never there")
    pending.flush()
    assert committed(pending) == {b"pending": 2}


def test_delete_key_that_cannot_be_stored_does_nothing(store: Store) -> None:
    """A key too long to be stored is not there: `delete` does nothing to the file, `del` and `pop` say so."""
    store[""] = "not it"
    for key in ("k" * 600, b"\0" * 511):
        store.delete(key)
        with pytest.raises(KeyError):
            del store[key]
        with pytest.raises(KeyError):
            store.pop(key)
    store.flush()
    assert dict(store) == {"": "not it"}


# -- a flush that fails


@pytest.mark.parametrize(
    "take", [lambda store: store.pop("a"), lambda store: store.popitem(last=False), lambda store: store.popitem()]
)
@pytest.mark.parametrize("flushed", [False, True])
def test_pop_whose_flush_fails_leaves_the_item(
    open_store: OpenStore, take: Callable[[Store], Any], flushed: bool
) -> None:
    """If the flush that `pop` or `popitem` sets off fails, the item is still there and not lost by a later flush."""
    store = open_store(3, **TINY)
    store["a"] = "value"
    if flushed:
        store.flush()
    store._flush = _fail  # type: ignore[method-assign]  # the disk is full
    store.batch_size = 1
    with pytest.raises(lmdb.DiskError):
        take(store)
    assert "a" in store
    del store._flush  # there is room again
    store.flush()
    assert store == {"a": "value"}
    assert take(store) in ("value", ("a", "value"))


def _fail() -> None:
    raise lmdb.DiskError("No space left on device")


def test_pop_value_that_cannot_be_unpickled_leaves_it(store: Store) -> None:
    """A value that cannot be unpickled is not deleted."""
    store["bad"] = Unloadable()
    for take in (lambda: store.pop("bad", None), store.popitem, lambda: store.popitem(last=False)):
        with pytest.raises(RuntimeError, match="bad"):
            take()
    assert list(store) == ["bad"]


def test_clear_that_fails_keeps_everything(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `clear` that raises has cleared nothing, neither in the file nor of what is pending."""
    monkeypatch.setattr(full, "_commit", lambda *_, **__: _fail())
    before = dict(full.items())
    with pytest.raises(lmdb.DiskError):
        full.clear()
    assert full == before
    monkeypatch.undo()
    full.clear()
    assert full == {}
