"""Commands of the command line, run as programs or in this process."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import lmdb
import pytest

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._cli import main as _cli

LIMIT = 60  # seconds for one command
FOUND_AT = str(Path(lmdb_object_store.__file__).parents[1])
COMMAND = [sys.executable, "-W", "error", "-m", "lmdb_object_store"]


def environ(**more: str) -> dict[str, str]:
    """Return the environment of a command, which finds this very package and writes to a pipe by blocks."""
    ours = {**os.environ, "PYTHONPATH": FOUND_AT, "PYTHONIOENCODING": "utf-8", **more}
    ours.pop("PYTHONUNBUFFERED", None)
    return ours


def run(
    *arguments: object, given: str = "", status: int = 0, limits: Callable[[], object] | None = None
) -> tuple[str, str]:
    """Return a command's output and its standard error, which is one line if the command fails, else nothing."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=given, capture_output=True, encoding="utf-8", env=environ(), timeout=LIMIT, preexec_fn=limits,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    if status == 0:
        assert not done.stderr
    elif not done.stdout:
        assert done.stderr.startswith("lmdb-object-store")
        assert done.stderr.count("\n") == 1
    return done.stdout, done.stderr


def here(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> tuple[str, str]:
    """Run a command in this process, which takes a hundredth of the time."""
    assert _cli.main([*map(str, arguments)]) == status
    out, err = capsys.readouterr()
    assert err.count("\n") == (status != 0 and not out)
    return out, err


def stored(path: str) -> dict[bytes, bytes]:
    """Return the rows of the file, by py-lmdb alone."""
    with lmdb.open(path, readonly=True) as environment, environment.begin() as txn:
        return {bytes(key): bytes(data) for key, data in txn.cursor()}


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


def fill(store: LmdbObjectStore[Any, Any]) -> str:
    """Put values and keys of all kinds into `store`, close it, and return its path."""
    store.update(ada={"born": 1815}, alan=[1, 2.5, None, True, "ü"], day=date(2020, 1, 1), pair=(1, 2))
    store.update({"two\nlines": 1, "0x41": 2, "": 3, b"\xff": 4, "nan": math.nan, "half": "\ud83d"})
    store.close()
    return store.db_path
