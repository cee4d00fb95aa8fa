"""Ordered pages of stored rows with pending changes laid over them: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from .._environment.read import Page, Rows

# Rows of the first page of a scan and of a later one. A short first page makes
# `next(iter(store))` cheap; pages of 1,024 cost 1.06 times one long transaction.
FIRST_PAGE = 32
LATER_PAGE = 1024

ReadPage = Callable[[bytes, bytes | None, int], Page]


def with_changes(
    rows: dict[bytes, bytes], pending: Mapping[bytes, bytes | None], low: bytes, high: bytes | None, reverse: bool
) -> dict[bytes, bytes]:
    """`rows`, all that the file has from `low` (inclusive) to `high` (exclusive; None: the end), as they will be once
    `pending` is flushed."""
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
    """Every page from `low` to `high` in order, `pending()` as it is when the page is read laid over it.

    `read_page(low, high, limit)` is asked for the first `limit` rows of what remains, at most. Keys rise strictly
    (fall, where `reverse`) over all pages; nothing is held between them.
    """
    limit = first
    ended = False
    while not ended:
        # Pending first, file second: what a flush moves in between is then in both, never in neither.
        changes = pending()
        rows, ended = read_page(low, high, limit)
        begin, end = low, high  # of what this page covers
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
        # Pages no shorter than what is pending keep the cost of all overlays linear.
        limit = max(LATER_PAGE, len(changes))
