"""Ordered pages of stored rows with pending changes laid over them: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

# Rows of the first page of a scan and of a later one. A short first page makes
# `next(iter(store))` cheap; pages of 1,024 cost 1.06 times one long transaction.
FIRST_PAGE = 32
LATER_PAGE = 1024

# Stored keys in order, with their values unless only keys were asked for.
Rows = dict[bytes, bytes] | list[bytes]
# A page, and whether the file has none beyond it.
Page = tuple[Rows, bool]
ReadPage = Callable[[bytes | None, int], Page]


def lay_over(
    rows: dict[bytes, bytes],
    pending: Mapping[bytes, bytes | None],
    after: bytes | None,
    until: bytes | None,
    reverse: bool,
) -> dict[bytes, bytes]:
    """`rows`, the file's page from `after` (exclusive) to `until` (inclusive), as it will be once `pending` is flushed.

    None leaves that side of the page open. `after` is the larger bound where `reverse`.
    """
    low, high = (until, after) if reverse else (after, until)
    changes = {
        key: data
        for key, data in pending.items()
        if (low is None or low < key or (reverse and low == key))
        and (high is None or key < high or (not reverse and key == high))
    }
    if not changes:
        return rows
    merged: dict[bytes, bytes | None] = {**rows, **changes}
    return {key: data for key in sorted(merged, reverse=reverse) if (data := merged[key]) is not None}


def scan(
    read_page: ReadPage, pending: Mapping[bytes, bytes | None], *, reverse: bool = False, first: int = FIRST_PAGE
) -> Iterator[Rows]:
    """Every page in order, `pending` as it is when the page is read laid over it.

    `read_page(after, limit)` is asked for at most `limit` rows beyond `after`. Keys rise strictly
    (fall, where `reverse`) over all pages; nothing is held between them.
    """
    after: bytes | None = None
    limit = first
    ended = False
    while not ended:
        # Pending first, file second: what a flush moves in between is then in both, never in neither.
        changes = dict(pending)
        rows, ended = read_page(after, limit)
        until = next(reversed(rows)) if rows and not ended else None
        if changes:
            rows = lay_over(
                dict.fromkeys(rows, b"") if isinstance(rows, list) else rows, changes, after, until, reverse
            )
        yield rows
        # Pages no shorter than what is pending keep the cost of all overlays linear.
        after, limit = until, max(LATER_PAGE, len(changes))
