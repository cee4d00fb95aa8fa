"""Workloads that read a filled store, in one thread and in several."""

from __future__ import annotations

import threading
import time
from typing import Any

from session import Repeated, Sample, Session, group, value_of
from systems import COMMIT_EVERY


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
    """Return `count`, or a larger number if `count` is all, so that too many results are noticed."""
    return count + 1 if count == session.number else count


def length(session: Session, count: int) -> list[Sample]:
    store = session.filled(None)
    seconds, found = session.clock(lambda: session.system.len(store, count))
    assert found == session.number
    return [(seconds, count)]


def prefix(session: Session, count: int) -> list[Sample]:
    """Read the ten items of a group among all others, for each of many groups."""
    store = session.grouped()
    prefixes = [group(session.random.randrange(session.number // 10)) for _ in range(count)]
    seconds, found = session.clock(lambda: session.system.prefix(store, prefixes))
    assert found == 10 * count
    return [(seconds, count)]


def span(session: Session, count: int) -> list[Sample]:
    store, (low, high) = session.filled(None), session.span(count)
    seconds, found = session.clock(lambda: session.system.span(store, low, high))
    assert found == count
    return [(seconds, count)]


def count_span(session: Session, count: int) -> list[Sample]:
    store, (low, high) = session.filled(None), session.span(count)
    seconds, found = session.clock(lambda: session.system.count(store, low, high))
    assert found == count
    return [(seconds, count)]


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
    """Run three readers and a writer for a while; raw's readers take a new transaction for each thousand."""
    system, store = session.system, session.filled(COMMIT_EVERY)
    keys, pairs = session.keys(session.sample(session.number)), session.pairs(session.number)
    barrier = threading.Barrier(4)
    rates: list[float] = []

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

    readers = [threading.Thread(target=reader, args=(part * len(keys) // 3,)) for part in range(3)]
    for thread in readers:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    writes = Repeated(pairs, session.seconds)
    system.put(store, writes)
    system.flush(store)
    seconds = time.perf_counter() - began
    for thread in readers:
        thread.join()
    assert len(rates) == 3
    session.check(store, pairs)
    return [(1.0, round(sum(rates))), (seconds, writes.done)]
