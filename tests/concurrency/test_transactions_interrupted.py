"""Transactions that interrupts and signal handlers break into."""

from __future__ import annotations

import gc
import pickle
import signal
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import Interrupt, at_checkpoint, in_each_commit, interrupt
from support.programs import run_script
from support.threads import in_thread
from support.transactions import Undo, in_file, usable

from lmdb_object_store import LmdbObjectStore

Store = LmdbObjectStore[Any, Any]


def test_transaction_interrupted_anywhere_is_committed_whole_or_not(tmp_path: Path) -> None:
    """All of the transaction is committed, or nothing. The store is usable at once, in the except clause."""
    number, more = 0, True
    outcomes = set()
    with LmdbObjectStore[str, Any](tmp_path / "db", key_encoding="utf-8", sync=False) as store:
        while more:
            store["pending"] = number

            def body(number: int = number) -> None:
                with store.transaction():
                    store["a"] = number
                    with store.edit("list", list) as value:
                        value.append(number)
                    with store.transaction():
                        store["b"] = number

            try:
                more = at_checkpoint(number, interrupt, body)
            except Interrupt as caught:
                if number % 2:  # before this thread has another look
                    in_thread(lambda number=number: store.put("thread", number))  # type: ignore[misc]
                store["handled"] = number
                assert store["pending"] == number
                found = (store.get("a") == number, store.get("b") == number, number in store.get("list", []))
                assert found in ((True,) * 3, (False,) * 3), number
                outcomes.add(found[0])
                usable(store)
                assert in_file(store)["handled"] == number
                del caught
            else:
                assert not more or store["a"] == number
            number += 1
    assert number > 100
    assert outcomes == {True, False}


def test_transaction_whose_savepoint_is_interrupted_anywhere_goes_on(store: Store) -> None:
    """A block that catches the interrupt continues without the inner block's changes, or with all of them."""
    number, more = 0, True
    while more:
        with store.transaction():
            store["outer"] = number
            store["a"] = store["b"] = -1

            def inner(number: int = number) -> None:
                with store.transaction():
                    store["a"] = number
                    with store.transaction():
                        store["b"] = number
                        store["c"] = number

            with suppress(Interrupt):
                more = at_checkpoint(number, interrupt, inner)
            found = (store["a"] == number, store["b"] == number, store.get("c") == number)
            assert found in ((True,) * 3, (False,) * 3), number
        assert store["outer"] == number
        number += 1
    assert number > 30
    usable(store)


@pytest.mark.posix
def test_transaction_with_a_handlers_write_includes_it(store: Store) -> None:
    """A handler's write is rolled back with the transaction. A write during the commit stays pending after it."""
    previous = signal.signal(signal.SIGUSR1, lambda *_: store.update(handler=store.get("a")))
    try:
        with pytest.raises(Undo), store.transaction():
            store["a"] = 1
            signal.raise_signal(signal.SIGUSR1)
            assert store["handler"] == 1
            raise Undo
        assert not store

        def body() -> None:
            with store.transaction():
                store["a"] = 2
                store["b"] = 2

        in_each_commit(lambda: signal.raise_signal(signal.SIGUSR1), body)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert in_file(store) == {"a": 2, "b": 2}
    assert store.write_buffer == {b"handler": pickle.dumps(2, pickle.HIGHEST_PROTOCOL)}
    usable(store)


def test_transaction_with_a_handler_anywhere_loses_nothing(tmp_path: Path) -> None:
    """A handler reads, writes, pops and is refused to commit at any point. None of its changes is lost."""
    number, more = 0, True
    with LmdbObjectStore[str, int](tmp_path / "db", key_encoding="utf-8", sync=False) as store:
        while more:
            store["pending"] = number
            seen: list[int | None] = []

            def handler(number: int = number, seen: list[int | None] = seen) -> None:
                store["handler"] = number
                store["gone"] = number
                assert store.pop("gone") == number
                assert store.setdefault("handler", -1) == number
                assert store["pending"] == number
                seen.append(store.get("handler"))

            def body(number: int = number) -> None:
                with store.transaction():
                    store["a"] = number

            more = at_checkpoint(number, handler, body)
            if more:
                assert seen == [number]
                assert store["handler"] == number
            assert store["a"] == number
            assert "gone" not in store
            usable(store)
            number += 1
    assert number > 30


@pytest.mark.posix
@pytest.mark.slow  # a storm: 3,000 interrupts of each kind of block
@pytest.mark.parametrize("nested", ["", "with store.transaction(): "])
def test_transaction_with_interrupts_by_the_thousand_is_never_partial(path: str, nested: str) -> None:
    """After thousands of real interrupts no block was in part, nothing is locked, and no reader slot is taken."""
    source = f"""
        from itertools import count
        numbers = count(1)
        store = opened(sync=False, map_size=1 << 20, batch_size=5)
        store["a"] = store["b"] = 0
        store.flush()
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        interrupts = partial = 0
        while interrupts < 3000:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                while True:
                    number = next(numbers)
                    with store.transaction():
                        store["a"] = number
                        {nested}store["c"] = number
                        store["b"] = number
            except KeyboardInterrupt:
                interrupts += 1
                signal.setitimer(signal.ITIMER_REAL, 0)
                partial += store["a"] != store["b"] or store.write_buffer != {{}}
                partial += store._environment.transaction is not None
        assert partial == 0, partial
        assert store["a"] > 100
        store["after"] = 1
        store.flush()
        thread = threading.Thread(target=lambda: store.put_many({{"large": bytes(80 << 20)}}), daemon=True)
        thread.start()
        thread.join(15)
        assert not thread.is_alive()
        assert "no active" in store.env.readers(), store.env.readers()
        store.close(strict=True)
    """
    run_script(source, path)


def test_transaction_whose_exit_was_looked_up_before_is_rolled_back(store: Store) -> None:
    """A look at `__exit__`, as `hasattr` and protocols take it, changes nothing for an ExitStack that enters later."""
    store["balance"] = 100
    with suppress(ValueError), ExitStack() as stack:
        transaction = store.transaction()
        assert hasattr(transaction, "__exit__")
        stack.enter_context(transaction)
        store["balance"] = 0
        raise ValueError
    assert store["balance"] == 100
    usable(store)


def test_transaction_by_hand_leaves_no_cycle(path: str) -> None:
    """A store is collected at once after a transaction that was entered and left by hand, or refused."""
    store: Store = LmdbObjectStore(path, key_encoding="utf-8")
    transaction = store.transaction()
    transaction.__enter__()
    transaction.__exit__(None, None, None)
    with pytest.raises(RuntimeError, match="used before"):
        transaction.__enter__()
    store.close()
    reference = weakref.ref(store)
    gc.disable()
    try:
        del store, transaction
        assert reference() is None
    finally:
        gc.enable()
