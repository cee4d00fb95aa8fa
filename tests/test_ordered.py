"""Ordered access: ranges, prefixes and both ends, held against `sortedcontainers.SortedDict`."""

from __future__ import annotations

import operator
import pickle
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lmdb
import pytest
from conftest import OpenStore
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sortedcontainers import SortedDict
from support import Interrupt, at_checkpoint, in_each_commit, interrupt, together

from lmdb_object_store import LmdbObjectStore, StoreClosedError
from lmdb_object_store._buffer import scan as _scan
from lmdb_object_store._keys.codec import EMPTY, KeyCodec
from lmdb_object_store._keys.interval import WHOLE, Interval

# Prefixes and next neighbours of each other, at both ends of the order, as long as a key may be, not ASCII.
KEYS = [
    b"", b"\0", b"\0\0", b"\0" * 510, b"\0\1", b"\1", b"a", b"a\0", b"a\0b", b"ab", b"a\xff", b"a\xff\xff", b"b",
    "é".encode(), "日本".encode(), b"k" * 510, b"k" * 511, b"\xff", b"\xff\0", b"\xff\xff", b"\xff" * 511,
]  # fmt: skip
# What is no key, too, since it is too long, or stands for another.
BOUNDS = [*KEYS, b"aa", b"a\xfe", b"k" * 512, b"k" * 600, b"k" * 511 + b"z", b"\xff" * 600, b"\0" * 511, b"\0" * 600]
# By their place: as they are, they would make reports of a length that Hypothesis warns of.
keys = st.integers(0, len(KEYS) - 1).map(lambda place: KEYS[place])
limits = st.integers(0, len(BOUNDS) - 1).map(lambda place: BOUNDS[place])
bounds = st.none() | limits
sides = st.tuples(st.booleans(), st.booleans())
# How a part is made: by a prefix, or by two bounds and which of them are inside.
Cut = bytes | tuple[bytes | None, bytes | None, tuple[bool, bool]]
cuts = st.lists(limits | st.tuples(bounds, bounds, sides), max_size=2)


def inside(key: bytes, cut: Cut) -> bool:
    """Return True if `key` is in the part in the model, where the empty key is the 511 NUL bytes it is stored as."""
    key = key or EMPTY
    if isinstance(cut, bytes):
        return key.startswith(cut)
    minimum, maximum, (with_minimum, with_maximum) = cut
    minimum, maximum = (bound if bound is None else bound or EMPTY for bound in (minimum, maximum))
    above = minimum is None or minimum < key or (with_minimum and minimum == key)
    return above and (maximum is None or key < maximum or (with_maximum and maximum == key))


def part_of(mapping: Any, cuts: list[Cut]) -> Any:
    """The part of `mapping`, cut after cut."""
    for cut in cuts:
        mapping = mapping.prefix(cut) if isinstance(cut, bytes) else mapping.range(*cut)
    return mapping


def outcome(call: Callable[[], Any]) -> Any:
    """What `call` returns, or the class of what it raises."""
    try:
        return call()
    except (KeyError, ValueError) as error:
        return KeyError if isinstance(error, KeyError) else ValueError


def in_order(items: dict[bytes, Any]) -> Any:
    """The model's order: that of the keys, the empty one where 511 NUL bytes are, which stand for it."""
    return SortedDict(lambda key: key or EMPTY, items)


# -- the interval alone


@given(cut=limits | st.tuples(bounds, bounds, sides), key=keys)
@example(cut=(None, b"", (True, False)), key=b"")
def test_contains_property(cut: Cut, key: bytes) -> None:
    """An interval contains what the model does, also once its bounds are cut to a length that LMDB can look for."""
    interval = Interval.of_prefix(cut) if isinstance(cut, bytes) else Interval.between(*cut)
    for one in (interval, interval.cut(512), interval & WHOLE, WHOLE & interval.cut(512)):
        assert one.contains(key or EMPTY) is inside(key, cut)
    assert max(len(interval.cut(512).low), len(interval.cut(512).high or b"")) <= 512


@given(prefix=st.binary(max_size=3), key=st.binary(max_size=4))
def test_prefix_property(prefix: bytes, key: bytes) -> None:
    """The interval of a prefix is the keys that begin with it."""
    assert Interval.of_prefix(prefix).contains(key) is key.startswith(prefix)


@given(bound=limits, size=st.sampled_from([511, 1978]))
@example(bound=EMPTY, size=1978)
def test_a_bound_is_its_own_bytes_property(bound: bytes, size: int) -> None:
    """A bound of bytes is compared as it is: neither the empty key nor its stand-in is replaced, as in a key."""
    assert KeyCodec(None, "strict", None, size).encode_bound(bound) == bound


