"""Workloads with large values; memory; import; the encoding of keys."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from session import Run, Sample, Session, is_same, random_keys, value_of
from systems import COMMIT_EVERY, Pair


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
    """Measure three passes; raw reads from the map, which is faster for an array than a copy as `bytes`."""
    pairs = _arrays(session, array_count(session.number))
    store = session.kept("arrays", None, lambda: pairs)
    wanted = [pair for _ in range(3) for pair in session.random.sample(pairs, count)]
    keys = [key for key, _ in wanted]
    seconds, value = session.clock(lambda: session.system.get_large(store, keys))
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


def import_time(session: Session, _: int) -> list[Sample]:
    """Measure the least of three new interpreters, without the imports of lmdb and pickle themselves."""
    modules = ", ".join(session.system.modules)
    source = (
        f"import lmdb, pickle, time; start = time.perf_counter(); import {modules}; print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", source]
    runs = [subprocess.run(command, cwd=session.folder, capture_output=True, text=True, check=True) for _ in range(3)]
    return [(min(float(run.stdout) for run in runs), 1)]


def memory(session: Session, _: int) -> list[Sample]:
    """Measure the growth of the process's own memory, without mapped files, from the second thousand of writes on."""
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


def encode(session: Session, _: int) -> list[Sample]:
    """Encode keys of each kind by OrderedKeys without a store; the other systems have no such encoding."""
    if session.system.distribution != "lmdbobjectstore":
        return []
    from lmdb_object_store import OrderedKeys

    ordered, start = OrderedKeys(), datetime(2024, 5, 1)
    numbers = session.sample(session.number)
    kinds: list[list[Any]] = [
        [f"user:{n}" for n in numbers],
        [1000 * n for n in numbers],
        [("user", 1000 * n) for n in numbers],
        [start + timedelta(seconds=n) for n in numbers],
    ]
    samples = []
    for keys in kinds:
        seconds, data = session.clock(lambda keys=keys: [ordered.encode(key) for key in keys])  # type: ignore[misc]
        assert [ordered.decode(one) for one in data] == keys
        samples.append((seconds, len(keys)))
    return samples
