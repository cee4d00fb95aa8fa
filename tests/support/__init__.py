"""Helpers of the tests: scripts and forks with a time limit, threads that start together, code at chosen moments."""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lmdb

import lmdb_object_store

LIMIT = 30.0  # seconds that any step may take; all of them take far less

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


def contents(path: str) -> dict[str, Any]:
    """What is in the file at `path`, which this process has not open, by py-lmdb alone."""
    with lmdb.open(path, readonly=True) as environment, environment.begin() as txn:
        return {bytes(key).decode(): pickle.loads(data) for key, data in txn.cursor()}


def meta_pages(path: str) -> bytes:
    """The two pages of the file one of which each commit writes."""
    with open(os.path.join(path, "data.mdb"), "rb") as file:
        return file.read(2 * mmap.PAGESIZE)  # LMDB takes the system's size for a new file


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """No file of `folder` but the lock files changes, appears or goes."""

    def state() -> dict[str, bytes]:
        return {
            str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file() and "lock" not in file.name
        }

    before = state()
    yield
    assert state() == before


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


class _Task(threading.Thread):
    """A thread that keeps its function's error; a daemon, so that one that hangs fails the test alone."""

    def __init__(self, body: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.body = body
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.body()
        except BaseException as error:
            self.error = error


def _finish(tasks: list[_Task], limit: float) -> None:
    for task in tasks:
        task.join(limit)
    for task in tasks:
        if task.error is not None:
            raise task.error
    assert not [task for task in tasks if task.is_alive()], "a thread hangs"


def in_thread(body: Callable[[], object], limit: float = LIMIT) -> None:
    """Run `body` in another thread to its end; raises its error."""
    together(body, limit=limit)


def together(*bodies: Callable[[], object], limit: float = LIMIT) -> None:
    """Run each of `bodies` in a thread of its own, all from one moment on; raises the first error."""
    barrier = threading.Barrier(len(bodies))

    def from_one_moment(body: Callable[[], object]) -> None:
        barrier.wait(limit)
        body()

    tasks = [_Task(lambda body=body: from_one_moment(body)) for body in bodies]  # type: ignore[misc]
    for task in tasks:
        task.start()
    _finish(tasks, limit)


@contextmanager
def looping(*bodies: Callable[[], object], limit: float = LIMIT) -> Iterator[None]:
    """Meanwhile run each of `bodies` over and over in a thread of its own; the first error is raised at the end."""
    stop = threading.Event()
    begun = [threading.Event() for _ in bodies]

    def loop(body: Callable[[], object], once: threading.Event) -> None:
        try:
            while not stop.is_set():
                body()
                once.set()
        finally:
            once.set()

    tasks = [_Task(lambda pair=pair: loop(*pair)) for pair in zip(bodies, begun)]  # type: ignore[misc]
    for task in tasks:
        task.start()
    try:
        for once in begun:
            assert once.wait(limit), "a thread hangs"
        yield
    finally:
        stop.set()
        _finish(tasks, limit)


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Have threads take turns as often as the interpreter can, so that races show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Interrupt(KeyboardInterrupt):
    """An interrupt that this test, not the user, has sent."""


def interrupt() -> None:
    """Interrupt what is under way."""
    raise Interrupt


def at_checkpoint(number: int, action: Callable[[], object], body: Callable[[], object], *, times: int = 1) -> bool:
    """Run `body`, and `action` at the `number`-th place in it where CPython may run a signal handler.

    These are the beginnings of Python functions and the returns of C functions. At `times` such places
    in a row, if that is more than one. Whether `body` got so far.
    """
    passed = 0
    gc.disable()  # what it would run is no place in `body`

    def profile(_: FrameType, event: str, called: object) -> None:
        nonlocal passed
        del called  # a method, say, whose object a kept traceback must not keep
        if event in ("call", "c_return"):
            passed += 1
            if number < passed <= number + times:
                action()

    sys.setprofile(profile)
    try:
        body()
    finally:
        sys.setprofile(None)
        gc.enable()
        reached = passed > number
    return reached


def in_each_commit(action: Callable[[], object], body: Callable[[], object]) -> int:
    """Run `body`, and `action` just before each write transaction in it commits. How many did."""
    commits = 0

    def profile(_: FrameType, event: str, called: Any) -> None:
        nonlocal commits
        if event == "c_call" and called.__name__ == "commit":
            commits += 1
            action()

    sys.setprofile(profile)
    try:
        body()
    finally:
        sys.setprofile(None)
    return commits


@contextmanager
def at_copies(*actions: Callable[[], object]) -> Iterator[None]:
    """Run the first of `actions` just before this thread's first call of LMDB's copy, the second before the second …"""
    remaining = list(actions)

    def profile(_: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ == "copyfd" and remaining:
            remaining.pop(0)()

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)
    assert not remaining, "LMDB was not asked to copy so often"