# -- the store, by a machine


class OrderedMachine(RuleBasedStateMachine):
    """`model` is a SortedDict of what the store holds; parts of both are compared after any writes."""

    @initialize(autoflush=st.booleans(), batch_size=st.sampled_from([2, 1000]), page=st.sampled_from([1, 2, None]))
    def start(self, autoflush: bool, batch_size: int, page: int | None) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.pages = [patch.object(_scan, name, page or getattr(_scan, name)) for name in ("FIRST_PAGE", "LATER_PAGE")]
        for one in self.pages:
            one.start()
        self.store: LmdbObjectStore[bytes, Any] = LmdbObjectStore(
            self.folder / "db", batch_size, autoflush_on_read=autoflush, sync=False
        )
        self.model: dict[bytes, Any] = {}

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            for one in self.pages:
                one.stop()
            shutil.rmtree(self.folder)

    def part(self, cuts: list[Cut]) -> tuple[Any, Any]:
        """A part of the store and of the model."""
        items = {key: value for key, value in self.model.items() if all(inside(key, cut) for cut in cuts)}
        return part_of(self.store, cuts), in_order(items)

    @rule(items=st.dictionaries(keys, st.integers(), max_size=6), flush=st.booleans())
    def write(self, items: dict[bytes, int], flush: bool) -> None:
        self.store.update(items)
        self.model.update(items)
        if flush:
            self.store.flush()

    @rule(some=st.lists(keys, max_size=3))
    def delete(self, some: list[bytes]) -> None:
        for key in some:
            self.store.delete(key)
            self.model.pop(key, None)

    @rule(cuts=cuts)
    def read(self, cuts: list[Cut]) -> None:
        part, model = self.part(cuts)
        order = list(model)
        assert list(part) == list(part.keys()) == order
        assert list(reversed(part)) == order[::-1]
        assert list(part.items()) == list(model.items())
        assert list(reversed(part.values())) == list(model.values())[::-1]
        assert len(part) == len(model)
        assert part == model
        assert part | {} == dict(model)

    @rule(cuts=cuts, more=st.tuples(bounds, bounds, sides), reverse=st.booleans())
    def irange(self, cuts: list[Cut], more: tuple[Any, Any, tuple[bool, bool]], reverse: bool) -> None:
        part, model = self.part(cuts)
        order = [key for key in model if inside(key, more)]
        found = part.irange(*more, reverse)
        assert list(found) == (order[::-1] if reverse else order)
        assert order == list(model.irange(*more))  # and so says their own method

    @rule(cuts=cuts, key=limits, others=st.sets(keys, max_size=4))
    def look_up(self, cuts: list[Cut], key: bytes, others: set[bytes]) -> None:
        part, model = self.part(cuts)
        assert (key in part) is (key in model)
        assert part.get(key, "none") == model.get(key, "none")
        assert outcome(lambda: part[key]) == outcome(lambda: model[key])
        assert part.keys() & others == model.keys() & others
        pairs = {(other, self.model.get(other)) for other in others}
        assert part.items() & pairs == model.items() & pairs

    @rule(cuts=cuts, last=st.booleans())
    def ends(self, cuts: list[Cut], last: bool) -> None:
        part, model = self.part(cuts)
        index = -1 if last else 0
        assert outcome(lambda: part.peekitem(last=last)) == (model.peekitem(index) if model else KeyError)
        assert outcome(lambda: part.popitem(last=last)) == (model.popitem(index) if model else KeyError)
        self.follow(cuts, model)

    @rule(cuts=cuts, key=keys, value=st.integers(), call=st.sampled_from(["set", "setdefault", "update", "pop", "del"]))
    def write_through(self, cuts: list[Cut], key: bytes, value: int, call: str) -> None:
        calls: dict[str, Callable[[Any], Any]] = {
            "set": lambda mapping: operator.setitem(mapping, key, value),
            "setdefault": lambda mapping: mapping.setdefault(key, value),
            "update": lambda mapping: mapping.update({key: value}),
            "pop": lambda mapping: mapping.pop(key),
            "del": lambda mapping: operator.delitem(mapping, key),
        }
        part, model = self.part(cuts)
        if call in ("set", "setdefault", "update") and not all(inside(key, cut) for cut in cuts):
            assert outcome(lambda: calls[call](part)) is ValueError
            return
        assert outcome(lambda: calls[call](part)) == outcome(lambda: calls[call](model))
        self.follow(cuts, model)

    @rule(cuts=cuts)
    def clear(self, cuts: list[Cut]) -> None:
        part, model = self.part(cuts)
        model.clear()
        pending = dict(self.store.write_buffer)
        assert in_each_commit(int, part.clear) == 1
        assert {key: data for key, data in pending.items() if self.kept(key, cuts)} == self.store.write_buffer
        self.follow(cuts, model)

    def kept(self, stored: bytes, cuts: list[Cut]) -> bool:
        return not all(inside(stored, cut) for cut in cuts)

    def follow(self, cuts: list[Cut], model: Any) -> None:
        """Have the whole model become what its part has become."""
        self.model = {key: value for key, value in self.model.items() if self.kept(key, cuts)}
        self.model.update(model)

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "store"):
            assert {key for key in BOUNDS if key in self.store} == self.model.keys()


