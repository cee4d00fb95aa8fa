"""One system in a process of its own: it answers each line of JSON on its input with one on its output.

What a system leaves on the disk (`System.on_disk`) was found with this, for each NAME:

    echo '{"system": "NAME", "folder": "/tmp", "keys": 3000, "seconds": 60, "map_size": 268435456}
    {"workload": "put", "count": 3000}' | strace -f -y -o calls \
    -e trace=fsync,fdatasync,msync,sync_file_range,sync,write,writev,pwrite64 python tests/benchmarks/worker.py

Between the call of sync() before the first put and the line that answers, each file that was written must be synced.
(LMDB opens its file a second time for the page that makes a commit valid, with O_DSYNC: that write is a sync itself.)
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from peers import SYSTEMS
from session import Sample, Session
from workloads import WORKLOADS, Workload


class Worker:
    """Runs workloads in one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.counts: dict[str, int] = {}
        self.last = ""

    def run(self, name: str, count: int | None) -> list[Sample] | None:
        """Return the samples of one run, None if the system lacks a method; `count` None: as many as time allows."""
        system, workload = self.session.system, WORKLOADS[name]
        if name in system.lacks or (name in ("threads", "beside") and not system.threads):
            return None
        if system.name == "raw1k" and workload.baseline == "raw":  # it would do the same as raw
            return None
        if name != self.last:
            self.session.forget("arrays")
            self.session.forget("large")
            self.session.forget("groups")
            self.last = name
        if count is None:
            if name not in self.counts:
                self.counts[name] = self._affordable(workload)
            count = self.counts[name]
        return workload.run(self.session, count)

    def _affordable(self, workload: Workload) -> int:
        """Return the workload's number of operations, or the number that fits its time; few are tried first."""
        if workload.most is None:
            return 0
        most = count = workload.most(self.session.number)
        for tried in (20, 200, 2000):
            seconds, done = workload.run(self.session, min(tried, count))[0]
            count = min(most, max(tried, int(done / seconds * self.session.seconds)))
            if count in (tried, most):
                break
        return count


def start(request: dict[str, Any]) -> tuple[dict[str, Any], Session | None]:
    """Start a session if the system is installed, and return it with the facts about the system."""
    folder = Path(tempfile.mkdtemp(dir=request["folder"]))
    system = SYSTEMS[request["system"]](request["map_size"])
    try:
        path = folder / "first"
        system.close(system.open(path, batch=None))
        system.remove(path)
    except ImportError as error:
        folder.rmdir()
        return {"missing": str(error)}, None
    session = Session(system, folder, request["keys"], request["seconds"])
    return {"version": _version(system.distribution)}, session


def _version(distribution: str) -> str:
    try:
        return version(distribution) if distribution else ""
    except PackageNotFoundError:  # a checkout that is not installed
        return ""


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a system prints is no answer
    worker: Worker | None = None
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any]
        try:
            if worker is None:
                answer, session = start(request)
                worker = Worker(session) if session else None
            else:
                answer = {"samples": worker.run(request["workload"], request.get("count"))}
        except ImportError as error:
            answer = {"samples": None, "note": str(error)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)
    if worker:
        worker.session.forget("filled")


if __name__ == "__main__":
    main()
