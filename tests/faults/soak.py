"""Every fault case at length, each in a process of its own; ends with a table of figures.

Usage: python tests/faults/soak.py [--seconds N] [--seed N] [CASE ...]

Seconds are for each case, twelve times as many for the fuzzer; a CASE is any part of a name.

The seed decides what is written and when, as far as the machine's own timing does not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from random import SystemRandom

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from harness import Figures, table  # noqa: E402  # beside this file, which may be run by itself

Case = Callable[[int, float, Path], Figures]

# By name: module and function.
CASES = {
    "kill": ("case_kill", "run"),
    "kill_holder": ("case_kill", "run_two_writers"),
    "disk": ("case_disk", "run"),
    "cap": ("case_cap", "run"),
    "locks": ("case_locks", "run"),
    "processes": ("case_processes", "run"),
    "hundredfold": ("case_processes", "run_hundredfold"),
    "forks": ("case_forks", "run"),
    "threads": ("case_threads", "run"),
    "accounts": ("case_accounts", "run"),
    "unpickling": ("case_threads", "run_unpickling"),
    "interrupts": ("case_interrupts", "run"),
    "async_exceptions": ("case_interrupts", "run_from_another_thread"),
    "endings": ("case_endings", "run"),
    "memory": ("case_memory", "run"),
    "long_life": ("case_longlife", "run"),
    "fuzz": ("case_fuzz", "run"),
}
LONG_ONLY = {"fuzz"}
LONGER = {"fuzz": 12}  # times as long as the others
MARGIN = 120.0  # seconds that a case may take beyond its limit
SHORT = 2.0  # seconds for each case where it is one test among others


def run_here(name: str, seed: int, seconds: float) -> Figures:
    """Run a case in this process."""
    module, function = CASES[name]
    case: Case = getattr(import_module(module), function)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        figures = case(seed, seconds, Path(folder))
    figures.seconds = round(time.monotonic() - start, 1)
    return figures


def run_apart(name: str, seed: int, seconds: float) -> Figures:
    """Run a case in a process of its own; RuntimeError with what it printed where it fails, or hangs."""
    command = [sys.executable, str(HERE / "soak.py"), "--here", "--seed", str(seed), "--seconds", str(seconds), name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + MARGIN)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{name} hangs: {error.stdout!r} {error.stderr!r}") from None
    if done.returncode:
        raise RuntimeError(f"{name} with seed {seed} ended with status {done.returncode}: {done.stdout}{done.stderr}")
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1 << 31))
    parser.add_argument("--here", action="store_true", help="in this process; the figures as JSON")
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(asdict(run_here(options.cases[0], options.seed, options.seconds))))
        return
    chosen = [name for name in CASES if not options.cases or any(part in name for part in options.cases)]
    print(f"seed {options.seed}, {options.seconds:g} seconds a case: {', '.join(chosen)}", flush=True)
    rows, failed = [], []
    for name in chosen:
        try:
            rows.append(run_apart(name, options.seed, options.seconds * LONGER.get(name, 1)))
            print(rows[-1].row(), flush=True)
        except RuntimeError as error:
            failed.append(name)
            print(f"FAILED {error}", flush=True)
    print(f"\n{table(rows)}")
    if failed or any(row.lost or row.partial for row in rows):
        sys.exit(f"failed: {', '.join(failed) or 'see the table'}")


if __name__ == "__main__":
    main()
