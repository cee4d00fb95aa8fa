"""The steps in which a map grows, as a pure function."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmdb_object_store._buffer.resize import MIN_GROWTH, next_map_size
from lmdb_object_store._environment.write import pages_kept

KIB, MIB = 1 << 10, 1 << 20
PAGE = 4096

sizes = st.integers(1, 1 << 40)
pages = st.sampled_from([4096, 16384, 65536])


def contract_step(size: int) -> int:
    """Return the contract's next size, before it is rounded."""
    return max(2 * size, size + 64 * MIB)


@given(size=sizes, page=pages)
def test_next_map_size_of_one_step_is_the_contracts_property(size: int, page: int) -> None:
    """If one step is enough, the map grows by max(2x, +64 MiB), rounded up to whole pages."""
    grown = next_map_size(size, None, 0, page)
    assert grown is not None
    assert contract_step(size) <= grown < contract_step(size) + page
    assert grown % page == 0


@given(size=sizes, needed=sizes, page=pages)
def test_next_map_size_ends_where_the_need_is_met_property(size: int, needed: int, page: int) -> None:
    """Growth takes as many of the contract's steps as the need asks for, and not one more."""
    expected = size
    while expected == size or expected < needed:
        expected = -(-contract_step(expected) // page) * page
    assert next_map_size(size, None, needed, page) == expected


@given(size=sizes, cap=st.integers(1, 1 << 42), needed=sizes, page=pages)
def test_next_map_size_never_passes_the_cap_property(size: int, cap: int, needed: int, page: int) -> None:
    """The cap, rounded down to whole pages, is never passed; None tells that there is nothing left to grow."""
    limit = cap // page * page
    grown, free = next_map_size(size, cap, needed, page), next_map_size(size, None, needed, page)
    assert free is not None
    assert grown == (min(free, limit) if limit > size else None)


@given(size=sizes, cap=st.integers(1, 1 << 42), page=pages)
def test_pages_kept_at_the_cap_is_an_eighth_to_a_quarter_property(size: int, cap: int, page: int) -> None:
    """At the cap between an eighth and a quarter, never more than 2,048 pages; below it, what growth cannot give."""
    at_cap = pages_kept(max(size, cap), cap, page)
    all_pages = max(size, cap) // page
    assert at_cap == min(max(all_pages // 8, 16), all_pages // 4, 2048)
    assert pages_kept(size, cap, page) == max(0, at_cap - (all_pages - size // page))
    assert pages_kept(size, None, page) == 0


@pytest.mark.parametrize(
    ("current", "cap", "needed", "expected"),
    [
        (1 * MIB, None, 0, 65 * MIB),
        (64 * MIB, None, 0, 128 * MIB),
        (100 * MIB, None, 0, 200 * MIB),
        (1 * MIB, None, 66 * MIB, 130 * MIB),
        (1 * MIB, 3 * MIB, 0, 3 * MIB),
        (1 * MIB, 3 * MIB + 5, 0, 3 * MIB),
        (1 * MIB, 65 * MIB, 0, 65 * MIB),
        (3 * MIB, 3 * MIB, 0, None),
        (3 * MIB, 3 * MIB + 4095, 0, None),
        (4 * MIB, 3 * MIB, 0, None),
        (1 * MIB, 3 * MIB, 1 << 40, 3 * MIB),
        (1000, None, 0, 64 * MIB + 4096),
    ],
)
def test_next_map_size_of_examples_is_the_contracts(
    current: int, cap: int | None, needed: int, expected: int | None
) -> None:
    """The contract's steps, by example."""
    assert next_map_size(current, cap, needed, PAGE) == expected


def test_min_growth_is_64_mib() -> None:
    """The least step is the contract's 64 MiB."""
    assert MIN_GROWTH == 64 * MIB
