"""TransactionMixin: several operations as one step, and edits in place."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, MutableMapping
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._buffer.reading import ReadingMixin
from .._environment.environment import MISSING
from .._environment.registry import UnopenedEnvironment, transactions_here
from .._errors import KeyNotFoundError
from .block import Block
from .changes import Level

if TYPE_CHECKING:
    from types import TracebackType

K = TypeVar("K")
V = TypeVar("V")


class TransactionMixin(ReadingMixin, MutableMapping[K, V]):
    """Provides `transaction` and `edit`."""

    def transaction(self) -> Transaction[None]:
        """A `with` block whose operations on this store, in this thread, are one atomic, isolated, durable step.

        What is pending is flushed as it begins. From there to its end no other thread or process writes to the file,
        nor sees what the block has changed; it sees its own changes, which are held pickled in memory. They are
        committed at its end, in one transaction, or dropped if the block raises. Within another such block it is a
        savepoint: an exception undoes its own part.

        At the beginning: lmdb.ReadonlyError, StoreClosedError, an error of the flush, RuntimeError where this thread
        has a transaction open on another store of the same file, or on another file and has waited ten seconds for the
        transaction of another thread on this one.
        At the end: ConflictError if the map had to grow and another process wrote just then, lmdb.MapFullError at
        `max_map_size`, LMDB's other errors; nothing of the block is in the file then.
        """
        return Transaction(self)

    def edit(self, key: K, default: V | Callable[[], V] = MISSING) -> Transaction[V]:
        """A `with` block that gives the value of `key`, to be changed in place, and stores it at its end if its pickle
        is another one then. A transaction, with its errors.

        Where there is no value: KeyError, or `default`, which is called if it can be. RuntimeError if the value cannot
        be unpickled. An exception in the block stores nothing.
        """
        return Edit(self, key, self._codec.encode_to_store(key), default)


class Statement:
    """One `with` statement. It, and what it holds, may keep a store alive; so no block holds it."""

    __slots__ = ("block", "finish", "guard", "level")

    def __init__(self) -> None:
        self.block: Block | None = None
        self.level = Level()
        # Dies when the `with` statement is no more, and then undoes what is open still.
        self.guard: weakref.ref[object] | None = None
        # Called at the end of its body, unless that raised.
        self.finish: Callable[[], None] | None = None

    def enter(self, store: TransactionMixin[Any, Any], transaction: object) -> None:
        """Begin a transaction on `store`, or a savepoint in the one that is open."""
        store._check_writable()
        store._environment.check_process()
        store._write_back_changes()
        block: Any = store._own_transaction()
        nested = block is not None
        if block is None:
            environment = store._environment
            if isinstance(environment, UnopenedEnvironment):  # a pickled store that nobody has used yet
                environment = environment.attach()  # type: ignore[assignment]  # it stood in for this one
            _thread.watch  # noqa: B018  # made at the first use in each thread
            block = Block(store, environment)
        self.guard = weakref.ref(transaction, partial(_drop, block, self.level))
        self.block = block
        if nested:
            self.level.undo = {}
            block.levels.append(self.level)
        else:
            block.begin(self.level, self.guard)

    def drop(self) -> None:
        """Undo it if it is open."""
        if self.block is not None:
            self.block.drop(self.level)


def _drop(block: Block, level: Level, _: object) -> None:
    block.drop(level)


class _Exit:
    """`__exit__` of a transaction, which the `with` statement keeps, and the transaction with it.

    An interrupt may come as the function begins that is called then, before a `try` in it. The traceback keeps that
    function's arguments; the transaction is none of them. So it dies as the statement is left, and ends the block.
    """

    def __get__(self, transaction: Transaction[Any] | None, _: type | None = None) -> Callable[..., None]:
        if transaction is None:  # as contextlib.ExitStack asks for it
            return _leave_by_hand
        leave = partial(_leave, transaction._statement)
        leave.transaction = transaction  # type: ignore[attr-defined]  # partial takes any
        return leave


class Transaction(Generic[V]):
    """What `LmdbObjectStore.transaction` gives: for one `with` statement."""

    __module__ = "lmdb_object_store"

    def __init__(self, store: TransactionMixin[Any, Any]) -> None:
        self._store = store
        self._statement = Statement()

    def __enter__(self) -> V:
        if self._statement.block is not None:
            raise RuntimeError("this transaction was used before: call `transaction()` again for another one")
        try:
            self._statement.enter(self._store, self)
            return self._begin()
        except BaseException:
            self._statement.drop()
            raise

    def _begin(self) -> V:
        """What the `with` statement binds."""
        return None  # type: ignore[return-value]  # V is None, but in an Edit

    if TYPE_CHECKING:

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
        ) -> None: ...
    else:
        __exit__ = _Exit()


class Edit(Transaction[V]):
    """What `LmdbObjectStore.edit` gives: for one `with` statement."""

    def __init__(self, store: TransactionMixin[Any, Any], key: Any, stored: bytes, default: Any) -> None:
        super().__init__(store)
        self._key, self._stored, self._default = key, stored, default

    def _begin(self) -> Any:
        store, key, stored, default = self._store, self._key, self._stored, self._default
        data = store._find(stored)
        if data is not None:
            value = store._load(stored, data)
        elif default is MISSING:
            raise KeyNotFoundError(key)
        else:
            value = default() if callable(default) else default

        def finish() -> None:
            if data is None:
                store.put(key, value)
                return
            changed = store._dumps(key, value)
            if changed != data:
                store._add(stored, changed)

        self._statement.finish = finish
        return value


def _leave(statement: Statement, kind: type[BaseException] | None = None, *_: object) -> None:
    block, level = statement.block, statement.level
    if block is None:
        raise RuntimeError("this transaction was not entered: use it in a `with` statement")
    if get_ident() != block.owner:
        block.abandon(level)
        raise RuntimeError(
            f"a transaction on {block.environment.path} was ended in another thread than it was opened in: it is "
            "undone when that one uses the store again, or ends"
        )
    failed = True
    try:
        if kind is None:
            if statement.finish is not None:
                statement.finish()
            block.write_changed(level)
        failed = kind is not None
    finally:
        block.leave(level, failed)
    statement.guard = None
    if level.undo is None:
        block.environment.close_collected_unless_locked()


def _leave_by_hand(transaction: Transaction[Any], *error: Any) -> None:
    _leave(transaction._statement, *error)


class _End:
    """Ends what its thread has left open, in that thread, where alone it can be ended."""

    def __init__(self) -> None:
        self.thread = get_ident()

    def __del__(self) -> None:
        if get_ident() == self.thread:  # not in a fork, which drops those of all other threads
            for transaction in transactions_here():
                transaction.end()


class _Thread(threading.local):
    """One for each thread, which drops it at its end."""

    def __init__(self) -> None:
        self.watch = _End()


_thread = _Thread()
