"""Code that a user's type checker accepts, with the types that it finds: never run, but read by mypy and by pyright."""

from __future__ import annotations

import json
import pickle
from collections.abc import ItemsView, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from pathlib import Path
from typing import Any

import lmdb
from typing_extensions import assert_type

import lmdb_object_store
from lmdb_object_store import (
    ConflictError,
    FlushError,
    KeyNotFoundError,
    LmdbObjectStore,
    OrderedKeys,
    ReadonlyStoreError,
    Serializer,
    StoreClosedError,
    StoreRange,
    StoreStats,
    Transaction,
    WritebackStore,
)


class User:
    name: str


class Admin(User):
    pass


def opened(ada: User) -> None:
    with LmdbObjectStore[str, User]("users", key_encoding="utf-8") as store:
        assert_type(store, LmdbObjectStore[str, User])
        store["ada"] = ada
    declared: LmdbObjectStore[bytes, int] = LmdbObjectStore(Path("counts"), None, batch_bytes=1 << 20)
    assert_type(declared[b"n"], int)
    LmdbObjectStore[bytes, int](
        b"path", 500, flush_interval=2, autoflush_on_read=False, max_map_size=1 << 30, map_size=1 << 20, mode=0o660
    )


def keys_and_values_of_other_kinds() -> None:
    LmdbObjectStore[tuple[str, int], User]("users", key_encoding=OrderedKeys())
    LmdbObjectStore[str, list[int]]("numbers", serializer=json)
    LmdbObjectStore[str, list[int]]("numbers", serializer=pickle)


def as_a_shelf() -> None:
    with lmdb_object_store.open("shelf", "c", writeback=True) as shelf:
        assert_type(shelf, LmdbObjectStore[str, Any])


def annotated(serializer: Serializer) -> None:
    with WritebackStore[str, list[int]]("lists", key_encoding="utf-8", serializer=serializer, max_cached=10) as lists:
        lists["a"].append(1)
        assert_type(lists.prefix("a"), StoreRange[str, list[int]])
    try:
        lists["b"] = []
    except ReadonlyStoreError as error:
        denied: PermissionError | lmdb.Error = error
        raise denied from None
    except KeyNotFoundError as error:
        missing: KeyError = error
        raise missing from None


def looked_after(store: LmdbObjectStore[str, User]) -> None:
    store.backup(Path("backup"), compact=False)
    assert_type(store.stats(), StoreStats)
    assert_type(store.stats().entries, int)
    assert_type(store.stats().commits, int)
    assert_type(store.stats().changes, int)


def undeclared() -> None:
    """Use a store of any type, without a declaration of its types."""
    with LmdbObjectStore("people", key_encoding="utf-8") as store:
        store["ada"] = {"born": 1815}
        assert_type(store, LmdbObjectStore[Any, Any])
        assert_type(store["ada"], Any)
    plain = LmdbObjectStore("people")
    plain[b"ada"] = 1815
    assert_type(LmdbObjectStore[str]("people"), LmdbObjectStore[str, Any])

    def any_store(store: LmdbObjectStore) -> None: ...

    any_store(plain)


class Users(LmdbObjectStore[str, User]):
    """A subclass keeps its own type in a `with` block, and may have methods of its own."""

    def names(self) -> list[str]:
        return [user.name for user in self.values()]


def subclassed() -> None:
    with Users("users", key_encoding="utf-8") as users:
        assert_type(users, Users)
        assert_type(users["ada"], User)


def read(store: LmdbObjectStore[str, User], ada: User) -> None:
    assert_type(store["ada"], User)
    assert_type(store.get("ada"), User | None)
    assert_type(store.get("ada", ada), User)
    assert_type(store.get("ada", 0), User | int)
    assert_type("ada" in store, bool)
    assert_type(store.exists("ada", flush=False), bool)
    assert_type(len(store), int)
    assert_type(store.copy(), dict[str, User])
    assert_type(dict(store), dict[str, User])
    assert_type(store.peekitem(last=False), tuple[str, User])
    found, missing = store.get_many(["ada", "alan"], decode_keys=True)
    assert_type(found, dict[str, User])
    assert_type(missing, list[str])
    assert_type(store.get_many(name for name in ["ada"]), tuple[dict[bytes, User], list[str]])
    assert_type(store.get_many(["ada"], decode_keys=bool(missing)), tuple[dict[Any, User], list[str]])


