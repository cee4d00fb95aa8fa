"""The fault suite notices what it is there to notice."""

from __future__ import annotations

import os
import random
import signal
from functools import partial
from pathlib import Path

import pytest
from case_memory import START, limited, put_huge
from harness import Figures, table
from journal import Journal, Model, Operation, State, Verdict, compare, found_at, random_operation, stamp_of, value_of
from support.programs import Child

from lmdb_object_store import LmdbObjectStore

LINES: list[tuple[int, Operation, bool]] = [
    (1, ("put", {"a": 10}), True),
    (2, ("put", {"b": 10}), True),
    (3, ("put", {"c": 10}), True),
    (4, ("put_many", {"d": 5, "e": 5}), False),
]
COMMITTED: State = {"a": (1, 10), "b": (2, 10)}


def verdict(found: State, lines: list[tuple[int, Operation, bool]] = LINES) -> Verdict:
    """Return the verdict on a file with these contents."""
    return compare(*Model(2).replay(lines), found)


@pytest.mark.parametrize(
    "found",
    [
        COMMITTED,
        {**COMMITTED, "c": (3, 10)},
        {**COMMITTED, "c": (3, 10), "d": (4, 5), "e": (4, 5)},
    ],
)
def test_journal_of_an_operation_that_was_cut_off_allows_each_stage(found: State) -> None:
    """The state before the operation, between its transactions, and after it are right."""
    assert verdict(found) == Verdict(acknowledged=2)


@pytest.mark.parametrize(
    ("found", "lost"),
    [
        ({"a": (1, 10)}, 1),
        ({}, 2),
        ({**COMMITTED, "b": (1, 10)}, 1),
        ({**COMMITTED, "b": (-1, -1)}, 1),
        ({**COMMITTED, "x": (1, 10)}, 1),
    ],
)
def test_journal_counts_lost_and_wrong_writes(found: State, lost: int) -> None:
    """A missing row, another value, a value that nobody wrote and a row that nobody wrote are counted."""
    assert verdict(found) == Verdict(2, lost=lost)


@pytest.mark.parametrize("found", [{**COMMITTED, "d": (4, 5), "e": (4, 5)}, {**COMMITTED, "c": (3, 10), "d": (4, 5)}])
def test_journal_counts_partial_transactions(found: State) -> None:
    """The second of two transactions alone, and half of one, are counted."""
    assert verdict(found) == Verdict(2, partial=1)


def test_journal_counts_deleted_rows_that_return() -> None:
    """A deleted row that comes back is wrong."""
    lines: list[tuple[int, Operation, bool]] = [
        *LINES[:2],
        (3, ("delete", {"a": None}), True),
        (4, ("flush", {}), True),
        (5, ("put", {"a": 1}), True),
        (6, ("clear", {}), True),
        (7, ("put_many", {"z": 1}), True),
    ]
    assert verdict({"z": (7, 1)}, lines).lost == 0
    assert verdict({"z": (7, 1), "b": (2, 10)}, lines).lost == 1
    assert verdict({"b": (2, 10)}, lines[:4]).lost == 0
    assert verdict(COMMITTED, lines[:4]).lost == 1


def test_journal_of_random_operations_is_that_of_the_store(tmp_path: Path) -> None:
    """The journal says what the store has, and notices one row too few."""
    path, source = str(tmp_path / "db"), random.Random(0)
    store = LmdbObjectStore[str, object](path, 10, key_encoding="utf-8")
    journal = Journal(tmp_path / "journal")
    for _ in range(300):
        operation = random_operation(source, "k", without="close")
        journal.run(store, operation)
    journal.run(store, ("close", {}))
    journal.close()
    acknowledged, allowed = Model(10).replay(journal.read())
    found = found_at(path)
    assert compare(acknowledged, allowed, found) == Verdict(acknowledged)
    assert acknowledged > 100
    found.popitem()
    assert compare(acknowledged, allowed, found).lost == 1


def test_stamp_of_a_value_differs_from_others() -> None:
    """A stamp is that of the very value that was written."""
    assert stamp_of(value_of((7, 20))) == (7, 20)
    assert stamp_of((8, value_of((7, 20))[1])) == (-1, -1)
    assert stamp_of("x") == (-1, -1)


@pytest.mark.posix
def test_child_that_fails_is_noticed() -> None:
    """A child's status is reported, and a failure before its kill is noticed."""
    Child(lambda: None).join()
    with pytest.raises(AssertionError, match="status 1"):
        Child(lambda: os._exit(1)).join()
    with pytest.raises(AssertionError, match="hangs"):
        Child(signal.pause).wait(0.05)
    Child(signal.pause).kill()


def test_memory_limit_ends_a_program_that_needs_more(tmp_path: Path) -> None:
    """A program that needs more memory than allowed fails."""
    with pytest.raises(AssertionError, match="status 1"):
        limited(START, partial(put_huge, str(tmp_path / "db"), 2 * START))


def test_table_has_a_line_for_each_case() -> None:
    """The table is Markdown, with a line for each case."""
    lines = table([Figures("one", 1, 2, 3, 4, 5.4, {"peak MB": 12_000})]).splitlines()
    assert lines[-1] == "| one | 1 | 2 | 3 | 4 | 5 | peak MB 12,000 |"
    assert len({line.count("|") for line in lines}) == 1
