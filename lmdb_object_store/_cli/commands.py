"""The commands of the command line. Each takes the arguments of `main.py` and returns an exit status; None is 0."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import lmdb

from .._environment.access import has_locks
from .._environment.backup import backup as copy_file
from .._environment.backup import discard, part_of
from .._environment.paths import data_file, lock_file, place
from .._errors import shown
from .._keys.custom import StoredKey
from .._keys.interval import WHOLE
from .._store import LmdbObjectStore
from .._values.serializing import MAX_VALUE_BYTES, too_large
from . import jsonlines, keytext
from .progress import progress

Store = LmdbObjectStore[Any, Any]

_BATCH_ROWS = 10_000  # `load` and `import-shelve` commit this many rows at a time
_POLL_SECONDS = 0.1  # between two updates of the progress of a copy


def info(arguments: Namespace) -> None:
    """Print `stats()`, without the commits and changes of this command, which makes none."""
    from dataclasses import asdict

    with _open_to_read(arguments.path) as store:
        for name, value in {"path": store.db_path, **asdict(store.stats())}.items():
            if name not in {"commits", "changes"}:  # a 0 would look like the count of all commits to the file
                print(f"{name:15} {value}")


def keys(arguments: Namespace) -> None:
    """Print keys in order."""
    with _open_to_read(arguments.path, arguments.key_encoding) as store:
        part = store if arguments.prefix is None else store.prefix(keytext.parse(arguments.prefix, store.key_encoding))
        pages = store._pages(part._interval, reverse=False, values=False)
        for stored in islice(chain.from_iterable(pages), arguments.limit):
            print(keytext.show(store._codec, stored, store.key_encoding))


def get(arguments: Namespace) -> None:
    """Print a value."""
    import json

    with _open_to_read(arguments.path, arguments.key_encoding, arguments.serializer) as store:
        value = store[keytext.parse(arguments.key, store.key_encoding)]
        print(json.dumps(value, ensure_ascii=False) if jsonlines.is_json(value) else repr(value))


def set_(arguments: Namespace) -> None:
    """Store a value."""
    with _open_to_write(arguments.path, arguments.key_encoding, arguments.serializer) as store:
        store[keytext.parse(arguments.key, store.key_encoding)] = arguments.json


def delete(arguments: Namespace) -> None:
    """Delete a key."""
    _data_file(arguments.path)
    with _open_to_write(arguments.path, arguments.key_encoding) as store:
        del store[keytext.parse(arguments.key, store.key_encoding)]


def dump(arguments: Namespace) -> None:
    """Print all rows as lines of JSON."""
    with (
        _open_to_read(arguments.path, arguments.key_encoding, arguments.serializer) as store,
        progress(len(store), beside_output=False) as bar,
    ):
        for stored, data in _rows(store):
            print(jsonlines.to_line(store._codec, stored, data, arguments.serializer is pickle))
            bar.update(1)


def load(arguments: Namespace) -> None:
    """Store the rows of a dump."""
    with _open_to_write(arguments.path, arguments.key_encoding, arguments.serializer) as store, progress(None) as bar:
        for number, line in enumerate(sys.stdin.buffer, 1):
            if not line.strip():
                continue
            try:
                key, data, value = jsonlines.from_line(line)
                store.put(key, value) if data is None else _put_stored(store, key, data)
            except (ValueError, RecursionError) as error:  # RecursionError: too deeply nested to be pickled
                raise ValueError(f"line {number}: {error}; the lines before it are stored") from error
            bar.update(1)


def backup(arguments: Namespace) -> None:
    """Copy the store.

    LMDB copies in a thread of its own, because during a copy it notices no interrupt and reports no progress.
    """
    target = os.path.abspath(arguments.target)
    part = part_of(target)
    errors: list[Exception] = []

    def copy() -> None:
        try:
            copy_file(store._environment, target, part, arguments.compact)
        except Exception as error:
            errors.append(error)

    with _open_to_read(arguments.path) as store:
        total = store.stats().used_bytes
        worker = threading.Thread(target=copy, daemon=True)
        try:
            worker.start()
            with progress(total, unit="B") as bar:
                copied = 0
                while worker.is_alive():
                    worker.join(_POLL_SECONDS)
                    before, copied = copied, _size(part)
                    bar.update(max(0, copied - before))
        except KeyboardInterrupt:
            discard(part)
            os._exit(130)  # the store cannot be closed before LMDB has finished
    for error in errors:
        raise error


def verify(arguments: Namespace) -> int:
    """Check the file's structure, then unpickle every value. Print what fails; the exit status is 1 then."""
    from lmdb import verify

    with _open_to_read(arguments.path, arguments.key_encoding, arguments.serializer) as store:
        before = store.env.info()["last_txnid"]
        snapshot = store.env.begin()  # while it is open, no writer reuses a page that the check reads
        problems = verify.verify(_data_file(arguments.path), subdir=False)  # type: ignore[no-untyped-call]  # lmdb.verify has no types
        snapshot.abort()
        if problems and not has_locks(store.env) and store.env.info()["last_txnid"] != before:
            # Without locks, as on a read-only mount, writers do not see the snapshot.
            raise lmdb.Error(
                f"{arguments.path} cannot be checked here: it is open without locks, and another program wrote to it "
                "meanwhile. Check it where its lock file can be written to, or while nothing writes to it."
            )
        for problem in problems:
            print(problem)
        if problems:
            print("the file is damaged, and its values were not read")
            return 1
        failed = total = 0
        with progress(len(store)) as bar:
            for stored, data in _rows(store):
                total += 1
                try:
                    store._load(stored, data)
                except RuntimeError as error:
                    failed += 1
                    cause = " ".join(f"{type(error.__cause__).__name__}: {error.__cause__}".split())
                    bar.write(f"{keytext.show(store._codec, stored, store.key_encoding)}: {cause}")
                bar.update(1)
    print(f"{total} values, {failed} of which cannot be read")
    return 1 if failed else 0


