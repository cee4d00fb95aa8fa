"""Threads, signal handlers and the garbage collector: everything that may run in the midst of something else."""

from __future__ import annotations

import gc
import logging
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count, islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support import (
    Interrupt,
    at_checkpoint,
    contents,
    frequent_switches,
    in_each_commit,
    in_thread,
    interrupt,
    looping,
    run_script,
    together,
)

from lmdb_object_store import LmdbObjectStore, StoreClosedError
from lmdb_object_store._environment import environment as _environment
from lmdb_object_store._environment.locks import Lock
from lmdb_object_store._transactions.waiting import TransactionLock

MIB = 1024 * 1024
Store = LmdbObjectStore[Any, Any]


@pytest.fixture
def _races() -> Iterator[None]:
    """Threads take turns so often that races show. (A loop that is to be tight takes fewer turns.)"""
    with frequent_switches():
        yield


races = pytest.mark.usefixtures("_races")


# -- readers beside a writer


@pytest.mark.slow  # 64 MiB, written one small flush at a time
@races
def test_readers_beside_a_writer_and_growth_see_right_values(open_store: OpenStore) -> None:
    """While the map grows again and again, no reader sees an error, a wrong value or a missing key."""
    store = open_store(map_size=128 * 1024, batch_size=7, max_map_size=1 << 30, sync=False)
    names = [f"k{i:02}" for i in range(40)]
    store.put_many({name: (name, 0) for name in names})

    def check(name: str, value: Any) -> None:
        assert value[0] == name, "another key's value"

    def read_one() -> None:
        name = random.choice(names)
        check(name, store[name])
        assert name in store
        assert store.exists(name)

    def read_many() -> None:
        found, missing = store.get_many(names, decode_keys=True)
        assert missing == []
        for name, value in found.items():
            check(name, value)

    def scan() -> None:
        assert [name for name in store if name in names] == names
        for name, value in islice(store.items(), len(names)):
            check(name, value)

    def measure() -> None:
        assert len(store) >= len(names)

    with looping(read_one, read_one, read_many, scan, measure):
        for size in (1, 80, 160, 400):
            store.put_many({f"large {size}": (f"large {size}", bytes(size * MIB // 4))})
            for name in names:
                store[name] = (name, size)
    assert store.env.info()["map_size"] > 64 * MIB


@pytest.mark.slow  # 230 MiB on the disk for each number of readers
@pytest.mark.parametrize("readers", [3, 8])
def test_growth_beside_readers_in_a_tight_loop_does_not_hang(open_store: OpenStore, readers: int) -> None:
    """Readers that never pause do not keep the map from growing, and see no error."""
    store = open_store(map_size=MIB)
    store.put_many({"key": "value"})

    def read() -> None:
        for _ in range(200):
            assert store["key"] == "value"

    def grow() -> None:
        for size in (2, 80, 150):
            store.put_many({f"large {size}": bytes(size * MIB)})

    with looping(*[read] * readers):
        in_thread(grow, limit=20)
    assert store.env.info()["map_size"] > 200 * MIB


def test_a_write_that_fails_beside_readers_in_a_tight_loop_does_not_hang(open_store: OpenStore) -> None:
    """Readers that never pause do not keep a write that cannot succeed from being undone."""
    store = open_store(map_size=MIB, max_map_size=MIB)
    store.put_many({"key": "value"})

    def read() -> None:
        for _ in range(200):
            assert store["key"] == "value"

    def fail() -> None:
        for _ in range(20):
            with pytest.raises(lmdb.MapFullError):
                store.put_many({"large": bytes(2 * MIB)})

    with looping(*[read] * 4):
        in_thread(fail, limit=20)
    assert "large" not in store


@races
def test_iteration_beside_writers_and_growth(open_store: OpenStore) -> None:
    """Keys come in order, none twice, and none is missed that is there all the while."""
    store = open_store(map_size=128 * 1024, batch_size=5, autoflush_on_read=False, sync=False)
    lasting = [f"k{i:04}" for i in range(0, 3000, 2)]
    store.put_many({name: name for name in lasting})
    numbers = count()

    def come_and_go() -> None:
        number = next(numbers)
        name = f"k{(number * 37 % 1500) * 2 + 1:04}"
        store[name] = name * 100
        store.delete(f"k{((number - 200) * 37 % 1500) * 2 + 1:04}")

    def upwards() -> None:
        keys = list(store)
        assert all(one < other for one, other in pairwise(keys))
        assert set(lasting) <= set(keys)

    def downwards() -> None:
        items = list(reversed(store.items()))
        assert all(one[0] > other[0] for one, other in pairwise(items))
        assert {name: name for name in lasting}.items() <= dict(items).items()

    with looping(come_and_go, come_and_go):
        for size in range(1, 6):
            upwards()
            downwards()
            store.put_many({f"large {size}": bytes(size * 10 * MIB)})


# -- one step among threads


@races
def test_setdefault_gives_every_thread_the_same_value(open_store: OpenStore) -> None:
    """Of several threads that set a default at once, one does, and all get its value."""
    store = open_store(batch_size=3)
    for turn in range(60):
        given: list[int] = []

        def set_default(turn: int = turn, given: list[int] = given) -> None:
            given.append(store.setdefault(f"k{turn}", threading.get_ident()))

        together(*[set_default] * 4)
        assert given == [store[f"k{turn}"]] * 4


TAKING: dict[str, Callable[[Store, str], object]] = {
    "pop": lambda store, key: store.pop(key),
    "popitem": lambda store, key: store.popitem(),
    "del": lambda store, key: store.__delitem__(key),
}


@races
@pytest.mark.parametrize("take", TAKING.values(), ids=TAKING)
@pytest.mark.parametrize("batch_size", [1, 1000])
def test_one_thread_alone_takes_an_item(
    open_store: OpenStore, take: Callable[[Store, str], object], batch_size: int
) -> None:
    """Of several threads that take one item at once, one gets it, and the others a KeyError."""
    store = open_store(batch_size=batch_size)
    for turn in range(60):
        store["key"] = turn
        outcomes: list[object] = []

        def try_to_take(outcomes: list[object] = outcomes) -> None:
            try:
                take(store, "key")
            except KeyError:
                outcomes.append("none")
            else:
                outcomes.append("taken")

        together(*[try_to_take] * 4)
        assert sorted(map(str, outcomes)) == ["none"] * 3 + ["taken"]


@races
def test_threads_that_empty_a_store_share_out_its_items(open_store: OpenStore) -> None:
    """Threads that take items until there are none get each item exactly once."""
    store = open_store(batch_size=10)
    items = {f"k{i:03}": i for i in range(400)}
    store.update(items)
    taken: list[tuple[str, int]] = []

    def take_all(last: bool) -> None:
        try:
            while True:
                taken.append(store.popitem(last=last))
        except KeyError:
            pass

    together(*[lambda last=last: take_all(last) for last in (True, True, False, False)])
    assert sorted(taken) == sorted(items.items())
    assert not store


@races
def test_puts_of_many_threads_all_arrive(path: str, open_store: OpenStore) -> None:
    """Threads that write at once lose nothing of each other's."""
    store = open_store(batch_size=7)

    def put(writer: int) -> None:
        for number in range(100):
            store[f"{writer} {number}"] = (writer, number)

    together(*[lambda writer=writer: put(writer) for writer in range(6)])
    store.close()
    assert contents(path) == {f"{w} {n}": (w, n) for w in range(6) for n in range(100)}


# -- close, open, and several stores on one file


@races
def test_close_beside_readers(open_store: OpenStore) -> None:
    """A reader whose store is closed meanwhile gets a right value or StoreClosedError, nothing else."""
    for turn in range(20):
        store = open_store(autoflush_on_read=turn % 2 == 0)
        store.update({f"k{i}": i for i in range(50)})
        closed = threading.Event()

        def read(store: Store = store, closed: threading.Event = closed) -> None:
            try:
                while True:
                    assert store["k7"] == 7
                    assert dict(store.items())["k8"] == 8
                    assert store.get_many(["k9"]) == ({b"k9": 9}, [])
                    assert len(store) == 50
                    assert "k10" in store
            except StoreClosedError:
                assert closed.is_set()

        def close(store: Store = store, closed: threading.Event = closed) -> None:
            closed.set()
            store.close(strict=True)

        together(read, read, read, close)


@races
def test_close_beside_writers_keeps_what_was_accepted(path: str, open_store: OpenStore) -> None:
    """Whatever a writer was not told of before the store closed is in the file."""
    accepted: dict[str, int] = {}
    for turn in range(20):
        store = open_store(batch_size=3)
        begun = threading.Barrier(3)

        def write(name: str, store: Store = store, begun: threading.Barrier = begun) -> None:
            begun.wait(30)
            with pytest.raises(StoreClosedError):  # noqa: PT012
                for number in count():
                    store[f"{name} {number % 20}"] = number
                    accepted[f"{name} {number % 20}"] = number

        def close(store: Store = store, begun: threading.Barrier = begun) -> None:
            begun.wait(30)
            for _ in range(20):
                assert store.get("none") is None
            store.close(strict=True)

        together(partial(write, f"a{turn}"), partial(write, f"b{turn}"), close)
    assert contents(path) == accepted


@pytest.mark.slow  # 640 flushes that wait for the disk
@races
def test_threads_that_open_one_new_path_at_once_share_an_environment(tmp_path: Path) -> None:
    """Sixteen threads that open a file at once all succeed, with one environment, and see each other's data."""
    for turn in range(40):
        stores: list[Store] = []
        path = str(tmp_path / f"db{turn}")

        def open_one(path: str = path, stores: list[Store] = stores) -> None:
            stores.append(LmdbObjectStore(path, key_encoding="utf-8"))

        together(*[open_one] * 16)
        assert len({id(store.env) for store in stores}) == 1
        for number, store in enumerate(stores):
            store[f"k{number}"] = number
            store.flush()
        assert len(stores[0]) == 16
        together(*[store.close for store in stores])
        assert len(contents(path)) == 16


def test_two_stores_on_one_path_see_what_the_other_flushed(open_store: OpenStore) -> None:
    """A second store on a path has a buffer of its own and shares the file."""
    one, other = open_store(), open_store(autoflush_on_read=False)
    one["key"] = 1
    assert "key" not in other
    one.flush()
    assert other["key"] == 1
    other["key"] = 2
    assert one["key"] == 1
    other.flush()
    assert one["key"] == 2
    assert one.env is other.env


@pytest.mark.parametrize("option", [{"readonly": True}, {"sync": False}, {"writemap": True}, {"max_dbs": 3}], ids=str)
def test_an_option_that_contradicts_an_open_store_is_an_error(open_store: OpenStore, option: dict[str, Any]) -> None:
    """A second opening that cannot have its way says which option is in the way, and leaves the first as it was."""
    store = open_store()
    (name,) = option
    with pytest.raises(ValueError, match=name):
        open_store(**option)
    store["key"] = 1
    store.flush()
    assert store["key"] == 1


def test_a_second_store_with_a_larger_map_size_grows_it(open_store: OpenStore) -> None:
    """The larger `map_size` of two stores on one path holds, whichever comes first."""
    open_store(map_size=4 * MIB)
    assert open_store(map_size=16 * MIB).env.info()["map_size"] == 16 * MIB
    assert open_store(map_size=2 * MIB).env.info()["map_size"] == 16 * MIB


def test_the_last_store_to_close_closes_the_file(path: str, open_store: OpenStore) -> None:
    """The environment of a path lives as long as a store of it, and no longer."""
    one, other = open_store(), open_store()
    one["one"] = 1
    one.close()
    other["other"] = 2
    assert other["one"] == 1
    other.close()
    assert contents(path) == {"one": 1, "other": 2}


# -- unpickling that uses the store

AT_LOAD: dict[str, str] = {
    "writes": "store['written'] = 1",
    "writes and flushes": "store['written'] = 1; store.flush()",
    "grows": "store.put_many({str(i): os.urandom(1 << 20) for i in range(3)})",
    "closes": "store.close()",
    "deletes what is read": "store.pop_of_key()",
    "clears": "store.clear()",
    "has another thread write": "in_thread(lambda: store.put_many({'written': 1}))",
    "has another thread grow": "in_thread(lambda: store.put_many({str(i): os.urandom(1 << 20) for i in range(3)}))",
    "has another thread close": "in_thread(store.close)",
    "forks": "fork_and_read()",
}

READS: dict[str, str] = {
    "[]": "value = store['key']",
    "get_many": "value = store.get_many(['key'])[0][b'key']",
    "items": "value = next(iter(store.items()))[1]",
    "values": "value = next(reversed(store.values()))",
    "setdefault": "value = store.setdefault('key')",
    "==": "store == {'key': 0}; value = None",
}


@pytest.mark.parametrize("at_load", AT_LOAD.values(), ids=AT_LOAD)
def test_unpickling_may_do_anything_with_the_store(path: str, at_load: str) -> None:
    """A `__setstate__` that uses the store it is read from neither crashes nor hangs, and the value is right."""
    source = f"""
        class Loaded:
            def __reduce__(self): return Loaded, (), {{"a": 1}}
            def __setstate__(self, state):
                if active: at_load()

        def in_thread(body):
            thread = threading.Thread(target=body, daemon=True)
            thread.start()
            thread.join(15)
            assert not thread.is_alive()

        def fork_and_read():
            active.clear()
            pid = os.fork()
            if not pid:
                os._exit(store["key"][1] != tail)
            assert os.waitpid(pid, 0)[1] == 0

        class Store(LmdbObjectStore):
            def pop_of_key(self):
                active.clear()
                del self["key"]
                self.flush()

        def at_load(): {at_load}

        active = []
        tail = os.urandom(300_000)
        reads = sys.argv[2:]
        for number, read in enumerate(reads):
            directory = f"{{path}}{{number}}"
            store = Store(directory, key_encoding="utf-8", map_size=1 << 20)
            active.clear()
            store["key"] = [Loaded(), tail, "end"]
            store.flush()
            active.append(True)
            names = {{"store": store}}
            exec(read, names)
            value = names["value"]
            assert value is None or (value[1] == tail and value[2] == "end")
            store.close()
    """
    run_script(source, path, *READS.values(), limit=60)


# -- signal handlers, at each place where one may run


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("flushes", [False, True], ids=["puts", "puts and flushes"])
def test_a_signal_handler_may_write_during_a_flush(path: str, open_store: OpenStore, times: int, flushes: bool) -> None:
    """Wherever in a flush signal handlers stage changes, those arrive, and so do those of the flush."""
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


def test_a_signal_handler_may_write_during_a_put(path: str, open_store: OpenStore) -> None:
    """Wherever in a put that sets off a flush a signal handler stages a change, both arrive."""
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


def test_a_signal_handler_may_write_during_clear(open_store: OpenStore) -> None:
    """Wherever in a `clear` a signal handler stages a change, it is there in the end or cleared with the rest."""
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


def test_a_real_signal_may_write_during_flushes(path: str) -> None:
    """A timer's handler that writes while the main thread flushes loses nothing, of its own or of the main thread's."""
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
def test_an_explicit_write_within_a_commit_raises(
    path: str, open_store: OpenStore, call: Callable[[Store], object]
) -> None:
    """What cannot be done in the midst of this thread's own commit says so, and the commit is not harmed."""
    store, other = open_store(), open_store()
    store["key"] = 1
    other["other"] = 2

    def refused() -> None:
        for each in (store, other):
            with pytest.raises(RuntimeError, match="commit"):
                call(each)

    assert in_each_commit(refused, store.flush) == 1
    store.close(strict=True)
    other.close(strict=True)
    assert contents(path) == {"key": 1, "other": 2}


def test_reads_and_puts_within_a_commit(open_store: OpenStore) -> None:
    """In the midst of this thread's own commit, a signal handler reads what was staged and stages more."""
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


# -- interrupts


def put_and_flush(store: Store) -> None:
    store.put("new", 1)
    store.flush()


INTERRUPTED: dict[str, Callable[[Store], object]] = {
    "[]": lambda store: store["stored"],
    "get_many": lambda store: store.get_many(["stored", "none"]),
    "len": len,
    "items": lambda store: list(store.items()),
    "put": lambda store: store.put("new", 1),
    "flush": put_and_flush,
    "put_many": lambda store: store.put_many({"new": 1}),
    "grow": lambda store: store.put_many({"large": bytes(2 * MIB)}),
    "pop": lambda store: store.pop("stored"),
    "clear": lambda store: store.clear(),
}


# What interrupts the end of a generator that is dropped goes no further.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("call", INTERRUPTED.values(), ids=INTERRUPTED)
def test_an_interrupt_at_any_place_leaves_a_store_that_works(
    open_store: OpenStore, call: Callable[[Store], object]
) -> None:
    """Wherever a call is interrupted, the store then reads, flushes and closes, though the exception is kept."""
    kept: list[BaseException] = []
    for number in count():
        store = open_store(batch_size=2, map_size=MIB, max_readers=4, sync=False)
        store.clear()
        store["stored"] = "value"
        store.flush()
        try:
            reached = at_checkpoint(number, interrupt, lambda store=store: call(store))  # type: ignore[misc]
        except Interrupt as error:
            reached = True
            if sys.version_info >= (3, 13):  # before that, a frame that was profiled holds more than its variables
                kept.append(error)
        place = f"checkpoint {number}"
        assert store.get("stored") in ("value", None), place
        store["after"] = number
        store.flush()
        assert dict(store).keys() >= {"after"}, place
        in_thread(lambda store=store, number=number: store.put_many({"thread": number}), limit=10)  # type: ignore[misc]
        assert (store["after"], store["thread"]) == (number, number), place
        store.close(strict=True)
        if not reached:
            break
    assert number > 2


class Guarded(Lock):
    """A lock as in CPython 3.14, in every version."""

    __enter__ = Lock._enter


def stand_in() -> Lock:
    """The lock of a file after a transaction, as a thread finds it that looked it up during the transaction."""
    lock: Any = TransactionLock
    return lock(Lock(), SimpleNamespace(abandoned=False, ended=True))  # type: ignore[no-any-return]


guarded = pytest.param(
    Guarded,
    marks=pytest.mark.skipif(not hasattr(Lock, "_recursion_count"), reason="needs the count of CPython 3.11 and later"),
)


@pytest.mark.parametrize("kind", [Lock, guarded, stand_in])
def test_an_interrupt_at_any_place_leaves_no_lock_taken(kind: Callable[[], Lock]) -> None:
    """Wherever a `with` statement is interrupted, its lock is free after it; and it is taken within."""
    lock = kind()

    def body() -> None:
        with lock:
            taken.append(lock._is_owned())

    taken: list[bool] = []
    for number in count():
        try:
            reached = at_checkpoint(number, interrupt, body)
        except Interrupt:
            reached = True
        assert not lock._is_owned(), f"checkpoint {number}"
        if not reached:
            break
    assert taken
    assert all(taken)


@pytest.mark.parametrize("kind", [Lock, guarded, stand_in])
def test_an_interrupt_at_any_place_leaves_a_lock_taken_as_often_as_before(kind: Callable[[], Lock]) -> None:
    """Wherever an inner `with` statement is interrupted, its lock is free after the outer one, and not before."""
    lock = kind()

    def body() -> None:
        with lock:
            pass

    for number in count():
        with lock:
            try:
                reached = at_checkpoint(number, interrupt, body)
            except Interrupt:
                reached = True
            assert lock._is_owned(), f"checkpoint {number}"
        assert not lock._is_owned(), f"checkpoint {number}"
        if not reached:
            break
    assert number


def test_an_interrupt_of_a_finaliser_leaves_no_lock_taken(path: str, open_store: OpenStore) -> None:
    """Wherever the close of a collected store is interrupted, others can write, and what it held is written."""
    for number in count():
        store = open_store()
        dropped: Store = LmdbObjectStore(path, key_encoding="utf-8")
        dropped["dropped"] = number
        environment = store._environment
        environment.collected.append(dropped)
        try:
            reached = at_checkpoint(number, interrupt, environment.close_collected_unless_locked)
        except Interrupt:
            reached = True
        assert not environment.lock._is_owned(), f"checkpoint {number}"
        store.put_many({"next": number})
        store.close()
        assert contents(path) == {"dropped": number, "next": number}, f"checkpoint {number}"
        if not reached:
            break


def test_an_interrupt_at_any_place_in_clear_leaves_all_or_nothing(open_store: OpenStore) -> None:
    """Wherever `clear` is interrupted, what was stored and what was pending are both there or both gone."""
    store = open_store(autoflush_on_read=False)
    for number in count():
        store.put_many({"stored": 1})
        store["pending"] = 1
        try:
            reached = at_checkpoint(number, interrupt, store.clear)
        except Interrupt:
            reached = True
        assert set(store) in (set(), {"stored", "pending"}), f"checkpoint {number}"
        if not reached:
            break


def test_an_interrupt_in_the_flush_of_close_leaves_the_store_open(path: str, open_store: OpenStore) -> None:
    """Wherever the flush within `close` is interrupted, nothing is lost: a second `close` does the rest."""
    for number in count():
        store = open_store()
        store["key"] = number
        try:
            reached = at_checkpoint(number, interrupt, store.close)
        except Interrupt:
            reached = True
        store.close(strict=True)
        assert contents(path) == {"key": number}, f"checkpoint {number}"
        if not reached:
            break


def test_interrupted_growth_beside_readers(open_store: OpenStore) -> None:
    """An interrupt in the midst of growth leaves neither a shut gate nor a reader in error."""
    store = open_store(map_size=MIB, sync=False)
    store.put_many({"key": "value"})

    def read() -> None:
        for _ in range(100):
            assert store["key"] == "value"

    def interrupted() -> None:
        for number in range(0, 60, 3):
            with suppress(Interrupt):
                at_checkpoint(number, interrupt, lambda: store.put_many({"large": bytes(8 * MIB)}))
        store.put_many({"last": 1})

    with looping(read, read, read):
        in_thread(interrupted, limit=20)
    assert store["last"] == 1


@pytest.mark.slow  # a storm: 3,000 interrupts of each call
@pytest.mark.parametrize(
    "call",
    ["store.get('key')", "store.put(str(next(numbers) % 50), 1)", "store.put('a', 1); store.flush()", "list(store)"],
)
def test_a_storm_of_interrupts(path: str, call: str) -> None:
    """After thousands of real interrupts the store flushes, grows and closes at once, and no reader slot is taken."""
    source = f"""
        from itertools import count, islice, pairwise
        numbers = count()
        store = opened(sync=False, map_size=1 << 20, batch_size=5)
        store["key"] = list(range(20))
        store.flush()
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        interrupts = 0
        while interrupts < 3000:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0001)
                while True:
                    {call}
            except KeyboardInterrupt:
                interrupts += 1
        assert store["key"] == list(range(20))
        store["after"] = 1
        store.flush()
        def grow(): store.put_many({{"large": bytes(80 << 20)}})
        thread = threading.Thread(target=grow, daemon=True)
        thread.start()
        thread.join(15)
        assert not thread.is_alive()
        assert store["after"] == 1
        assert "no active" in store.env.readers(), store.env.readers()
        store.close(strict=True)
    """
    run_script(source, path)


# -- reader slots


def test_a_read_waits_for_a_reader_slot(open_store: OpenStore) -> None:
    """While the reader table is full a read waits, and has its answer once there is a slot."""
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


def test_a_reader_table_that_stays_full_is_an_error_in_the_end(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read does not wait for a reader slot for ever."""
    monkeypatch.setattr(_environment, "PATIENCE", 0.05)
    store = open_store(max_readers=1)
    store.put_many({"key": 1})
    with store.env.begin(), pytest.raises(lmdb.ReadersFullError):
        store["key"]
    assert store["key"] == 1


class Stubborn:
    """Its pickle cannot be loaded."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return int, ("no number",)


def test_kept_exceptions_keep_no_reader_slot(open_store: OpenStore) -> None:
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
def test_kept_interrupts_keep_no_reader_slot(open_store: OpenStore, scan: Callable[[Store], object]) -> None:
    """Wherever a read is interrupted, the exception with its traceback holds no slot of the reader table."""
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
    assert "no active" in store.env.readers()


def test_a_kept_error_of_a_write_keeps_no_transaction(open_store: OpenStore) -> None:
    """The exception of a failed write, kept with its traceback, holds no write transaction open."""
    store = open_store(map_size=MIB, max_map_size=MIB)
    kept = []
    for _ in range(5):
        with pytest.raises(lmdb.MapFullError) as caught:
            store.put_many({"large": bytes(2 * MIB)})
        kept.append(caught.value)
    in_thread(lambda: store.put_many({"key": 1}), limit=10)
    assert store["key"] == 1


# -- stores that are collected


def put_and_drop(path: str, **items: int) -> None:
    """Write into a store that nobody closes, which lasts until the reference count says so."""
    store: Store = LmdbObjectStore(path, key_encoding="utf-8")
    store.update(items)


def put_and_drop_in_a_cycle(path: str, **items: int) -> None:
    """The same, for a store that only the collector can find."""
    store: Store = LmdbObjectStore(path, key_encoding="utf-8")
    store.update(items)
    store.itself = store  # type: ignore[attr-defined]


def test_a_store_nobody_closed_is_flushed_as_it_goes(path: str) -> None:
    """A store that goes out of scope writes what is pending, and warns of itself."""
    with pytest.warns(ResourceWarning, match="db"):
        put_and_drop(path, key=1)
    assert contents(path) == {"key": 1}


def test_a_store_in_a_cycle_is_flushed_by_the_collector(path: str) -> None:
    """A store that the collector finds writes what is pending, and warns of itself."""
    put_and_drop_in_a_cycle(path, key=1)
    with pytest.warns(ResourceWarning, match="db"):
        gc.collect()
    assert contents(path) == {"key": 1}


def test_a_closed_store_goes_without_a_warning(path: str, recwarn: pytest.WarningsRecorder) -> None:
    """A store that was closed has nothing to warn of."""
    store: Store = LmdbObjectStore(path)
    store.close()
    del store
    gc.collect()
    assert not recwarn.list


DROPS = {"by reference count": put_and_drop, "by the collector": put_and_drop_in_a_cycle}


@pytest.mark.parametrize("drop", DROPS.values(), ids=DROPS)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_store_collected_in_the_midst_of_a_commit_is_not_lost(
    path: str, open_store: OpenStore, drop: Callable[..., None]
) -> None:
    """The collector may run in the midst of a commit to the same file: the next one writes what it found."""
    store = open_store()
    store["key"] = 1

    def collected() -> None:
        if not dropped:
            dropped.append(True)
            drop(path, dropped=2)
            gc.collect()

    dropped: list[bool] = []
    in_each_commit(collected, store.flush)
    assert dropped
    store["next"] = 3
    store.flush()
    assert (store["dropped"], store["key"]) == (2, 1)
    store.close(strict=True)
    assert contents(path) == {"key": 1, "dropped": 2, "next": 3}


@pytest.mark.parametrize("drop", DROPS.values(), ids=DROPS)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_the_last_close_writes_what_was_collected_in_its_commit(
    path: str, open_store: OpenStore, drop: Callable[..., None]
) -> None:
    """A store collected in the midst of the last other one's final flush is written, and the file is closed."""
    store = open_store()
    store["key"] = 1

    def collected() -> None:
        if not dropped:
            dropped.append(True)
            drop(path, dropped=2)
            gc.collect()

    dropped: list[bool] = []
    in_each_commit(collected, store.close)
    assert contents(path) == {"key": 1, "dropped": 2}


@pytest.mark.parametrize("drop", DROPS.values(), ids=DROPS)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_collection_waits_for_no_other_thread(path: str, open_store: OpenStore, drop: Callable[..., None]) -> None:
    """A store collected while another thread commits goes at once; what was pending arrives with the next commit."""
    store = open_store()
    store["key"] = 1
    amid, collected = threading.Event(), threading.Event()
    dropped: list[Store] = [LmdbObjectStore(path, key_encoding="utf-8")]
    dropped[0]["dropped"] = 2
    if drop is put_and_drop_in_a_cycle:
        dropped[0].itself = dropped[0]  # type: ignore[attr-defined]

    def wait_once() -> None:
        amid.set()
        assert collected.wait(20)

    def collect() -> None:
        assert amid.wait(20)
        dropped.clear()
        gc.collect()
        collected.set()

    together(lambda: in_each_commit(wait_once, store.flush), collect)
    store["next"] = 3
    store.flush()
    assert dict(store) == {"key": 1, "dropped": 2, "next": 3}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_collection_does_not_wait_for_the_lock(path: str, open_store: OpenStore) -> None:
    """A store collected while another thread holds the lock, committing or not, goes at once and is not lost."""
    store = open_store()
    held, collected = threading.Event(), threading.Event()

    def hold() -> None:
        with store._environment.lock:
            held.set()
            assert collected.wait(20)

    def drop() -> None:
        assert held.wait(20)
        try:
            second.clear()
        finally:
            collected.set()

    second: list[Store] = [open_and_put(path)]
    together(hold, drop)
    store["key"] = 1
    store.flush()
    assert dict(store) == {"key": 1, "dropped": 2}


def open_and_put(path: str) -> Store:
    """A store with a pending change."""
    store: Store = LmdbObjectStore(path, key_encoding="utf-8")
    store["dropped"] = 2
    return store


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_store_collected_while_this_thread_iterates_is_written(path: str, open_store: OpenStore) -> None:
    """An iterator under way is in nobody's way when a store of the same file is collected."""
    store = open_store()
    store.put_many({f"k{i:03}": i for i in range(100)})
    keys = iter(store)
    assert next(keys) == "k000"
    put_and_drop(path, z=1)
    assert list(keys)[-1] == "z"


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_interrupt_while_a_collected_store_is_written_does_not_lose_it(path: str, open_store: OpenStore) -> None:
    """Wherever the writing of a collected store is interrupted, what it held is there in the end."""
    for number in count():
        store = open_store()
        store["key"] = number

        dropped: list[bool] = []

        def collected(number: int = number, dropped: list[bool] = dropped) -> None:
            if not dropped:
                dropped.append(True)
                put_and_drop(path, dropped=number)

        in_each_commit(collected, store.flush)
        store["next"] = number
        try:
            reached = at_checkpoint(number, interrupt, store.flush)
        except Interrupt:
            reached = True
        store.flush()
        store["last"] = number
        store.flush()
        store.close(strict=True)
        assert contents(path) == dict.fromkeys(("key", "dropped", "next", "last"), number), f"checkpoint {number}"
        if not reached:
            break


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_collected_store_that_cannot_be_written_is_logged(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """A collected store whose flush fails says in the log what was lost, and closes the file."""

    def drop() -> None:
        store: Store = LmdbObjectStore(path, map_size=MIB, max_map_size=MIB)
        store[b"large"] = bytes(2 * MIB)

    with caplog.at_level(logging.ERROR):
        drop()
    assert "Error during final flush on close" in caplog.text
    assert contents(path) == {}


def test_signals_arrive_in_tests() -> None:
    """`at_checkpoint` stands for a signal: a real one reaches its handler at such a place too."""
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


@pytest.mark.slow  # 900 stores are opened and collected
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_stores_of_one_file_that_are_collected_together(path: str) -> None:
    """The collector clears all references before it runs the first finaliser: none closes the file under the next."""
    for number in range(300):
        stores: list[Any] = [LmdbObjectStore(path, key_encoding="utf-8", sync=False) for _ in range(3)]
        for name, store in zip("abc", stores):
            store[f"{name}{number}"] = number
        stores.append(stores)
        del stores, store
        if number % 5 == 0:
            gc.collect()
    gc.collect()
    assert contents(path) == {f"{name}{number}": number for name in "abc" for number in range(300)}


@pytest.mark.slow  # 450 stores are opened and collected
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_threads_that_drop_their_stores(path: str) -> None:
    """Stores opened, written and dropped in cycles by several threads: each of their writes is there."""
    accepted: list[str] = []

    def use(name: str) -> None:
        for number in range(150):
            store: Any = LmdbObjectStore(path, key_encoding="utf-8", sync=False)
            cycle = [store]
            cycle.append(cycle)
            store[f"{name}{number}"] = 1
            accepted.append(f"{name}{number}")
            if number % 7 == 0:
                del store, cycle
                gc.collect()

    with frequent_switches():
        together(*(lambda name=name: use(name) for name in "abc"))
    gc.collect()
    assert contents(path).keys() == set(accepted)
