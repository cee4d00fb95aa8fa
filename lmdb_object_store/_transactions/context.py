"""TransactionMixin: `transaction` and `edit`, and their context managers."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, MutableMapping
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._buffer.reading import ReadingMixin
from .._environment.environment import MISSING
from .._environment.registry import UnopenedEnvironment, transactions_here
from .._errors import KeyNotFoundError
from .changes import Savepoint
from .open_transaction import OpenTransaction

K = TypeVar("K")
V = TypeVar("V")


class TransactionMixin(ReadingMixin, MutableMapping[K, V]):
    """Provides `transaction` and `edit`."""

    def transaction(self) -> Transaction[None]:
        """Return a context manager: all operations of its `with` block on this store are one step.

        The step is atomic, isolated and durable. Only operations of this thread belong to it. The pending changes of
        the store are flushed at the beginning. Until the end no other thread and no other process writes to the file,
        or sees the changes of the block. The block sees its own changes, which are held pickled in memory. At the end
        they are committed together, or rolled back if the block raises. Inside of another transaction of the store, a
        transaction is a savepoint: an exception undoes its own part.

        Errors at the beginning: StoreClosedError, lmdb.ReadonlyError, and the errors of a flush. RuntimeError if this
        thread has a transaction open on another store of the same file. RuntimeError too if it has one open on another
        file, and has waited ten seconds for the transaction of another thread on this file.

        Errors at the end: ConflictError if another process wrote while the map grew, lmdb.MapFullError at
        `max_map_size`, and other errors of LMDB. Then nothing of the transaction is in the file.
        """
        return Transaction(_Statement(self))

    def edit(self, key: K, default: V | Callable[[], V] = MISSING) -> Transaction[V]:
        """Return a context manager that gives the value of `key`, to be changed in place.

        The end of the `with` block stores the value if its pickle has changed. The block is a transaction: see
        `transaction` for the errors. An exception in the block stores nothing.

        If there is no value, use `default`, which is called if it is callable. Without `default`, raise KeyError.
        RuntimeError if the value cannot be unpickled.
        """
        return Transaction(_EditStatement(self, key, self._codec.encode_to_store(key), default))


class _Exit:
    """`__exit__` of a transaction: an object that refers to the transaction, for the `with` statement to keep.

    An interrupt may come at the first instruction of a plain `__exit__`, before its `try`. Its traceback would keep the
    transaction alive, in Jupyter until the next error, and open. The traceback of `_Statement.leave` keeps only the
    `_Statement`. The transaction dies as the `with` statement is left, and a weak reference to it rolls back.
    Test: test_transaction_interrupted_anywhere_is_committed_whole_or_not.
    """

    def __get__(self, transaction: Transaction[Any] | None, kind: type | None = None) -> Callable[..., None]:
        if transaction is None:  # contextlib.ExitStack takes it from the class
            return _exit
        leave = partial(transaction._statement.leave)
        leave.transaction = transaction  # type: ignore[attr-defined]  # a partial takes any attribute
        return leave


def _exit(transaction: Transaction[Any], *error: Any) -> None:
    transaction._statement.leave(*error)


class Transaction(Generic[V]):
    """The context manager of `LmdbObjectStore.transaction` and `edit`, for one `with` statement."""

    __module__ = "lmdb_object_store"

    def __init__(self, statement: _Statement) -> None:
        self._statement = statement

    def __enter__(self) -> V:
        self._statement.check_unused()
        try:
            return self._statement.enter(self)  # type: ignore[no-any-return]  # the value is a V
        except BaseException:  # in this frame: in CPython 3.10 an interrupt may come as `enter` returns
            self._statement.drop()
            raise

    if TYPE_CHECKING:

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
        ) -> None: ...
    else:
        __exit__ = _Exit()


class _Statement:
    """One `with` statement of a transaction. Nothing here refers to the context manager: see `_Exit`."""

    def __init__(self, store: TransactionMixin[Any, Any]) -> None:
        self._store = store
        self._savepoint = Savepoint()
        self._transaction: OpenTransaction | None = None
        self._guard: weakref.ref[object] | None = None  # rolls back when the context manager dies

    def check_unused(self) -> None:
        """Raise RuntimeError if this statement was entered before."""
        if self._transaction is not None:
            raise RuntimeError("this transaction was used before: call `transaction()` again for another one")

    def enter(self, context_manager: object) -> Any:
        """Begin a transaction, or make a savepoint in the open one. Return the value for the `as` clause."""
        store, savepoint = self._store, self._savepoint
        store._check_writable()
        store._environment.check_process()
        store._write_back_changes()
        outer: Any = store._own_transaction()
        environment: Any = store._environment
        if isinstance(environment, UnopenedEnvironment):  # another thread has just closed the store
            environment = environment.attach()  # which raises
        transaction: OpenTransaction = OpenTransaction(store, environment) if outer is None else outer
        self._guard = weakref.ref(context_manager, partial(transaction.drop, savepoint))
        self._transaction = transaction
        if outer is None:
            _of_thread.end  # noqa: B018  # makes it at the first use in a thread
            transaction.begin(savepoint, self._guard)
        else:
            savepoint.undo = {}
            transaction.savepoints.append(savepoint)
        return self._value()

    def drop(self) -> None:
        """Roll back, if the transaction has begun and not ended."""
        if self._transaction is not None:
            self._transaction.drop(self._savepoint)

    def leave(self, kind: type[BaseException] | None = None, *_: object) -> None:
        """Commit, or roll back if the body raised an exception of that `kind`."""
        transaction, savepoint = self._transaction, self._savepoint
        if transaction is None:
            raise RuntimeError("this transaction was not entered: use it in a `with` statement")
        if get_ident() != transaction.owner:
            transaction.abandon(savepoint)
            raise RuntimeError(
                f"a transaction on {transaction.environment.path} was ended in another thread than the one that began "
                "it. It is rolled back when the thread that began it uses the store again, or ends."
            )
        failed = True
        try:
            if kind is None:
                self._finish()
                if savepoint in transaction.savepoints:
                    self._store._write_back_changes()
            failed = kind is not None
        finally:
            transaction.leave(savepoint, failed)
        self._guard = None
        if transaction.ended:
            transaction.environment.close_collected_unless_locked()

    def _value(self) -> Any:
        """Return the value for the `as` clause."""
        return None

    def _finish(self) -> None:
        """Add the last changes, before the end of a body that has not raised."""


class _EditStatement(_Statement):
    """One `with` statement of `LmdbObjectStore.edit`."""

    def __init__(self, store: TransactionMixin[Any, Any], key: Any, stored: bytes, default: Any) -> None:
        super().__init__(store)
        self._key, self._stored, self._default = key, stored, default
        self._edited: Any = None
        self._row: bytes | None = None

    def _value(self) -> Any:
        store = self._store
        self._row = store._find(self._stored)
        if self._row is not None:
            self._edited = store._load(self._stored, self._row)
        elif self._default is MISSING:
            raise KeyNotFoundError(self._key)
        else:
            self._edited = self._default() if callable(self._default) else self._default
        return self._edited

    def _finish(self) -> None:
        store = self._store
        if self._row is None:
            store.put(self._key, self._edited)
            return
        changed = store._dumps(self._key, self._edited)
        if changed != self._row:
            store._add(self._stored, changed)


class _EndOfThread:
    """Ends the transactions that its thread leaves open. CPython drops a thread's local objects in that thread."""

    def __init__(self) -> None:
        self._thread = get_ident()

    def __del__(self) -> None:
        if get_ident() == self._thread:  # a forked child drops the objects of all other threads
            for transaction in transactions_here():
                transaction.end()


class _OfThread(threading.local):
    """The local objects of a thread, made at the first use in it."""

    def __init__(self) -> None:
        self.end = _EndOfThread()


_of_thread = _OfThread()
