"""close, the `with` block, and the use of a store that is closed."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.stores import Store, stored

from lmdb_object_store import FlushError, StoreClosedError


def test_close_twice_persists_once(open_store: OpenStore, path: str) -> None:
    """`close` flushes, and a second call does nothing."""
    store = open_store()
    store["a"] = 1
    store.close()
    store.close()
    store.close(strict=True)
    assert stored(path) == {b"a": 1}


def test_with_block_persists_at_its_end(open_store: OpenStore, path: str) -> None:
    """The end of a `with` block flushes too, and the block is given the store itself."""
    opened = open_store()
    with opened as store:
        assert store is opened
        store["a"] = 1
    assert stored(path) == {b"a": 1}


def test_with_block_closed_inside_ends_quietly(open_store: OpenStore) -> None:
    """A store that its own block has closed ends quietly."""
    with open_store() as store:
        store.close()


def test_with_block_that_raises_persists_earlier_writes(open_store: OpenStore, path: str) -> None:
    """An exception of the body goes up, and what was written before it is kept."""
    with pytest.raises(ZeroDivisionError), open_store() as store:  # the block is what is tested
        store["a"] = 1
        raise ZeroDivisionError
    assert stored(path) == {b"a": 1}


def test_close_strict_raises_after_closing(full: Store) -> None:
    """FlushError is a RuntimeError with the cause chained and the lost changes in it; the file is closed by then."""
    pending = dict(full.write_buffer)
    with pytest.raises(RuntimeError, match=r"^Final flush failed during close\(\)") as caught:
        full.close(strict=True)
    assert isinstance(caught.value, FlushError)
    assert isinstance(caught.value.__cause__, lmdb.MapFullError)
    assert caught.value.pending == pending
    assert full._is_closed
    assert stored(full.db_path) == {b"kept": 1}
    full.close(strict=True)


def test_close_lenient_logs_the_failure(full: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Without `strict` the failure is logged as an error, and the close completes."""
    full.close()
    [record] = caplog.records
    assert (record.name, record.levelno) == ("lmdb_object_store", logging.ERROR)
    assert record.getMessage().startswith("Error during final flush on close: ")
    assert stored(full.db_path) == {b"kept": 1}


def test_flush_error_made_by_hand_has_no_pending_changes() -> None:
    """`pending` is a dict of its own, empty by default."""
    assert FlushError("message").pending == {}
    assert isinstance(FlushError("message"), RuntimeError)


