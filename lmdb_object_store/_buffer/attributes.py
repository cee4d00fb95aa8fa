"""The options of a store as attributes: limits can be set while it is open, all others cannot."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .._errors import check_limit, check_seconds, shown

if TYPE_CHECKING:
    from .._keys.custom import KeyEncoding
    from .._values.serializing import Serializer

T = TypeVar("T")

# The libraries of a store's own bases. A class of another library may have attributes of the same names.
_NO_LIBRARIES = {"abc", "builtins", "collections", "typing", "lmdb_object_store"}

_WAYS = {
    "db_path": "open another store for another path",
    "writeback": "open the store by lmdb_object_store.open(path, writeback=True)",
}


class Limit(Generic[T]):
    """A limit that is checked, and takes effect, when it is set.

    The store itself reads the attribute `_name`: a call of `__get__` would cost `put` a tenth of its time.
    """

    def __init__(self, check: Callable[[str, object], None] = check_limit, *, optional: bool) -> None:
        self._check = check
        self._optional = optional

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, store: None, owner: type) -> Limit[T]: ...
    @overload
    def __get__(self, store: object, owner: type | None = None) -> T: ...
    def __get__(self, store: Any, owner: type | None = None) -> Any:
        return self if store is None else getattr(store, f"_{self._name}")

    def __set__(self, store: Any, value: T) -> None:
        if value is not None or not self._optional:
            self._check(self._name, value)
        setattr(store, f"_{self._name}", value)
        store._apply_limits()


class FixedOption(Generic[T]):
    """An option that is fixed when a store is opened. Setting another value is an AttributeError.

    `_fixed` of the store holds the options, `_shown` the values of its attributes. These differ only if a base of
    another library sets an attribute of the same name, as `BaseStorage` of requests-cache sets `serializer`. That base
    reads its own value.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, store: None, owner: type) -> FixedOption[T]: ...
    @overload
    def __get__(self, store: object, owner: type | None = None) -> T: ...
    def __get__(self, store: Any, owner: type | None = None) -> Any:
        if store is None:
            return self
        try:
            return store._shown[self._name]
        except (AttributeError, KeyError):
            raise AttributeError(f"this store has no {self._name} before its __init__ is called") from None

    def __set__(self, store: Any, value: T) -> None:
        name = self._name
        if not hasattr(store, "_shown"):  # set by a subclass before it calls the store's `__init__`
            store._shown = {}
        elif hasattr(store, "_fixed") and (name == "writeback" or not has_other_base(type(store))):
            current = store._fixed[name]
            if not _is_same(name, value, current):
                way = _WAYS.get(name, f"open the store again with {name}={shown(value)}")
                raise AttributeError(f"{name} is fixed when a store is opened, it is {shown(current)} here: {way}")
        store._shown[name] = value


def _is_same(name: str, value: object, current: object) -> bool:
    """Return True if `value` for the option `name` changes nothing.

    A subclass may keep the arguments of its constructor under their names, a relative path for example.
    """
    if name == "db_path" and isinstance(value, (str, bytes, os.PathLike)):
        value = os.path.abspath(os.fsdecode(value))
    return value is current or value == current


def has_other_base(kind: type) -> bool:
    """Return True if the class `kind` has a base of another library beside the store."""
    return any(
        OptionsMixin not in base.__mro__ and base.__module__.partition(".")[0] not in _NO_LIBRARIES
        for base in kind.__mro__
    )


class OptionsMixin:
    """Provides the options of a store as attributes. Users and subclasses may set any other name."""

    batch_size: Limit[int | None] = Limit(optional=True)
    batch_bytes: Limit[int] = Limit(optional=False)
    flush_interval: Limit[float | None] = Limit(check_seconds, optional=True)
    max_map_size: Limit[int | None] = Limit(optional=True)
    db_path: FixedOption[str] = FixedOption()
    key_encoding: FixedOption[str | KeyEncoding | None] = FixedOption()
    key_errors: FixedOption[str] = FixedOption()
    str_normalize: FixedOption[str | None] = FixedOption()
    serializer: FixedOption[Serializer] = FixedOption()
    writeback: FixedOption[bool] = FixedOption()

    _writeback = False
    _fixed: dict[str, Any]
    _shown: dict[str, Any]

    def _fix(self, **options: Any) -> None:
        """Set the fixed options of a store that is opened."""
        options["writeback"] = self._writeback
        earlier = getattr(self, "_shown", {}) if has_other_base(type(self)) else {}
        self._fixed = options
        self._shown = {**options, **earlier}

    def _check_unopened(self) -> None:
        """Raise RuntimeError if this store is open: a second start would drop the pending changes."""
        if not getattr(self, "_is_closed", True):
            path = self._fixed["db_path"]
            raise RuntimeError(
                f"the store at {path} is open, so its __init__ was called a second time: nothing was changed. "
                "Close it first, or make another store"
            )


# -- the attributes of a subclass, which are copied and pickled with the store


def own_attributes(store: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of `store` that its own class has set, and not a class of this package.

    `state` is the rest of a pickled store's state. A bare store made of it shows which names are the store's own.
    """
    kind: Any = next(base for base in type(store).__mro__ if base.__module__.partition(".")[0] == "lmdb_object_store")
    if kind is type(store):  # in Python 3.11 a look at `__dict__` makes `put` slower from then on
        return {}
    bare = kind.__new__(kind)
    bare.__setstate__({**state, "attributes": {}})
    names = {*vars(bare), "__orig_class__"}  # which `Kind[str, int](...)` sets
    own = {name: value for name, value in vars(store).items() if name not in names}
    if has_other_base(type(store)):
        own.update((name, value) for name, value in store._shown.items() if value is not store._fixed[name])
    return own


class _Probe(pickle.Pickler):
    """A pickler that writes nothing. It shows if an object can be pickled."""

    def __init__(self) -> None:
        super().__init__(self, pickle.HIGHEST_PROTOCOL)

    def write(self, data: object) -> None: ...

    def persistent_id(self, value: object) -> int | None:
        # A store is checked when it is pickled itself. Functions and classes are left to the real pickler, because
        # cloudpickle, which Dask uses, takes more of them than `pickle` does.
        return 0 if isinstance(value, (OptionsMixin, FunctionType, type)) else None


def check_attributes(kind: type, attributes: dict[str, Any]) -> None:
    """Raise TypeError with what to do if one of `attributes`, such as a lock, cannot be pickled."""
    for name, value in attributes.items():
        try:
            _Probe().dump(value)
        except Exception as error:
            raise TypeError(
                f"a {kind.__name__} is pickled with its attribute {name!r}, and {shown(value)} cannot be: {error}. "
                f"Override __getstate__ to leave state['attributes'][{name!r}] out, and __setstate__ to set it"
            ) from error
