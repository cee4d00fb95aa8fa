"""Raw py-lmdb by hand: what the others are compared to."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from systems import COMMIT_EVERY, PROTOCOL, Pair, System


class Raw(System):
    """py-lmdb by hand, as fast as it can be written.

    A loop of reads holds one read transaction, a loop of writes one write transaction or one for each thousand.
    The length is `env.stat()`, which sees new commits and is faster than `txn.stat()` of a new transaction.
    Threads that write take turns by LMDB's lock of writers, which `begin` waits for.
    """

    name = "raw"
    label = "raw py-lmdb"
    on_disk = "all, synced at each commit"
    each_on_disk = "all"
    distribution = "lmdb"
    lacks = frozenset({"beside", "growth", "import"})
    batch: ClassVar[int | None] = None

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        import lmdb

        return lmdb.open(str(path), map_size=map_size or self.map_size)

    def commits(self, store: Any) -> int | None:
        number: int = store.info()["last_txnid"]
        return number

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

    def prefix(self, store: Any, prefixes: Iterable[bytes]) -> int:
        count = 0
        loads = pickle.loads
        with store.begin() as txn:
            cursor = txn.cursor()
            for prefix in prefixes:
                if cursor.set_range(prefix):
                    for key, data in cursor:
                        if not key.startswith(prefix):
                            break
                        loads(data)
                        count += 1
        return count

    def span(self, store: Any, low: bytes, high: bytes) -> int:
        count = 0
        loads = pickle.loads
        with store.begin() as txn:
            cursor = txn.cursor()
            if cursor.set_range(low):
                for key, data in cursor:
                    if key >= high:
                        break
                    loads(data)
                    count += 1
        return count

    def count(self, store: Any, low: bytes, high: bytes) -> int:
        count = 0
        with store.begin() as txn:
            cursor = txn.cursor()
            if cursor.set_range(low):
                for key in cursor.iternext(values=False):
                    if key >= high:
                        break
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

    put_many = update = transact = put

    def append(self, store: Any, pairs: Iterable[Pair]) -> None:
        dumps, protocol = pickle.dumps, PROTOCOL
        with store.begin(write=True) as txn:
            put = txn.put
            for key, value in pairs:
                put(key, dumps(value, protocol), append=True)

    def commit_each(self, store: Any, pairs: Iterable[Pair]) -> None:
        for key, value in pairs:
            with store.begin(write=True) as txn:
                txn.put(key, pickle.dumps(value, PROTOCOL))

    transact_each = durable_each = commit_each

    def make_pending(self, store: Any, pairs: Iterable[Pair]) -> Callable[[], None]:
        rows = [(key, pickle.dumps(value, PROTOCOL)) for key, value in pairs]

        def commit() -> None:
            with store.begin(write=True) as txn:
                txn.cursor().putmulti(rows)

        return commit

    def edit_each(self, store: Any, keys: Iterable[Any]) -> None:
        for key in keys:
            with store.begin(write=True) as txn:
                value = pickle.loads(txn.get(key))
                value["score"] += 1
                txn.put(key, pickle.dumps(value, PROTOCOL))

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
    lacks = frozenset({"import"})
