"""The parts of a pickle, whose large strings are by themselves, make what the pickle makes."""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmdb_object_store._values.large import LARGE, parts

LEAVES: dict[str, Callable[[], Any]] = {
    "text": lambda: "é" * LARGE,
    "surrogates": lambda: "\ud800" * LARGE,
    "bytes": lambda: b"x" * LARGE,
    "a byte less": lambda: b"y" * (LARGE - 1),
    "bytearray": lambda: bytearray(LARGE + 1),
    "many": lambda: list(range(70_000)),
    "some": lambda: list(range(1_500)),
    "small": lambda: [None, "a", b"", 1.5],
}
plans = st.recursive(st.sampled_from(list(LEAVES)), lambda inner: st.lists(inner, max_size=5), max_leaves=6)


def built(plan: Any) -> Any:
    """Return the value of a plan: a list of plans, or one of `LEAVES` by its name, which Hypothesis can print."""
    return LEAVES[plan]() if isinstance(plan, str) else {str(i): built(inner) for i, inner in enumerate(plan)}


@settings(max_examples=min(100, settings().max_examples))  # some take a tenth of a second
@given(plan=plans, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL), twice=st.booleans())
@example(plan="bytes", protocol=3, twice=False)  # its string stands at the begin, as in a newer pickle
def test_parts_of_a_pickle_make_its_value_property(plan: Any, protocol: int, twice: bool) -> None:
    """The parts of any pickle make what the pickle makes, each object once; its large strings are by themselves."""
    value = built(plan)
    data = pickle.dumps([value, value] if twice else value, protocol)

    def cut(make: Callable[..., Any], start: int, stop: int | None, *arguments: str) -> Any:
        return make(memoryview(data)[start:stop], *arguments)

    rest, strings = parts(cut)
    made = pickle.loads(rest, buffers=strings)
    assert made == pickle.loads(data)
    assert not twice or made[0] is made[1]
    if protocol >= 4 and len(data) > 4096:
        texts = [text for _, text, _ in pickletools.genops(data) if isinstance(text, (str, bytes, bytearray))]
        assert [len(string) for string in strings] == [len(text) for text in texts if len(text) >= LARGE]
    elif protocol < 4:
        assert strings == []


@given(data=st.binary(max_size=20), kept=st.integers(0, 200_000))
def test_parts_of_bytes_that_are_no_pickle_act_as_pickle_does_property(data: bytes, kept: int) -> None:
    """A pickle that ends early, or is followed or begun by anything, is refused or read as pickle itself does."""
    whole = (pickle.dumps([1, b"x" * LARGE, "y" * LARGE]) + data)[:kept] if kept else data + bytes(5000)

    def cut(make: Callable[..., Any], start: int, stop: int | None, *arguments: str) -> Any:
        return make(memoryview(whole)[start:stop], *arguments)

    def outcome(load: Callable[[], Any]) -> Any:
        try:
            return load()
        except Exception:
            return "an error"

    def in_parts() -> Any:
        rest, strings = parts(cut)
        return pickle.loads(rest, buffers=strings)

    assert outcome(in_parts) == outcome(lambda: pickle.loads(whole))


def test_parts_of_a_pickle_without_frames_leave_small_strings_in_it() -> None:
    """Other picklers write no frames; large strings are taken out all the same, and small ones are not."""
    large, small = b"l" * LARGE, b"s" * (LARGE - 1)
    strings = b"".join(b"B" + len(string).to_bytes(4, "little") + string for string in (large, small))
    data = b"\x80\x04(" + strings + b"t."
    rest, taken_out = parts(lambda make, start, stop, *arguments: make(data[start:stop], *arguments))
    assert taken_out == [large]
    assert pickle.loads(rest, buffers=taken_out) == (large, small)
