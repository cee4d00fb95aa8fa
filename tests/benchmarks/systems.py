"""What is measured: this store, its first implementation, and a dict; raw.py and peers.py have the others.

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
ORDERED = frozenset({"prefix", "span", "count"})  # workloads that read a part of the keys in order
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
    lacks: ClassVar[frozenset[str]] = ORDERED  # workloads that it has no method for
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

    def prefix(self, store: Any, prefixes: Iterable[bytes]) -> int:
        """How many items begin with one of `prefixes`; each is read."""
        raise NotImplementedError

    def span(self, store: Any, low: bytes, high: bytes) -> int:
        """How many items there are from `low` to below `high`; each is read."""
        raise NotImplementedError

    def count(self, store: Any, low: bytes, high: bytes) -> int:
        """How many keys there are from `low` to below `high`; no value is read."""
        raise NotImplementedError

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


class Store(System):
    """This package with its defaults."""

    name = "store"
    label = "this store"
    on_disk = "all, synced at each flush and close()"
    distribution = "lmdbobjectstore"
    modules = ("lmdb_object_store",)
    lacks = frozenset()

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        from lmdb_object_store import LmdbObjectStore

        return LmdbObjectStore(str(path), map_size=map_size or self.map_size)

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


class Tuned(Store):
    """This package with no flush before a read, and as many writes a commit as the raw loop that it is compared to."""

    name = "tuned"
    label = "this store, tuned"

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        from lmdb_object_store import LmdbObjectStore

        return LmdbObjectStore(str(path), batch, autoflush_on_read=False, map_size=map_size or self.map_size)


class Ordered(Store):
    """This package with tuples of a str and an int as keys."""

    name = "ordered"
    label = "this store, tuple keys"
    lacks = ORDERED | {"import", "memory"}

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
    lacks = ORDERED | {"items", "keys", "len", "update", "pop", "setdefault"}


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
    lacks = ORDERED | {"open", "import"}

    def __init__(self, map_size: int) -> None:
        super().__init__(map_size)
        self._files: dict[Path, dict[Any, bytes]] = {}

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        return Pickled(self._files.setdefault(path, {}))

    def close(self, store: Any) -> None: ...

    def remove(self, path: Path) -> None:
        self._files.pop(path, None)
