"""An open LMDB file, shared by all stores of this process. Rows are bytes here, and errors are LMDB's.

Begin with `Environment` in `environment.py`. `registry.py` gives each store its environment, and handles forks.
`opening.py` opens a file, and checks it with `access.py`, `paths.py`, `checks.py` and `pages.py`. `lock_file.py` has
the locks between processes.

A read (`read.py`) calls `Environment.begin`, without a lock. If LMDB refuses, `Environment.repeat` reads again under
the lock. A write (`write.py`) holds the lock: `begin_write` waits for other processes, `write` changes rows and
commits. `_buffer/resize.py` calls `write`, and grows the map by `Environment.resize`. `timer.py` is `flush_interval`.

Rules: an environment's lock comes before the registry's. The gate (`gate.py`) is closed before the map moves, a write
is aborted or the file is closed: new reads then wait for the lock. No user code runs here, and no transaction outlives
a function, except the write transaction of `store.transaction()`.
"""
