"""The methods of a dict, and those for keys in order. Keys and values are the user's objects here.

`keyed.py` has the methods of one key (`[]`, `get`, `pop` …), `bulk.py` those of many keys. `ordered.py` has iteration
and the ordered methods for any interval of keys: the whole store, or a `StoreRange` (`range.py`). `views.py` has keys,
values and items; `maintenance.py` has `backup` and `stats`. Begin with `keyed.py`.

`store[k]` encodes the key, asks `_buffer/reading.py` for the bytes, and unpickles them. `store[k] = v` is
`BufferMixin.put` in `_buffer/pending.py`. A short key of bytes that is not pending takes a short path: one
look-up in LMDB within the method itself.

Rules: a key is encoded, and a value pickled, before the lock is taken. An iterator holds nothing open between two
pages. Only `clear` and `len` know of transactions.
"""
