"""Forks under load, by every start method; see fork_program.py."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

from fork_program import BATCH_SIZE
from harness import Figures, budget
from journal import Journal, Model, compare, found_at

METHODS = ["os.fork", "threads", "reduce", "futures", "fork", "forkserver", "spawn"]
PROGRAM = Path(__file__).with_name("fork_program.py")


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Run the program again and again, and compare the file to the journals of the parent and of each child."""
    source, figures = random.Random(seed), Figures("forks under load")
    for number in budget(seconds, len(METHODS)):
        place = folder / "round"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        method = METHODS[number % len(METHODS)]
        command = [sys.executable, "-W", "ignore", str(PROGRAM), str(place), method, str(source.random())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{method}: {done.stdout}{done.stderr}"
        whole = found_at(str(place / "db"))
        journals = [file for file in place.iterdir() if file.is_file()]
        for file in journals:
            acknowledged, allowed = Model(BATCH_SIZE).replay(Journal.read_file(file))
            found = {key: whole.pop(key) for key in list(whole) if key.startswith(file.name)}
            figures.add(compare(acknowledged, allowed, found))
        assert not whole, f"{method}: nobody wrote {whole}"
        figures.count("children", len(journals) - 1)
        figures.rounds += 1
    return figures
