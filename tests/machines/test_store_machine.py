"""The same calls on a store and on a plain dict, under buffering, flush, failure, close and reopening."""

from __future__ import annotations

import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lmdb
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lmdb_object_store import LmdbObjectStore, OrderedKeys
from lmdb_object_store._buffer import resize as _resize
from lmdb_object_store._buffer import scan as _scan
from lmdb_object_store._keys.interval import Interval

# In order.
TEXTS = ["", "a", "a\0", "ab", "b", "z" * 511, "é", "日本"]
OBJECTS: list[Any] = [None, b"", "", ("a",), ("a", None), -1, 300, datetime(2024, 5, 1)]
INDEX = st.integers(0, len(TEXTS) - 1)
VALUES = st.one_of(st.none(), st.integers(), st.text(max_size=3), st.just("large" * 5_000))
MISSING = object()


class Unpicklable:
    """A value that refuses to be stored."""

    def __reduce__(self) -> str:
        raise ValueError("not to be pickled")


class Undo(Exception):
    """The exception that rolls back a transaction."""


class Box:
    """A value that can be changed in place."""

    def __init__(self, *contents: Any) -> None:
        self.contents = [*contents]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and self.contents == other.contents

    def __hash__(self) -> int:  # sets of items are among the things compared
        return 0

    def __repr__(self) -> str:
        return f"Box{self.contents}"


def outcome(call: Callable[[], Any]) -> tuple[str, Any]:
    """Return the result of `call`, or the class of its error."""
    try:
        return "value", call()
    except (KeyError, TypeError, ValueError) as error:
        return "error", next(kind for kind in (KeyError, TypeError, ValueError) if isinstance(error, kind))


def full_disk(*_: object) -> None:
    """Stand in for the write transaction on a disk that is full."""
    raise lmdb.DiskError("No space left on device")


class WatchedStore(LmdbObjectStore[Any, Any]):
    """A store that tells what each of its commits has promised to keep."""

    promised: dict[Any, Any]

    def _commit(self, changes: Mapping[bytes, bytes | None], *, emptied: Interval | None = None, **more: Any) -> None:
        super()._commit(changes, emptied=emptied, **more)
        if emptied:
            self.promised.clear()
        for key, data in changes.items():
            self.promised.pop(self._codec.decode(key), None)
            if data is not None:
                self.promised[self._codec.decode(key)] = pickle.loads(data)


