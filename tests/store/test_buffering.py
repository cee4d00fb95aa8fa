"""Triggers of a flush: batch_size, batch_bytes, update, autoflush_on_read; and the calls that never flush."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from conftest import OpenStore
from support.stores import Store, committed
from support.threads import in_thread, together

from lmdb_object_store._buffer import resize as _resize
from lmdb_object_store._buffer.flush import HINT_AFTER
from lmdb_object_store._environment.write import write as write_changes

# -- thresholds, update


def test_put_at_batch_size_flushes(open_store: OpenStore) -> None:
    """`batch_size` entries are flushed, fewer are not; the same key counts once."""
    store = open_store(3)
    store.update({"a": 1, "b": 2})
    store["b"] = 3
    assert committed(store) == {}
    store.delete("c")
    assert committed(store) == {b"a": 1, b"b": 3}
    assert store.write_buffer == {}


def test_update_beyond_batch_size_makes_one_commit(open_store: OpenStore) -> None:
    """`batch_size` is compared once all is buffered. Items of a failing iterable stay pending as after a put."""
    store = open_store(3)
    with patch.object(_resize, "write", wraps=write_changes) as write:
        store.update({f"k{i}": i for i in range(10)})
        assert (write.call_count, store.write_buffer, len(committed(store))) == (1, {}, 10)
        store.update(a=1, b=2)
        assert (write.call_count, len(store.write_buffer)) == (1, 2)

        def failing() -> Iterator[tuple[str, int]]:
            yield from {"c": 3, "d": 4}.items()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.update(failing())
        assert write.call_count == 1
        assert "d" in store
        store["e"] = 5
        assert write.call_count == 2
    assert store.write_buffer == {}


def test_update_beyond_batch_bytes_flushes_by_parts(open_store: OpenStore) -> None:
    """However many items come, little more than `batch_bytes` of them are in memory at a time."""
    store = open_store(3, batch_bytes=1000)
    most = 0

    def items() -> Iterator[tuple[str, bytes]]:
        nonlocal most
        for i in range(100):
            most = max(most, store._pending_bytes)
            yield f"k{i}", bytes(100)

    store.update(items())
    assert 800 < most < 1000
    assert len(store) == 100


def test_update_takes_every_form_that_a_dict_takes(store: Store) -> None:
    """A mapping, something with `keys`, pairs, keywords; one argument at most, and pairs that are pairs."""

    class Keyed:
        def keys(self) -> list[str]:
            return ["x", "y"]

        def __getitem__(self, key: str) -> str:
            return key * 2

    store.update({"a": 1}, b=2)
    store.update([("c", 3)])
    store.update(Keyed())
    store.update(store)
    store.update()
    assert store == {"a": 1, "b": 2, "c": 3, "x": "xx", "y": "yy"}
    with pytest.raises(TypeError, match="at most 1 argument"):
        store.update({}, {})  # type: ignore[call-overload]
    wrongs: list[Any] = [7, [7], [(1, 2, 3)]]
    for wrong in wrongs:
        with pytest.raises((TypeError, ValueError)):
            store.update(wrong)


def test_put_with_batch_size_none_flushes_at_batch_bytes_alone(open_store: OpenStore) -> None:
    """With `batch_size=None` only `batch_bytes` sets off a flush; a copy of the handle has no limit either."""
    store = open_store(None, batch_bytes=10_000)
    for i in range(50):
        store[f"k{i}"] = bytes(100)
    assert committed(store) == {}
    store["large"] = bytes(10_000)
    assert len(committed(store)) == 51
    assert pickle.loads(pickle.dumps(store)).batch_size is None


def test_put_at_batch_bytes_flushes(open_store: OpenStore) -> None:
    """`batch_bytes` bytes of pending keys and values are flushed, fewer are not."""
    store = open_store(batch_bytes=1000)
    store["a"] = b"x" * 500
    store["a"] = b"y" * 500
    assert committed(store) == {}
    store["b"] = b"z" * 500
    assert set(committed(store)) == {b"a", b"b"}


# -- autoflush_on_read


READS: list[Callable[[Store], Any]] = [
    lambda store: store["stored"],
    lambda store: store.get("stored"),
    lambda store: store.get("missing"),
    lambda store: store.get_many(["stored"]),
    lambda store: store.exists("stored"),
    lambda store: store.exists("missing", flush=None),
    len,
    list,
    lambda store: list(reversed(store)),
    lambda store: list(store.items()),
]
NO_FLUSH: list[Callable[[Store], Any]] = [
    lambda store: "stored" in store,
    lambda store: "missing" in store,
    lambda store: store.exists("stored", flush=False),
    lambda store: store["pending"],
    lambda store: store.get("pending"),
    lambda store: store.get_many(["pending"]),
    lambda store: store.exists("pending"),
    lambda store: store.pop("stored"),
    lambda store: store.pop("missing", None),
    lambda store: store.popitem(),
    lambda store: store.popitem(last=False),
    lambda store: store.setdefault("stored"),
    lambda store: store.setdefault("missing"),
    lambda store: store.__delitem__("stored"),
    lambda store: store.delete("stored"),
    lambda store: store.update({"stored": 2}),
    repr,
]


def flushes(store: Store, call: Callable[[Store], Any]) -> bool:
    """Return True if `call` writes the pending changes to the file."""
    call(store)
    return b"pending" in committed(store)


@pytest.mark.parametrize("read", READS)
def test_read_with_autoflush_flushes(pending: Store, read: Callable[[Store], Any]) -> None:
    """With `autoflush_on_read` a read that must look into the file flushes first."""
    assert flushes(pending, read)


@pytest.mark.parametrize("pending", [False], indirect=True)
@pytest.mark.parametrize("read", READS)
def test_read_without_autoflush_does_not_flush(pending: Store, read: Callable[[Store], Any]) -> None:
    """Without `autoflush_on_read` no read flushes, and each sees the pending changes."""
    assert not flushes(pending, read)
    assert pending.get("pending") == 2
    assert list(pending.items()) == [("pending", 2), ("stored", 1)]
    assert len(pending) == 2


@pytest.mark.parametrize("call", NO_FLUSH)
def test_contains_and_writes_never_flush(pending: Store, call: Callable[[Store], Any]) -> None:
    """`in` has no side effect, the buffer answers for a pending key, and writes flush at the threshold alone."""
    assert not flushes(pending, call)


@pytest.mark.parametrize("pending", [True, False], indirect=True)
def test_exists_flush_argument_wins_over_the_option(pending: Store) -> None:
    """`exists(flush=False)` guarantees no flush, `flush=True` flushes whatever the option says."""
    assert pending.exists("pending", flush=False) is True
    assert pending.exists("missing", flush=False) is False
    assert b"pending" not in committed(pending)
    assert pending.exists("missing", flush=True) is False
    assert b"pending" in committed(pending)


@pytest.mark.parametrize("autoflush", [True, False])
@pytest.mark.parametrize(
    "read",
    [lambda store: store[b"stored"], lambda store: store.get(b"stored"), lambda store: store.get(b"missing")],
)
def test_reads_of_bytes_keys_flush(open_store: OpenStore, read: Callable[[Store], Any], autoflush: bool) -> None:
    """The fast path of bytes keys flushes first too, if `autoflush_on_read` is on."""
    store = open_store(key_encoding=None, autoflush_on_read=autoflush)
    store[b"stored"] = 1
    store.flush()
    store[b"pending"] = 2
    assert flushes(store, read) is autoflush


def alternate(store: Store, times: int = HINT_AFTER) -> None:
    """Write and read in turn, `times` times."""
    for number in range(times):
        store["written"] = number
        store.get("missing")


def test_reads_and_writes_in_turn_are_logged_with_nothing_held(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The line about `autoflush_on_read` is logged once. The logging handler may use the store, in any thread."""
    caplog.set_level(logging.INFO)
    store = open_store(sync=False)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            in_thread(lambda: store.put_many({"logged": record.levelname}))

    handler = Handler()
    logging.getLogger("lmdb_object_store").addHandler(handler)
    try:
        alternate(store)
        assert store["logged"] == "INFO"
        together(*[lambda: alternate(store)] * 3)
    finally:
        logging.getLogger("lmdb_object_store").removeHandler(handler)
    assert [record.levelno for record in caplog.records] == [logging.INFO]
    assert store.db_path in caplog.text


def test_threads_that_read_and_write_in_turn_log_one_line(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Threads that share a store count together, and one of them logs the line."""
    caplog.set_level(logging.INFO)
    store = open_store(sync=False)
    together(*[lambda: alternate(store)] * 4)
    assert len(caplog.records) == 1


def test_reads_and_writes_in_turn_without_autoflush_log_nothing(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """With the option that the line names, reads commit nothing and no line comes."""
    caplog.set_level(logging.INFO)
    store = open_store(autoflush_on_read=False)
    alternate(store)
    assert (caplog.records, store.stats().commits) == ([], 0)


def test_unpickled_store_counts_reads_and_commits_from_its_start(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """An unpickled store starts with no commits, and logs a line of its own."""
    caplog.set_level(logging.INFO)
    store = open_store(sync=False)
    alternate(store)
    with pickle.loads(pickle.dumps(store)) as handle:
        assert (handle.stats().commits, handle.stats().changes) == (0, 0)
        alternate(handle)
        assert (handle.stats().commits, handle.stats().changes) == (HINT_AFTER, HINT_AFTER)
    assert len(caplog.records) == 2
