"""Rows as lines of JSON, and keys as text, there and back."""

from __future__ import annotations

import json
import math
import pickle
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.commands import Evil

from lmdb_object_store._cli import jsonlines as _jsonlines
from lmdb_object_store._cli import keytext as _keytext
from lmdb_object_store._keys.codec import KeyCodec

UTF8 = KeyCodec("utf-8", "strict", None, 511)
EMPTY = b"\0" * 511

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip
OTHERS = st.recursive(
    st.binary() | st.text(st.characters()) | st.floats() | st.integers() | st.complex_numbers() | st.none(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.integers() | st.text(), inner)
    | inner.map(lambda one: [one, one]) | st.frozensets(st.integers()),
)  # fmt: skip


@given(JSON, st.sampled_from([2, 3, 4, 5]))
def test_to_line_of_json_is_json_property(value: Any, protocol: int) -> None:
    """Any JSON value, pickled by any binary protocol, is JSON, unless a list or dict is in it twice."""
    value = json.loads(json.dumps(value))  # where Hypothesis has put an object into it twice
    data = pickle.dumps(value, protocol)
    line = _jsonlines.to_line(UTF8, b"k", data, True)
    assert repr(json.loads(line)["value"]) == repr(value)
    key, bytes_, back = _jsonlines.from_line(line)
    assert (key, bytes_, repr(back)) == ("k", None, repr(value))


@given(OTHERS | JSON, st.sampled_from([0, 1, 2, 3, 4, 5]))
def test_from_line_gives_every_value_back_property(value: Any, protocol: int) -> None:
    """A JSON value comes back by value and by type, any other by its bytes."""
    data = pickle.dumps(value, protocol)
    _, bytes_, back = _jsonlines.from_line(_jsonlines.to_line(UTF8, b"k", data, True))
    assert bytes_ == data or (bytes_ is None and repr(back) == repr(value))


@given(st.binary(max_size=510), st.sampled_from([UTF8, KeyCodec(None, "strict", None, 511)]))
@example(b"", KeyCodec(None, "strict", None, 511))
def test_from_line_gives_any_bytes_back_property(data: bytes, codec: KeyCodec) -> None:
    """Bytes that are no pickle come back, as a key and as a value."""
    line = _jsonlines.to_line(codec, data or EMPTY, b"\x80" + data, True)
    key, bytes_, _ = _jsonlines.from_line(line)
    assert bytes_ == b"\x80" + data
    assert UTF8.encode(key) == (data or EMPTY)
    assert "AAAA" not in line or b"\0\0\0" in data


def nested(depth: int) -> Any:
    """Return a list in a list in a list …"""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
SHARED = [1]


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(CYCLE),
        pickle.dumps([SHARED, SHARED]),
        pickle.dumps({"a": SHARED, "b": {"c": SHARED}}),
        pickle.dumps(nested(300)),
        pickle.dumps({1: 2}),
        pickle.dumps({"a": {None: 2}}),
        pickle.dumps(1 << 5000),
        pickle.dumps([math.inf]),
        pickle.dumps("\ud83d\ude00"),
        pickle.dumps({"\udc00": 1}),
        pickle.dumps(1) + b"more",
        b"\x80\x05]r\xff\xff\xff\x00.",  # memory for 2**24 numbers
        b"\x80\x05.",
        b"\x80\x05]]s.",
        b"",
        b"\x80",
        b"\x80\x05\x82\x01.",  # a class by its number
    ],
)
def test_to_line_of_a_value_that_json_would_change_has_its_bytes(data: bytes) -> None:
    """Identity, order of depth, numbers and text that JSON lacks, and bytes that are no pickle are kept."""
    assert "value" not in json.loads(_jsonlines.to_line(UTF8, b"k", data, True))


def test_json_of_a_pickle_that_is_not_plain_unpickles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle that names, calls or builds anything is not given to the unpickler."""

    def loads(data: bytes) -> Any:
        raise AssertionError(data)

    monkeypatch.setattr(pickle, "loads", loads)
    evil = Evil(Path("nowhere"))
    for value in (evil, [evil], {"a": evil}, (1,), b"x", bytearray(b"x"), {1}, date(2020, 1, 1), len, 1j):
        for protocol in range(6):
            assert _jsonlines.json_of(pickle.dumps(value, protocol)) is None


@given(st.text() | st.binary())
def test_show_key_as_text_leads_back_property(key: str | bytes) -> None:
    """The key is on one line of printable text, and leads back to the same key."""
    try:
        row = UTF8.encode_to_store(key)
    except (UnicodeError, ValueError):
        return
    text = _keytext.show(UTF8, row, "utf-8")
    assert text.isprintable()
    assert text
    assert UTF8.encode(_keytext.parse(text, "utf-8")) == row