def test_with_block_whose_last_flush_fails_raises(full: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The final flush fails, the body succeeded: FlushError, and nothing is logged besides."""
    with pytest.raises(FlushError) as caught, full:
        pass
    assert set(caught.value.pending) == {b"small", b"large"}
    assert caplog.records == []


def test_with_block_that_raises_logs_the_failed_flush(full: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The body's own exception goes up, and the failure is logged."""
    with pytest.raises(ZeroDivisionError), full:
        raise ZeroDivisionError
    assert "Error during final flush on close: " in caplog.text


def test_with_block_after_a_caught_failure_raises_the_last_one(full: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The caller caught the error of an earlier flush. The last flush fails too, and the block raises that."""
    with pytest.raises(FlushError), full:
        with pytest.raises(lmdb.MapFullError):
            full.flush()
        assert full["kept"] == 1
    assert caplog.records == []


def test_with_block_with_changes_after_a_failure_raises(full: Store) -> None:
    """A change written after a failure that was raised is lost too, and no error has reported it."""
    with pytest.raises(FlushError), full:  # the block is what is tested
        with pytest.raises(lmdb.MapFullError):
            full.flush()
        full["later"] = 1


def test_with_block_after_a_logged_failure_raises(full: Store) -> None:
    """A failure that a read has only logged is raised."""
    with pytest.raises(FlushError), full:
        assert full["kept"] == 1


def test_close_strict_after_a_raised_failure_raises_again(full: Store) -> None:
    """`close(strict=True)` raises whatever was raised before."""
    with pytest.raises(lmdb.MapFullError):
        full.flush()
    with pytest.raises(FlushError):
        full.close(strict=True)


CALLS: list[Callable[[Store], Any]] = [
    lambda store: store["a"],
    lambda store: store.__setitem__("a", 1),
    lambda store: store.__delitem__("a"),
    lambda store: "a" in store,
    lambda store: store.get("a"),
    lambda store: store.put("a", 1),
    lambda store: store.delete("a"),
    lambda store: store.exists("a"),
    lambda store: store.exists("a", flush=False),
    lambda store: store.exists("a", flush=True),
    lambda store: store.pop("a"),
    lambda store: store.pop("a", None),
    lambda store: store.popitem(),
    lambda store: store.setdefault("a"),
    lambda store: store.update({"a": 1}),
    lambda store: store.update({}),
    lambda store: store.get_many(["a"]),
    lambda store: store.get_many([]),
    lambda store: store.put_many({"a": 1}),
    lambda store: store.put_many({}),
    lambda store: store.clear(),
    lambda store: store.flush(),
    len,
    bool,
    iter,
    reversed,
    lambda store: len(store.keys()),
    lambda store: "a" in store.keys(),  # noqa: SIM118  # the view's own
    lambda store: list(store.keys()),
    lambda store: list(store.values()),
    lambda store: list(store.items()),
    lambda store: store.keys() & {"a"},
    lambda store: store == {},
    lambda store: store | {},
    lambda store: {} | store,
    lambda store: store.__ior__({"a": 1}),
    lambda store: store.env,
    lambda store: store.__enter__(),
    lambda store: store._norm_key("a"),
    pickle.dumps,
]


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_closed_store_raises_in_every_method(
    open_store: OpenStore, readonly: bool, call: Callable[[Store], Any]
) -> None:
    """Every use of a closed store is a StoreClosedError that names it, and leaves nothing behind."""
    open_store().close()
    store = open_store(readonly=readonly)
    store.close()
    with pytest.raises(StoreClosedError) as caught:
        call(store)
    assert store.db_path in str(caught.value)
    assert store.write_buffer == {}


def test_repr_of_a_closed_store_says_so(store: Store) -> None:
    """`repr` alone does not raise, and says that the store is closed."""
    store.close()
    assert repr(store) == f"<LmdbObjectStore {store.db_path!r}: closed>"


def test_store_closed_error_is_lmdbs_and_a_value_error() -> None:
    """A handler of LMDB's errors catches it, and so does one of a closed `shelve`'s ValueError."""
    assert issubclass(StoreClosedError, lmdb.Error)
    assert issubclass(StoreClosedError, ValueError)


def test_iterator_of_a_closed_store_raises(open_store: OpenStore) -> None:
    """An iterator that needs another page after the close raises, and does not end as if that were all."""
    store = open_store()
    store.update({f"{i:04}": i for i in range(500)})
    keys = iter(store)
    assert next(keys) == "0000"
    store.close()
    with pytest.raises(StoreClosedError):
        list(keys)


@pytest.mark.parametrize("error", [RuntimeError("mine"), lmdb.DiskError("full")])
def test_close_calls_the_flush_that_replaced_its_own(store: Store, error: Exception) -> None:
    """`close` calls a function that has replaced `_flush`, and chains its error."""

    def flush() -> None:
        raise error

    store._flush = flush  # type: ignore[method-assign]  # as tests of 0.1.0 do
    with pytest.raises(FlushError, match=r"^Final flush failed during close\(\)") as caught:
        store.close(strict=True)
    assert caught.value.__cause__ is error


def test_close_that_is_interrupted_leaves_the_store_open(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KeyboardInterrupt in the final flush is raised; nothing is lost, and the store can be closed again."""
    store = open_store()
    store["a"] = 1

    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, "_flush", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.close()
    assert store["a"] == 1
    store.close(strict=True)
    assert stored(store.db_path) == {b"a": 1}


def test_close_after_env_was_closed_from_outside_is_quiet(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A store whose `env` somebody has closed still closes quietly."""
    for strict in (False, True):
        store = open_store()
        store["a"] = 1
        store.flush()
        store.env.close()
        store.close(strict=strict)
    with open_store() as store:
        store.env.close()
    assert caplog.records == []
