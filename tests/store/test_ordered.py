"""Ordered access: ranges, prefixes and both ends."""

from __future__ import annotations

import operator
import os
import pickle
import random
import signal
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lmdb
import pytest
from conftest import OpenStore
from support.checkpoints import Interrupt, at_checkpoint, interrupt
from support.intervals import Cut, inside, outcome, part_of
from support.threads import together

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore, StoreClosedError
from lmdb_object_store._buffer import scan as _scan

# -- what it is, and what it refuses


@pytest.fixture
def people(open_store: OpenStore) -> LmdbObjectStore[str, int]:
    """Open a store with a namespace between others, some of it pending."""
    store = open_store(autoflush_on_read=False)
    store.put_many({"a": 1, "user:1": 1, "user:3": 3, "z": 1})
    store.update({"user:2": 2, "usez": 5})
    return store


def test_range_is_a_live_mutable_mapping(people: LmdbObjectStore[str, int]) -> None:
    """The part sees later writes to the store, and the store sees writes to the part."""
    users: MutableMapping[str, int] = people.prefix("user:")
    assert isinstance(users, MutableMapping)
    keys = users.keys()
    people["user:4"] = 4
    users["user:0"] = 0
    del users["user:1"]
    assert list(keys) == ["user:0", "user:2", "user:3", "user:4"]
    assert people["user:0"] == 0
    assert users.pop("a", 7) == 7
    assert people["a"] == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda part: operator.setitem(part, "z", 2),
        lambda part: part.setdefault("z", 2),
        lambda part: part.update(z=2),
        lambda part: part.__ior__({"z": 2}),
    ],
)
def test_range_write_of_a_key_outside_is_refused(people: LmdbObjectStore[str, int], call: Callable[[Any], Any]) -> None:
    """Writing a key outside of a part is a ValueError that names the key, the part and the way out."""
    with pytest.raises(ValueError, match=r"key 'z' is outside .* from 'user:' to below 'user;': write it to the store"):
        call(people.prefix("user:"))
    assert people["z"] == 1


@pytest.mark.parametrize("key", ["a", "user:9", "z"])
def test_range_missing_key_raises_key_error(people: LmdbObjectStore[str, int], key: str) -> None:
    """A key that is outside, or not there, is a KeyError with the key alone, as a dict's."""
    users = people.prefix("user:")
    for call in (users.__getitem__, users.__delitem__, users.pop):
        with pytest.raises(KeyError) as caught:
            call(key)
        assert caught.value.args == (key,)


@pytest.mark.parametrize("bad", [5, 1.5, ("a",), object()])
def test_range_bound_that_can_be_no_key_is_refused(people: LmdbObjectStore[str, int], bad: Any) -> None:
    """An object that can be no key is no bound and no prefix, and is refused by the call itself. None is no bound."""
    for call in (people.prefix, people.range, people.irange, people.prefix("u").range):
        with pytest.raises(TypeError, match="Key"):
            call(bad)
    with pytest.raises(TypeError, match="Key"):
        people.prefix(None)
    for use in (people.prefix("u").get, people.prefix("u").__contains__):
        with pytest.raises(TypeError, match="Key"):
            use(bad)
    assert list(people.irange(None, None)) == list(people)


@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize("cut", [
    (b"", b"", (True, True)), (b"", b"", (True, False)), (b"", b"", (False, True)), (None, b"\0", (True, True)),
    (None, b"\0", (True, False)), (b"", b"a", (False, True)), (b"\0", None, (True, True)), (b"\0", b"a", (True, True)),
    (None, b"\0" * 511, (True, False)), (b"\0" * 511, None, (True, True)), (None, b"a", (True, True)), b"", b"\0", b"a",
])  # fmt: skip
def test_range_has_the_empty_key_where_it_belongs(open_store: OpenStore, cut: Cut, pending: bool) -> None:
    """The empty key is in the parts that its place in the order belongs to, for reading and for `clear`."""
    store = open_store(key_encoding=None, autoflush_on_read=False)
    some = [b"", b"\0", b"\0\0", b"a"]
    store.update(dict.fromkeys(some, 1))
    if not pending:
        store.flush()
    part = part_of(store, [cut])
    assert list(reversed(part)) == list(part)[::-1]
    assert set(part) == {key for key in some if inside(key, cut)}
    assert len(part) == sum(inside(key, cut) for key in some)
    part.clear()
    assert set(store) == {key for key in some if not inside(key, cut)}


