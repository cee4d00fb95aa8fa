"""The errors of the package, keys in messages, and logging."""

from __future__ import annotations

import sys
from _thread import TIMEOUT_MAX
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

import lmdb

if TYPE_CHECKING:
    from logging import Logger
    from threading import Thread

_logging: deque[Thread] = deque(maxlen=16)  # threads of `log_in_thread`
_SHOWN = 48  # characters of a key that a message quotes


def shown(key: object) -> str:
    """Return `key` as a message shows it: text in quotes, other bytes as ``0x…``, cut to a readable length."""
    if isinstance(key, (bytes, bytearray, memoryview)):
        data = bytes(key)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = "\0"
        if not text.isprintable():
            cut = f"… ({len(data)} bytes)" if len(data) > _SHOWN // 2 else ""
            return f"0x{data[: _SHOWN // 2].hex()}{cut}"
        key = text
    if isinstance(key, str) and len(key) > _SHOWN:
        return f"{key[:_SHOWN]!r}… ({len(key)} characters)"
    if isinstance(key, str):
        return repr(key)
    try:
        text = repr(key)
    except Exception:  # an int of too many digits, a tuple nested too deep
        return f"<{type(key).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def note_key(error: Exception, key: object) -> None:
    """Add a note that names `key` to `error`, an error of the serializer.

    Python 3.11 and later show notes. In 3.10, pytest and others read `__notes__`.
    """
    note = f"The value for key {shown(key)} was not stored."
    if sys.version_info >= (3, 11):
        error.add_note(note)
    else:
        error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]  # 3.11's


def check_limit(name: str, limit: object, most: int | None = None) -> None:
    """Raise unless `limit`, the option `name`, is an int from 1 to `most`. None: any size."""
    if not isinstance(limit, int):
        raise TypeError(f"{name} must be an int, not {limit!r}")
    if limit < 1:
        raise ValueError(f"{name} must be at least 1, not {limit}")
    if most is not None and limit > most:
        raise ValueError(f"{name} must be at most {most}, not {limit}")


def check_seconds(name: str, seconds: object) -> None:
    """Raise unless `seconds`, the option `name`, is a number above 0 that a lock can wait for."""
    if not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {seconds!r}")
    if not 0 < seconds <= TIMEOUT_MAX:
        raise ValueError(f"{name} must be above 0 and at most {TIMEOUT_MAX:.0f} seconds, not {seconds}")


def logger() -> Logger:
    """Return the logger of the package. `logging` is imported when there is something to log."""
    import logging

    return logging.getLogger(__package__)


def log_in_thread(message: str, *arguments: object) -> None:
    """Log a warning in another thread, because a logging handler may wait for a lock that the caller holds."""
    from threading import Thread

    def log() -> None:
        logger().warning(message, *arguments)

    thread = Thread(target=log, name="lmdb_object_store log", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is ending, and starts no thread
        log()
    else:
        _logging.append(thread)


def finish_logging() -> None:
    """Wait for what other threads log, a second at most for each. The interpreter aborts if one writes as it ends."""
    while _logging:
        _logging.pop().join(1.0)


class StoreClosedError(lmdb.Error, ValueError):
    """The store was used after `close()`.

    An `lmdb.Error`, as every failure of the database, and a `ValueError`, as a closed `shelve` raises.
    """

    __module__ = __package__


class ReadonlyStoreError(lmdb.ReadonlyError, PermissionError):
    """A write to a store that is open read-only.

    An OSError too, because a script written for `shelve` catches it as `dbm.error`.
    """

    __module__ = __package__

    if TYPE_CHECKING:  # the constructor of OSError

        def __init__(self, *arguments: object) -> None: ...


class ConflictError(lmdb.Error):
    """Another process may have written between the reads and the commit of a transaction. Run the transaction again.

    Possible only if the map had to grow, this process forked, or the lock file was replaced within the transaction.
    Nothing of the transaction is in the file.
    """

    __module__ = __package__


def gone(path: str) -> lmdb.Error:
    """Return the error for a deleted or replaced file."""
    return lmdb.Error(f"{path} was deleted or replaced while it was open: close this store and open another")


def closed(path: str) -> StoreClosedError:
    """Return the error for a use of the store at `path` after its close."""
    return StoreClosedError(f"the store at {path} is closed")


class FlushError(RuntimeError):
    """The last flush of a store failed at its close. `pending` holds the changes that are not in the file.

    `pending` maps stored keys to pickled values, or to None for a deletion. The cause is chained (``__cause__``).
    """

    __module__ = __package__

    def __init__(self, message: str, pending: Mapping[bytes, bytes | None] | None = None) -> None:
        super().__init__(message)
        self.pending: dict[bytes, bytes | None] = dict(pending or {})


class KeyNotFoundError(KeyError):
    """A missing key. `args` holds only the caller's key, as the `KeyError` of a dict does."""

    __module__ = __package__

    def __str__(self) -> str:
        return f"Key not found: {shown(self.args[0])}"
