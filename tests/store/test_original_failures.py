"""Failures of the first implementation of this interface: lost data, crashes and hangs, which must not come back.

A test that could crash or hang the interpreter runs a script of its own.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, ItemsView, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from conftest import OpenStore
from support.files import contents
from support.programs import in_child, run_script

MIB = 1024 * 1024


# -- 1. one key that is too long

USES: dict[str, Callable[[Any], object]] = {
    "flush": lambda store: store.flush(),
    "put_many": lambda store: store.put_many({"many": 3}),
    "get": lambda store: store.get("stored"),
    "close": lambda store: store.close(strict=True),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_put_key_too_long_spoils_nothing_else(path: str, open_store: OpenStore, use: Callable[[Any], object]) -> None:
    """After a key that cannot be stored, everything else works, and its neighbours in the buffer arrive."""
    store = open_store()
    store.put("stored", 1)
    store.flush()
    store.put("neighbour", 2)
    with suppress(ValueError):
        store.put("k" * (store.env.max_key_size() + 89), 0)
    use(store)
    store.close()
    assert {"stored": 1, "neighbour": 2}.items() <= contents(path).items()


def test_put_key_too_long_is_refused_at_once(store: Any) -> None:
    """A key that cannot be stored is refused by the call that brings it."""
    with pytest.raises(ValueError, match=r"511|1978"):
        store.put("k" * (store.env.max_key_size() + 1), 0)


# -- 2. a script that ends without close()


def test_script_without_close_loses_nothing(path: str) -> None:
    """The script's writes are in the file though it never closed its store."""
    run_script("store = opened()\nstore['key'] = 'value'\n", path)
    assert contents(path) == {"key": "value"}


# -- 3. a `with` block whose last flush fails


def test_with_block_whose_last_flush_fails_raises(open_store: OpenStore) -> None:
    """A `with` block does not end as if all were well when its changes could not be stored."""
    with pytest.raises(RuntimeError), open_store(map_size=MIB, max_map_size=MIB) as store:
        store["key"] = os.urandom(2 * MIB)


# -- 4. another process grows the file

CALLS: dict[str, Callable[[Any], object]] = {
    "get": lambda store: store.get("old"),
    "get_many": lambda store: store.get_many(["old"]),
    "exists": lambda store: store.exists("old"),
    "flush": lambda store: (store.put("new", 2), store.flush()),
    "put_many": lambda store: store.put_many({"new": 2}),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_growth_by_another_process_is_followed_by_every_call(
    path: str, open_store: OpenStore, call: Callable[[Any], object]
) -> None:
    """Every call works once another process has made the file larger than this one's map."""
    store = open_store(map_size=MIB)
    store["old"] = 1
    store.flush()
    run_script("with opened(map_size=64 << 20) as store: store['large'] = os.urandom(8 << 20)", path)
    call(store)
    assert store["old"] == 1
    assert len(store["large"]) == 8 * MIB


# -- 5. and 6. unpickling that uses the store, and interrupted reads

LOADS = """
class Loaded:
    def __init__(self, name): self.name = name
    def __reduce__(self): return Loaded, (self.name,), {"a": 1}
    def __setstate__(self, state): at_load()

store = opened(map_size=1 << 20)
tail = os.urandom(600_000)
store["key"] = [Loaded("x"), tail, "end"]
store.flush()
"""


def test_get_value_that_grows_the_map_is_right(path: str) -> None:
    """A `__setstate__` that writes so much that the map grows crashes nothing, and the value is right."""
    source = LOADS + (
        "def at_load(): store.put_many({str(i): os.urandom(1 << 20) for i in range(80)})\n"
        "value = store['key']\n"
        "assert value[1] == tail and value[2] == 'end'\n"
        "assert len(store['79']) == 1 << 20\n"
    )
    run_script(source, path, limit=60)


def test_get_value_that_waits_for_growth_is_right(path: str) -> None:
    """A `__setstate__` that waits for a thread whose writes grow the map crashes nothing, and the value is right."""
    source = LOADS + (
        "def grow(): store.put_many({str(i): os.urandom(1 << 20) for i in range(80)})\n"
        "def at_load():\n"
        "    thread = threading.Thread(target=grow, daemon=True)\n"
        "    thread.start()\n"
        "    thread.join(20)\n"
        "    assert not thread.is_alive()\n"
        "value = store['key']\n"
        "assert value[1] == tail and value[2] == 'end'\n"
    )
    run_script(source, path, limit=60)


def test_close_while_a_value_is_unpickled_ends(path: str) -> None:
    """A `__setstate__` that closes the store gets its way, and the read its value."""
    source = LOADS + "def at_load(): store.close()\nvalue = store['key']\nassert value[1] == tail\n"
    run_script(source, path, limit=10)


@pytest.mark.posix
@pytest.mark.slow  # a storm: 2,000 interrupts of `get`
def test_close_after_interrupted_reads_ends(path: str) -> None:
    """However often `get` was interrupted, `close` comes back."""
    source = """
        store = opened()
        store["key"] = list(range(20))
        store.flush()
        interrupts = 0
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        while interrupts < 2000:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                while True:
                    store.get("key")
            except KeyboardInterrupt:
                interrupts += 1
        store.close()
    """
    run_script(source, path, limit=30)


# -- 7. put_many of a mapping whose items() works once


class Once(Mapping[str, bytes]):
    """A mapping that reads from a stream: it can be gone through once."""

    def __init__(self, items: dict[str, bytes]) -> None:
        self.rows = items
        self.stream = iter(items.items())

    def __getitem__(self, key: str) -> bytes:
        return self.rows[key]

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self.stream)

    def __len__(self) -> int:
        return len(self.rows)

    def items(self) -> ItemsView[str, bytes]:
        return self.stream  # type: ignore[return-value]  # that is the point


