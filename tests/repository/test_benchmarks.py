"""The benchmark runs, with few keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import lmdb_object_store

pytestmark = pytest.mark.once  # the programs of the benchmark are the same with each Python

BENCH = Path(__file__).parents[1] / "benchmarks" / "bench.py"
NEEDS_MORE = {"put_arrays", "get_arrays", "memory"}  # NumPy, more keys


@pytest.mark.slow  # 43 workloads, for six systems each
def test_workload_runs_and_gives_the_right_answers(tmp_path: Path) -> None:
    """Each workload has a result for this store and for what it is compared to; the workloads check what they read."""
    arguments = ["--keys", "50", "--rounds", "1", "--seconds", "0.02"]
    systems = ["--systems", "raw,raw1k,store,tuned,ordered,dict"]
    found_at = str(Path(lmdb_object_store.__file__).parents[1])
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (found_at, os.environ.get("PYTHONPATH"))))}
    folders = ["--folder", str(tmp_path), "--output", str(tmp_path / "results")]
    ended = subprocess.run(
        [sys.executable, str(BENCH), *arguments, *systems, *folders],
        capture_output=True,
        text=True,
        timeout=100,
        env=environ,
    )
    if "is in memory" in ended.stderr:
        pytest.skip(ended.stderr.strip())
    assert ended.returncode == 0, ended.stderr
    results = json.loads((tmp_path / "results" / "results.json").read_text())
    rows = results["samples"]["50"]
    assert len(rows.keys() - NEEDS_MORE) == 48
    assert all({"store", "tuned"} <= measured.keys() for measured in rows.values())
    table = (tmp_path / "results" / "results.md").read_text()
    assert "| `store[k]` | raw |" in table
    assert [commits_for_a_write(table, system) for system in ("raw py-lmdb", "this store, tuned")] == ["1.00", "1.00"]
    assert ("no charts" in table) is not bool(find_spec("matplotlib"))
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def commits_for_a_write(table: str, system: str) -> str:
    """Return the commits that one thread of durable writes makes for each write."""
    threads = table.partition("**Threads of durable writes")[2]
    line = next(line for line in threads.splitlines() if line.startswith(f"| {system} |"))
    return line.split(" | ")[4]