class StoreMachine(RuleBasedStateMachine):
    """`model` is what the store holds; `durable` is what its last flush promised to keep.

    `stack` has the transactions that are open, from the outermost to the innermost, with the model as each began.
    """

    @initialize(
        batch_size=st.sampled_from([1, 2, 3, 1000]),
        autoflush=st.booleans(),
        key_encoding=st.sampled_from(["utf-8", None, OrderedKeys()]),
        subdir=st.booleans(),
        map_size=st.sampled_from([64 * 1024, 64 * 1024 * 1024]),
        cap=st.sampled_from([None, None, 256 * 1024]),
        page=st.sampled_from([1, 2, None]),
        by_in=st.booleans(),
    )
    def start(
        self,
        batch_size: int,
        autoflush: bool,
        key_encoding: Any,
        subdir: bool,
        map_size: int,
        cap: int | None,
        page: int | None,
        by_in: bool,
    ) -> None:
        """Open a new store with the options drawn; by `by_in`, look at it through `in` alone, which never flushes."""
        self.folder = Path(tempfile.mkdtemp())
        self.pages = [
            patch.object(_scan, name, getattr(_scan, name) if page is None else page)
            for name in ("FIRST_PAGE", "LATER_PAGE")
        ]
        for one in self.pages:
            one.start()
        self.by_in = by_in
        self.capped = cap is not None
        self.options: dict[str, Any] = {
            "batch_size": 1000 if self.capped else batch_size,  # so that a put finds no full map
            "autoflush_on_read": autoflush,
            "key_encoding": key_encoding,
            "subdir": subdir,
            "map_size": min(map_size, cap) if cap else map_size,
            "max_map_size": cap,
            "sync": False,  # the machine does not crash; the process that stands for a crash only forgets
        }
        texts: list[Any] = [*TEXTS] if key_encoding else [text.encode()[:511] for text in TEXTS]
        self.keys = OBJECTS if isinstance(key_encoding, OrderedKeys) else texts
        self.model: dict[Any, Any] = {}
        self.durable: dict[Any, Any] = {}
        self.iterator: Iterator[Any] | None = None
        self.stack: list[tuple[Any, dict[Any, Any]]] = []
        self.store = self.open()

    def open(self, **options: Any) -> WatchedStore:
        store = WatchedStore(self.folder / "db", **{**self.options, **options})
        store.promised = self.durable
        return store

    def teardown(self) -> None:
        if hasattr(self, "store"):
            while self.stack:
                self.roll_back()
            self.store.close()
            for one in self.pages:
                one.stop()
            shutil.rmtree(self.folder)

    def same(self, call: Callable[[Any], Any]) -> Any:
        """Run `call` on the store and on the model, and compare the outcomes."""
        expected = outcome(lambda: call(self.model))
        assert outcome(lambda: call(self.store)) == expected

    def flushed(self, flush: Callable[[], Any]) -> bool:
        """Run `flush`, which writes; False where the map is full, which only a capped one may be."""
        try:
            flush()
        except lmdb.MapFullError:
            assert self.capped
            return False
        return True

    # -- the mapping's own calls, the same on both

    @rule(index=INDEX, value=VALUES)
    def set_item(self, index: int, value: Any) -> None:
        key = self.keys[index]
        self.store[key] = value
        self.model[key] = value

    @rule(index=INDEX, value=VALUES)
    def put(self, index: int, value: Any) -> None:
        self.store.put(self.keys[index], value)
        self.model[self.keys[index]] = value

    @rule(index=INDEX)
    def del_item(self, index: int) -> None:
        def delete(mapping: Any) -> None:
            del mapping[self.keys[index]]

        self.same(delete)

    @rule(index=INDEX)
    def delete(self, index: int) -> None:
        self.store.delete(self.keys[index])
        self.model.pop(self.keys[index], None)

    @rule(index=INDEX, default=st.booleans())
    def pop(self, index: int, default: bool) -> None:
        self.same(lambda mapping: mapping.pop(self.keys[index], *([MISSING] if default else [])))

    @rule(last=st.booleans())
    def pop_item(self, last: bool) -> None:
        if not self.model:
            assert outcome(lambda: self.store.popitem(last=last)) == ("error", KeyError)
            return
        key = max(self.model, key=self.keys.index) if last else min(self.model, key=self.keys.index)
        assert self.store.popitem(last=last) == (key, self.model.pop(key))

    @rule(index=INDEX, value=VALUES)
    def set_default(self, index: int, value: Any) -> None:
        self.same(lambda mapping: mapping.setdefault(self.keys[index], value))

    @rule(items=st.dictionaries(INDEX, VALUES, max_size=4), form=st.sampled_from([dict, list, iter]))
    def update(self, items: dict[int, Any], form: Callable[[Any], Any]) -> None:
        pairs = {self.keys[index]: value for index, value in items.items()}
        self.store.update(form(pairs if form is dict else pairs.items()))
        self.model.update(pairs)

    @rule(bad=st.sampled_from([5, [5], [("a",)], [()], None]))
    def update_from_what_has_no_items(self, bad: Any) -> None:
        self.same(lambda mapping: mapping.update(bad))
        self.same(lambda mapping: mapping | 5)

    @rule(index=INDEX, value=VALUES)
    def update_in_place(self, index: int, value: Any) -> None:
        self.store |= {self.keys[index]: value}
        self.model |= {self.keys[index]: value}

    @rule()
    def clear(self) -> None:
        if self.flushed(self.store.clear):
            self.model.clear()

    # -- reads, some of which flush

    @precondition(lambda self: not self.by_in)
    @rule(index=INDEX, default=VALUES)
    def get(self, index: int, default: Any) -> None:
        key = self.keys[index]
        self.same(lambda mapping: mapping[key])
        self.same(lambda mapping: mapping.get(key, default))

    @precondition(lambda self: not self.by_in)
    @rule(indexes=st.lists(INDEX, max_size=6))
    def get_many(self, indexes: list[int]) -> None:
        keys = [self.keys[index] for index in indexes]
        text = self.options["key_encoding"] is not None
        found, missing = self.store.get_many(keys, decode_keys=text)
        assert found == {key: self.model[key] for key in keys if key in self.model}
        assert missing == [key for key in keys if key not in self.model]

    @rule(index=INDEX, flush=st.sampled_from([None, False, True]))
    def exists(self, index: int, flush: bool | None) -> None:
        if (self.by_in and flush is not False) or (flush and self.capped):
            return
        assert self.store.exists(self.keys[index], flush=flush) is (self.keys[index] in self.model)

    @precondition(lambda self: not self.by_in)
    @rule()
    def whole(self) -> None:
        order = sorted(self.model, key=self.keys.index)
        assert len(self.store) == len(order)
        assert list(self.store) == list(self.store.keys()) == order
        assert list(reversed(self.store)) == order[::-1]
        assert list(self.store.items()) == [(key, self.model[key]) for key in order]
        assert list(reversed(self.store.values())) == [self.model[key] for key in order[::-1]]
        assert self.store == self.model
        assert self.store | {} == self.model

    @precondition(lambda self: not self.by_in)
    @rule(indexes=st.sets(INDEX, max_size=6), value=VALUES)
    def views(self, indexes: set[int], value: Any) -> None:
        some = {self.keys[index] for index in indexes}
        self.same(lambda mapping: mapping.keys() & some)
        self.same(lambda mapping: mapping.keys() - some)
        self.same(lambda mapping: some - mapping.keys())
        self.same(lambda mapping: mapping.keys() ^ some)
        self.same(lambda mapping: (mapping.keys() <= some, mapping.keys() >= some, mapping.keys() == some))
        self.same(lambda mapping: mapping.items() & {(key, value) for key in some})
        self.same(lambda mapping: value in mapping.values())

    @precondition(lambda self: self.iterator is None)
    @rule(reverse=st.booleans())
    def begin_to_iterate(self, reverse: bool) -> None:
        if self.by_in:
            return
        self.iterator = reversed(self.store) if reverse else iter(self.store)
        self.sign = -1 if reverse else 1
        self.given: list[Any] = []
        self.always, self.ever = set(self.model), set(self.model)

    @precondition(lambda self: self.iterator is not None)
    @rule(steps=st.integers(1, 4))
    def iterate_on(self, steps: int) -> None:
        assert self.iterator is not None
        for _ in range(steps):
            key = next(self.iterator, MISSING)
            if key is MISSING:
                self.iterator = None
                assert self.always <= set(self.given)
                return
            assert key in self.ever
            if self.given:
                assert self.sign * (self.keys.index(key) - self.keys.index(self.given[-1])) > 0
            self.given.append(key)

    # -- flushes that succeed, and that fail

    @rule()
    def flush(self) -> None:
        if self.stack:
            for refused in (self.store.flush, self.store.close, lambda: pickle.dumps(self.store)):
                with pytest.raises(RuntimeError, match="transaction"):
                    refused()
        elif self.flushed(self.store.flush):
            assert not self.store.write_buffer
            assert self.durable == self.model

    @rule(items=st.dictionaries(INDEX, VALUES, max_size=4))
    def put_many(self, items: dict[int, Any]) -> None:
        pairs = {self.keys[index]: value for index, value in items.items()}
        if self.flushed(lambda: self.store.put_many(iter(pairs.items()))):
            assert not self.store.write_buffer
            self.model.update(pairs)
            assert self.stack or self.durable == self.model

    @rule(index=INDEX, bad_key=st.booleans())
    def put_many_of_which_one_fails(self, index: int, bad_key: bool) -> None:
        items = [(self.keys[index], "never"), (1j, 1) if bad_key else (self.keys[0], Unpicklable())]
        with pytest.raises(TypeError if bad_key else ValueError):
            self.store.put_many(items)

    @rule(index=INDEX)
    def put_that_fails(self, index: int) -> None:
        with pytest.raises(ValueError, match="not to be pickled"):
            self.store[self.keys[index]] = Unpicklable()
        with pytest.raises(ValueError, match="at most 511"):
            self.store.put(b"k" * 1979, 1)

    @precondition(lambda self: not self.stack)
    @rule(index=INDEX)
    def full_disk(self, index: int) -> None:
        before = dict(self.store.write_buffer)
        with patch.object(_resize, "write", full_disk):
            if before:
                with pytest.raises(lmdb.DiskError):
                    self.store.flush()
            with pytest.raises(lmdb.DiskError):
                self.store.put_many({self.keys[index]: "never"})
            with pytest.raises(lmdb.DiskError):
                self.store.clear()
            assert self.store.get(self.keys[index], MISSING) == self.model.get(self.keys[index], MISSING)
        assert self.store.write_buffer == before

    @rule(index=INDEX)
    def pop_on_a_full_disk(self, index: int) -> None:
        key = self.keys[index]
        with patch.object(_resize, "write", full_disk):
            try:
                assert self.store.pop(key, MISSING) == self.model.get(key, MISSING)
            except lmdb.DiskError:
                return  # the item is still there
        self.model.pop(key, None)

    # -- transactions

    @precondition(lambda self: len(self.stack) < 4)
    @rule()
    def begin(self) -> None:
        transaction = self.store.transaction()
        if self.flushed(transaction.__enter__):
            self.stack.append((transaction, dict(self.model)))

    @precondition(lambda self: self.stack)
    @rule()
    def commit(self) -> None:
        transaction, before = self.stack.pop()
        if not self.flushed(lambda: transaction.__exit__(None, None, None)):
            assert not self.stack
            self.model = before

    @precondition(lambda self: self.stack)
    @rule()
    def roll_back(self) -> None:
        transaction, self.model = self.stack.pop()
        transaction.__exit__(Undo, Undo(), None)

    @precondition(lambda self: len(self.stack) == 1)
    @rule()
    def commit_on_a_full_disk(self) -> None:
        transaction, before = self.stack.pop()
        with patch.object(_resize, "write", full_disk):
            if self.model == before and not self.store._pending:
                transaction.__exit__(None, None, None)
                return
            with pytest.raises(lmdb.DiskError):
                transaction.__exit__(None, None, None)
        self.model = before

    @rule(index=INDEX, value=VALUES, fails=st.booleans())
    def edit(self, index: int, value: Any, fails: bool) -> None:
        key = self.keys[index]

        def change() -> None:
            with self.store.edit(key, default=Box) as box:
                assert box == self.model.get(key, Box())
                if isinstance(box, Box):
                    box.contents.append(value)
                if fails:
                    raise Undo

        try:
            done = self.flushed(change)
        except Undo:
            return
        if done:
            before = self.model.setdefault(key, Box())
            if isinstance(before, Box):
                self.model[key] = Box(*before.contents, value)
            assert self.stack or self.durable == self.model

    @rule(index=INDEX)
    def edit_without_a_default(self, index: int) -> None:
        def edited(mapping: Any) -> Any:
            if mapping is self.model:
                return mapping[self.keys[index]]
            with mapping.edit(self.keys[index]) as value:
                return value

        if not self.capped:
            self.same(edited)

    # -- the store closed, opened again, opened twice, sent elsewhere

    @precondition(lambda self: not self.stack)
    @rule(strict=st.booleans())
    def close_and_reopen(self, strict: bool) -> None:
        self.iterator = None
        try:
            self.store.close(strict=strict)
        except RuntimeError:
            assert strict
            assert self.capped
        if self.capped:
            self.model = dict(self.durable)  # the map was full, and close() has raised
        self.store = self.open()
        assert dict(self.store.items()) == self.model == self.durable

    @precondition(lambda self: not self.stack)
    @rule()
    def crash(self) -> None:
        """Lose all memory, as a kill does."""
        self.iterator = None
        self.store.write_buffer.clear()
        self.store.close()
        self.store = self.open()
        self.model = dict(self.durable)
        assert dict(self.store.items()) == self.durable

    @precondition(lambda self: not self.stack)
    @rule()
    def reopen_read_only(self) -> None:
        if not self.flushed(self.store.flush):
            return
        self.iterator = None
        self.store.close()
        with self.open(readonly=True) as reader:
            assert dict(reader.items()) == self.model
            with pytest.raises(lmdb.ReadonlyError):
                reader[self.keys[0]] = 1
            with pytest.raises(lmdb.ReadonlyError):
                reader.flush()
        self.store = self.open()

    @precondition(lambda self: not self.stack)
    @rule()
    def pickle_the_handle(self) -> None:
        if not self.flushed(self.store.flush):
            return
        with pickle.loads(pickle.dumps(self.store)) as copy:
            assert type(copy) is WatchedStore
            assert dict(copy) == self.model == self.durable

    @precondition(lambda self: not self.capped and not self.stack)
    @rule(index=INDEX, value=VALUES)
    def write_through_a_second_store(self, index: int, value: Any) -> None:
        key = self.keys[index]
        with self.open() as second:
            assert dict(second.items()) == self.durable
            second[key] = value
        assert key in self.durable
        if self.store._norm_key(key) not in self.store.write_buffer:
            self.model[key] = value

    # -- what holds at any time

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "store"):
            return
        if self.stack:
            assert not self.store.write_buffer
            assert self.durable == self.stack[0][1]
        elif not self.store.write_buffer:
            assert self.durable == self.model
        if self.iterator is not None:
            self.always &= set(self.model)
            self.ever |= set(self.model)
        for key in self.keys:
            assert (key in self.store) is (key in self.model)
        assert bool(self.store) is bool(self.model)


TestStoreMachine = StoreMachine.TestCase
