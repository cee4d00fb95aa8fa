"""`lmdb_object_store.open` and the store that writes back: the interface of `shelve`.

`open.py` opens a store by the flags of `shelve.open`, and refuses any other file. `writeback.py` has
`WritebackStore`, which gives the same object again for each key, and writes the objects that have changed. `cache.py`
has its base class: which values are kept, which of them have changed, and which are dropped at a bound.

Rules: `open` never destroys a file that is no store. A kept value is serialized with no lock held, and compared to its
stored bytes. Only adding the change takes the lock. A value that was replaced or deleted meanwhile
is not written.

This folder is imported when `open` or `WritebackStore` is asked for.

Begin with `open` in `open.py`, then read `WritebackStore.flush`.
"""
