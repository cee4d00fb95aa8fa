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


def in_child(body: Callable[[], object], limit: float = LIMIT) -> None:
    """Run `body` in a fork of this process, which it does not outlive; fails if it raises or takes longer."""
    watched, held_by_child = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(held_by_child)
    in_time, _, _ = select.select([watched], [], [], limit)  # readable once the child has ended
    os.close(watched)
    if not in_time:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    assert in_time, "the child hangs"
    assert status == 0, f"the child ended with status {status}"
