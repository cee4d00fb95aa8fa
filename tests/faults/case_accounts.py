"""Threads and processes that move amounts between accounts while others add them all up."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from harness import Figures, budget
from journal import Store, Verdict
from support.checkpoints import in_each_commit
from support.programs import Child
from support.threads import frequent_switches, looping

from lmdb_object_store import ConflictError, LmdbObjectStore

ACCOUNTS = [f"account {number:02}" for number in range(20)]
AMOUNT = 100  # in each account, at first
TOTAL = len(ACCOUNTS) * AMOUNT


class Refused(Exception):
    """There is not enough in an account."""


def open_store(path: str, source: random.Random) -> Store:
    """Open a store that grows soon."""
    flush = source.random() < 0.5
    return LmdbObjectStore(path, key_encoding="utf-8", map_size=1 << 20, sync=False, autoflush_on_read=flush)


def move(store: Store, name: str, source: random.Random, half_way: Callable[[], None] = lambda: None) -> None:
    """Move an amount from one account to another, and count it as a move of `name`; roll an inner block back."""
    amount = source.randrange(1, 40)
    one, other = source.sample(ACCOUNTS, 2)
    with store.transaction():
        store[one] -= amount
        if source.random() < 0.1:
            store[f"large {name}"] = bytes(source.randrange(1 << 20))  # after the accounts, in order of keys
        with suppress(Refused), store.transaction():
            store[other] += 1_000_000
            raise Refused
        with store.edit(other) as value:
            store[other] = value + amount
        half_way()
        if store[one] < 0:
            raise Refused
        store[f"moves {name}"] = store.get(f"moves {name}", 0) + 1


def move_until_killed(path: str, name: str, seed: float, file: int) -> None:
    """Move and note in `file` how many moves were acknowledged, until a kill in a block or during its commit.

    Not while it waits for LMDB's lock: one that is killed as it is woken there may leave others asleep.
    """
    source = random.Random(seed)
    store = open_store(path, source)
    last, done = source.randrange(100), 0

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    while True:
        with suppress(Refused, ConflictError):
            if done < last:
                move(store, name, source)
            elif source.random() < 0.5:
                move(store, name, source, kill)
            else:
                in_each_commit(kill, partial(move, store, name, source))
            done += 1
            os.pwrite(file, done.to_bytes(8, "big"), 0)


def check(store: Store, source: random.Random) -> int:
    """Check that the sum is the same in a transaction, in one `get_many`, and in an iteration of one page."""
    way = source.randrange(3)
    if way == 0:
        with store.transaction():
            total = sum(int(store[key]) for key in ACCOUNTS)
    elif way == 1:
        total = sum(map(int, store.get_many(ACCOUNTS)[0].values()))
    else:
        total = sum(int(value) for key, value in store.items() if key.startswith("account"))
    return abs(total - TOTAL)


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Run two processes, which are killed, and two threads that move, beside a process and a thread that check."""
    source, figures = random.Random(seed), Figures("amounts moved between accounts")
    path = str(folder / "db")
    for _ in budget(seconds, 1):
        shutil.rmtree(path, ignore_errors=True)
        with open_store(path, source) as store:
            store.update(dict.fromkeys(ACCOUNTS, AMOUNT))
        files = {name: os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC) for name in ("p", "q")}
        children = [
            Child(partial(move_until_killed, path, name, source.random(), file)) for name, file in files.items()
        ]
        checker = Child(partial(check_for, path, source.random(), 0.5))
        acknowledged = dict.fromkeys(("s", "t"), 0)
        wrong: list[int] = []
        with open_store(path, source) as store:

            def act(name: str, store: Store = store, acknowledged: dict[str, int] = acknowledged) -> None:
                with suppress(Refused, ConflictError):
                    move(store, name, random.Random())
                    acknowledged[name] += 1

            def look(store: Store = store, wrong: list[int] = wrong) -> None:
                if check(store, random.Random()):
                    wrong.append(1)

            with frequent_switches(), looping(*(partial(act, name) for name in acknowledged), look, look):
                for child in children:
                    assert child.wait() == -signal.SIGKILL
            checker.join()
            for name, file in files.items():
                acknowledged[name] = int.from_bytes(os.pread(file, 8, 0), "big")
                os.close(file)
            lost = 0
            for name, count in acknowledged.items():
                found = store.get(f"moves {name}", 0)
                lost += found not in ((count, count + 1) if name in files else (count,))
            figures.add(Verdict(sum(acknowledged.values()), lost, len(wrong) + (check(store, source) != 0)))
        figures.rounds += 1
    return figures


def check_for(path: str, seed: float, seconds: float) -> None:
    """Check, for so long."""
    source = random.Random(seed)
    with open_store(path, source) as store:
        for _ in budget(seconds, 10):
            assert check(store, source) == 0, "the sum has changed"
