"""Keys as bytes: text, objects and their order. Pure functions and classes, which know neither LMDB nor threads.

A stored key is the bytes that LMDB compares and sorts. `codec.py` encodes the keys of a store, bytes or text, as stored
keys, and decodes them. `custom.py` does that for a store whose `key_encoding` is an object. `ordered.py` has such an
object, `OrderedKeys`, whose stored keys sort as the keys do; `ordered_times.py` adds its dates, times and UUIDs.
`interval.py` has the bounds of a range or a prefix.

Rules: an encoding is a file format, and never changes. Every stored key is decoded to a key that finds it again, so
that no item is hidden. LMDB cannot store the empty key, so 511 NULs stand for it. A write refuses a key that is too
long, and a read does not find it.

Begin with `KeyCodec.encode` in `codec.py`.
"""
