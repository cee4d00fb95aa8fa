"""Keys as bytes: text, objects and their order. Pure functions and classes, which know neither LMDB nor threads.

A stored key is the bytes that LMDB compares and sorts. `codec.py` encodes the keys of a store, bytes or text, as stored
keys, and decodes them. `custom.py` does that for a store whose `key_encoding` is an object. `ordered.py` has such an
object, `OrderedKeys`, whose stored keys sort as the keys do; `ordered_times.py` adds its dates, times and UUIDs.
`interval.py` has the bounds of a range or a prefix.

Rules: an encoding is a file format, and never changes. Every stored key is decoded to a key that finds it again, so
that no item is hidden. The empty key, which LMDB cannot store, is stored as
511 NULs. A key that is too long is refused by a write, and not found by a read.

Begin with `KeyCodec.encode` in `codec.py`.
"""
