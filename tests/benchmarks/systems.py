"""What is measured: raw py-lmdb, this store, its first implementation, and a dict; peers.py has the others.

Each system says how it does a thing to many keys, in the fastest way that its documentation gives.
No module of a system is imported before the system is opened: an environment need not have them all.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

Pair = tuple[Any, Any]

PROTOCOL = pickle.HIGHEST_PROTOCOL
COMMIT_EVERY = 1000  # writes a commit, where a workload is compared to raw1k


class System:
    """A mapping on disk. The loops below are those of any MutableMapping; a system overrides what it has better."""

    name: ClassVar[str]
    label: ClassVar[str]
    # What a power cut cannot take once close() has returned. Found by experiment: see worker.py.
    on_disk: ClassVar[str]
    # The distribution whose version is reported, the modules whose import is timed.
    distribution: ClassVar[str] = ""
    modules: ClassVar[tuple[str, ...]] = ()
    lacks: ClassVar[frozenset[str]] = frozenset()  # workloads that it has no method for
    threads: ClassVar[bool] = True  # whether its documentation allows several at once

    def __init__(self, map_size: int) -> None:
        self.map_size = map_size

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        """The mapping at `path`. `batch` is how many writes a commit has, where that can be chosen; None: all."""
        raise NotImplementedError

    def flush(self, store: Any) -> None:
        """Commit what is written; nothing to do where each write is committed by itself."""

    def close(self, store: Any) -> None:
        store.close()

    def remove(self, path: Path) -> None:
        """Delete a closed store."""
        if path.is_dir():
            shutil.rmtree(path)
        for file in path.parent.glob(path.name + "*"):
            file.unlink()

    def key(self, key: bytes) -> Any:
        """`key` as this system takes it, a new object each time: one that was used before knows its hash."""
        return bytes(memoryview(key))

    # -- reads

    def get(self, store: Any, keys: Iterable[Any]) -> Any:
        for key in keys:
            value = store[key]
        return value

    def get_large(self, store: Any, keys: Iterable[Any]) -> Any:
        """As `get`; raw has a second way for large values."""
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

    # -- writes

    def put(self, store: Any, pairs: Iterable[Pair]) -> None:
        for key, value in pairs:
            store[key] = value

    def put_as_one(self, store: Any, pairs: Iterable[Pair]) -> None:
        """As `put`, where all of `pairs` may be one commit."""
        self.put(store, pairs)

    def put_growing(self, store: Any, pairs: Iterable[Pair]) -> None:
        """As `put`, into a file whose map was opened too small."""
        self.put(store, pairs)

    def put_many(self, store: Any, pairs: Iterable[Pair]) -> None:
        store.update(pairs)

    def update(self, store: Any, pairs: Iterable[Pair]) -> None:
        store.update(pairs)

    def mix(self, store: Any, wanted: Iterable[Any], pairs: Iterable[Pair]) -> Any:
        """A read, a write, and so on."""
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


class Raw(System):
    """py-lmdb by hand, as fast as it can be written.

    A loop of reads holds one read transaction, a loop of writes one write transaction or one for each thousand.
    The length is `env.stat()`, which sees new commits and is faster than `txn.stat()` of a new transaction.
    """

    name = "raw"
    label = "raw py-lmdb"
    on_disk = "all, synced at each commit"
    distribution = "lmdb"
    lacks = frozenset({"beside", "growth", "import"})
    batch: ClassVar[int | None] = None

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        import lmdb

        return lmdb.open(str(path), map_size=map_size or self.map_size)

    def _batches(self, rows: Iterable[Any]) -> Iterator[Iterable[Any]]:
        if self.batch is None:
            yield rows
            return
        rows = iter(rows)
        while batch := list(islice(rows, self.batch)):
            yield batch

    def get(self, store: Any, keys: Iterable[Any]) -> Any:
        loads = pickle.loads
        with store.begin() as txn:
            get = txn.get
            for key in keys:
                value = loads(get(key))
        return value

    def get_large(self, store: Any, keys: Iterable[Any]) -> Any:
        # From the map: without the copy that a bytes object is.
        loads = pickle.loads
        with store.begin(buffers=True) as txn:
            for key in keys:
                value = loads(txn.get(key))
        return value

    def get_default(self, store: Any, keys: Iterable[Any]) -> int:
        found = 0
        loads = pickle.loads
        with store.begin() as txn:
            get = txn.get
            for key in keys:
                data = get(key)
                if data is not None and loads(data) is not None:
                    found += 1
        return found

    def contains(self, store: Any, keys: Iterable[Any]) -> int:
        found = 0
        with store.begin() as txn:
            get = txn.get
            for key in keys:
                if get(key) is not None:
                    found += 1
        return found

    def get_many(self, store: Any, groups: Iterable[Sequence[Any]]) -> int:
        found = 0
        loads = pickle.loads
        with store.begin() as txn:
            get = txn.get
            for group in groups:
                found += len({key: loads(data) for key, data in zip(group, map(get, group)) if data is not None})
        return found

    def items(self, store: Any, most: int) -> int:
        count = 0
        loads = pickle.loads
        with store.begin() as txn:
            for _key, data in islice(txn.cursor(), most):
                loads(data)
                count += 1
        return count

    def keys(self, store: Any, most: int) -> int:
        count = 0
        with store.begin() as txn:
            for _key in islice(txn.cursor().iternext(values=False), most):
                count += 1
        return count

    def len(self, store: Any, times: int) -> int:
        for _ in range(times):
            length: int = store.stat()["entries"]
        return length

    def put(self, store: Any, pairs: Iterable[Pair]) -> None:
        dumps, protocol = pickle.dumps, PROTOCOL
        for batch in self._batches(pairs):
            with store.begin(write=True) as txn:
                put = txn.put
                for key, value in batch:
                    put(key, dumps(value, protocol))

    put_many = update = put

    def put_growing(self, store: Any, pairs: Iterable[Pair]) -> None:
        import lmdb

        for batch in self._batches(pairs):
            while True:
                try:
                    with store.begin(write=True) as txn:
                        for key, value in batch:
                            txn.put(key, pickle.dumps(value, PROTOCOL))
                    break
                except lmdb.MapFullError:
                    store.set_mapsize(2 * store.info()["map_size"])

    def mix(self, store: Any, wanted: Iterable[Any], pairs: Iterable[Pair]) -> Any:
        dumps, loads, protocol = pickle.dumps, pickle.loads, PROTOCOL
        for batch in self._batches(zip(wanted, pairs)):
            with store.begin(write=True) as txn:
                get, put = txn.get, txn.put
                for key, (changed, value) in batch:
                    read = loads(get(key))
                    put(changed, dumps(value, protocol))
        return read

    def pop(self, store: Any, keys: Iterable[Any]) -> Any:
        loads = pickle.loads
        for batch in self._batches(keys):
            with store.begin(write=True) as txn:
                pop = txn.cursor().pop
                for key in batch:
                    value = loads(pop(key))
        return value

    def setdefault(self, store: Any, pairs: Iterable[Pair]) -> None:
        dumps, loads, protocol = pickle.dumps, pickle.loads, PROTOCOL
        for batch in self._batches(pairs):
            with store.begin(write=True) as txn:
                put = txn.put
                for key, value in batch:
                    if not put(key, dumps(value, protocol), overwrite=False):
                        loads(txn.get(key))

    def delete(self, store: Any, keys: Iterable[Any]) -> None:
        for batch in self._batches(keys):
            with store.begin(write=True) as txn:
                delete = txn.delete
                for key in batch:
                    if not delete(key):
                        raise KeyError(key)


class Raw1k(Raw):
    name = "raw1k"
    label = "raw py-lmdb, a commit per 1,000"
    batch = COMMIT_EVERY
    # All that is compared to raw: the loops are the same.
    lacks = frozenset(
        (
            *("get", "contains", "get_absent", "get_many", "items", "keys", "len", "threads", "open"),
            *("put_as_one", "put_many", "update", "get_arrays", "get_large", "get_mapped", "import"),
        )
    )


class Store(System):
    """This package with its defaults."""

    name = "store"
    label = "this store"
    on_disk = "all, synced at each flush and close()"
    distribution = "lmdbobjectstore"
    modules = ("lmdb_object_store",)

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        from lmdb_object_store import LmdbObjectStore

        return LmdbObjectStore(str(path), map_size=map_size or self.map_size)

    def flush(self, store: Any) -> None:
        store.flush()

    def get_many(self, store: Any, groups: Iterable[Sequence[Any]]) -> int:
        return sum(len(store.get_many(group)[0]) for group in groups)

    def put_many(self, store: Any, pairs: Iterable[Pair]) -> None:
        store.put_many(pairs)


class Tuned(Store):
    """This package with no flush before a read, and as many writes a commit as the raw loop that it is compared to."""

    name = "tuned"
    label = "this store, tuned"

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        from lmdb_object_store import LmdbObjectStore

        return LmdbObjectStore(str(path), batch, autoflush_on_read=False, map_size=map_size or self.map_size)


class Original(Store):
    """The first implementation, lmdb-object-store 0.1.0; its environment is made by original.py."""

    name = "original"
    label = "lmdb-object-store 0.1.0"
    distribution = "lmdb-object-store"
    lacks = frozenset({"items", "keys", "len", "update", "pop", "setdefault"})


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
    lacks = frozenset({"open", "import"})

    def __init__(self, map_size: int) -> None:
        super().__init__(map_size)
        self._files: dict[Path, dict[Any, bytes]] = {}

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        return Pickled(self._files.setdefault(path, {}))

    def close(self, store: Any) -> None: ...

    def remove(self, path: Path) -> None:
        self._files.pop(path, None)
