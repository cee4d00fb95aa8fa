"""Other mappings on disk."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from raw import Raw, Raw1k
from systems import DURABLE, NOT_EVERYWHERE, PROTOCOL, Dict, Ordered, Original, Pair, Pickled, Store, System, Tuned

dumps = partial(pickle.dumps, protocol=PROTOCOL)


class TextKeys(System):
    """A system whose keys are text: the hexadecimal form of the same bytes."""

    def key(self, key: bytes) -> Any:
        return key.hex()


class Lmdbm(System):
    """lmdbm, with the values pickled by the two methods that its README overrides."""

    name = "lmdbm"
    label = "lmdbm"
    on_disk = "all, synced at each write"
    each_on_disk = "all"
    distribution = "lmdbm"
    modules = ("lmdbm",)
    lacks = NOT_EVERYWHERE - DURABLE

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        from lmdbm import Lmdb

        class PickleLmdb(Lmdb):  # type: ignore[misc,type-arg,unused-ignore]
            def _pre_value(self, value: Any) -> bytes:
                return pickle.dumps(value, PROTOCOL)

            def _post_value(self, value: bytes) -> Any:
                return pickle.loads(value)

        return PickleLmdb.open(str(path), "c", map_size=map_size or self.map_size)

    def commits(self, store: Any) -> int | None:
        number: int = store.env.info()["last_txnid"]
        return number


class Zict(TextKeys):
    """zict.LMDB in zict.Func. It opens LMDB with `sync=False`; its documentation: not safe in threads."""

    name = "zict"
    label = "zict.LMDB"
    on_disk = "nothing is ever synced"
    distribution = "zict"
    modules = ("zict",)
    threads = False

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        import zict

        # It does not grow: it has its own large default where the others start with a small map.
        return zict.Func(dumps, pickle.loads, zict.LMDB(path, map_size=None if map_size else self.map_size))


class RocksDict(System):
    """rocksdict.Rdict. It has no length, no `pop` and no `setdefault`. Durable writes have its option `sync`."""

    name = "rocksdict"
    label = "rocksdict"
    on_disk = "all, synced at close()"
    each_on_disk = "all"
    distribution = "rocksdict"
    modules = ("rocksdict",)
    lacks = (NOT_EVERYWHERE - DURABLE) | {"len", "update", "pop", "setdefault"}

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        from rocksdict import Rdict, WriteOptions

        store = Rdict(str(path))
        store.set_dumps(dumps)
        if batch == 1:
            durable = WriteOptions()
            durable.sync = True
            store.set_write_options(durable)
        return store

    def get_many(self, store: Any, groups: Iterable[Sequence[Any]]) -> int:
        return sum(sum(value is not None for value in store.get(group)) for group in groups)

    def keys(self, store: Any, most: int) -> int:
        return super().keys(store.keys(), most)

    def put_many(self, store: Any, pairs: Iterable[Pair]) -> None:
        from rocksdict import WriteBatch

        batch = WriteBatch()
        batch.set_dumps(dumps)
        for key, value in pairs:
            batch[key] = value
        store.write(batch)


class Shelve(TextKeys):
    """shelve over the best dbm of the Python at hand: dbm.sqlite3 from Python 3.13 on. One thread."""

    name = "shelve"
    label = "shelve"
    on_disk = "all, synced at each write"
    modules = ("shelve",)
    threads = False

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        import shelve

        return shelve.open(str(path), protocol=PROTOCOL)


class SqliteDict(TextKeys):
    """sqlitedict: one commit, at the end, as its README recommends for speed. It sets SQLite's `synchronous` to OFF.

    Durable writes have `autocommit=True`. A write is then handed to a thread, which commits it later.
    """

    name = "sqlitedict"
    label = "sqlitedict"
    on_disk = "nothing is ever synced"
    each_on_disk = "nothing: a thread commits it later, and never syncs"
    distribution = "sqlitedict"
    modules = ("sqlitedict",)
    lacks = NOT_EVERYWHERE - DURABLE

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        import sqlitedict

        return sqlitedict.SqliteDict(str(path), outer_stack=False, autocommit=batch == 1)

    def flush(self, store: Any) -> None:
        store.commit()

    def close(self, store: Any) -> None:
        store.commit()
        store.close()


class DiskCache(System):
    """diskcache.Index; writes that may be one commit are in one `transact()`."""

    name = "diskcache"
    label = "diskcache.Index"
    on_disk = "all, synced at checkpoints and close()"
    each_on_disk = "all up to the last checkpoint; later writes are committed, but not synced"
    distribution = "diskcache"
    modules = ("diskcache",)
    lacks = NOT_EVERYWHERE - DURABLE

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        import diskcache

        return diskcache.Index(str(path))

    def close(self, store: Any) -> None:
        store.cache.close()

    def put_as_one(self, store: Any, pairs: Iterable[Pair]) -> None:
        with store.transact():
            self.put(store, pairs)

    def put_many(self, store: Any, pairs: Iterable[Pair]) -> None:
        with store.transact():
            store.update(pairs)


class SemiDbm(System):
    """semidbm, which keeps all keys in memory. One thread."""

    name = "semidbm"
    label = "semidbm"
    on_disk = "all, synced at close()"
    distribution = "semidbm"
    modules = ("semidbm",)
    threads = False

    def open(self, path: Path, *, batch: int | None, map_size: int | None = None) -> Any:
        import semidbm

        return Pickled(semidbm.open(str(path), "c"))

    def flush(self, store: Any) -> None:
        store.mapping.sync()

    def close(self, store: Any) -> None:
        store.mapping.close()


SYSTEMS: dict[str, type[System]] = {
    system.name: system
    for system in (
        Raw,
        Raw1k,
        Store,
        Tuned,
        Ordered,
        Original,
        Lmdbm,
        Zict,
        RocksDict,
        Shelve,
        SqliteDict,
        DiskCache,
        SemiDbm,
        Dict,
    )
}
