"""The options that a store shows as attributes: limits can be set while it is open, all others cannot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .._errors import check_limit, shown

if TYPE_CHECKING:
    from .._keys.custom import KeyEncoding
    from .._values.serializing import Serializer

T = TypeVar("T")

# Where the bases of a store are from. A class from elsewhere may have attributes of the same names.
_NO_LIBRARIES = {"abc", "builtins", "collections", "typing", "lmdb_object_store"}

_WAYS = {
    "db_path": "open another store for another path",
    "writeback": "open the store by lmdb_object_store.open(path, writeback=True)",
}


class Limit(Generic[T]):
    """A limit that takes effect when it is set. It is checked then, as by the constructor.

    The store itself reads `_` and the name: a call of `__get__` would cost `put` a tenth of its time.
    """

    def __init__(self, *, optional: bool) -> None:
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
            check_limit(self._name, value)
        setattr(store, f"_{self._name}", value)


class FixedOption(Generic[T]):
    """An option that a store has for good. AttributeError where a store is given another value: it would be ignored.

    The options are in `_fixed` of the store, and what its attributes give is in `_shown`. These differ only in a class
    with a base of another library that has an attribute of the same name: `BaseStorage` of requests-cache sets
    `serializer`. That base gets back what it has set.
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
        if not hasattr(store, "_shown"):  # a subclass that sets it before it calls the store's `__init__`
            store._shown = {}
        elif hasattr(store, "_fixed") and (name == "writeback" or not has_other_base(type(store))):
            current = store._fixed[name]
            if not _is_same(name, value, current):
                way = _WAYS.get(name, f"open the store again with {name}={shown(value)}")
                raise AttributeError(f"{name} is fixed when a store is opened, it is {shown(current)} here: {way}")
        store._shown[name] = value


def _is_same(name: str, value: object, current: object) -> bool:
    """Return True if `value` for the option `name` would change nothing.

    A subclass may keep the arguments of its constructor under their names, and so a path that is relative.
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
    """Provides the options of a store as attributes. Any other name is free for users and subclasses to set."""

    batch_size: Limit[int | None] = Limit(optional=True)
    batch_bytes: Limit[int] = Limit(optional=False)
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
        """Set the options that a store has for good, as it is opened."""
        options["writeback"] = self._writeback
        earlier = getattr(self, "_shown", {}) if has_other_base(type(self)) else {}
        self._fixed = options
        self._shown = {**options, **earlier}

    def _check_unopened(self) -> None:
        """Raise RuntimeError if this store is open: to begin again would drop what is pending."""
        if not getattr(self, "_is_closed", True):
            path = self._fixed["db_path"]
            raise RuntimeError(
                f"the store at {path} is open, so its __init__ was called a second time: nothing was changed. "
                "Close it first, or make another store"
            )
