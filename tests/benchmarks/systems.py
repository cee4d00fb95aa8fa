"""The measured systems: this store, its first implementation, and a dict; raw.py and peers.py have the others.

Each system says how it does a thing to many keys, in the fastest way that its documentation gives.
No module of a system is imported before the system is opened: an environment need not have them all.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

Pair = tuple[Any, Any]

PROTOCOL = pickle.HIGHEST_PROTOCOL
COMMIT_EVERY = 1000  # writes a commit, where a workload is compared to raw1k
THREADS = (1, 4, 16)  # threads of durable writes
READERS = (0, 1, 3)  # threads that read beside a flush
# Workloads of durable writes in threads.
DURABLE = frozenset(f"durable_{number}" for number in THREADS)
# Workloads that read a part of the keys in order; that commit each write, or many as one step; that time a flush.
NOT_EVERYWHERE = (
    DURABLE
    | {f"flush_{number}" for number in READERS}
    | {"prefix", "span", "count", "commit_each", "transact_each", "edit_each", "many_10k", "transact_10k"}
)


class System:
    """A mapping on disk. The loops below are those of any MutableMapping; a system overrides what it has better."""

    name: ClassVar[str]
    label: ClassVar[str]
    # The options under which a power cut loses nothing once close() has returned. Found by experiment: see worker.py.
    on_disk: ClassVar[str]
    # The same once a durable write has returned; for the systems that have such workloads.
    each_on_disk: ClassVar[str] = ""
    # The distribution whose version is reported, the modules whose import is timed.
    distribution: ClassVar[str] = ""
    modules: ClassVar[tuple[str, ...]] = ()
    lacks: ClassVar[frozenset[str]] = NOT_EVERYWHERE  # workloads that it has no method for
    threads: ClassVar[bool] = True  # whether its documentation allows several at once

    def __init__(self, map_size: int) -> None:
        self.map_size = map_size

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        """Open the mapping at `path`. `batch` is the number of writes in a commit, if it can be chosen; None: all.

        With a `batch` of 1 each write is as durable as the system's documentation offers.
        """
        raise NotImplementedError

    def open_for_flush(self, path: Path) -> Any:
        """Open the mapping so that writes stay pending until `flush`, beside reads too."""
        return self.open(path, batch=None)

    def commits(self, store: Any) -> int | None:
        """Return a number that grows by one with each commit, None if there is none."""
        return None

    def flush(self, store: Any) -> None:
        """Commit the writes; do nothing if each write is committed by itself."""

    def close(self, store: Any) -> None:
        store.close()

    def remove(self, path: Path) -> None:
        """Delete a closed store."""
        if path.is_dir():
            shutil.rmtree(path)
        for file in path.parent.glob(path.name + "*"):
            file.unlink()

    def key(self, key: bytes) -> Any:
        """Return `key` as this system takes it, a new object each time: an object used before knows its hash."""
        return bytes(memoryview(key))

    def size(self, path: Path) -> int:
        """Return the bytes of the files of a closed store."""
        files = path.rglob("*") if path.is_dir() else path.parent.glob(path.name + "*")
        return sum(file.stat().st_size for file in files if file.is_file())

    # -- reads

    def get(self, store: Any, keys: Iterable[Any]) -> Any:
        for key in keys:
            value = store[key]
        return value

    def get_large(self, store: Any, keys: Iterable[Any]) -> Any:
        """Get values as `get` does; raw has a second way for large values."""
        return self.get(store, keys)

    def get_default(self, store: Any, keys: Iterable[Any]) -> int:
        found = 0
        for key in keys:
            if store.get(key) is not None:
                found += 1
        return found

    def contains(self, store: Any, keys: Iterable[Any]) -> int:
        found = 0
        for key in keys:
            if key in store:
                found += 1
        return found

    def get_many(self, store: Any, groups: Iterable[Sequence[Any]]) -> int:
        found = 0
        for group in groups:
            found += len({key: store[key] for key in group})
        return found

    def items(self, store: Any, most: int) -> int:
        count = 0
        for _key, _value in islice(store.items(), most):
            count += 1
        return count

    def keys(self, store: Any, most: int) -> int:
        count = 0
        for _key in islice(store, most):
            count += 1
        return count

    def len(self, store: Any, times: int) -> int:
        for _ in range(times):
            length = len(store)
        return length

    def prefix(self, store: Any, prefixes: Iterable[bytes]) -> int:
        """Return how many items begin with one of `prefixes`; read each."""
        raise NotImplementedError

    def span(self, store: Any, low: bytes, high: bytes) -> int:
        """Return how many items there are from `low` to below `high`; read each."""
        raise NotImplementedError

    def count(self, store: Any, low: bytes, high: bytes) -> int:
        """Return how many keys there are from `low` to below `high`; read no value."""
        raise NotImplementedError

    # -- writes

    def commit_each(self, store: Any, pairs: Iterable[Pair]) -> None:
        """Put items as `put` does, each write committed by itself."""
        raise NotImplementedError

    def durable_each(self, store: Any, pairs: Iterable[Pair]) -> None:
        """Put items as `put` does, into a store that was opened with a `batch` of 1. Each write is durable then."""
        self.put(store, pairs)

    def make_pending(self, store: Any, pairs: Iterable[Pair]) -> Callable[[], None]:
        """Put items without a commit, and return the call that commits them."""
        raise NotImplementedError

    def transact_each(self, store: Any, pairs: Iterable[Pair]) -> None:
        """Put items as `put` does, each in a transaction by itself."""
        raise NotImplementedError

    def edit_each(self, store: Any, keys: Iterable[Any]) -> None:
        """Change the value of each key in place, and commit."""
        raise NotImplementedError

    def transact(self, store: Any, pairs: Iterable[Pair]) -> None:
        """Put items as `put` does, all in one transaction."""
        raise NotImplementedError

    def put(self, store: Any, pairs: Iterable[Pair]) -> None:
        for key, value in pairs:
            store[key] = value

    def put_as_one(self, store: Any, pairs: Iterable[Pair]) -> None:
        """Put items as `put` does; all of `pairs` may be one commit."""
        self.put(store, pairs)

    def put_growing(self, store: Any, pairs: Iterable[Pair]) -> None:
        """Put items as `put` does, into a file whose map was opened too small."""
        self.put(store, pairs)

    def put_many(self, store: Any, pairs: Iterable[Pair]) -> None:
        store.update(pairs)

    def append(self, store: Any, pairs: Iterable[Pair]) -> None:
        """Put items as `put_many` does; their keys are in order, and beyond all others."""
        self.put_many(store, pairs)

    def update(self, store: Any, pairs: Iterable[Pair]) -> None:
        store.update(pairs)

    def mix(self, store: Any, wanted: Iterable[Any], pairs: Iterable[Pair]) -> Any:
        """Read, write, read, and so on."""
        for key, (changed, value) in zip(wanted, pairs):
            read = store[key]
            store[changed] = value
        return read

    def pop(self, store: Any, keys: Iterable[Any]) -> Any:
        for key in keys:
            value = store.pop(key)
        return value

    def setdefault(self, store: Any, pairs: Iterable[Pair]) -> None:
        for key, value in pairs:
            store.setdefault(key, value)

    def delete(self, store: Any, keys: Iterable[Any]) -> None:
        for key in keys:
            del store[key]


class Store(System):
    """This package with its defaults."""

    name = "store"
    label = "this store"
    on_disk = "all, synced at each flush and close()"
    each_on_disk = "all"
    distribution = "lmdbobjectstore"
    modules = ("lmdb_object_store",)
    lacks = frozenset()

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        from lmdb_object_store import LmdbObjectStore

        return LmdbObjectStore(str(path), map_size=map_size or self.map_size)

    def open_for_flush(self, path: Path) -> Any:
        from lmdb_object_store import LmdbObjectStore

        return LmdbObjectStore(str(path), None, autoflush_on_read=False, map_size=self.map_size)

    def commits(self, store: Any) -> int | None:
        number: int = store.env.info()["last_txnid"]
        return number

    def flush(self, store: Any) -> None:
        store.flush()

    def get_many(self, store: Any, groups: Iterable[Sequence[Any]]) -> int:
        return sum(len(store.get_many(group)[0]) for group in groups)

    def prefix(self, store: Any, prefixes: Iterable[bytes]) -> int:
        count = 0
        for prefix in prefixes:
            for _key, _value in store.prefix(prefix).items():
                count += 1
        return count

    def span(self, store: Any, low: bytes, high: bytes) -> int:
        count = 0
        for _key, _value in store.range(low, high, (True, False)).items():
            count += 1
        return count

    def count(self, store: Any, low: bytes, high: bytes) -> int:
        return len(store.range(low, high, (True, False)))

    def put_many(self, store: Any, pairs: Iterable[Pair]) -> None:
        store.put_many(pairs)

    def commit_each(self, store: Any, pairs: Iterable[Pair]) -> None:
        for key, value in pairs:
            store[key] = value
            store.flush()

    durable_each = commit_each

    def make_pending(self, store: Any, pairs: Iterable[Pair]) -> Callable[[], None]:
        self.put(store, pairs)
        flush: Callable[[], None] = store.flush
        return flush

    def transact_each(self, store: Any, pairs: Iterable[Pair]) -> None:
        for key, value in pairs:
            with store.transaction():
                store[key] = value

    def edit_each(self, store: Any, keys: Iterable[Any]) -> None:
        for key in keys:
            with store.edit(key) as value:
                value["score"] += 1

    def transact(self, store: Any, pairs: Iterable[Pair]) -> None:
        with store.transaction():
            for key, value in pairs:
                store[key] = value


class Tuned(Store):
    """This package with no flush before a read, and as many writes a commit as the raw loop that it is compared to."""

    name = "tuned"
    label = "this store, tuned"

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        from lmdb_object_store import LmdbObjectStore

        return LmdbObjectStore(str(path), batch, autoflush_on_read=False, map_size=map_size or self.map_size)

    durable_each = System.durable_each  # `batch_size=1` flushes at each write


class Ordered(Store):
    """This package with tuples of a str and an int as keys."""

    name = "ordered"
    label = "this store, tuple keys"
    lacks = NOT_EVERYWHERE | {"import", "memory"}

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        from lmdb_object_store import LmdbObjectStore, OrderedKeys

        return LmdbObjectStore(str(path), key_encoding=OrderedKeys(), map_size=map_size or self.map_size)

    def key(self, key: bytes) -> Any:
        return "user", int.from_bytes(key[:8], "big")


class Original(Store):
    """The first implementation, lmdb-object-store 0.1.0; its environment is made by original.py."""

    name = "original"
    label = "lmdb-object-store 0.1.0"
    distribution = "lmdb-object-store"
    lacks = NOT_EVERYWHERE | {"items", "keys", "len", "update", "pop", "setdefault"}


class Pickled(MutableMapping[Any, Any]):
    """The pickling that a mapping of bytes needs, and no more."""

    def __init__(self, mapping: Any) -> None:
        self.mapping = mapping

    def __getitem__(self, key: Any) -> Any:
        return pickle.loads(self.mapping[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.mapping[key] = pickle.dumps(value, PROTOCOL)

    def __delitem__(self, key: Any) -> None:
        del self.mapping[key]

    def __contains__(self, key: object) -> bool:
        return key in self.mapping

    def __iter__(self) -> Iterator[Any]:
        return iter(self.mapping)

    def __len__(self) -> int:
        return len(self.mapping.keys())


class Dict(System):
    """A dict in memory, which pickles at each write and unpickles at each read."""

    name = "dict"
    label = "dict and pickle"
    on_disk = "nothing: it is in memory"
    lacks = NOT_EVERYWHERE | {"open", "import", "sorted", "sorted_append"}

    def __init__(self, map_size: int) -> None:
        super().__init__(map_size)
        self._files: dict[Path, dict[Any, bytes]] = {}

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        return Pickled(self._files.setdefault(path, {}))

    def close(self, store: Any) -> None: ...

    def remove(self, path: Path) -> None:
        self._files.pop(path, None)
