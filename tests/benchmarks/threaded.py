"""Workloads of threads that wait for the disk: durable writes, and a flush beside readers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

from session import Repeated, Run, Sample, Session
from systems import COMMIT_EVERY

MOST_SECONDS = 0.5  # of a run: some hundred commits, or dozens where the disk takes 10 ms for one
MOST_ITEMS = 10_000  # more would take longer to put than to measure


def durable(threads: int) -> Run:
    """Write in threads for a while. Each thread makes a write durable before it does the next, and has its own keys."""

    def run(session: Session, _: int) -> list[Sample]:
        system, pairs = session.system, session.pairs(min(session.number, MOST_ITEMS))
        with session.fresh() as path:
            store = system.open(path, batch=1)
            before = system.commits(store)

            def work() -> list[Repeated]:
                seconds = min(session.seconds, MOST_SECONDS)
                parts = [Repeated(pairs[number::threads], seconds) for number in range(threads)]
                with ThreadPoolExecutor(threads) as pool:
                    list(pool.map(lambda part: system.durable_each(store, part), parts))
                system.flush(store)  # else the writes that a system has put off would cost nothing
                return parts

            seconds, parts = session.clock(work, writes=True)
            after = system.commits(store)
            system.close(store)
            store = system.open(path, batch=None)
            session.check(store, [pair for part in parts for pair in part.written()])
            system.close(store)
        count = sum(part.done for part in parts)
        samples: list[Sample] = [(seconds, count)]
        if before is not None and after is not None:
            samples.append((after - before, count))
        return samples

    return run


def flush_beside(readers: int) -> Run:
    """Commit 1,000 changes again and again while threads read without a pause. The commits alone are timed."""

    def run(session: Session, _: int) -> list[Sample]:
        count = min(session.number, MOST_ITEMS)
        system, pairs = session.system, session.pairs(count)
        wanted = [session.keys(session.random.sample(range(count), count)) for _ in range(readers)]
        began, ended = threading.Barrier(readers + 1), threading.Event()
        latest = dict(pairs)

        def read(store: Any, keys: list[Any]) -> None:
            began.wait()
            for start in cycle(range(0, len(keys), 1000)):
                if ended.is_set():
                    return
                system.get(store, keys[start : start + 1000])

        def commit(store: Any) -> float:
            changes = [
                (key, {**value, "score": time.perf_counter()})
                for key, value in session.random.sample(pairs, min(COMMIT_EVERY, len(pairs)))
            ]
            latest.update(changes)
            flush = system.make_pending(store, changes)
            start = time.perf_counter()
            flush()
            return time.perf_counter() - start

        def work(store: Any) -> list[float]:
            times: list[float] = []
            deadline = time.perf_counter() + min(session.seconds, MOST_SECONDS)
            while len(times) < 5 or time.perf_counter() < deadline:
                times.append(commit(store))
            return times

        with session.fresh() as path:
            store = system.open_for_flush(path)
            system.put_many(store, pairs)
            system.flush(store)
            with ThreadPoolExecutor(readers + 1) as pool:
                reading = [pool.submit(read, store, keys) for keys in wanted]
                began.wait()
                try:
                    times = session.clock(lambda: work(store), writes=True)[1]
                finally:
                    ended.set()
            for reader in reading:
                reader.result()  # which raises its error
            session.check(store, list(latest.items()))
            system.close(store)
        return [(sum(times), len(times))]

    return run
