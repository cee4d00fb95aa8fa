"""Access to the files of an environment: permissions, the owner of the lock file, files without locks, errors.

LMDB's errors name neither the file nor what to do. `explain` adds both to the message.
"""

from __future__ import annotations

import errno
import os
import sys

import lmdb

from .._errors import logger
from .options import Options
from .paths import data_file, lock_file

_warned: set[str] = set()  # paths that `warn_without_locks` has logged


def has_locks(handle: lmdb.Environment) -> bool:
    """Return True if LMDB uses a lock file. Writers then see this process's readers, and leave them their pages.

    LMDB uses no lock file with lock=False, and for a read-only store on a read-only file system.
    """
    return not handle.readers().startswith("(no reader locks)")


def warn_without_locks(path: str, options: Options) -> None:
    """Log a warning that the store at `path` is open without locks, if it has a lock file. Once in each process."""
    if path in _warned or not os.path.exists(lock_file(path, options)):
        return
    _warned.add(path)
    cause = "its file system is read-only here" if options.get("lock", True) else "of lock=False"
    logger().warning(
        "%s is open without locks, because %s. While another program writes to it, a read can return torn values "
        "without an error, or crash. Open it where its lock file can be written to, or when nothing writes to it.",
        path,
        cause,
    )


def create_lock_file(path: str, options: Options, mode: int) -> None:
    """Create the lock file, if it is missing, for the owner of the data file.

    LMDB's lock file belongs to the user who opens the store first. If root does so, the
    service that owns the store cannot open it any more. LMDB does not have a new file open, so it is safe to close.
    """
    if sys.platform == "win32" or not options.get("lock", True):
        return
    try:
        owner = os.stat(data_file(path, options))
    except OSError:  # a new store: both files belong to its creator
        return
    if (owner.st_uid, owner.st_gid) == (os.geteuid(), os.getegid()):
        return
    try:
        fd = os.open(lock_file(path, options), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode & 0o666)
    except OSError:  # it exists, or LMDB says why it cannot be created
        return
    try:
        for uid in (owner.st_uid, -1):  # -1 changes only the group, which needs no root
            try:
                os.fchown(fd, uid, owner.st_gid)
                break
            except OSError:
                continue
    finally:
        os.close(fd)


def explain(path: str, options: Options, error: lmdb.Error) -> None:
    """Add the cause and what to do to the message of `error`, which LMDB raised as it opened the store at `path`."""
    code, message = getattr(error, "code", None), str(error)
    if "already open in this process" in message:
        message = (
            f"{path} is already open in this process: by py-lmdb itself, or by a second copy of this package, from a "
            "second import, a reload or a sub-interpreter. Close the file there first, or use it there."
        )
    elif isinstance(error, lmdb.MemoryError):
        message = (
            f"{path} cannot be mapped with map_size={options.get('map_size')}: the process has not enough address "
            f"space. Pass a smaller map_size, or raise the limit (ulimit -v). LMDB says: {error}"
        )
    elif code == errno.EAGAIN and "mdb_txn_begin" in message:
        message += (
            f": a process in another container has {path} open, and has the same process id, {os.getpid()}. LMDB tells "
            "processes apart by their ids. Let the containers share their process ids: with docker run --pid=host or "
            "--pid=container:NAME; in Kubernetes with shareProcessNamespace: true in a pod, or with hostPID: true. Or "
            "start this program by a wrapper that gives it another id."
        )
    elif code == errno.EROFS:
        message += ": open it with readonly=True, or mount the file system so that it can be written to."
    elif isinstance(error, lmdb.ReadonlyError):
        message += f": {refusal(path, options)[1]}"
    error.args = (message,)


def refusal(path: str, options: Options) -> tuple[str, str]:
    """Return the file of the store at `path` that this process may not open, and a message with what to do."""
    reads = bool(options.get("readonly"))
    data, lock = data_file(path, options), lock_file(path, options)
    folder = os.path.dirname(lock)
    without = " lock=False reads without a lock file, if nothing else writes to the store meanwhile." if reads else ""
    if not _may(folder, os.X_OK):
        return folder, f"this user may not enter the folder {_owned(folder)}. {_LET_IN}"
    if os.path.exists(data):
        if not _may(data, os.R_OK):
            return data, f"this user may not read {_owned(data)}. {_LET_IN}"
        if not reads and not _may(data, os.W_OK):
            return data, f"this user may not write to {_owned(data)}. readonly=True opens the store to read."
        if os.path.exists(lock) and not _may(lock, os.R_OK | os.W_OK):
            advice = without or f" Give it the owner and the permissions of {data}."
            use = ", in which LMDB lists its readers" if reads else ""
            return lock, f"this user may not write to {_owned(lock)}{use}.{advice}"
    if not _may(folder, os.W_OK):
        missing = lock if os.path.exists(data) else data
        return missing, f"this user may not create {missing} in the folder {_owned(folder)}.{without}"
    return data, f"this user may not open {data} or {lock}.{without}"


_LET_IN = "Its owner can change that by chown or chmod, or by the option mode when the store is created."


def _may(path: str, access: int) -> bool:
    # The effective user's permissions count, where the system can check them.
    return os.access(path, access, effective_ids=os.access in os.supports_effective_ids)


def _owned(path: str) -> str:
    """Return `path` with its owner and permissions, as far as the system shows them."""
    if sys.platform == "win32":
        return path
    from pwd import getpwuid

    try:
        status = os.stat(path)
        owner = getpwuid(status.st_uid).pw_name
    except OSError:
        return path
    except KeyError:  # a container has few of the host's users
        owner = str(status.st_uid)
    return f"{path} (owner {owner}, permissions {status.st_mode & 0o777:o})"
