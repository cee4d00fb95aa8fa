"""Ranges, prefixes and both ends by random calls, held against `sortedcontainers.SortedDict`."""

from __future__ import annotations

import operator
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sortedcontainers import SortedDict
from support.checkpoints import in_each_commit
from support.intervals import BOUNDS, Cut, bounds, cuts, inside, keys, limits, outcome, part_of, sides

from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._buffer import scan as _scan
from lmdb_object_store._keys.codec import EMPTY


def in_order(items: dict[bytes, Any]) -> Any:
    """Return the keys in the model's order, in which the empty key stands at its 511 NUL bytes."""
    return SortedDict(lambda key: key or EMPTY, items)


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
        """Cut a part of the store and of the model."""
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
