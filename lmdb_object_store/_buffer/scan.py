"""Ordered pages of the rows of the file, merged with the pending changes. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from .._environment.read import Page, Rows

# Rows of the first page of a scan, and of a later one. A short first page makes `next(iter(store))` cheap. Pages of
# 1,024 rows cost 1.06 times one long transaction.
FIRST_PAGE = 32
LATER_PAGE = 1024

ReadPage = Callable[[bytes, bytes | None, int], Page]


def with_changes(
    rows: dict[bytes, bytes], pending: Mapping[bytes, bytes | None], low: bytes, high: bytes | None, reverse: bool
) -> dict[bytes, bytes]:
    """Return `rows` as they will be once `pending` is flushed.

    `rows` are all that the file has from `low`, inclusive, to `high`, exclusive. None is the end.
    """
    changes = {key: data for key, data in pending.items() if low <= key and (high is None or key < high)}
    if not changes:
        return rows
    merged: dict[bytes, bytes | None] = {**rows, **changes}
    return {key: data for key in sorted(merged, reverse=reverse) if (data := merged[key]) is not None}


def scan(
    read_page: ReadPage,
    pending: Callable[[], Mapping[bytes, bytes | None]],
    low: bytes = b"",
    high: bytes | None = None,
    *,
    reverse: bool = False,
    first: int = FIRST_PAGE,
) -> Iterator[Rows]:
    """Yield every page from `low` to `high` in order, merged with `pending()` as it is when the page is read.

    `read_page(low, high, limit)` returns at most the first `limit` remaining rows. Keys rise strictly over all pages,
    or fall if `reverse`. Nothing is held between two pages.
    """
    limit = first
    ended = False
    while not ended:
        # Pending changes first, the file second: a row that a flush moves in between is in both, never in neither.
        changes = pending()
        rows, ended = read_page(low, high, limit)
        begin, end = low, high  # the part that this page covers
        if rows and not ended:
            last = next(reversed(rows))
            if reverse:
                begin = high = last
            else:
                end = low = last + b"\0"
        if changes:
            rows = with_changes(
                dict.fromkeys(rows, b"") if isinstance(rows, list) else rows, changes, begin, end, reverse
            )
        yield rows
        # A page is no shorter than the pending changes, so that the cost of all merges is linear.
        limit = max(LATER_PAGE, len(changes))
