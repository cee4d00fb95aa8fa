"""Transactions: several reads and writes of a store as one atomic, isolated, durable step.

A transaction collects its changes in memory and commits them at its end, as a flush commits the buffer. Until then it
stands in for the store's buffer. Its own thread reads its changes first, then the file. Other threads read the file as
it was, and their writes wait.

Rules of this layer: a transaction begins and ends in one thread, because only that thread can release its locks. Every
transaction ends, also if its `with` statement is interrupted, its generator is collected or its thread ends. An open
transaction does not keep its store alive.

Begin with `context.py`, which has `transaction`, `edit` and their `with` statements. `open_transaction.py` has the
transaction itself, `changes.py` its changes and savepoints, `write_lock.py` the lock against other processes, and
`waiting.py` the limit of a wait for another thread's transaction.
"""
