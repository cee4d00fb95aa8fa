"""A flush that fails: nothing is lost, and each caller gets its error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from unittest.mock import patch

import lmdb
import pytest
from conftest import OpenStore
from support.stores import TINY, TOO_LARGE, Store, committed

from lmdb_object_store import FlushError
from lmdb_object_store._buffer import resize as _resize

# -- deletion


def test_clear_that_fails_is_not_the_failure_of_the_last_flush(open_store: OpenStore) -> None:
    """A caller who got the error of `clear` has not got the error of the `with` block's last flush."""
    with pytest.raises(FlushError), open_store(map_size=1 << 20, max_map_size=1 << 20) as store:  # noqa: PT012
        store["large"] = bytes(2 << 20)
        with patch.object(_resize, "write", side_effect=lmdb.DiskError("full")), pytest.raises(lmdb.DiskError):
            store.clear()


# -- a flush that fails


def test_flush_that_fails_keeps_every_change(full: Store) -> None:
    """`flush` raises LMDB's error, nothing of the batch is in the file, and all of it stays pending and readable."""
    full.delete("kept")
    pending = dict(full.write_buffer)
    for _ in range(2):
        with pytest.raises(lmdb.MapFullError):
            full.flush()
        assert full.write_buffer == pending
    assert committed(full) == {b"kept": 1}
    assert (full["small"], full["large"], "kept" in full) == (2, TOO_LARGE, False)
    del full["large"]
    full.flush()
    assert committed(full) == {b"small": 2}


def test_put_whose_flush_fails_stays_pending(open_store: OpenStore) -> None:
    """A write that reaches the threshold and whose flush fails raises, and the change is kept."""
    store = open_store(1, **TINY)
    with pytest.raises(lmdb.MapFullError):
        store["large"] = TOO_LARGE
    assert store["large"] == TOO_LARGE
    with pytest.raises(lmdb.MapFullError):
        store["next"] = 1
    assert store["next"] == 1


def test_read_whose_flush_fails_still_answers(full: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The failure is logged, once: reads do not try that flush again until there is a new change."""
    for _ in range(3):
        assert full["kept"] == 1
        assert len(full) == 3
        assert list(full) == ["kept", "large", "small"]
        assert full.get_many(["kept", "z"]) == ({b"kept": 1}, ["z"])
        assert full.exists("kept")
    assert [(record.name, record.levelno) for record in caplog.records] == [("lmdb_object_store", logging.WARNING)]
    full["new"] = 1
    assert full["kept"] == 1
    assert len(caplog.records) == 2
    assert set(full.write_buffer) == {b"small", b"large", b"new"}


CHANGES: dict[str, Callable[[Store], object]] = {
    "put": lambda store: store.put("new", 1),
    "overwriting put": lambda store: store.put("small", 3),
    "delete": lambda store: store.delete("small"),
    "update": lambda store: store.update(new=1),
    "setdefault": lambda store: store.setdefault("new", 1),
    "pop": lambda store: store.pop("small"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_read_after_a_change_tries_a_failed_flush_again(
    full: Store, caplog: pytest.LogCaptureFixture, change: Callable[[Store], object]
) -> None:
    """Any change may be the one that makes room: the next read flushes, once, and logs the failure."""
    assert full["kept"] == 1
    change(full)
    for _ in range(2):
        assert full["kept"] == 1
        assert len(caplog.records) == 2


def test_flush_after_a_failure_is_tried_again(full: Store) -> None:
    """An explicit flush is tried each time, whatever a read has met."""
    assert full["kept"] == 1
    with pytest.raises(lmdb.MapFullError):
        full.flush()
    with pytest.raises(lmdb.MapFullError):
        full.exists("z", flush=True)
    full.max_map_size = None
    full.flush()
    assert full.write_buffer == {}
