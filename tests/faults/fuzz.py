"""A coverage-guided fuzzer over keys, values and sequences of calls, compared to a dict; needs atheris.

Usage: python tests/faults/fuzz.py SECONDS SEED
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import atheris

with atheris.instrument_imports(include=["lmdb_object_store"]):
    from lmdb_object_store import LmdbObjectStore

KEYS = [b"", b"\0", b"\0" * 511, b"k" * 511, b"k" * 512, "a", "\udcff", "é", None, 1, bytearray(b"a"), memoryview(b"b")]
REFUSED = (TypeError, ValueError)  # a UnicodeError is the latter


def key_of(data: Any) -> Any:
    """Return a key of any kind, or an object that is no key."""
    kind = data.ConsumeIntInRange(0, 3)
    if kind == 0:
        return data.PickValueInList(KEYS)
    return data.ConsumeBytes(8) if kind == 1 else data.ConsumeUnicode(4)


def stored(key: Any) -> str | bytes:
    """Return the key in the form in which the store gives it; raise TypeError or ValueError if it takes none."""
    if not isinstance(key, (str, bytes, bytearray, memoryview)):
        raise TypeError
    raw = key.encode() if isinstance(key, str) else bytes(key)
    if len(raw) > 511 or raw == b"\0" * 511:
        raise ValueError
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def both(store: Any, model: dict[Any, Any], data: Any) -> None:
    """Call the store, and return the outcome and its meaning for a dict."""
    call, key, value = data.ConsumeIntInRange(0, 9), key_of(data), data.ConsumeBytes(20)
    try:
        own, refused = stored(key), False
    except REFUSED:
        own, refused = "", True
    try:
        if call <= 2:
            store[key] = value
            model[own] = value
        elif call == 3:
            assert store.get(key) == (None if refused else model.get(own))
            return
        elif call == 4:
            assert store.pop(key, None) == (None if refused else model.pop(own, None))
            return
        elif call == 5:
            store.put_many([(key, value)])
            model[own] = value
        elif call == 6:
            assert (key in store) == (not refused and own in model)
            return
        else:
            if call == 7:
                store.flush()
            elif call == 8 and data.ConsumeBool():
                store.clear()
                model.clear()
            assert len(store) == len(model)
            return
        assert not refused, f"{key!r} was stored"
    except REFUSED:
        assert refused, f"{key!r} was refused"


def run_one(data: bytes) -> None:
    """Run a sequence of calls, and check that the store has what the dict has."""
    source = atheris.FuzzedDataProvider(data)
    STORE.clear()
    model: dict[Any, Any] = {}
    STORE.batch_size = source.ConsumeIntInRange(1, 4)
    while source.remaining_bytes():
        both(STORE, model, source)
    assert dict(STORE.items()) == model
    STORE.flush()
    assert dict(STORE.items()) == model


if __name__ == "__main__":
    STORE: Any = LmdbObjectStore(tempfile.mkdtemp(), key_encoding="utf-8", sync=False)
    options = [
        f"-max_total_time={int(float(sys.argv[1]))}",
        f"-seed={sys.argv[2]}",
        "-max_len=400",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options], run_one)
    atheris.Fuzz()
