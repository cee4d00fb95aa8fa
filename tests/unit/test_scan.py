"""Pages of rows and the pending changes laid over them, as pure functions, against a sorted dict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lmdb_object_store._buffer import scan as _scan
from lmdb_object_store._buffer.scan import FIRST_PAGE, LATER_PAGE, scan, with_changes
from lmdb_object_store._environment.read import Page

# Few and short, so that rows and changes often meet; some are each other's prefixes and next neighbours.
KEYS = [b"\0", b"\0\0", b"\1", b"\1\0", b"\1\1", b"\2", b"\2\xff"]
keys = st.one_of(st.sampled_from(KEYS), st.binary(min_size=1, max_size=2))
Rows = dict[bytes, bytes]
Changes = dict[bytes, bytes | None]
rows_strategy = st.dictionaries(keys, st.sampled_from([b"old", b""]), max_size=12)
changes_strategy = st.dictionaries(keys, st.one_of(st.none(), st.sampled_from([b"new", b""])), max_size=12)
bounds_strategy = st.tuples(st.just(b"") | keys, st.none() | keys)
page_sizes = st.sampled_from([(1, 1), (1, 2), (2, 2), (FIRST_PAGE, LATER_PAGE)])
directions = pytest.mark.parametrize("reverse", [False, True])


def flushed(rows: Mapping[bytes, bytes], changes: Mapping[bytes, bytes | None]) -> Rows:
    """Return the model: `rows` after `changes`, in order."""
    merged: Changes = {**rows, **changes}
    return {key: data for key in sorted(merged) if (data := merged[key]) is not None}


def ordered(rows: Mapping[bytes, bytes], reverse: bool) -> list[tuple[bytes, bytes]]:
    """Return the rows of the model in either direction."""
    return sorted(rows.items(), reverse=reverse)


def within(key: bytes, low: bytes, high: bytes | None) -> bool:
    """Return True if `key` is between the bounds; the lower bound is inside."""
    return low <= key and (high is None or key < high)


class File:
    """A file of rows, read by pages as `_reads.page` does, that remembers what it was asked."""

    def __init__(self, rows: Rows, reverse: bool, *, most: int = 10**9) -> None:
        self.rows = rows
        self.reverse = reverse
        self.most = most
        self.asked: list[tuple[bytes, bytes | None, int]] = []

    def read_page(self, low: bytes, high: bytes | None, limit: int) -> Page:
        """Return the first rows, at most `limit` and `most`, as when their bytes are bounded."""
        assert (low, high, limit) not in self.asked, "a scan that reads a page again does not end"
        self.asked.append((low, high, limit))
        beyond = [(key, data) for key, data in ordered(self.rows, self.reverse) if within(key, low, high)]
        page = dict(beyond[: min(limit, self.most)])
        return page, len(page) < min(limit, self.most)


def scanned(
    file: File,
    pending: dict[bytes, bytes | None],
    sizes: tuple[int, int],
    bounds: tuple[bytes, bytes | None] = (b"", None),
) -> Iterator[tuple[bytes, bytes]]:
    """Return the rows of a scan by pages of `sizes`, the first one and later ones."""
    with patch.object(_scan, "LATER_PAGE", sizes[1]):
        for page in scan(file.read_page, pending.copy, *bounds, reverse=file.reverse, first=sizes[0]):
            assert isinstance(page, dict)
            yield from page.items()


# -- one page


@directions
@given(rows=rows_strategy, changes=changes_strategy, bounds=bounds_strategy)
def test_lay_over_gives_rows_and_changes_in_order_property(
    reverse: bool, rows: Rows, changes: Changes, bounds: tuple[bytes, bytes | None]
) -> None:
    """A page laid over is the model's part from its lower bound, inclusive, to its upper one, exclusive."""
    page = {key: data for key, data in ordered(rows, reverse) if within(key, *bounds)}
    expected = [(key, data) for key, data in ordered(flushed(rows, changes), reverse) if within(key, *bounds)]
    assert list(with_changes(page, changes, *bounds, reverse).items()) == expected


@directions
def test_lay_over_bounds(reverse: bool) -> None:
    """The lower bound of a page is in it, the upper one is not, whatever its direction."""
    changes: Changes = {b"a": b"new", b"b": b"new", b"c": b"new"}
    inside = [b"b", b"a"] if reverse else [b"a", b"b"]
    assert list(with_changes({}, changes, b"a", b"c", reverse)) == inside


def test_lay_over_of_nothing_pending() -> None:
    """A page that no change falls into is given back as it is, not copied."""
    rows = {b"b": b"1"}
    assert with_changes(rows, {}, b"", None, False) is rows
    assert with_changes(rows, {b"a": None, b"d": b"2"}, b"b", b"d", False) is rows


def test_lay_over_changes_neither_argument() -> None:
    """Rows and changes are left as they are."""
    rows, changes = {b"a": b"1"}, {b"a": None, b"b": b"2"}
    assert with_changes(rows, changes, b"", None, False) == {b"b": b"2"}
    assert rows == {b"a": b"1"}
    assert changes == {b"a": None, b"b": b"2"}


# -- all pages


