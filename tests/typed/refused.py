"""Code that a user's type checker refuses: never run. An error that is no longer found makes its comment an error."""

from __future__ import annotations

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore


class User:
    name: str


def keys_of_another_type(store: LmdbObjectStore[str, User], user: User) -> None:
    print(store[1])  # type: ignore[index]  # pyright: ignore[reportArgumentType]
    store[b"ada"] = user  # type: ignore[index]  # pyright: ignore[reportArgumentType]
    del store[None]  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.get(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    store.put(("ada", 1), user)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.delete(b"ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.exists(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.pop(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    store.get_many([1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    store.edit(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.setdefault(1, user)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def values_of_another_type(store: LmdbObjectStore[str, User], numbers: LmdbObjectStore[str, int]) -> None:
    store["ada"] = "Ada"  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
    store.put("ada", None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.put_many({"ada": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.put_many([("ada", 1)])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    store.update({"ada": 1})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType, reportCallIssue]
    store.update(ada=1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    store.setdefault("ada", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.setdefault("ada")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    store |= {"ada": 1}  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    numbers["n"] = store["ada"]  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
    with store.edit("ada", 1):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        pass
    number: int = store["ada"]  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(number)


def what_may_be_missing(store: LmdbObjectStore[str, User]) -> None:
    print(store.get("ada").name)  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    print(store.pop("ada", None).name)  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]


def options() -> None:
    LmdbObjectStore[str, User]()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    LmdbObjectStore[str, User](1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    LmdbObjectStore[str, User]("users", "many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    LmdbObjectStore[str, User]("users", 1000, 1 << 20)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    LmdbObjectStore[str, User]("users", key_encoding=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    LmdbObjectStore[str, User]("users", serializer=print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lmdb_object_store.open("shelf", True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lmdb_object_store.open("shelf")[1] = 2  # type: ignore[index]  # pyright: ignore[reportArgumentType]


def wrong_store(store: LmdbObjectStore[str, User]) -> None:
    numbers: LmdbObjectStore[str, int] = store  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    wider: LmdbObjectStore[str, object] = store  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(numbers, wider)


def calls(store: LmdbObjectStore[str, User]) -> None:
    store.close(True, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    store.popitem(False)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    store.fromkeys(["ada"])  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    store.irange(inclusive=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
