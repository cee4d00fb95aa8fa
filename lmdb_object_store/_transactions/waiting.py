"""The wait for a transaction of another thread. It ends with an error where it could last forever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._environment.locks import Lock
from .._environment.registry import transactions_here

if TYPE_CHECKING:
    from .open_transaction import OpenTransaction

# Seconds after which such a wait ends.
_PATIENCE = 10.0


class TransactionLock:
    """Stands in for the lock of a file while a transaction holds it. RuntimeError after a wait of ten seconds, in two
    cases: the waiting thread has a transaction open, for which the other thread may wait, or the transaction was
    dropped in another thread than its own, which may never end it.

    The limit needs a function in Python, which takes 0.25 µs more than C's. A deletion takes 1.5 µs, so the
    stand-in is there only while a transaction is open.
    """

    def __init__(self, lock: Lock, transaction: OpenTransaction) -> None:
        self._lock = lock
        self._transaction = transaction

    def __getattr__(self, name: str) -> Any:  # acquire, release, _is_owned
        return getattr(self._lock, name)

    # A `with` statement looks up both methods before it takes the lock. Both are C's where they can be, as an interrupt
    # may come at the beginning of a function in Python, and leave the lock taken.

    @property
    def __enter__(self) -> Any:
        return self._lock.__enter__ if self._lock._is_owned() else self._wait

    @property
    def __exit__(self) -> Any:
        return self._lock.__exit__

    def _wait(self) -> bool:
        lock = self._lock
        try:
            while not lock.acquire(timeout=_PATIENCE):
                self._refuse_to_wait_longer()
            return True
        except BaseException:
            if lock._is_owned():  # an interrupt came as it was taken
                lock.release()
            raise

    def _refuse_to_wait_longer(self) -> None:
        path = self._transaction.environment.path
        if self._transaction.abandoned and not self._transaction.ended:
            raise RuntimeError(
                f"a transaction on {path} was dropped in another thread than it was opened in: nobody can write until "
                "that thread uses the store again, or ends"
            )
        if transactions_here():
            raise RuntimeError(
                f"this thread has a transaction open, and waited {_PATIENCE:g} seconds for another thread's on {path}, "
                "which may wait for this thread's. Open stores in the same order everywhere, then retry."
            )