@directions
@given(
    rows=rows_strategy,
    changes=changes_strategy,
    sizes=page_sizes,
    most=st.sampled_from([1, 2, 10**9]),
    bounds=bounds_strategy,
)
@example(rows={b"a": b"1", b"b": b"2"}, changes={b"a": None, b"b": None}, sizes=(1, 1), most=1, bounds=(b"", None))
@example(rows={b"a": b"1"}, changes={b"b": b"2"}, sizes=(1, 1), most=1, bounds=(b"", None))
def test_scan_gives_rows_and_changes_in_order_property(
    reverse: bool,
    rows: Rows,
    changes: Changes,
    sizes: tuple[int, int],
    most: int,
    bounds: tuple[bytes, bytes | None],
) -> None:
    """A scan gives the rows between its bounds as the changes will leave them, in order, whatever its pages' size."""
    file = File(rows, reverse, most=most)
    expected = [row for row in ordered(flushed(rows, changes), reverse) if within(row[0], *bounds)]
    assert list(scanned(file, changes, sizes, bounds)) == expected


writes = st.lists(st.tuples(keys, st.one_of(st.none(), st.just(b"new"))), max_size=3)


@directions
@given(
    rows=rows_strategy,
    pending=changes_strategy,
    sizes=page_sizes,
    script=st.lists(st.tuples(writes, st.booleans()), max_size=10),
)
def test_scan_beside_writes_hides_nothing_property(
    reverse: bool,
    rows: Rows,
    pending: Changes,
    sizes: tuple[int, int],
    script: list[tuple[list[tuple[bytes, bytes | None]], bool]],
) -> None:
    """Keys rise (or fall) strictly while others write and flush. A key that is there all the while is never missed."""
    file, steps = File(dict(rows), reverse), iter(script)
    always = set(flushed(rows, pending))
    ever = set(always)
    seen = []
    for key, _ in scanned(file, pending, sizes):
        seen.append(key)
        changes, flush = next(steps, ([], False))
        pending.update(changes)
        if flush:
            file.rows = flushed(file.rows, pending)
            pending.clear()
        always &= set(flushed(file.rows, pending))
        ever |= set(flushed(file.rows, pending))
    assert seen == sorted(set(seen), reverse=reverse)
    assert always <= set(seen) <= ever


@directions
def test_scan_flush_between_buffer_and_file_hides_nothing(reverse: bool) -> None:
    """A change that is flushed just before the file is read is found: the buffer is looked at first."""
    pending: Changes = {b"b": b"new"}
    file = File({b"a": b"old"}, reverse)

    def read_page(low: bytes, high: bytes | None, limit: int) -> Page:
        file.rows.update(flushed({}, pending))
        pending.clear()
        return file.read_page(low, high, limit)

    assert sorted(chain.from_iterable(scan(read_page, pending.copy, reverse=reverse))) == [b"a", b"b"]


# -- what is read


def test_scan_first_page_is_short_and_later_ones_longer() -> None:
    """`next(iter(store))` reads little; a long scan reads by larger pages, each resuming after the last row."""
    file = File({i.to_bytes(2, "big"): b"" for i in range(3000)}, False)
    found = list(chain.from_iterable(scan(file.read_page, dict)))
    assert found == list(file.rows)
    limits = [limit for _, _, limit in file.asked]
    assert limits[0] == _scan.FIRST_PAGE < _scan.LATER_PAGE == limits[1] == limits[2]
    assert [low for low, _, _ in file.asked] == [
        b"", *(found[last] + b"\0" for last in (31, 31 + 1024, 31 + 2048)),
    ]  # fmt: skip


def test_scan_pages_are_no_shorter_than_the_pending_changes() -> None:
    """The cost of laying many changes over many pages stays linear: pages grow with the changes."""
    file = File({i.to_bytes(2, "big"): b"" for i in range(10_000)}, False)
    changes: Changes = {i.to_bytes(2, "big"): None for i in range(5_000)}
    assert len(list(chain.from_iterable(scan(file.read_page, changes.copy, first=1)))) == 5_000
    assert [limit for _, _, limit in file.asked] == [1, 5_000, 5_000]


def test_scan_reads_nothing_before_it_is_asked_for() -> None:
    """A scan that nobody advances reads nothing, and one that is abandoned reads no further page."""
    file = File({bytes([i]): b"" for i in range(100)}, False)
    pages = scan(file.read_page, dict, first=2)
    assert file.asked == []
    assert list(next(pages)) == [b"\0", b"\1"]
    assert len(file.asked) == 1


def test_scan_error_of_the_reader_reaches_the_caller() -> None:
    """An error in the reading of a page is raised unchanged."""

    def fail(low: bytes, high: bytes | None, limit: int) -> Page:
        raise OSError("unreadable")

    read_page: Callable[[bytes, bytes | None, int], Page] = fail
    with pytest.raises(OSError, match="unreadable"):
        list(scan(read_page, dict))


@directions
def test_scan_flush_after_the_page_is_read_hides_nothing(reverse: bool) -> None:
    """A change that a flush moves to the file, just after a page was read, is in the page."""
    pending: Changes = {b"b": b"new"}
    file = File({b"a": b"old", b"c": b"old"}, reverse)

    def read_and_flush(low: bytes, high: bytes | None, limit: int) -> Page:
        page = file.read_page(low, high, limit)
        file.rows = flushed(file.rows, pending)
        pending.clear()
        return page

    pages = cast("Iterator[Rows]", scan(read_and_flush, pending.copy, reverse=reverse))
    found = chain.from_iterable(page.items() for page in pages)
    assert list(found) == ordered({b"a": b"old", b"b": b"new", b"c": b"old"}, reverse)
