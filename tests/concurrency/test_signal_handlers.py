"""Signal handlers that use a store, at each place where one may run."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from conftest import OpenStore
from support.checkpoints import at_checkpoint, in_each_commit
from support.files import contents
from support.programs import run_script

from lmdb_object_store import LmdbObjectStore

Store = LmdbObjectStore[Any, Any]


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("flushes", [False, True], ids=["puts", "puts and flushes"])
def test_flush_with_a_handlers_write_anywhere_keeps_both(
    path: str, open_store: OpenStore, times: int, flushes: bool
) -> None:
    """A signal handler adds changes anywhere in a flush. Those changes arrive, and so do the flush's own."""
    store = open_store(autoflush_on_read=False)
    expected: dict[str, object] = {}
    numbers = count()

    def put(key: str, value: object) -> None:
        store[key] = value
        expected[key] = value

    def handle() -> None:
        number = next(numbers)
        put(f"handler {number}", number)
        put("common", number)
        if flushes:
            with suppress(RuntimeError):  # within a commit
                store.flush()

    for checkpoint in count():
        put(f"main {checkpoint}", checkpoint)
        put("common", "main")
        reached = at_checkpoint(checkpoint, handle, store.flush, times=times)
        assert dict(store) == expected, f"checkpoint {checkpoint}"
        store.flush()
        assert dict(store) == expected, f"checkpoint {checkpoint}"
        if not reached:
            break
    store.close(strict=True)
    assert contents(path) == expected


def test_put_with_a_handlers_write_anywhere_keeps_both(path: str, open_store: OpenStore) -> None:
    """A signal handler adds a change anywhere in a put that flushes. Both arrive."""
    store = open_store(autoflush_on_read=False, batch_size=2)
    expected: dict[str, object] = {}
    for number in count():
        store.flush()
        store[f"first {number}"] = number
        reached = at_checkpoint(
            number,
            lambda number=number: store.put(f"handler {number}", number),  # type: ignore[misc]
            lambda number=number: store.put(f"second {number}", number),  # type: ignore[misc]
        )
        expected |= {f"first {number}": number, f"second {number}": number}
        if not reached:
            break
        expected[f"handler {number}"] = number
        assert dict(store) == expected, f"checkpoint {number}"
    store.close(strict=True)
    assert contents(path) == expected


def test_clear_with_a_handlers_write_anywhere_keeps_or_clears_it(open_store: OpenStore) -> None:
    """A signal handler adds a change anywhere in a `clear`. The change is there in the end or cleared with the rest."""
    store = open_store(autoflush_on_read=False)
    for number in count():
        store["main"] = number
        reached = at_checkpoint(number, lambda: store.put("handler", 1), store.clear)
        assert "main" not in store
        seen = dict(store)
        assert seen in ({}, {"handler": 1})
        store.flush()
        assert dict(store) == seen
        if not reached:
            break


@pytest.mark.posix
def test_flush_with_a_real_signals_writes_loses_nothing(path: str) -> None:
    """A timer's handler writes while the main thread flushes. No change of either is lost."""
    source = """
        from itertools import count, islice, pairwise
        numbers = count()
        accepted = {}
        def write(*_):
            number = next(numbers)
            store[f"handler {number}"] = number
            accepted[f"handler {number}"] = number

        store = opened(sync=False, batch_size=5)
        signal.signal(signal.SIGALRM, write)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
        number = 0
        while len(accepted) < 1000:
            store[f"main {number}"] = number
            number += 1
            store.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for index in range(number):
            assert store[f"main {index}"] == index
        for key, value in accepted.items():
            assert store[key] == value
        store.close(strict=True)
    """
    run_script(source, path, limit=60)


REFUSED: dict[str, Callable[[Store], object]] = {
    "flush": lambda store: store.flush(),
    "put_many": lambda store: store.put_many({"nested": 1}),
    "clear": lambda store: store.clear(),
    "close": lambda store: store.close(),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_flush_within_a_commit_is_refused(path: str, open_store: OpenStore, call: Callable[[Store], object]) -> None:
    """Methods that cannot run during this thread's own commit raise, and the commit is not harmed."""
    store, other = open_store(), open_store()
    store["key"] = 1
    other["other"] = 2

    def refused() -> None:
        for each in (store, other):
            with pytest.raises(RuntimeError, match="commit"):
                call(each)

    assert in_each_commit(refused, store.flush) == 1
    assert in_each_commit(refused, store.clear) == 1
    store["again"] = 1
    store.close(strict=True)
    other.close(strict=True)
    assert contents(path) == {"again": 1, "other": 2}


def test_get_and_put_within_a_commit_work(open_store: OpenStore) -> None:
    """A signal handler may read pending changes and add others during this thread's own commit."""
    store = open_store(batch_size=1000)
    store["stored"] = 1
    store.flush()
    store["key"] = 1

    def use() -> None:
        assert (store["key"], store["stored"]) == (1, 1)
        assert dict(store) == {"key": 1, "stored": 1}
        assert len(store) == 2
        store.update({f"k{i}": i for i in range(1500)})  # more than a batch: its flush waits
        del store["key"]
        assert store.pop("stored") == 1

    assert in_each_commit(use, store.flush) == 1
    assert dict(store) == {f"k{i}": i for i in range(1500)}
    store.flush()
    assert dict(store) == {f"k{i}": i for i in range(1500)}


@pytest.mark.posix
def test_at_checkpoint_runs_where_a_real_signal_does() -> None:
    """`at_checkpoint` stands for a signal: a real one reaches its handler at such a place too."""
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]
