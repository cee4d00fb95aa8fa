"""Programs and forks with a time limit."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path

import lmdb_object_store
from support import LIMIT

_PRELUDE = """\
import os, signal, sys, threading
from lmdb_object_store import LmdbObjectStore
path = sys.argv[1]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
if os.environ.get("ADD_UNDER_LOCK"):
    from lmdb_object_store._buffer import pending
    pending.ONE_STEP = False

def opened(**options):
    return LmdbObjectStore(path, **{"key_encoding": "utf-8", **options})

"""


def run_script(
    source: str, path: str, *arguments: str, status: int | None = 0, python: tuple[str, ...] = (), limit: float = LIMIT
) -> subprocess.CompletedProcess[str]:
    """Run `source` as a program of its own; it finds `path`, and `opened(**options)`, a store there with str keys.

    It must end within `limit` seconds and with `status` (None: any). `python` are options of the interpreter.
    """
    found_at = str(Path(lmdb_object_store.__file__).parents[1])
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (found_at, os.environ.get("PYTHONPATH"))))}
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "script.py")
        script.write_text(_PRELUDE + textwrap.dedent(source))
        command = [sys.executable, *python, str(script), path, *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environ)
    assert status is None or ended.returncode == status, f"exit status {ended.returncode}: {ended.stdout}{ended.stderr}"
    return ended


def started(source: str, path: str, *arguments: str) -> subprocess.Popen[str]:
    """Start `source` as a program such as `run_script` runs, with pipes for its input and output."""
    found_at = str(Path(lmdb_object_store.__file__).parents[1])
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (found_at, os.environ.get("PYTHONPATH"))))}
    command = [sys.executable, "-c", _PRELUDE + textwrap.dedent(source), path, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)


class Child:
    """A fork of this process that runs `body` and ends, by `os._exit`. `fork` may be the fork of C code."""

    def __init__(self, body: Callable[[], object], fork: Callable[[], int] | None = None) -> None:
        self._watched, _held_by_child = os.pipe()
        self.pid = os.fork() if fork is None else fork()
        if self.pid == 0:
            status = 1
            try:
                body()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(_held_by_child)

    def kill(self) -> None:
        """Kill the child by SIGKILL, and wait for its end."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait() in (0, -signal.SIGKILL), "the child failed before it was killed"

    def wait(self, limit: float = LIMIT) -> int:
        """Return its exit status, negative for a signal; raise AssertionError after `limit` seconds."""
        in_time, _, _ = select.select([self._watched], [], [], limit)  # readable once the child has ended
        os.close(self._watched)
        if not in_time:
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        assert in_time, "the child hangs"
        return status

    def join(self, limit: float = LIMIT) -> None:
        """Wait for its end, which must be in order."""
        status = self.wait(limit)
        assert status == 0, f"the child ended with status {status}"


def in_child(body: Callable[[], object], limit: float = LIMIT) -> None:
    """Run `body` in a fork of this process, which it does not outlive; fail if it raises or takes longer."""
    Child(body).join(limit)