def import_shelve(arguments: Namespace) -> None:
    """Store the items of a shelf. The pickles are copied as they are."""
    import dbm

    with dbm.open(arguments.old, "r") as shelf:
        found = shelf.keys()
        with _open_to_write(arguments.new, arguments.key_encoding) as store, progress(len(found)) as bar:
            for key in found:
                data = shelf[key]
                if not data.endswith(b"."):
                    raise ValueError(f"{arguments.old} is no shelf: the value of {shown(key)} is not a pickle")
                _put_stored(store, _text(key), data)
                bar.update(1)


# -- stores


def _data_file(path: str) -> str:
    """Return the data file of the store at `path`. FileNotFoundError if there is none: LMDB would make one."""
    file = data_file(path, {"subdir": os.path.isdir(path)})
    if not os.path.isfile(file) or not os.path.getsize(file):
        raise FileNotFoundError(f"there is no store at {path}")
    return file


def _open_to_read(path: str, key_encoding: Any = None, serializer: Any = pickle) -> Store:
    """Open the store at `path` read-only. FileNotFoundError if there is none."""
    _data_file(path)
    where, subdir = place(path)
    file = lock_file(where, {"subdir": subdir})
    # Go without locks only if there is no lock file and this user cannot make one. Without a lock file no other program
    # has the store open.
    lock = os.path.exists(file) or os.access(os.path.dirname(os.path.abspath(file)), os.W_OK)
    return LmdbObjectStore(
        where, key_encoding=key_encoding, serializer=serializer, readonly=True, subdir=subdir, lock=lock
    )


@contextmanager
def _open_to_write(path: str, key_encoding: Any, serializer: Any = pickle) -> Iterator[Store]:
    """Open the store at `path`, or make it. Raise the error of its last flush, even after another error."""
    where, subdir = place(path)
    store: Store = LmdbObjectStore(where, _BATCH_ROWS, key_encoding=key_encoding, serializer=serializer, subdir=subdir)
    try:
        yield store
    finally:
        store.close(strict=True)


def _rows(store: Store) -> Iterator[tuple[bytes, bytes]]:
    """Return an iterator over the rows of the file, in order, as they are stored."""
    pages: Iterator[Any] = store._pages(WHOLE, reverse=False, values=True)
    return chain.from_iterable(page.items() for page in pages)


def _put_stored(store: Store, key: Any, data: bytes) -> None:
    """Store a value that is serialized already."""
    if len(data) > MAX_VALUE_BYTES:
        raise too_large(key, data)
    store._add(store._codec.encode_to_store(key), data)


def _text(key: Any) -> Any:
    # A shelf's keys are UTF-8 by default.
    try:
        return key.decode()
    except UnicodeDecodeError:
        return StoredKey(key)


def _size(part: str) -> int:
    """Return the number of bytes of an unfinished copy."""
    try:
        return os.path.getsize(data_file(part, {"subdir": os.path.isdir(part)}))
    except OSError:
        return 0
