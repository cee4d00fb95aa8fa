"""Serializers other than `pickle` itself: what they may be, and how a pickled store carries one."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType

from ._codec import MAX_VALUE_BYTES, too_large
from ._codec import dumps as pickled
from ._errors import shown
from ._typing import Any, Protocol


class Serializer(Protocol):
    """What turns a value into bytes, or text, and back: a module such as `json`, or an object."""

    def dumps(self, obj: Any, /) -> bytes | str: ...
    def loads(self, data: bytes, /) -> Any: ...


def check(serializer: object) -> None:
    """Raise TypeError unless `serializer` has what a store calls."""
    if not all(callable(getattr(serializer, name, None)) for name in ("dumps", "loads")):
        raise TypeError(f"serializer must have dumps(obj) and loads(data), as json has; {shown(serializer)} has not")


def dumps_of(serializer: Serializer) -> Callable[[object, Any], bytes]:
    """The function that makes the bytes to store of a key, which its errors name, and a value."""
    return pickled if serializer is pickle else partial(_serialized, serializer)


def _serialized(serializer: Serializer, key: object, value: Any) -> bytes:
    data = serializer.dumps(value)
    if isinstance(data, str):
        data = data.encode()
    elif type(data) is not bytes:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"dumps of the serializer gave {type(data).__name__} for the value of key {shown(key)}: "
                "it must give bytes or str"
            )
        data = bytes(data)  # what waits in memory must not change any more
    if len(data) > MAX_VALUE_BYTES:
        raise too_large(key, data)
    return data


class _PickleProtocol:
    def __init__(self, protocol: int) -> None:
        self.protocol = protocol

    def dumps(self, obj: Any) -> bytes:
        return pickle.dumps(obj, self.protocol)

    loads = staticmethod(pickle.loads)


def by_protocol(protocol: int) -> Serializer:
    """`pickle` with `protocol`, negative for the highest. ValueError where there is no such protocol."""
    pickle.dumps(None, protocol)
    return _PickleProtocol(protocol) if 0 <= protocol < pickle.HIGHEST_PROTOCOL else pickle


def carried(serializer: Serializer) -> Serializer | str:
    """What a pickled store holds of `serializer`: the name of a module, which cannot be pickled, or the object."""
    return serializer.__name__ if isinstance(serializer, ModuleType) else serializer


def restored(serializer: Serializer | str) -> Any:
    """The serializer that `carried` gave. ImportError where this process has not its module."""
    if not isinstance(serializer, str):
        return serializer
    __import__(serializer)
    return sys.modules[serializer]
