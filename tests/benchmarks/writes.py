"""Workloads that write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from session import Run, Sample, Session, value_of
from systems import COMMIT_EVERY

# -- into a new file; closing it is timed, opening it is not


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


def sorted_load(method: str) -> Run:
    """Put items in the order of their keys by `method` of the system, and close; then measure the files.

    The values are `bytes` of 500 to 1,300 bytes.
    """

    def run(session: Session, count: int) -> list[Sample]:
        system, pairs = session.system, session.sorted_pairs(count)
        put = getattr(system, method)
        with session.fresh() as path:
            store = system.open(path, batch=None)

            def work() -> None:
                put(store, pairs)
                system.close(store)

            seconds, _ = session.clock(work, writes=True)
            size = system.size(path)
            store = system.open(path, batch=None)
            session.check(store, pairs)
            system.close(store)
        data = sum(len(key) + len(value) for key, (_, value) in zip(session.in_order, pairs))
        return [(seconds, count), (size, data)]

    return run


def commits(method: str) -> Run:
    """Write over items, each in a commit of its own, by `method` of the system."""

    def run(session: Session, count: int) -> list[Sample]:
        system, pairs = session.system, session.pairs(count)
        write = getattr(system, method)
        with session.opened(COMMIT_EVERY) as store:
            system.put_many(store, pairs)
            system.flush(store)
            if method == "edit_each":
                numbers = range(count)
                seconds, _ = session.clock(lambda: write(store, session.keys(numbers)), writes=True)
                pairs = [(key, {**value, "score": value["score"] + 1}) for key, value in pairs]
            else:
                seconds, _ = session.clock(lambda: write(store, pairs), writes=True)
            session.check(store, pairs)
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
