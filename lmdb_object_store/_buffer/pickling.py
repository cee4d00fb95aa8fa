"""Attributes of a subclass, which go with its store when that is copied or pickled."""

from __future__ import annotations

import pickle
from types import FunctionType
from typing import Any

from .._errors import shown
from .attributes import OptionsMixin, has_other_base


def own_attributes(store: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that `store` has of its class alone, which is no class of this package.

    `state` is the rest of what a pickled store carries. A bare store made of it shows which names are the store's.
    """
    kind: Any = next(base for base in type(store).__mro__ if base.__module__.partition(".")[0] == "lmdb_object_store")
    if kind is type(store):  # to look at `__dict__` would make `put` slower from then on, in Python 3.11
        return {}
    bare = kind.__new__(kind)
    bare.__setstate__({**state, "attributes": {}})
    names = {*vars(bare), "__orig_class__"}  # the last is set by a call of `Kind[str, int](...)`
    own = {name: value for name, value in vars(store).items() if name not in names}
    if has_other_base(type(store)):
        own.update((name, value) for name, value in store._shown.items() if value is not store._fixed[name])
    return own


class _Probe(pickle.Pickler):
    """A pickler that writes nothing, to see what can be pickled."""

    def __init__(self) -> None:
        super().__init__(self, pickle.HIGHEST_PROTOCOL)

    def write(self, data: object) -> None: ...

    def persistent_id(self, value: object) -> int | None:
        # A store, perhaps this very one, is looked at when it is pickled itself. Other picklers take functions and
        # classes that `pickle` does not: cloudpickle, by which Dask sends its tasks.
        return 0 if isinstance(value, (OptionsMixin, FunctionType, type)) else None


def check_attributes(kind: type, attributes: dict[str, Any]) -> None:
    """Raise TypeError that says what to override if one of `attributes` cannot be pickled: a lock, an open file."""
    for name, value in attributes.items():
        try:
            _Probe().dump(value)
        except Exception as error:
            raise TypeError(
                f"a {kind.__name__} is pickled with its attribute {name!r}, and {shown(value)} cannot be: {error}. "
                f"Override __getstate__ to leave state['attributes'][{name!r}] out, and __setstate__ to set it"
            ) from error
