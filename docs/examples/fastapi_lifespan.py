"""FastAPI: a store that is opened once, when the service starts, and closed when it shuts down.

`python fastapi_lifespan.py` sends it a few requests; `uvicorn fastapi_lifespan:app` serves it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request

from lmdb_object_store import LmdbObjectStore

Users = LmdbObjectStore[str, dict[str, Any]]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the store before the first request. After the last one it is flushed and closed."""
    with Users(os.environ.get("USERS", "users.db"), key_encoding="utf-8") as store:
        app.state.users = store
        yield


def users(request: Request) -> Users:
    """The store, for the functions that answer requests."""
    store: Users = request.app.state.users
    return store


UsersStore = Annotated[Users, Depends(users)]
app = FastAPI(lifespan=lifespan)


# Functions with plain `def`: FastAPI runs each in a thread, and a store is safe in threads.
@app.put("/users/{name}", status_code=204)
def write(name: str, user: dict[str, Any], store: UsersStore) -> None:
    store[name] = user
    store.flush()  # the client is told that it is stored: so it must be


@app.get("/users/{name}")
def read(name: str, store: UsersStore) -> dict[str, Any]:
    user = store.get(name)
    if user is None:
        raise HTTPException(404, f"no user {name}")
    return user


def main(path: str = "users.db") -> None:
    from fastapi.testclient import TestClient

    os.environ["USERS"] = path
    for _ in range(2):  # two lives of the service
        with TestClient(app) as client:
            print("before:", client.get("/users/ada").status_code)
            print("write:", client.put("/users/ada", json={"born": 1815}).status_code)
            print("after:", client.get("/users/ada").json())


if __name__ == "__main__":
    main(*sys.argv[1:])