def test_range_bounds_are_encoded_as_keys(open_store: OpenStore) -> None:
    """Text is normalised and encoded, and bytes are taken as they are, in bounds and in prefixes."""
    store = open_store(str_normalize="NFC")
    store.update({"caf\u00e9": 1, "cafe": 2, "caf\u00e9s": 3})
    assert list(store.prefix("cafe\u0301")) == list(store.prefix("café".encode())) == ["caf\u00e9", "caf\u00e9s"]
    assert list(store.irange(bytearray(b"cafe"), "caf\u00e9", (False, True))) == ["caf\u00e9"]


def test_range_write_of_a_key_too_long_is_refused(people: LmdbObjectStore[str, int]) -> None:
    """A part refuses a key that no file can have, as the store does."""
    with pytest.raises(ValueError, match="at most 511"):
        people.prefix("user:")["user:" + "k" * 600] = 1


def test_range_of_a_closed_store_raises(open_store: OpenStore) -> None:
    """Every use of a part, after the store is closed, is a StoreClosedError."""
    store = open_store()
    part: Any = store.prefix("a")
    store.close()
    for call in (part.clear, part.popitem, part.peekitem, lambda: list(part), lambda: len(part), lambda: "a" in part,
                 lambda: part.prefix("a"), lambda: operator.setitem(part, "a", 1), lambda: part.get("a")):  # fmt: skip
        with pytest.raises(StoreClosedError):
            call()


def test_range_of_a_read_only_store_refuses_writes(open_store: OpenStore) -> None:
    """A part of a read-only store is read, and refuses writes as the store does."""
    with open_store() as store:
        store["ab"] = 1
    part: Any = open_store(readonly=True).prefix("a")
    assert dict(part.items()) == {"ab": 1}
    for call in (part.clear, part.popitem, lambda: operator.setitem(part, "ac", 1), lambda: part.pop("ab")):
        with pytest.raises(lmdb.ReadonlyError):
            call()


def test_range_pickled_is_the_same_range(people: LmdbObjectStore[str, int]) -> None:
    """A part can be pickled, as the store can, and is the same part in the copy."""
    copy = pickle.loads(pickle.dumps(people.prefix("user:")))
    assert dict(copy.items()) == {"user:1": 1, "user:2": 2, "user:3": 3}
    copy._store.close()


def test_range_repr_unpickles_nothing(people: LmdbObjectStore[str, int]) -> None:
    """`repr` tells the bounds and the store, and unpickles nothing."""
    assert repr(people.prefix("user:")) == f"<StoreRange from 'user:' to below 'user;' of {people!r}>"
    assert repr(people.range("user:")) == f"<StoreRange from 'user:' of {people!r}>"


# -- one transaction, in threads, what is read


def test_range_clear_that_fails_changes_nothing(people: LmdbObjectStore[str, int]) -> None:
    """If the one transaction of `clear` fails, rows and pending changes stay, inside and outside of the part."""
    users, before, pending = people.prefix("user:"), dict(people.items()), dict(people.write_buffer)

    def fail(*_: object) -> None:
        raise lmdb.DiskError("No space left on device")

    with patch("lmdb_object_store._environment.write._empty", fail), pytest.raises(lmdb.DiskError):
        users.clear()
    assert people.write_buffer == pending
    assert people == before
    users.clear()
    assert people == {"a": 1, "usez": 5, "z": 1}


def test_range_popitem_is_atomic_among_threads(open_store: OpenStore) -> None:
    """Threads that pop from one part share its items: each is given once, and none from outside."""
    store = open_store(batch_size=7)
    store.update({f"{space}{number:03}": number for space in "abc" for number in range(200)})
    taken: list[tuple[str, int]] = []

    def take(last: bool) -> None:
        part: Any = store.prefix("b")
        while (item := outcome(lambda: part.popitem(last=last))) is not KeyError:
            taken.append(item)

    together(lambda: take(True), lambda: take(False), lambda: take(True))
    assert sorted(taken) == [(f"b{number:03}", number) for number in range(200)]
    assert len(store) == 400


def test_range_loop_may_write(open_store: OpenStore) -> None:
    """Items may be deleted and added in a loop over a part, which stays within its bounds."""
    store = open_store()
    store.update({f"{space}{number:04}": 0 for space in "abc" for number in range(2000)})
    part = store.prefix("b")
    for key in part:
        del part[key]
        store["c" + key] = 1
    assert not part
    assert len(store) == 6000


