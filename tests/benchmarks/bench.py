"""The speed of the store, beside raw py-lmdb and other mappings on disk.

Each system has a process of its own. In each round of a workload every system runs it once, one after the other,
so that what else happens on the machine hits all alike. A ratio is the median over the rounds of a system's time
for an operation divided by raw's in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import original
import report
from peers import SYSTEMS
from results import Results, machine
from workloads import WORKLOADS, Workload

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build"
SCALE = (10_000, 100_000, 1_000_000, 10_000_000)
SCALE_SYSTEMS = ("raw", "store")
SCALE_WORKLOADS = ("get", "contains", "items", "keys", "prefix", "span", "count", "put_many")


@dataclass
class Settings:
    """The settings of one run."""

    folder: Path
    keys: int
    rounds: int
    seconds: float
    systems: list[str]
    workloads: list[str]
    pythons: dict[str, Path] = field(default_factory=dict)

    @property
    def map_size(self) -> int:
        return max(1 << 28, 2048 * self.keys)


class Worker:
    """The process of one system."""

    def __init__(self, system: str, settings: Settings) -> None:
        python = str(settings.pythons.get(system, sys.executable))
        environ = dict(os.environ)
        if system in settings.pythons:  # nothing of this environment is to be found in another
            environ.pop("PYTHONPATH", None)
        self._process = subprocess.Popen(
            [python, str(HERE / "worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )
        self.about = self.ask(
            system=system,
            folder=str(settings.folder),
            keys=settings.keys,
            seconds=settings.seconds,
            map_size=settings.map_size,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the worker's answer. Raise RuntimeError if it failed."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"error": "the worker has died"}')
        if "error" in answer:
            raise RuntimeError(f"{self._process.args!r}, {request}: {answer['error']}")
        return answer

    def close(self) -> None:
        self._process.communicate()


def measure(settings: Settings, results: Results) -> None:
    """Run every workload in every system, `rounds` times."""
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for system in settings.systems:
            worker = Worker(system, settings)
            stack.callback(worker.close)
            if "missing" in worker.about:
                results.notes.append(f"{system} is left out: {worker.about['missing']}")
            else:
                workers[system] = worker
                results.versions[system] = worker.about["version"]
        for name in settings.workloads:
            say(f"{name} …")
            run_rounds(WORKLOADS[name], workers, settings, results)


def run_rounds(workload: Workload, workers: dict[str, Worker], settings: Settings, results: Results) -> None:
    """Add the samples of `workload`; None for each system that lacks it."""
    names = list(workers)
    lacking: set[str] = set()
    for number in range(1 if workload.alone else settings.rounds):
        first = number % max(1, len(names))
        for system in names[first:] + names[:first]:
            if system in lacking:
                continue
            if workload.alone:
                worker = Worker(system, settings)
                answer = worker.ask(workload=workload.name)
                worker.close()
            else:
                answer = workers[system].ask(workload=workload.name)
            if "note" in answer and answer["note"] not in results.notes:
                results.notes.append(answer["note"])
            if not answer["samples"]:
                lacking.add(system)
                continue
            for row, sample in zip(workload.rows, answer["samples"]):
                results.add(settings.keys, row.name, system, sample)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5,000 keys, all within two minutes")
    parser.add_argument("--scale", action="store_true", help="10,000 to 10,000,000 keys, raw and this store only")
    parser.add_argument("--systems", help=f"of {','.join(SYSTEMS)}")
    parser.add_argument("--workloads", help=f"of {','.join(WORKLOADS)}")
    parser.add_argument("--keys", type=int, help="100,000 unless given")
    parser.add_argument("--rounds", type=int, help="7 unless given, 5 with --quick or --scale")
    parser.add_argument("--seconds", type=float, help="for one run of a slow system: it does as many operations as fit")
    parser.add_argument("--folder", type=Path, default=BUILD, help="where the stores lie, on a real disk")
    parser.add_argument("--output", type=Path, default=BUILD / "benchmark", help="where the results go")
    return parser.parse_args()


def chosen(names: str | None, known: dict[str, Any], default: tuple[str, ...]) -> list[str]:
    wanted = names.split(",") if names else list(default)
    if unknown := [name for name in wanted if name not in known]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return [name for name in known if name in wanted]  # in the order of the tables


def main() -> None:
    options = parsed()
    options.folder.mkdir(parents=True, exist_ok=True)
    systems = chosen(options.systems, SYSTEMS, SCALE_SYSTEMS if options.scale else tuple(SYSTEMS))
    workloads = chosen(options.workloads, WORKLOADS, SCALE_WORKLOADS if options.scale else tuple(WORKLOADS))
    keys = options.keys or (5_000 if options.quick else 100_000)
    seconds = options.seconds or (0.015 if options.quick else 2.0)
    rounds = options.rounds or (5 if options.quick or options.scale else 7)
    results = Results(machine(options.folder), rounds, seconds)
    pythons: dict[str, Path] = {}
    if "original" in systems:
        try:
            pythons["original"] = original.python(BUILD)
        except OSError as error:
            results.notes.append(f"original is left out: {error}")
            systems.remove("original")
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.folder) as folder:
        for number in SCALE if options.scale else (keys,):
            say(f"{number:,} keys")
            measure(Settings(Path(folder), number, rounds, seconds, systems, workloads, pythons), results)
    if not results.samples:
        raise SystemExit("\n".join(["nothing was measured", *results.notes]))
    for path in report.write(results, options.output):
        say(f"wrote {path}")
    print(report.markdown(results))


if __name__ == "__main__":
    main()