TestOrderedMachine = OrderedMachine.TestCase


# -- what it is, and what it refuses


@pytest.fixture
def people(open_store: OpenStore) -> LmdbObjectStore[str, int]:
    """A store with a namespace between others, some of it pending."""
    store = open_store(autoflush_on_read=False)
    store.put_many({"a": 1, "user:1": 1, "user:3": 3, "z": 1})
    store.update({"user:2": 2, "usez": 5})
    return store


def test_a_part_is_a_live_mutable_mapping(people: LmdbObjectStore[str, int]) -> None:
    """What is written to the store later is in the part, and the other way about."""
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
def test_a_key_outside_is_not_written(people: LmdbObjectStore[str, int], call: Callable[[Any], Any]) -> None:
    """Writing a key outside of a part is a ValueError that names the key, the part and the way out."""
    with pytest.raises(ValueError, match=r"key 'z' is outside .* from 'user:' to below 'user;': write it to the store"):
        call(people.prefix("user:"))
    assert people["z"] == 1


@pytest.mark.parametrize("key", ["a", "user:9", "z"])
def test_a_missing_key_of_a_part(people: LmdbObjectStore[str, int], key: str) -> None:
    """A key that is outside, or not there, is a KeyError with the key alone, as a dict's."""
    users = people.prefix("user:")
    for call in (users.__getitem__, users.__delitem__, users.pop):
        with pytest.raises(KeyError) as caught:
            call(key)
        assert caught.value.args == (key,)


@pytest.mark.parametrize("bad", [5, 1.5, ("a",), object()])
def test_bounds_and_prefixes_are_keys(people: LmdbObjectStore[str, int], bad: Any) -> None:
    """What can be no key can be no bound and no prefix, and is refused by the call itself; None is no bound."""
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
def test_the_empty_key_and_its_neighbours(open_store: OpenStore, cut: Cut, pending: bool) -> None:
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


def test_bounds_are_encoded_as_keys_are(open_store: OpenStore) -> None:
    """Text is normalised and encoded, and bytes are taken as they are, in bounds and in prefixes."""
    store = open_store(str_normalize="NFC")
    store.update({"caf\u00e9": 1, "cafe": 2, "caf\u00e9s": 3})
    assert list(store.prefix("cafe\u0301")) == list(store.prefix("café".encode())) == ["caf\u00e9", "caf\u00e9s"]
    assert list(store.irange(bytearray(b"cafe"), "caf\u00e9", (False, True))) == ["caf\u00e9"]


def test_a_key_too_long_is_refused_in_a_part(people: LmdbObjectStore[str, int]) -> None:
    """A key that no file can hold is refused by a part as by the store."""
    with pytest.raises(ValueError, match="at most 511"):
        people.prefix("user:")["user:" + "k" * 600] = 1


def test_a_part_of_a_closed_store(open_store: OpenStore) -> None:
    """Every use of a part, after the store is closed, is a StoreClosedError."""
    store = open_store()
    part: Any = store.prefix("a")
    store.close()
    for call in (part.clear, part.popitem, part.peekitem, lambda: list(part), lambda: len(part), lambda: "a" in part,
                 lambda: part.prefix("a"), lambda: operator.setitem(part, "a", 1), lambda: part.get("a")):  # fmt: skip
        with pytest.raises(StoreClosedError):
            call()


def test_a_part_of_a_read_only_store(open_store: OpenStore) -> None:
    """A part of a read-only store is read, and refuses writes as the store does."""
    with open_store() as store:
        store["ab"] = 1
    part: Any = open_store(readonly=True).prefix("a")
    assert dict(part.items()) == {"ab": 1}
    for call in (part.clear, part.popitem, lambda: operator.setitem(part, "ac", 1), lambda: part.pop("ab")):
        with pytest.raises(lmdb.ReadonlyError):
            call()


