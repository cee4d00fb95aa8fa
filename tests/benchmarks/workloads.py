"""The workloads: what is timed, over how many operations, and which raw loop it is compared to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from others import array_count, encode, get_arrays, import_time, large, memory, put_arrays
from reads import (
    beside,
    contains,
    count_span,
    get,
    get_absent,
    get_many,
    items,
    keys,
    length,
    prefix,
    reopen,
    span,
    threads,
)
from session import Run
from systems import COMMIT_EVERY, READERS, THREADS
from threaded import durable, flush_beside
from writes import commits, delete, filling, growth, mix, pop, setdefault, sorted_load


@dataclass(frozen=True)
class Row:
    """A line of the tables.

    `unit` is "s" an operation, operations "1/s", "B" (bytes) an operation, or empty for a number.
    """

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


def _one(name: str, run: Run, label: str, baseline: str | None, **options: Any) -> Workload:
    return Workload(name, run, (Row(name, label),), baseline, **options)


def _ten_thousand(number: int) -> int:
    return min(number, 10_000)


def _twenty_thousand(number: int) -> int:
    return min(number, 20_000)


def _repeated(number: int) -> int:
    return min(number, 500)


def _durable(threads: int) -> Workload:
    name, label = f"durable_{threads}", _number(threads, "thread")
    rows = (Row(name, f"durable writes, {label}"), Row(f"{name}_commits", f"commits for a write, {label}", ""))
    return Workload(name, durable(threads), rows, "raw", most=None)


def _flush(readers: int) -> Workload:
    label = f"a commit of 1,000 changes beside {_number(readers, 'reader')}"
    return _one(f"flush_{readers}", flush_beside(readers), label, "raw", most=None)


def _number(number: int, name: str) -> str:
    return f"{number or 'no'} {name}{'' if number == 1 else 's'}"


_WORKLOADS = (
    _one("get", get, "`store[k]`", "raw"),
    _one("contains", contains, "`k in store`, absent", "raw"),
    _one("get_absent", get_absent, "`store.get(k)`, absent", "raw"),
    _one("get_many", get_many, "`get_many`, 100 keys a call", "raw"),
    _one("items", items, "`items()`", "raw"),
    _one("keys", keys, "iteration, keys only", "raw"),
    _one("len", length, "`len(store)`", "raw", most=lambda number: min(number, 10_000)),
    _one("prefix", prefix, "`prefix(p).items()`, ten items a call", "raw", most=lambda number: min(number, 10_000)),
    _one("span", span, "`range(a, b).items()`, a tenth of all", "raw", most=lambda number: number // 10),
    _one("count", count_span, "`len(range(a, b))`, a tenth of all", "raw", most=lambda number: number // 10),
    _one("threads", threads, "`store[k]` in four threads", "raw"),
    _one("open", reopen, "open, one `store[k]`, close", "raw", most=lambda number: min(1 + number // 500, 100)),
    _one("put", filling("put", COMMIT_EVERY), "`store[k] = v` and close", "raw1k"),
    _one("put_as_one", filling("put_as_one", None), "`store[k] = v` and close, one commit", "raw"),
    _one("put_many", filling("put_many", None), "`put_many` and close", "raw"),
    _one("update", filling("update", None), "`update` and close", "raw"),
    _one("many_10k", filling("put_many", None), "`put_many` of 10,000 and close", "raw", most=_ten_thousand),
    _one("transact_10k", filling("transact", None), "a `transaction` of 10,000, and close", "raw", most=_ten_thousand),
    Workload(
        "sorted",
        sorted_load("put_many"),
        (
            Row("sorted", "`put_many` of sorted keys, 500 to 1,300 bytes each, and close"),
            Row("sorted_size", "its file, as a multiple of the keys and values", ""),
        ),
        "raw",
        most=_twenty_thousand,
    ),
    Workload(
        "sorted_append",
        sorted_load("append"),
        (
            Row("sorted_append", "the same, raw with `append=True`"),
            Row("sorted_append_size", "its file, raw with `append=True`", ""),
        ),
        "raw",
        most=_twenty_thousand,
    ),
    _one("commit_each", commits("commit_each"), "`store[k] = v` and `flush()`", "raw", most=_ten_thousand),
    _one("transact_each", commits("transact_each"), "a `transaction` of `store[k] = v`", "raw", most=_ten_thousand),
    _one("edit_each", commits("edit_each"), "`edit(k)`", "raw", most=_ten_thousand),
    _one("growth", growth, "1 kB `bytes` put, the map grown from 1 MiB", "raw1k"),
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
    *map(_durable, THREADS),
    *map(_flush, READERS),
    _one("put_arrays", put_arrays, "`store[k] = array` of 1 MiB and close", "raw1k", most=array_count),
    _one("get_arrays", get_arrays, "`store[k]`, arrays of 1 MiB", "raw", most=array_count),
    _one("get_large", large("get"), "`store[k]`, 1 MB of `bytes` again and again", "raw", most=_repeated),
    _one("get_mapped", large("get_large"), "the same, raw without a copy", "raw", most=_repeated),
    _one("import", import_time, "import, beyond lmdb's and pickle's", None, most=None),
    Workload(
        "encode",
        encode,
        (
            Row("encode_str", "a `str` encoded by `OrderedKeys`"),
            Row("encode_int", "an `int`"),
            Row("encode_tuple", "a tuple of a `str` and an `int`"),
            Row("encode_datetime", "a `datetime`"),
        ),
        None,
        most=None,
    ),
    Workload("memory", memory, (Row("memory", "memory for each item put", "B"),), None, most=None, alone=True),
)
WORKLOADS = {workload.name: workload for workload in _WORKLOADS}