def test_put_many_mapping_that_can_be_read_once_is_stored_whole(path: str, open_store: OpenStore) -> None:
    """`put_many` goes through its items once, however often the map must grow meanwhile."""
    items = {f"k{i:02}": os.urandom(100_000) for i in range(20)}
    store = open_store(map_size=MIB)
    store.put_many(Once(items))
    store.close()
    assert contents(path) == items


# -- 8. forks


@pytest.mark.posix
def test_fork_that_closes_its_store_writes_nothing(path: str, open_store: OpenStore) -> None:
    """A fork that closes its copy of the store writes nothing: the parent has flushed before, and alone."""
    store = open_store(autoflush_on_read=False)
    store["stored"] = 1
    store.flush()
    store["pending"] = 1
    transactions = store.env.info()["last_txnid"]
    in_child(store.close)
    assert store.env.info()["last_txnid"] == transactions + 1
    assert store.get("pending") == 1
    store.close()
    assert contents(path) == {"stored": 1, "pending": 1}


@pytest.mark.posix
def test_fork_during_another_threads_write_can_read(open_store: OpenStore) -> None:
    """A fork during another thread's `put_many` can read: it has inherited no lock that nobody will release."""
    store = open_store()
    store.put_many({"key": 1})
    begun, forked = threading.Event(), threading.Event()

    def items() -> Iterator[tuple[str, int]]:
        yield "first", 1
        begun.set()
        assert forked.wait(30)
        yield "second", 2

    def put() -> None:
        store.put_many(items())

    def read() -> None:
        assert store.get("key") == 1

    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    assert begun.wait(30)
    try:
        in_child(read, limit=10)
    finally:
        forked.set()
        thread.join(30)
    assert store.get("second") == 2


# -- 9. a full disk


@pytest.mark.posix
def test_read_on_a_full_disk_answers(path: str) -> None:
    """While nothing can be written, what is stored and what is pending can be read; all arrives once there is room."""
    source = """
        import resource
        store = opened()
        store["stored"] = 1
        store.flush()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = os.path.getsize(os.path.join(path, "data.mdb"))
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        large = os.urandom(1 << 20)
        store["pending"] = large
        assert store.get("stored") == 1
        assert store.get_many(["stored", "none"]) == ({b"stored": 1}, ["none"])
        assert store.exists("stored") and not store.exists("none")
        assert store.get("pending") == large
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        store.close(strict=True)
    """
    run_script(source, path)
    assert contents(path)["stored"] == 1
    assert len(contents(path)["pending"]) == MIB


# -- 10. many large values


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_put_large_values_keeps_memory_bounded(path: str) -> None:
    """Writing 400 MB takes a fraction of that in memory, though it is far fewer than `batch_size` values."""
    source = """
        store = opened(sync=False, map_size=1 << 29)
        value = bytes(10_000_000)
        for i in range(40):
            store[str(i)] = value
        store.close()
        with open("/proc/self/status") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        assert peak < 300_000, f"{peak} kB"
    """
    run_script(source, path)
