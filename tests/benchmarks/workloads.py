"""The workloads: what is timed, over how many operations, and which raw loop it is compared to."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from session import Session, is_same, random_keys, value_of
from systems import COMMIT_EVERY, Pair

Sample = tuple[float, int]  # seconds (or bytes) in all, number of operations
Run = Callable[[Session, int], list[Sample]]


@dataclass(frozen=True)
class Row:
    """A line of the tables. `unit` is "s" an operation, operations "1/s", or "B" (bytes) an operation."""

    name: str
    label: str
    unit: str = "s"


@dataclass(frozen=True)
class Workload:
    """`run(session, count)` does about `count` operations, and returns a sample for each of `rows`, or none at all.

    `baseline` is the system whose time in the same round divides the others'. `most` says how many operations a
    store of so many keys calls for; None: the workload sees to its own length. `alone`: it has a process of its
    own, and one round.
    """

    name: str
    run: Run
    rows: tuple[Row, ...]
    baseline: str | None
    most: Callable[[int], int] | None = lambda number: number
    alone: bool = False


# -- reads of a filled store


def get(session: Session, count: int) -> list[Sample]:
    store, numbers = session.filled(None), session.sample(count)
    keys = session.keys(numbers)
    seconds, value = session.clock(lambda: session.system.get(store, keys))
    assert value == value_of(numbers[-1])
    return [(seconds, count)]


def contains(session: Session, count: int) -> list[Sample]:
    store, keys = session.filled(None), session.absent(count)
    seconds, found = session.clock(lambda: session.system.contains(store, keys))
    assert found == 0
    return [(seconds, count)]


def get_absent(session: Session, count: int) -> list[Sample]:
    store, keys = session.filled(None), session.absent(count)
    seconds, found = session.clock(lambda: session.system.get_default(store, keys))
    assert found == 0
    return [(seconds, count)]


def get_many(session: Session, count: int) -> list[Sample]:
    store, keys = session.filled(None), session.keys(session.sample(count))
    groups = [keys[start : start + 100] for start in range(0, count, 100)]
    seconds, found = session.clock(lambda: session.system.get_many(store, groups))
    assert found == count
    return [(seconds, count)]


def items(session: Session, count: int) -> list[Sample]:
    store = session.filled(None)
    seconds, found = session.clock(lambda: session.system.items(store, _or_all(session, count)))
    assert found == count
    return [(seconds, count)]


def keys(session: Session, count: int) -> list[Sample]:
    store = session.filled(None)
    seconds, found = session.clock(lambda: session.system.keys(store, _or_all(session, count)))
    assert found == count
    return [(seconds, count)]


def _or_all(session: Session, count: int) -> int:
    """`count`, or more than there are where that is all: so that too many are noticed."""
    return count + 1 if count == session.number else count


def length(session: Session, count: int) -> list[Sample]:
    store = session.filled(None)
    seconds, found = session.clock(lambda: session.system.len(store, count))
    assert found == session.number
    return [(seconds, count)]


# -- writes into a new file; closing it is timed, opening it is not


def filling(method: str, batch: int | None) -> Run:
    """Put items by `method` of the system, and close."""

    def run(session: Session, count: int) -> list[Sample]:
        system, pairs = session.system, session.pairs(count)
        put = getattr(system, method)
        with session.fresh() as path:
            store = system.open(path, batch=batch)

            def work() -> None:
                put(store, pairs)
                system.close(store)

            seconds, _ = session.clock(work, writes=True)
            store = system.open(path, batch=batch)
            session.check(store, pairs)
            system.close(store)
        return [(seconds, count)]

    return run


def growth(session: Session, count: int) -> list[Sample]:
    system, data = session.system, bytes(range(250)) * 4
    pairs = [(key, data) for key, _ in session.pairs(count)]
    with session.opened(COMMIT_EVERY, map_size=1 << 20) as store:

        def work() -> None:
            system.put_growing(store, pairs)
            system.flush(store)

        seconds, _ = session.clock(work, writes=True)
        session.check(store, pairs)
    return [(seconds, count)]


# -- reads and writes, or deletions; the last flush is timed


def mix(session: Session, count: int) -> list[Sample]:
    system, store = session.system, session.filled(COMMIT_EVERY)
    read, written = session.sample(count // 2), session.sample(count // 2)
    wanted = session.keys(read)
    pairs = [(key, session.values[n]) for key, n in zip(session.keys(written), written)]

    def work() -> Any:
        value = system.mix(store, wanted, pairs)
        system.flush(store)
        return value

    seconds, value = session.clock(work, writes=True)
    assert value == value_of(read[-1])
    return [(seconds, 2 * len(wanted))]


def pop(session: Session, count: int) -> list[Sample]:
    system = session.system

    def work(store: Any, keys: list[Any]) -> Any:
        value = system.pop(store, keys)
        system.flush(store)
        return value

    return _removing(session, count, work)


def delete(session: Session, count: int) -> list[Sample]:
    system = session.system

    def work(store: Any, keys: list[Any]) -> Any:
        system.delete(store, keys)
        system.flush(store)

    return _removing(session, count, work)


def _removing(session: Session, count: int, work: Callable[[Any, list[Any]], Any]) -> list[Sample]:
    system = session.system
    numbers = session.random.sample(range(count), count)
    with session.opened(COMMIT_EVERY) as store:
        system.put_many(store, session.pairs(count))
        system.flush(store)
        keys = session.keys(numbers)
        seconds, value = session.clock(lambda: work(store, keys), writes=True)
        assert value is None or value == value_of(numbers[-1])
        assert system.contains(store, keys) == 0
    return [(seconds, count)]


def setdefault(session: Session, count: int) -> list[Sample]:
    system, pairs = session.system, session.pairs(count)
    with session.opened(COMMIT_EVERY) as store:

        def work() -> None:
            system.setdefault(store, pairs)
            system.flush(store)

        seconds, _ = session.clock(work, writes=True)
        session.check(store, pairs)
    return [(seconds, count)]


# -- large values


def _arrays(session: Session, count: int) -> list[Pair]:
    import numpy

    source = numpy.random.default_rng(0)
    arrays = [source.integers(0, 256, 1 << 20, dtype=numpy.uint8) for _ in range(count)]
    return [(session.system.key(key), array) for key, array in zip(random_keys(count, seed=0), arrays)]


def array_count(number: int) -> int:
    return min(64, 1 + number // 1600)


def put_arrays(session: Session, count: int) -> list[Sample]:
    system, pairs = session.system, _arrays(session, count)
    with session.fresh() as path:
        store = system.open(path, batch=COMMIT_EVERY)

        def work() -> None:
            system.put(store, pairs)
            system.close(store)

        seconds, _ = session.clock(work, writes=True)
        store = system.open(path, batch=COMMIT_EVERY)
        session.check(store, pairs)
        system.close(store)
    return [(seconds, count)]


def get_arrays(session: Session, count: int) -> list[Sample]:
    """Three passes."""
    pairs = _arrays(session, array_count(session.number))
    store = session.kept("arrays", None, lambda: pairs)
    wanted = [pair for _ in range(3) for pair in session.random.sample(pairs, count)]
    keys = [key for key, _ in wanted]
    seconds, value = session.clock(lambda: session.system.get(store, keys))
    assert is_same(value, wanted[-1][1])
    return [(seconds, len(keys))]


def large(method: str) -> Run:
    def run(session: Session, count: int) -> list[Sample]:
        data = bytes(range(250)) * 4000
        key = session.keys([0])[0]
        store = session.kept("large", None, lambda: [(key, data)])
        read = getattr(session.system, method)
        seconds, value = session.clock(lambda: read(store, [key] * count))
        assert value == data
        return [(seconds, count)]

    return run


# -- threads


def threads(session: Session, count: int) -> list[Sample]:
    system, store, numbers = session.system, session.filled(None), session.sample(count)
    keys = session.keys(numbers)
    read: dict[int, Any] = {}

    def reader(part: int) -> None:
        read[part] = system.get(store, keys[part::4])

    readers = [threading.Thread(target=reader, args=(part,)) for part in range(4)]

    def work() -> None:
        for thread in readers:
            thread.start()
        for thread in readers:
            thread.join()

    seconds, _ = session.clock(work)
    assert read == {part: value_of(numbers[part::4][-1]) for part in range(4)}
    return [(seconds, count)]


def beside(session: Session, _: int) -> list[Sample]:
    """Three readers and a writer for a while; raw's readers take a new transaction for each thousand."""
    system, store = session.system, session.filled(COMMIT_EVERY)
    keys, pairs = session.keys(session.sample(session.number)), session.pairs(session.number)
    barrier = threading.Barrier(4)
    rates: list[float] = []
    written: list[None] = []

    def reader(start: int) -> None:
        count = 0
        barrier.wait()
        began = time.perf_counter()
        while (seconds := time.perf_counter() - began) < session.seconds:
            at = (start + count) % len(keys)
            some = keys[at : at + 1000]
            system.get(store, some)
            count += len(some)
        rates.append(count / seconds)

    def pairs_for_a_while(began: float) -> Iterator[Pair]:
        for pair in cycle(pairs):
            if time.perf_counter() - began > session.seconds:
                return
            yield pair
            written.append(None)

    readers = [threading.Thread(target=reader, args=(part * len(keys) // 3,)) for part in range(3)]
    for thread in readers:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    system.put(store, pairs_for_a_while(began))
    system.flush(store)
    seconds = time.perf_counter() - began
    for thread in readers:
        thread.join()
    assert len(rates) == 3
    session.check(store, pairs)
    return [(1.0, round(sum(rates))), (seconds, len(written))]


# -- the rest


def reopen(session: Session, count: int) -> list[Sample]:
    system = session.system
    session.filled(None)
    path, key = session.closed("filled"), session.keys([0])

    def work() -> Any:
        for _ in range(count):
            store = system.open(path, batch=None)
            value = system.get(store, key)
            system.close(store)
        return value

    seconds, value = session.clock(work)
    assert value == value_of(0)
    return [(seconds, count)]


def import_time(session: Session, _: int) -> list[Sample]:
    """The least of three new interpreters; what lmdb and pickle import themselves is not counted."""
    modules = ", ".join(session.system.modules)
    source = (
        f"import lmdb, pickle, time; start = time.perf_counter(); import {modules}; print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", source]
    runs = [subprocess.run(command, cwd=session.folder, capture_output=True, text=True, check=True) for _ in range(3)]
    return [(min(float(run.stdout) for run in runs), 1)]


def memory(session: Session, _: int) -> list[Sample]:
    """The growth of the process's own memory, mapped files left out, from the second thousand of writes on."""
    system = session.system
    levels: list[int] = []
    began = time.perf_counter()
    number = 0

    def pairs() -> Iterator[Pair]:
        nonlocal number
        for number, key in enumerate(random_keys(10 * session.number, seed=0)):
            if number % 1000 == 0:
                levels.append(_own_memory())
                if time.perf_counter() - began > 10 * session.seconds:
                    return
            yield system.key(key), value_of(number)

    with session.opened(None) as store:  # a store without a limit by count keeps what its limit in bytes allows
        system.put(store, pairs())
        levels.append(_own_memory())
        system.flush(store)
        levels.append(_own_memory())
    if number < 3000:  # too slow to tell
        return []
    return [(float(max(levels[2:]) - levels[2]), number - 2000)]


def _own_memory() -> int:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def _one(name: str, run: Run, label: str, baseline: str | None, **options: Any) -> Workload:
    return Workload(name, run, (Row(name, label),), baseline, **options)


def _repeated(number: int) -> int:
    return min(number, 500)


_WORKLOADS = (
    _one("get", get, "`store[k]`", "raw"),
    _one("contains", contains, "`k in store`, absent", "raw"),
    _one("get_absent", get_absent, "`store.get(k)`, absent", "raw"),
    _one("get_many", get_many, "`get_many`, 100 keys a call", "raw"),
    _one("items", items, "`items()`", "raw"),
    _one("keys", keys, "iteration, keys only", "raw"),
    _one("len", length, "`len(store)`", "raw", most=lambda number: min(number, 10_000)),
    _one("threads", threads, "`store[k]` in four threads", "raw"),
    _one("open", reopen, "open, one `store[k]`, close", "raw", most=lambda number: min(1 + number // 500, 100)),
    _one("put", filling("put", COMMIT_EVERY), "`store[k] = v` and close", "raw1k"),
    _one("put_as_one", filling("put_as_one", None), "`store[k] = v` and close, one commit", "raw"),
    _one("put_many", filling("put_many", None), "`put_many` and close", "raw"),
    _one("update", filling("update", None), "`update` and close", "raw"),
    _one("growth", growth, "`store[k] = v`, 1 kB each, from a map of 1 MiB", "raw1k"),
    _one("setdefault", setdefault, "`setdefault`, absent", "raw1k"),
    _one("mix", mix, "`store[k]` and `store[k] = v` in turn", "raw1k"),
    _one("pop", pop, "`pop`", "raw1k"),
    _one("delete", delete, "`del store[k]`", "raw1k"),
    Workload(
        "beside",
        beside,
        (
            Row("beside_reads", "three readers beside a writer: reads", "1/s"),
            Row("beside_writes", "a writer beside three readers: writes", "1/s"),
        ),
        "raw1k",
        most=None,
    ),
    _one("put_arrays", put_arrays, "`store[k] = array` of 1 MiB and close", "raw1k", most=array_count),
    _one("get_arrays", get_arrays, "`store[k]`, arrays of 1 MiB", "raw", most=array_count),
    _one("get_large", large("get"), "`store[k]`, 1 MB of `bytes` again and again", "raw", most=_repeated),
    _one("get_mapped", large("get_large"), "the same, raw without a copy", "raw", most=_repeated),
    _one("import", import_time, "import, beyond lmdb's and pickle's", None, most=None),
    Workload("memory", memory, (Row("memory", "memory for each item put", "B"),), None, most=None, alone=True),
)
WORKLOADS = {workload.name: workload for workload in _WORKLOADS}
