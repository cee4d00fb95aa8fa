"""Places in LMDB's table of readers: how a read waits for one, and that none is kept."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.checkpoints import Interrupt, at_checkpoint, interrupt
from support.threads import in_thread

from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._environment import environment as _environment

MIB = 1024 * 1024
Store = LmdbObjectStore[Any, Any]


def test_read_with_a_full_reader_table_waits(open_store: OpenStore) -> None:
    """While the reader table is full a read waits, and answers once there is a slot."""
    store = open_store(max_readers=2)
    store.put_many({"key": 1})
    transactions = [store.env.begin(), store.env.begin()]
    tried = threading.Event()
    check = store.env.reader_check

    def read() -> None:
        values.append(store["key"])

    values: list[int] = []
    repeat = _environment.Environment.repeat

    def observed(*arguments: Any) -> Any:
        tried.set()
        return repeat(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_environment.Environment, "repeat", observed)
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert tried.wait(10)
        assert values == []
        transactions.pop().abort()
        reader.join(10)
    assert values == [1]
    assert check() == 0


def test_read_with_a_reader_table_that_stays_full_raises(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read does not wait for a reader slot forever."""
    monkeypatch.setattr(_environment, "RETRY_SECONDS", 0.05)
    store = open_store(max_readers=1)
    store.put_many({"key": 1})
    with store.env.begin(), pytest.raises(lmdb.ReadersFullError):
        store["key"]
    assert store["key"] == 1


class Stubborn:
    """Its pickle cannot be loaded."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return int, ("no number",)


def test_read_that_fails_keeps_no_reader_slot(open_store: OpenStore) -> None:
    """Exceptions of failed reads, kept with their tracebacks, do not fill the reader table."""
    store = open_store(max_readers=3)
    store.put_many({"bad": Stubborn()})
    reads: list[Callable[[], object]] = [
        lambda: store["bad"],
        lambda: store["none"],
        lambda: store.get_many(["bad"]),
        lambda: list(store.values()),
        lambda: store.pop("bad"),
        lambda: store.setdefault("bad"),
    ]
    kept: list[Exception] = []
    for read in reads * 5:
        with pytest.raises((RuntimeError, KeyError)) as caught:
            read()
        kept.append(caught.value)
    assert "no active" in store.env.readers()
    assert len(kept) == 30


SCANS: dict[str, Callable[[Store], object]] = {
    "[]": lambda store: store["k1"],
    "get_many": lambda store: store.get_many(["k1", "none"]),
    "len": len,
    "keys": list,
    "items": lambda store: list(store.items()),
    "reversed": lambda store: list(reversed(store)),
}


@pytest.mark.skipif(sys.version_info < (3, 13), reason="there a frame that was profiled holds more than its variables")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as above
@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
def test_read_interrupted_anywhere_keeps_no_transaction_open(
    open_store: OpenStore, scan: Callable[[Store], object]
) -> None:
    """Wherever a read is interrupted, the exception's traceback keeps no snapshot, which would pin pages."""
    store = open_store(autoflush_on_read=False)
    store.put_many({"k1": 1, "k2": 2})
    store["k3"] = 3
    kept: list[Interrupt] = []
    for number in count():
        try:
            if not at_checkpoint(number, interrupt, lambda: scan(store)):
                break
        except Interrupt as error:
            kept.append(error)
    assert kept
    assert store.stats().readers == 0


def test_write_that_fails_keeps_no_transaction_open(open_store: OpenStore) -> None:
    """The exception of a failed write, kept with its traceback, keeps no write transaction open."""
    store = open_store(map_size=MIB, max_map_size=MIB)
    kept = []
    for _ in range(5):
        with pytest.raises(lmdb.MapFullError) as caught:
            store.put_many({"large": bytes(2 * MIB)})
        kept.append(caught.value)
    in_thread(lambda: store.put_many({"key": 1}), limit=10)
    assert store["key"] == 1
