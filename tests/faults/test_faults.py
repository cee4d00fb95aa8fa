"""The short form of each fault case: a few seconds of what `tox run -e soak` does for minutes."""

from __future__ import annotations

import pytest
from soak import CASES, LONG_ONLY, SHORT, run_apart


@pytest.mark.slow  # two seconds or more for each case, in processes of its own
@pytest.mark.parametrize("name", [name for name in CASES if name not in LONG_ONLY])
def test_fault_case_loses_nothing(name: str) -> None:
    """Nothing that was acknowledged is lost, and no transaction is found in part."""
    figures = run_apart(name, seed=0, seconds=SHORT)
    assert figures.rounds > 0
    assert figures.acknowledged > 0
    assert (figures.lost, figures.partial) == (0, 0), figures
