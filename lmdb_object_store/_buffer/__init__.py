"""Changes that wait in memory, and their commit. Keys and values are bytes here.

A write adds a change to the buffer (`pending.py`). `flush.py` decides when the buffer is committed, and drops a change
only after its commit. `resize.py` commits, and grows the map until the changes fit. A read looks into the pending
changes first and into the file second, so it misses no change (`reading.py`). `scan.py` merges both for pages.

The classes derive from each other: `StoreState`, `ResizeMixin`, `FlushMixin`, `BufferMixin`, `ReadingMixin`. All
attributes that they share are declared in `state.py`; begin there. The options of a store are in `attributes.py`.

Rules: user code (pickling, iterating, unpickling) runs with no lock held. Changes are added under the lock of the
environment, except by `put`. While a transaction is open it stands in for the buffer.
"""
