"""A store that writes back, by random calls, compared with the values of its objects."""

from __future__ import annotations

import tempfile
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.writeback import Store

from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._shelve.writeback import WritebackStore

KEYS = st.sampled_from(["a", "b", "c", "d"])


class WritebackMachine(RuleBasedStateMachine):
    """`model` holds the objects that the store must give, `stored` what is written of them."""

    @initialize(batch_size=st.sampled_from([1, 3, 1000]), autoflush=st.booleans())
    def start(self, batch_size: int, autoflush: bool) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.options: dict[str, Any] = {"batch_size": batch_size, "autoflush_on_read": autoflush}
        self.model: dict[str, Any] = {}
        self.number = 0
        self.open()

    def open(self) -> None:
        self.store: Store = WritebackStore(self.directory.name, key_encoding="utf-8", **self.options)

    def fresh(self) -> list[int]:
        self.number += 1
        return [self.number]

    @rule(key=KEYS, by=st.sampled_from(["put", "update", "put_many"]))
    def write(self, key: str, by: str) -> None:
        self.model[key] = value = self.fresh()
        if by == "put":
            self.store[key] = value
        else:
            getattr(self.store, by)({key: value})

    @rule(key=KEYS)
    def setdefault(self, key: str) -> None:
        value = self.fresh()
        assert self.store.setdefault(key, value) is self.model.setdefault(key, value)

    @rule(key=KEYS)
    def change(self, key: str) -> None:
        if key in self.model:
            self.model[key].append(0)

    @rule(key=KEYS, by=st.sampled_from(["pop", "del", "delete", "range"]))
    def remove(self, key: str, by: str) -> None:
        value = self.model.pop(key, None)
        if by == "pop":
            assert self.store.pop(key, None) is value
        elif by == "range":
            self.store.prefix(key).clear()
        elif by == "delete" or value is None:
            self.store.delete(key)
        else:
            del self.store[key]

    @rule()
    def popitem(self) -> None:
        if self.model:
            key, value = self.store.popitem()
            assert key == max(self.model)
            assert value is self.model.pop(key)

    @rule(by=st.sampled_from(["sync", "flush", "clear"]))
    def whole(self, by: str) -> None:
        getattr(self.store, by)()
        if by == "clear":
            self.model.clear()
        elif by == "sync":
            with LmdbObjectStore[Any, Any](self.directory.name, key_encoding="utf-8") as other:
                assert other == self.model

    @rule(strict=st.booleans())
    def reopen(self, strict: bool) -> None:
        self.store.close(strict)
        self.open()
        assert self.store == self.model
        self.model = {key: self.store[key] for key in self.model}

    @invariant()
    def gives_the_very_objects(self) -> None:
        found = dict(self.store.items())
        assert list(found) == sorted(self.model)
        for key, value in self.model.items():
            assert found[key] is value
            assert self.store[key] is value

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.directory.cleanup()


TestWritebackMachine = WritebackMachine.TestCase
