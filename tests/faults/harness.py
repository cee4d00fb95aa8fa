"""Shared parts of the fault cases: figures, a budget of time, and file systems."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from journal import Verdict

HEADINGS = ("case", "rounds", "acknowledged", "lost", "partial", "seconds", "")


@dataclass
class Figures:
    """The counts of a case: rounds, acknowledged writes, lost ones among them, transactions found in part."""

    case: str
    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    partial: int = 0
    seconds: float = 0.0
    remarks: dict[str, object] = field(default_factory=dict)

    def add(self, verdict: Verdict) -> None:
        """Add one verdict."""
        self.acknowledged += verdict.acknowledged
        self.lost += verdict.lost
        self.partial += verdict.partial

    def count(self, what: str, number: int = 1) -> None:
        """Add `number` to the remark `what`."""
        before = self.remarks.get(what, 0)
        assert isinstance(before, int)
        self.remarks[what] = before + number

    def row(self) -> str:
        """Return a line of the table."""
        remarks = ", ".join(
            f"{what} {number:,}" if isinstance(number, int) else f"{what} {number}"
            for what, number in self.remarks.items()
        )
        numbers = (f"{number:,}" for number in (self.rounds, self.acknowledged, self.lost, self.partial))
        return f"| {self.case} | {' | '.join(numbers)} | {self.seconds:.0f} | {remarks} |"


def table(rows: list[Figures]) -> str:
    """Return all figures, in Markdown."""
    head = ["| " + " | ".join(HEADINGS) + " |", "|---|--:|--:|--:|--:|--:|---|"]
    return "\n".join(head + [figures.row() for figures in rows])


def budget(seconds: float, at_least: int = 1) -> Iterator[int]:
    """Yield numbers of rounds until `seconds` are over, at least `at_least` of them."""
    end = time.monotonic() + seconds
    number = 0
    while number < at_least or time.monotonic() < end:
        yield number
        number += 1


def mounted(folder: Path) -> bool:
    """Mount a file system of 16 MiB in memory at `folder`; yield False if this user may not."""
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(folder)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False
