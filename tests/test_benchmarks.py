"""The benchmark runs, and checks its results itself; how fast anything is, no test says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import lmdb_object_store

BENCH = Path(__file__).parent / "benchmarks" / "bench.py"


def bench(tmp_path: Path, *options: str) -> str:
    """What a run with `options` prints."""
    command = [sys.executable, str(BENCH), "--folder", str(tmp_path), "--output", str(tmp_path / "out"), *options]
    found_at = str(Path(lmdb_object_store.__file__).parents[1])
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (found_at, os.environ.get("PYTHONPATH"))))}
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=100, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_workload_runs(tmp_path: Path) -> None:
    """Each of them, in the systems that need nothing but this package."""
    options = ("--systems", "raw,raw1k,store,tuned,dict", "--keys", "300", "--rounds", "1", "--seconds", "0.01")
    printed = bench(tmp_path, *options)
    assert "| `store[k]` | raw |" in printed
    assert "all, synced at each flush and close()" in printed
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (tmp_path / "out" / "results.md").read_text().strip() == printed.strip()
    assert results


def test_a_workload_or_system_that_is_unknown_is_named(tmp_path: Path) -> None:
    """With those that there are."""
    command = [sys.executable, str(BENCH), "--folder", str(tmp_path), "--systems", "nosuch"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "unknown: nosuch; there are raw," in done.stderr
