"""Values of 64 KiB and more, whose large strings are copied out of LMDB's map one by one."""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any
from unittest.mock import patch

import pytest
from conftest import OpenStore
from support.checkpoints import Interrupt, at_checkpoint, interrupt
from support.programs import in_child, run_script
from support.threads import frequent_switches, looping, together

from lmdb_object_store import LmdbObjectStore, StoreClosedError
from lmdb_object_store._environment import read as _reads
from lmdb_object_store._values.large import LARGE

Store = LmdbObjectStore[Any, Any]
in_parts = pytest.mark.skipif(not _reads._COPIES_AT_ONCE, reason="this interpreter reads every value as bytes")


def large(seed: int, size: int = 2 * LARGE) -> bytes:
    """Return bytes that no other seed has, and that no mixture of two values equals."""
    return hashlib.sha256(b"%d" % seed).digest() * (size // 32)


def filled(open_store: OpenStore, number: int = 12, **options: Any) -> Store:
    """Open a store of large values of different sizes, committed."""
    store = open_store(**{"map_size": 1 << 30, "sync": False, **options})
    store.put_many({f"k{i}": large(i, LARGE * (1 + i % 4)) for i in range(number)})
    return store


def check(store: Store, i: int) -> None:
    """Check the value of `k{i}`."""
    assert store[f"k{i}"] == large(i, LARGE * (1 + i % 4))


@in_parts
@pytest.mark.parametrize("key_encoding", ["utf-8", None])
def test_get_after_a_large_value_reads_in_parts(open_store: OpenStore, key_encoding: str | None) -> None:
    """After a large value the next is read in parts, after a small one it is not, by text keys and by bytes."""
    store = open_store(key_encoding=key_encoding)
    store.put_many({b"small": 1, b"large": large(1), b"list": list(range(70_000))})
    given = [key if key_encoding is None else key.decode() for key in (b"small", b"large", b"list")]
    for expected, key in ((False, 1), (True, 1), (True, 2), (True, 0), (False, 0)):
        assert store._expects_large is expected
        with patch.object(_reads, "lookup_large", wraps=_reads.lookup_large) as in_parts:
            assert store.get(given[key]) == (1, large(1), list(range(70_000)))[key]
        assert in_parts.called is expected


@pytest.mark.parametrize("expected", [False, True])
def test_get_large_text_that_is_damaged_names_its_key(open_store: OpenStore, expected: bool) -> None:
    """Damaged text cannot be unpickled, and its error names the key, also if it would be taken out of the pickle."""
    store = filled(open_store)
    if expected:
        check(store, 0)
    with store.env.begin(write=True) as txn:
        txn.put(b"bad", pickle.dumps("x" * LARGE).replace(b"xxx", b"x\xffx", 1))
    with pytest.raises(RuntimeError, match="DB key 'bad'"):
        store["bad"]


@pytest.mark.parametrize("warm", [False, True])
def test_get_after_a_large_value_is_as_ever(open_store: OpenStore, warm: bool) -> None:
    """Absent keys, pending changes, empty keys and damaged values are read as usual after a small or a large value."""
    store = filled(open_store)
    store.put_many({"": "empty", "bad": 0})
    with store.env.begin(write=True) as txn:
        txn.put(b"bad", b"\x80\x05no pickle" * LARGE)

    def warmed() -> Store:
        if warm:
            check(store, 0)
            check(store, 1)
        return store

    assert warmed().get("no") is None
    assert warmed().get("no", 7) == 7
    with pytest.raises(KeyError, match="Key not found: 'no'"):
        warmed()["no"]
    assert warmed()[""] == "empty"
    with pytest.raises(RuntimeError, match="DB key 'bad'"):
        warmed()["bad"]
    assert "k1" in warmed()
    store.autoflush_on_read = False
    store["k3"] = "pending"
    assert warmed()["k3"] == "pending"
    del store["k3"]
    assert warmed().get("k3") is None
    assert store.write_buffer
    check(store, 4)
    store.autoflush_on_read = True
    check(store, 5)
    assert not store.write_buffer
    assert warmed().get("k3") is None
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store["k1"]


def test_get_next_value_does_not_change_an_earlier_one(open_store: OpenStore) -> None:
    """Reading the next value changes no earlier value, whatever its type."""
    kinds: list[Callable[[bytes], Any]] = [bytes, bytearray, bytes.hex, lambda data: [data, {"a": data}]]
    store = open_store(map_size=1 << 28)
    values = [kind(large(i)) for i, kind in enumerate(kinds * 2)]
    store.put_many({str(i): value for i, value in enumerate(values)})
    read = [store[str(i)] for i in range(len(values))]
    assert read == values


NESTED = """
from lmdb_object_store import LmdbObjectStore
PAD = bytes(200_000)
class Value:
    def __init__(self, number): self.number, self.pad = number, PAD
    def __setstate__(self, state):
        self.__dict__.update(state)
        hook(self.number)
store = LmdbObjectStore(sys.argv[1], key_encoding="utf-8", map_size=1 << 24, sync=False)
hook = lambda number: None
store.put_many({f"k{i}": Value(i) for i in range(20)})
"""


@pytest.mark.posix
@pytest.mark.parametrize(
    "hook",
    [
        "lambda n: n and store[f'k{n - 1}']",
        "lambda n: store.put_many({f'new{n}': bytes(1 << 23)})",
        "lambda n: store.env.set_mapsize(store.env.info()['map_size'] + (1 << 22))",
        "lambda n: os.waitpid(os.fork() or os._exit(0), 0)",
        "lambda n: store.clear() or store.put_many({f'k{i}': Value(i) for i in range(20)})",
    ],
)
def test_get_large_value_that_uses_its_store_is_right(path: str, hook: str) -> None:
    """`__setstate__` reads other large values, grows or moves the map, forks, rewrites: every value is right."""
    script = f"""import os, sys
{NESTED}
for i in range(20):
    assert store[f"k{{i}}"].number == i
hook = {hook}
for i in range(20):
    value = store[f"k{{i}}"]
    assert (value.number, value.pad) == (i, PAD), i
hook = lambda number: None
store.close()
"""
    run_script(script, path)


def test_get_large_value_that_closes_its_store_is_right(path: str) -> None:
    """The value that is being read is right, and the next read is refused."""
    script = f"""import sys
{NESTED}
store["k0"], store["k1"]
hook = lambda number: store.close()
assert store["k2"].pad == PAD
try:
    store["k3"]
except ValueError:
    print("closed")
"""
    assert "closed" in run_script(script, path).stdout


@pytest.mark.posix
@pytest.mark.parametrize("unpickle", ["bytes", "sleeping"])
def test_get_beside_growth_and_forks_gives_whole_values(open_store: OpenStore, unpickle: str) -> None:
    """While others move the map, rewrite values and fork, every read gets one whole value that was there."""
    store = filled(open_store, map_size=1 << 25)
    numbers = count()

    def read() -> None:
        for i in range(6):
            check(store, i)

    def rewrite() -> None:
        number = next(numbers)
        store.put_many({f"k{i}": large(i, LARGE * (1 + i % 4)) for i in range(6, 12)})
        store.put_many({f"other{number % 3}": large(number)})

    def move() -> None:
        with store._environment.lock:
            store._environment.resize(store._environment.options["map_size"] + (1 << 16))

    def fork() -> None:
        in_child(lambda: check(store, 1))

    with frequent_switches(), looping(read, read, rewrite, move):
        if unpickle == "sleeping":
            for _ in range(3):
                fork()
        for _ in range(150):
            read()


def test_get_beside_moves_of_the_map_gives_whole_values(path: str) -> None:
    """Values stay right though the map moves at any point of a read.

    In a process of its own, which would be killed by a read of memory that is no longer there.
    """
    script = """
import sys, threading
from lmdb_object_store import LmdbObjectStore
store = LmdbObjectStore(sys.argv[1], map_size=1 << 26, sync=False)
store.put_many({b"%d" % i: bytes([i]) * 300_000 for i in range(8)})
ended = threading.Event()
def move():
    size = 1 << 26
    while not ended.is_set():
        size = (1 << 26) if size > 1 << 27 else size + (1 << 12)
        with store._environment.lock:
            store.env.set_mapsize(size)
mover = threading.Thread(target=move)
mover.start()
sys.setswitchinterval(1e-6)
for _ in range(100):
    for i in range(8):
        assert store[b"%d" % i] == bytes([i]) * 300_000
ended.set()
mover.join()
print("done")
"""
    assert "done" in run_script(script, path).stdout


def test_get_beside_close_raises_the_closed_error_alone(open_store: OpenStore) -> None:
    """A close during large reads ends them with the closed error, and with no other."""
    for _ in range(10):
        store = filled(open_store, 4)
        started = threading.Barrier(3, timeout=30)

        def read(store: Store = store, started: threading.Barrier = started) -> None:
            check(store, 0)
            started.wait()
            with suppress(StoreClosedError):
                while True:
                    check(store, 1)

        def close(store: Store = store, started: threading.Barrier = started) -> None:
            started.wait()
            store.close()

        with frequent_switches():
            together(read, read, close)


@pytest.mark.posix
def test_get_interrupted_by_a_signal_handler_is_right(open_store: OpenStore) -> None:
    """A handler that writes, grows the map and reads large values itself leaves the read that it broke into right."""
    store = filled(open_store, map_size=1 << 23)
    numbers = count()

    def handler(*_: object) -> None:
        number = next(numbers)
        check(store, number % 12)
        if number % 10 == 0:
            store._environment.resize(store._environment.options["map_size"] + (1 << 20))

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        while next(numbers) < 600:
            for i in range(12):
                check(store, i)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.posix
def test_get_with_a_fork_at_any_point_is_right(open_store: OpenStore) -> None:
    """A handler that forks closes the file, and so takes its map away: the read that it broke into is right.

    In a child, which would be killed by a read of memory that is no longer there.
    """
    store = filled(open_store)

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    def at_every_point() -> None:
        check(store, 0)
        for number in count():
            check(store, 1)
            if not at_checkpoint(number, fork, lambda: check(store, 2)):
                break
            check(store, 3)
        assert number > 5

    in_child(at_every_point)


def test_get_after_an_interrupted_read_is_right(open_store: OpenStore) -> None:
    """An exception at any point of a read leaves nothing behind, no reader's slot either."""
    store = filled(open_store)
    check(store, 0)
    for number in count():
        check(store, 1)
        with suppress(Interrupt):
            if not at_checkpoint(number, interrupt, lambda: check(store, 2)):
                break
        check(store, 3)
    assert number > 3
    gc.collect()
    assert store.env.readers().count(str(os.getpid())) <= 1


@pytest.mark.skipif(sys.version_info < (3, 13), reason="there a frame that was profiled holds more than its variables")
def test_get_interrupted_anywhere_keeps_no_transaction_open(open_store: OpenStore) -> None:
    """The traceback of an interrupted read, which a program may keep, keeps no read transaction."""
    store = filled(open_store)
    check(store, 0)
    kept: list[Interrupt] = []
    for number in count():
        try:
            if not at_checkpoint(number, interrupt, lambda: check(store, 1)):
                break
        except Interrupt as error:
            kept.append(error)
    assert kept
    assert store.stats().readers == 0


def test_get_after_growth_by_another_process_is_right(path: str, open_store: OpenStore) -> None:
    """A map that another process has outgrown is adopted during large reads."""
    store = filled(open_store, map_size=1 << 24)
    check(store, 0)
    check(store, 1)
    script = """import sys
from lmdb_object_store import LmdbObjectStore
with LmdbObjectStore(sys.argv[1]) as store:
    store.put_many({b"far%d" % i: bytes(1 << 20) for i in range(40)})
    store.put_many({b"k1": "new"})
"""
    run_script(script, path)
    assert store["k1"] == "new"
    check(store, 2)
    check(store, 3)
    assert len(store) == 52


def test_get_large_value_reads_all_parts_in_one_transaction(open_store: OpenStore) -> None:
    """A value that is replaced at each transaction is read as one of them left it."""
    store = open_store()
    numbers = count(1)

    def begin(**options: Any) -> Any:
        number = next(numbers)
        store.put_many({"k": [bytes([number]) * LARGE for _ in range(3)]})
        return store._environment.begin(**options)

    data, strings = _reads._parts(begin, b"k")
    assert pickle.loads(data, buffers=strings) == [b"\1" * LARGE] * 3
