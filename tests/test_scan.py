"""Pages of rows and the pending changes laid over them, as pure functions, against a sorted dict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lmdb_object_store import _scan
from lmdb_object_store._scan import FIRST_PAGE, LATER_PAGE, Page, lay_over, scan

# Few and short, so that rows and changes often meet; some are each other's prefixes and next neighbours.
KEYS = [b"\0", b"\0\0", b"\1", b"\1\0", b"\1\1", b"\2", b"\2\xff"]
keys = st.one_of(st.sampled_from(KEYS), st.binary(min_size=1, max_size=2))
Rows = dict[bytes, bytes]
Changes = dict[bytes, bytes | None]
rows_strategy = st.dictionaries(keys, st.sampled_from([b"old", b""]), max_size=12)
changes_strategy = st.dictionaries(keys, st.one_of(st.none(), st.sampled_from([b"new", b""])), max_size=12)
page_sizes = st.sampled_from([(1, 1), (1, 2), (2, 2), (FIRST_PAGE, LATER_PAGE)])
directions = pytest.mark.parametrize("reverse", [False, True])


def flushed(rows: Mapping[bytes, bytes], changes: Mapping[bytes, bytes | None]) -> Rows:
    """The model: `rows` after `changes`, in order."""
    merged: Changes = {**rows, **changes}
    return {key: data for key in sorted(merged) if (data := merged[key]) is not None}


def ordered(rows: Mapping[bytes, bytes], reverse: bool) -> list[tuple[bytes, bytes]]:
    """The rows of the model in either direction."""
    return sorted(rows.items(), reverse=reverse)


class File:
    """A file of rows, read by pages as `_reads.page` does, that remembers what it was asked."""

    def __init__(self, rows: Rows, reverse: bool, *, most: int = 10**9) -> None:
        self.rows = rows
        self.reverse = reverse
        self.most = most
        self.asked: list[tuple[bytes | None, int]] = []

    def read_page(self, after: bytes | None, limit: int) -> Page:
        """At most `limit` rows beyond `after`, and never more than `most`, as where their bytes are bounded."""
        self.asked.append((after, limit))
        beyond = [
            (key, data)
            for key, data in ordered(self.rows, self.reverse)
            if after is None or (key < after if self.reverse else key > after)
        ]
        page = dict(beyond[: min(limit, self.most)])
        return page, len(page) < min(limit, self.most)


def scanned(file: File, pending: Mapping[bytes, bytes | None], sizes: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    """The rows of a scan by pages of `sizes`, the first one and later ones."""
    with patch.object(_scan, "LATER_PAGE", sizes[1]):
        for page in scan(file.read_page, pending, reverse=file.reverse, first=sizes[0]):
            assert isinstance(page, dict)
            yield from page.items()


# -- one page


@directions
@given(rows=rows_strategy, changes=changes_strategy, bounds=st.tuples(st.none() | keys, st.none() | keys))
def test_lay_over_property(
    reverse: bool, rows: Rows, changes: Changes, bounds: tuple[bytes | None, bytes | None]
) -> None:
    """A page laid over is the model's part from `after`, exclusive, to `until`, inclusive, in the page's direction."""
    after, until = bounds

    def inside(key: bytes) -> bool:
        if reverse:
            return (after is None or key < after) and (until is None or key >= until)
        return (after is None or key > after) and (until is None or key <= until)

    page = {key: data for key, data in ordered(rows, reverse) if inside(key)}
    expected = [(key, data) for key, data in ordered(flushed(rows, changes), reverse) if inside(key)]
    assert list(lay_over(page, changes, after, until, reverse).items()) == expected


@directions
def test_lay_over_bounds(reverse: bool) -> None:
    """The lower and the upper end of a page: the one it begins after is not in it, the one it ends with is."""
    changes: Changes = {b"a": b"new", b"b": b"new", b"c": b"new"}
    after, until = (b"c", b"a") if reverse else (b"a", b"c")
    inside = [b"b", b"a"] if reverse else [b"b", b"c"]
    assert list(lay_over({}, changes, after, until, reverse)) == inside


def test_lay_over_of_nothing_pending() -> None:
    """A page that no change falls into is given back as it is, not copied."""
    rows = {b"b": b"1"}
    assert lay_over(rows, {}, None, None, False) is rows
    assert lay_over(rows, {b"a": None, b"d": b"2"}, b"a", b"c", False) is rows


def test_lay_over_changes_neither_argument() -> None:
    """Rows and changes are left as they are."""
    rows, changes = {b"a": b"1"}, {b"a": None, b"b": b"2"}
    assert lay_over(rows, changes, None, None, False) == {b"b": b"2"}
    assert rows == {b"a": b"1"}
    assert changes == {b"a": None, b"b": b"2"}


# -- all pages


@directions
@given(rows=rows_strategy, changes=changes_strategy, sizes=page_sizes, most=st.sampled_from([1, 2, 10**9]))
@example(rows={b"a": b"1", b"b": b"2"}, changes={b"a": None, b"b": None}, sizes=(1, 1), most=1)
@example(rows={b"a": b"1"}, changes={b"b": b"2"}, sizes=(1, 1), most=1)
def test_scan_property(reverse: bool, rows: Rows, changes: Changes, sizes: tuple[int, int], most: int) -> None:
    """A scan gives the rows as they will be once the changes are flushed, in order, whatever the size of its pages."""
    file = File(rows, reverse, most=most)
    assert list(scanned(file, changes, sizes)) == ordered(flushed(rows, changes), reverse)


writes = st.lists(st.tuples(keys, st.one_of(st.none(), st.just(b"new"))), max_size=3)


@directions
@given(
    rows=rows_strategy,
    pending=changes_strategy,
    sizes=page_sizes,
    script=st.lists(st.tuples(writes, st.booleans()), max_size=10),
)
def test_scan_beside_writes_property(
    reverse: bool,
    rows: Rows,
    pending: Changes,
    sizes: tuple[int, int],
    script: list[tuple[list[tuple[bytes, bytes | None]], bool]],
) -> None:
    """Keys rise (or fall) strictly while others write and flush; what is there all the while is never missed."""
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
def test_a_flush_between_buffer_and_file_hides_nothing(reverse: bool) -> None:
    """What is flushed just as the file is about to be read is found: the buffer is looked at first."""
    pending: Changes = {b"b": b"new"}
    file = File({b"a": b"old"}, reverse)

    def read_page(after: bytes | None, limit: int) -> Page:
        file.rows.update(flushed({}, pending))
        pending.clear()
        return file.read_page(after, limit)

    assert sorted(chain.from_iterable(scan(read_page, pending, reverse=reverse))) == [b"a", b"b"]


# -- what is read


def test_the_first_page_is_short_and_later_ones_longer() -> None:
    """`next(iter(store))` reads little; a long scan reads by larger pages, each resuming after the last row."""
    file = File({i.to_bytes(2, "big"): b"" for i in range(3000)}, False)
    found = list(chain.from_iterable(scan(file.read_page, {})))
    assert found == list(file.rows)
    limits = [limit for _, limit in file.asked]
    assert limits[0] == _scan.FIRST_PAGE < _scan.LATER_PAGE == limits[1] == limits[2]
    assert [after for after, _ in file.asked] == [
        None, found[31], found[31 + 1024], found[31 + 2048],
    ]  # fmt: skip


def test_pages_are_no_shorter_than_what_is_pending() -> None:
    """The cost of laying many changes over many pages stays linear: pages grow with the changes."""
    file = File({i.to_bytes(2, "big"): b"" for i in range(10_000)}, False)
    changes: Changes = {i.to_bytes(2, "big"): None for i in range(5_000)}
    assert len(list(chain.from_iterable(scan(file.read_page, changes, first=1)))) == 5_000
    assert [limit for _, limit in file.asked] == [1, 5_000, 5_000]


def test_nothing_is_read_before_it_is_asked_for() -> None:
    """A scan that nobody advances reads nothing, and one that is abandoned reads no further page."""
    file = File({bytes([i]): b"" for i in range(100)}, False)
    pages = scan(file.read_page, {}, first=2)
    assert file.asked == []
    assert list(next(pages)) == [b"\0", b"\1"]
    assert len(file.asked) == 1


def test_an_error_of_the_reader_reaches_the_caller() -> None:
    """What reading a page raises goes up as it is."""

    def fail(after: bytes | None, limit: int) -> Page:
        raise OSError("unreadable")

    read_page: Callable[[bytes | None, int], Page] = fail
    with pytest.raises(OSError, match="unreadable"):
        list(scan(read_page, {}))


@directions
def test_a_flush_after_the_page_is_read_hides_nothing(reverse: bool) -> None:
    """What a flush moves from the pending changes to the file, just after a page was read, is in the page."""
    pending: Changes = {b"b": b"new"}
    file = File({b"a": b"old", b"c": b"old"}, reverse)

    def read_and_flush(after: bytes | None, limit: int) -> Page:
        page = file.read_page(after, limit)
        file.rows = flushed(file.rows, pending)
        pending.clear()
        return page

    pages = cast("Iterator[Rows]", scan(read_and_flush, pending, reverse=reverse))
    found = chain.from_iterable(page.items() for page in pages)
    assert list(found) == ordered({b"a": b"old", b"b": b"new", b"c": b"old"}, reverse)