def test_range_len_reads_no_values(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """`len`, iteration, `in` and `bool` of a part unpickle nothing, and read pages of keys alone."""
    store = open_store()
    store.put_many({f"a{number}": number for number in range(100)})
    asked = []
    page = LmdbObjectStore._pages

    def noted(self: Any, interval: Any, *, reverse: bool, values: bool, first: int = _scan.FIRST_PAGE) -> Any:
        asked.append(values)
        return page(self, interval, reverse=reverse, values=values, first=first)

    monkeypatch.setattr(LmdbObjectStore, "_pages", noted)
    part = store.range("a5", "a7")
    assert (len(part), bool(part), len(list(part))) == (23, True, 23)
    assert set(asked) == {False}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("values", [False, True])
def test_range_page_ends_with_its_bounds(open_store: OpenStore, reverse: bool, values: bool) -> None:
    """Nothing beyond the bounds is read, whatever the size of the page: what is outside costs nothing."""
    from lmdb_object_store._environment import read as _reads

    store = open_store()
    store.put_many({f"{space}{number}": number for space in "abc" for number in range(9)})
    rows, ended = _reads.page(store._environment, b"b3", b"b6", 1000, reverse=reverse, values=values)
    assert ended
    assert list(rows) == ([b"b5", b"b4", b"b3"] if reverse else [b"b3", b"b4", b"b5"])


class HandlersError(Exception):
    """The exception of a signal handler."""


def fail() -> None:
    """Raise what a signal handler may raise."""
    raise HandlersError


@pytest.mark.parametrize("action", [interrupt, fail])
@pytest.mark.parametrize("stored", [True, False])
def test_range_clear_that_is_interrupted_tears_nothing(
    tmp_path: Path, action: Callable[[], None], stored: bool
) -> None:
    """An interrupt leaves all rows of the part or none. A pending change in it may stay. All else stays."""
    for number in count():
        with LmdbObjectStore[str, int](tmp_path / str(number), key_encoding="utf-8", autoflush_on_read=False) as store:
            there = ["a1", "a2"] if stored else ["a2"]
            store.put_many({"b1": 1, **({"a1": 1} if stored else {})})
            store.update({"a2": 2, "b2": 2})
            reached = True
            with suppress(Interrupt, HandlersError):
                reached = at_checkpoint(number, action, store.prefix("a").clear)
            left = list(store.irange(maximum="b"))
            assert left in ([], ["a2"], there)
            store.flush()
            assert list(store) == [*left, "b1", "b2"]
        if not reached:
            break
    assert number > 5


def test_range_clear_of_the_empty_key_interrupted_keeps_pending(open_store: OpenStore) -> None:
    """The pending change of the empty key stays where an interrupt has left its row, though other keys lie before."""
    store = open_store(autoflush_on_read=False)
    store.put_many({"": "old", "\0": 1, "\0\0": 1})
    store[""] = "new"
    with patch("lmdb_object_store._environment.write._empty", side_effect=Interrupt), pytest.raises(Interrupt):
        store.range("", "").clear()
    assert store[""] == "new"


@pytest.mark.slow  # a storm: 300 interrupts of `clear`
@pytest.mark.posix
def test_range_clear_in_a_storm_of_signals_keeps_what_is_outside(open_store: OpenStore) -> None:
    """An interrupt at whatever instruction leaves what is outside pending, and the store able to flush."""
    store = open_store(None, autoflush_on_read=False, sync=False)
    outside = {f"user:{number}": number for number in range(2000)}
    store.update(outside)
    part, source = store.prefix("cache:"), random.Random(0)

    def handler(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for _ in range(300):
            with suppress(Interrupt):
                signal.setitimer(signal.ITIMER_REAL, source.uniform(1e-5, 2e-3))
                try:
                    part.clear()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            assert len(store.write_buffer) == len(outside)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    store.flush()
    assert store == outside


@pytest.mark.skipif(sys.version_info < (3, 12), reason="needs sys.monitoring")
def test_range_clear_interrupted_at_a_jump_leaves_the_store_usable(open_store: OpenStore) -> None:
    """CPython 3.13 has no handler at the backward jump of a loop within a `try`: an interrupt there skips `finally`."""
    monitoring: Any = vars(sys)["monitoring"]
    store = open_store(autoflush_on_read=False)
    passed = 0

    def interrupt_at(code: Any, at: int, _: int) -> None:
        nonlocal passed
        if code.co_filename.startswith(os.path.dirname(lmdb_object_store.__file__)):
            passed += 1
            if passed == number:
                raise Interrupt

    monitoring.use_tool_id(4, "interrupts")
    monitoring.register_callback(4, monitoring.events.JUMP, interrupt_at)
    try:
        for number in count(1):
            store.update(dict.fromkeys(["a1", "b1", "b2"], number))
            passed = 0
            monitoring.set_events(4, monitoring.events.JUMP)
            with suppress(Interrupt):
                store.prefix("a").clear()
            monitoring.set_events(4, 0)
            store.flush()
            assert store["b1"] == number
            if passed < number:
                break
    finally:
        monitoring.set_events(4, 0)
        monitoring.free_tool_id(4)
    assert number > 2