def test_a_part_goes_to_other_processes(people: LmdbObjectStore[str, int]) -> None:
    """A part can be pickled, as the store can, and is the same part in the copy."""
    copy = pickle.loads(pickle.dumps(people.prefix("user:")))
    assert dict(copy.items()) == {"user:1": 1, "user:2": 2, "user:3": 3}
    copy._store.close()


def test_repr_of_a_part(people: LmdbObjectStore[str, int]) -> None:
    """`repr` tells the bounds and the store, and unpickles nothing."""
    assert repr(people.prefix("user:")) == f"<StoreRange from 'user:' to below 'user;' of {people!r}>"
    assert repr(people.range("user:")) == f"<StoreRange from 'user:' of {people!r}>"


# -- one transaction, in threads, what is read


def test_a_clear_that_fails_changes_nothing(people: LmdbObjectStore[str, int]) -> None:
    """Where the one transaction of `clear` fails, rows and pending changes, inside and outside, are as they were."""
    users, before, pending = people.prefix("user:"), dict(people.items()), dict(people.write_buffer)

    def fail(*_: object) -> None:
        raise lmdb.DiskError("No space left on device")

    with patch("lmdb_object_store._buffer.resize._empty", fail), pytest.raises(lmdb.DiskError):
        users.clear()
    assert people.write_buffer == pending
    assert people == before
    users.clear()
    assert people == {"a": 1, "usez": 5, "z": 1}


def test_popitem_of_a_part_is_atomic_among_threads(open_store: OpenStore) -> None:
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


def test_a_loop_over_a_part_may_write(open_store: OpenStore) -> None:
    """Items may be deleted and added in a loop over a part, which stays within its bounds."""
    store = open_store()
    store.update({f"{space}{number:04}": 0 for space in "abc" for number in range(2000)})
    part = store.prefix("b")
    for key in part:
        del part[key]
        store["c" + key] = 1
    assert not part
    assert len(store) == 6000


def test_len_of_a_part_reads_no_values(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_page_ends_with_the_interval(open_store: OpenStore, reverse: bool, values: bool) -> None:
    """Nothing beyond the bounds is read, whatever the size of the page: what is outside costs nothing."""
    from lmdb_object_store._environment import read as _reads

    store = open_store()
    store.put_many({f"{space}{number}": number for space in "abc" for number in range(9)})
    rows, ended = _reads.page(store._environment, b"b3", b"b6", 1000, reverse=reverse, values=values)
    assert ended
    assert list(rows) == ([b"b5", b"b4", b"b3"] if reverse else [b"b3", b"b4", b"b5"])


class HandlersError(Exception):
    """What a signal handler raises."""


def fail() -> None:
    """Raise what a signal handler may raise."""
    raise HandlersError


@pytest.mark.parametrize("action", [interrupt, fail])
@pytest.mark.parametrize("stored", [True, False])
def test_an_interrupted_clear_of_a_part(tmp_path: Path, action: Callable[[], None], stored: bool) -> None:
    """An interrupt at any point leaves all of the part or nothing of it, and all else, now and after the next flush."""
    for number in count():
        with LmdbObjectStore[str, int](tmp_path / str(number), key_encoding="utf-8", autoflush_on_read=False) as store:
            there = ["a1", "a2"] if stored else ["a2"]
            store.put_many({"b1": 1, **({"a1": 1} if stored else {})})
            store.update({"a2": 2, "b2": 2})
            reached = True
            with suppress(Interrupt, HandlersError):
                reached = at_checkpoint(number, action, store.prefix("a").clear)
            left = list(store.irange(maximum="b"))
            assert left in ([], there)
            store.flush()
            assert list(store) == [*left, "b1", "b2"]
        if not reached:
            break
    assert number > 5


def test_an_interrupted_clear_of_the_empty_key_alone(open_store: OpenStore) -> None:
    """The pending change of the empty key stays where an interrupt has left its row, though other keys lie before."""
    store = open_store(autoflush_on_read=False)
    store.put_many({"": "old", "\0": 1, "\0\0": 1})
    store[""] = "new"
    with patch("lmdb_object_store._buffer.resize._empty", side_effect=Interrupt), pytest.raises(Interrupt):
        store.range("", "").clear()
    assert store[""] == "new"


@pytest.mark.slow  # a storm: 300 interrupts of `clear`
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_a_storm_of_signals_amid_clears_of_a_part(open_store: OpenStore) -> None:
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
