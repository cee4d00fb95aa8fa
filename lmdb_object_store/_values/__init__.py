"""Values as bytes: pickle or another serializer, and large values.

`serializing.py` turns a value into the bytes to store. It names the key in each error, refuses more bytes than LMDB
stores, and says how a pickled store names its serializer. `large.py` reads a large pickle in parts, so that its large
strings are copied only once.

Rules: serializing and loading run the user's code, so the layers above call them with no lock held and no transaction
open. A value is serialized by the call that brings it: an error is raised there, and nothing has changed. The bytes
of a pending change never change later. `large.py` runs no user code: it gets a function that copies bytes.

The fast paths of `put` and `[]` call `pickle` themselves, to save one call.

Begin with `dumps_of` in `serializing.py`.
"""
