"""The environment of the first implementation: its import name is this package's, so it needs one of its own."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REQUIREMENT = "lmdb-object-store==0.1.0"


def python(cache: Path) -> Path:
    """Return the interpreter of an environment under `cache`; make it if it is missing. OSError if it cannot be made.

    lmdb and NumPy are of the versions that this interpreter has.
    """
    folder = cache / f"original-{sys.version_info.major}.{sys.version_info.minor}"
    found = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    ready = folder / "ready"
    requirements = [REQUIREMENT, *(f"{name}=={version(name)}" for name in ("lmdb", "numpy") if _has(name))]
    if ready.exists() and ready.read_text() == "\n".join(requirements):
        return found
    try:
        venv.create(folder, with_pip=True, clear=True)
    except subprocess.CalledProcessError as error:  # no pip to be had for it
        raise OSError(str(error)) from error
    command = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        raise OSError(ended.stderr.strip())
    ready.write_text("\n".join(requirements))
    return found


def _has(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
