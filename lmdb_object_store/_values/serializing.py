"""Serializing values: by `pickle` or another serializer, with errors that name the key; serializers in pickles."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Protocol

from .._errors import note_key, shown

# LMDB's manual: a value is smaller than 2**32 bytes.
MAX_VALUE_BYTES = 0xFFFFFFFF

loads = pickle.loads


def too_large(key: object, data: bytes) -> ValueError:
    """Return the error for a pickled value of more than `MAX_VALUE_BYTES`."""
    return ValueError(
        f"the value of key {shown(key)} is {len(data)} bytes when pickled; LMDB stores at most "
        f"{MAX_VALUE_BYTES}: split it over several keys"
    )


class Serializer(Protocol):
    """An object that turns a value into bytes, or text, and back: a module such as `json`, or an object of yours."""

    def dumps(self, obj: Any, /) -> bytes | str: ...
    def loads(self, data: bytes, /) -> Any: ...


Serializer.__module__ = "lmdb_object_store"  # in the class, a type checker would take it for a part of the protocol


def check(serializer: object) -> None:
    """Raise TypeError unless `serializer` has the methods that a store calls."""
    if not all(callable(getattr(serializer, name, None)) for name in ("dumps", "loads")):
        raise TypeError(
            f"serializer must have dumps(obj) and loads(data), as json has; {shown(serializer)} has not: "
            "pass the module or the object itself"
        )


def dumps_of(serializer: Serializer) -> Callable[[object, Any], bytes]:
    """Return the function that takes a key, for its errors, and a value, and returns the bytes to store."""
    return dumps if serializer is pickle else partial(_serialized, serializer)


def _serialized(serializer: Serializer, key: object, value: Any) -> bytes:
    """Return the bytes of `value`. ValueError that names `key` if LMDB cannot store the bytes.

    An error of `serializer` gets a note that names `key`.
    """
    try:
        data = serializer.dumps(value)
    except Exception as error:
        note_key(error, key)
        raise
    if isinstance(data, str):
        data = data.encode()
    elif type(data) is not bytes:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"dumps of the serializer gave {type(data).__name__} for the value of key {shown(key)}: "
                "it must give bytes or str"
            )
        data = bytes(data)  # a copy, which the caller cannot change
    if len(data) > MAX_VALUE_BYTES:
        raise too_large(key, data)
    return data


def remedy(serializer: Serializer, data: bytes | bytearray, error: Exception) -> str:
    """Return the likely cause of `error`, which reading the stored value `data` raised, as the end of a message.

    Return "" for a whole pickle whose own objects raised the error.
    """
    pickles = serializer is pickle or isinstance(serializer, _PickleProtocol)
    whole = data[:1] == pickle.PROTO and data[-1:] == pickle.STOP  # a pickle of protocol 2 or later
    if pickles and whole and not isinstance(error, (pickle.UnpicklingError, EOFError)):
        if isinstance(error, ImportError) or "Can't get attribute" in str(error):
            return ". The program that reads a value must be able to import its class."
        return ""
    own = pickle if pickles else serializer if isinstance(serializer, ModuleType) else type(serializer)
    return f". The value is damaged, or another serializer wrote it; this store's is {own.__name__}."


class _PickleProtocol:
    def __init__(self, protocol: int) -> None:
        self.protocol = protocol

    def dumps(self, obj: Any) -> bytes:
        return pickle.dumps(obj, self.protocol)

    loads = staticmethod(pickle.loads)


# The function of `dumps_of` for `pickle`, whose own `dumps` does not take the highest protocol.
dumps = partial(_serialized, _PickleProtocol(pickle.HIGHEST_PROTOCOL))


def by_protocol(protocol: int) -> Serializer:
    """Return `pickle` with `protocol`; a negative number is the highest. ValueError if there is no such protocol."""
    pickle.dumps(None, protocol)
    return _PickleProtocol(protocol) if 0 <= protocol < pickle.HIGHEST_PROTOCOL else pickle


def pickled_form(serializer: Serializer) -> Serializer | str | int:
    """Return the form of `serializer` in a pickled store: a module's name, a protocol of pickle, or the object.

    A module cannot be pickled. With the number of a protocol, the pickle names no private class of this package.
    """
    if isinstance(serializer, _PickleProtocol):
        return serializer.protocol
    return serializer.__name__ if isinstance(serializer, ModuleType) else serializer


def from_pickled_form(form: Serializer | str | int) -> Any:
    """Return the serializer of a form that `pickled_form` gave. ImportError if there is no such module here."""
    if isinstance(form, int):
        return by_protocol(form)
    if not isinstance(form, str):
        return form
    __import__(form)
    return sys.modules[form]
