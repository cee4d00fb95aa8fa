"""The fuzzer, where there is one for this version of Python; see fuzz.py."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from harness import Figures


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Run it; its rounds are sequences of calls, each compared to a dict."""
    figures = Figures("fuzzer")
    if find_spec("atheris") is None:
        figures.remarks["left out:"] = "atheris is not installed, or has no wheel for this Python"
        return figures
    command = [sys.executable, str(Path(__file__).with_name("fuzz.py")), str(max(1, int(seconds))), str(seed % 2**31)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-5000:]
    found = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert found, done.stderr[-5000:]
    figures.rounds = int(found[1])
    return figures
