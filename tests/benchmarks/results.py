"""The results of a run, and the machine that they are from."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Sample = tuple[float, int]


@dataclass
class Results:
    """`samples[keys][row][system]` has one sample a round: seconds (or bytes) in all, number of operations."""

    machine: dict[str, str]
    rounds: int
    seconds: float
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    samples: dict[int, dict[str, dict[str, list[Sample]]]] = field(default_factory=dict)

    def add(self, keys: int, row: str, system: str, sample: Sample) -> None:
        self.samples.setdefault(keys, {}).setdefault(row, {}).setdefault(system, []).append(sample)

    def each(self, keys: int, row: str, system: str) -> list[float]:
        """Return the seconds (or bytes) of an operation, by round."""
        return [amount / max(1, count) for amount, count in self.samples[keys].get(row, {}).get(system, ())]

    def median(self, keys: int, row: str, system: str) -> float | None:
        values = self.each(keys, row, system)
        return statistics.median(values) if values else None

    def ratio(self, keys: int, row: str, system: str, baseline: str | None) -> float | None:
        """Return the median over the rounds of the system's value divided by the baseline's in the same round."""
        theirs = self.each(keys, row, baseline) if baseline else []
        ratios = [value / base for value, base in zip(self.each(keys, row, system), theirs) if base]
        return statistics.median(ratios) if ratios else None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def machine(folder: Path) -> dict[str, str]:
    """Return the machine, its Python, and the file system of `folder`; refuse a memory file system."""
    kind = _file_system(folder)
    if kind in ("tmpfs", "ramfs"):
        raise SystemExit(f"{folder} is in memory ({kind}): give a --folder on a disk")
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "file system": kind,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _file_system(folder: Path) -> str:
    """Return the kind of the mount that `folder` is on: the mount with the longest path that leads to it."""
    try:
        lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    there = folder.resolve()
    mounts = [(Path(at), kind) for _, at, kind, *_ in lines if there.is_relative_to(at)]
    return max(mounts, key=lambda mount: len(mount[0].parts))[1] if mounts else "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
