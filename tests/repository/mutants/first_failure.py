"""A plugin of pytest that ends the process at the first failure. A mutant may make the end of that test hang."""

from __future__ import annotations

import os

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print the name of a test that failed as pytest does at its end, and end."""
    if report.failed:
        print(f"\nFAILED /{report.nodeid}", flush=True)
        os._exit(1)