def write(store: LmdbObjectStore[str, User], ada: User, admin: Admin) -> None:
    store["ada"] = ada
    store.put("ada", admin)
    store.delete("ada")
    del store["ada"]
    store.put_many({"ada": admin})
    store.put_many((name, ada) for name in ("ada", "alan"))
    store.update({"ada": ada}, alan=ada)
    store.update([("ada", ada)])
    assert_type(store.pop("ada"), User)
    assert_type(store.pop("ada", None), User | None)
    assert_type(store.popitem(last=False), tuple[str, User])
    assert_type(store.setdefault("ada", ada), User)
    store |= {"ada": ada}
    assert_type(store, LmdbObjectStore[str, User])
    store.flush()
    store.clear()
    store.close(strict=True)


def optional(store: LmdbObjectStore[str, User | None]) -> None:
    """Leave None out as a default, if None is a value."""
    assert_type(store.setdefault("ada"), User | None)


def in_order(store: LmdbObjectStore[str, User]) -> None:
    assert_type(iter(store), Iterator[str])
    assert_type(reversed(store), Iterator[str])
    assert_type(store.irange("a", "b", (True, False), reverse=True), Iterator[str])
    assert_type(iter(store.keys()), Iterator[str])
    for name, user in store.items():
        assert_type(name, str)
        assert_type(user, User)
    for user in reversed(store.values()):
        assert_type(user, User)
    part = store.prefix("user:")
    assert_type(part, StoreRange[str, User])
    assert_type(part.range("user:1"), StoreRange[str, User])
    assert_type(part["user:1"], User)
    for name in part.range("user:1", None).keys() & {"user:2"}:
        assert_type(name, str)
    assert_type(store.keys() - ["ada"], set[str])
    assert_type({1} - store.keys(), set[int])
    assert_type(store.keys() | {1}, set[str | int])
    for name, user in store.items() & {("ada", 1)}:
        assert_type(name, str)
        assert_type(user, User)


def as_one_step(store: LmdbObjectStore[str, User], groups: LmdbObjectStore[str, list[User]], ada: User) -> None:
    with store.transaction() as nothing:
        assert_type(nothing, None)
        store["ada"] = ada
    transaction: Transaction[None] = store.transaction()
    edit: Transaction[list[User]] = groups.edit("new", list)
    with transaction, edit as users:
        assert_type(users, list[User])
    with groups.edit("new") as users:
        assert_type(users, list[User])
    with groups.edit("new", []) as users:
        assert_type(users, list[User])
    with groups.edit("new", list) as users:
        assert_type(users, list[User])
    try:
        store.put_many({"ada": ada})
    except ConflictError as error:
        failure: lmdb.Error = error
        raise failure from None


def merged(store: LmdbObjectStore[str, User], numbers: dict[int, bytes]) -> None:
    assert_type(store | numbers, dict[str | int, User | bytes])
    assert_type(numbers | store, dict[int | str, bytes | User])


def as_mapping(store: LmdbObjectStore[str, User]) -> None:
    """Pass a store, a part and its views to code that asks for a mapping."""

    def any_mapping(users: Mapping[str, User]) -> None: ...
    def any_mutable_mapping(users: MutableMapping[str, User]) -> None: ...
    def any_views(keys: KeysView[str], values: ValuesView[User], items: ItemsView[str, User]) -> None: ...

    any_mapping(store)
    any_mutable_mapping(store)
    any_mapping(store.prefix("user:"))
    any_mutable_mapping(store.range("a"))
    any_views(store.keys(), store.values(), store.items())


def failed(store: LmdbObjectStore[str, User]) -> None:
    assert_type(store.env, lmdb.Environment)
    assert_type(store.write_buffer, dict[bytes, bytes | None])
    try:
        store.close(strict=True)
    except FlushError as error:
        assert_type(error.pending, dict[bytes, bytes | None])
        raise RuntimeError from error
    except StoreClosedError as error:
        problems: lmdb.Error | ValueError = error
        raise problems from None
