"""Other programs at the folder of a store: they read, copy, delete and replace its lock file."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def copy_folder(path: Path, scratch: Path) -> None:
    """Copy the folder, as a backup tool does."""
    shutil.rmtree(scratch, ignore_errors=True)
    with suppress(shutil.Error):  # another process has deleted the lock file meanwhile
        shutil.copytree(path, scratch)


def zip_folder(path: Path, scratch: Path) -> None:
    """Put the files into an archive."""
    with zipfile.ZipFile(f"{scratch}.zip", "w") as archive:
        for file in sorted(path.iterdir()):
            with suppress(FileNotFoundError):
                archive.write(file)


def hash_folder(path: Path, scratch: Path) -> None:
    """Read all files, as a checksum or a search does."""
    for file in sorted(path.iterdir()):
        with suppress(FileNotFoundError):
            hashlib.sha256(file.read_bytes())


def delete_lock_file(path: Path, scratch: Path) -> None:
    """Delete the lock file, as a user does who takes it for stale."""
    (path / "lock.mdb").unlink(missing_ok=True)


def replace_lock_file(path: Path, scratch: Path) -> None:
    """Put a copy in the place of the lock file, as a restore or a synchronisation does."""
    copy = f"{scratch}.lock"
    with suppress(FileNotFoundError):
        shutil.copyfile(path / "lock.mdb", copy)
        os.replace(copy, path / "lock.mdb")


TOOLS: dict[str, Callable[[Path, Path], None]] = {
    "copytree": copy_folder,
    "zip": zip_folder,
    "hash": hash_folder,
    "rm": delete_lock_file,
    "replace": replace_lock_file,
}
