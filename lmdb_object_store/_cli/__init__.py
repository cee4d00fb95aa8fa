"""The command line: `lmdb-object-store`, also `python -m lmdb_object_store`.

`main.py` parses the arguments, prints errors and returns the exit status. `commands.py` has one function for each
command. `jsonlines.py` turns rows into lines of JSON and back, for `dump` and `load`. `keytext.py` turns keys into text
and back. `progress.py` shows a bar on a terminal.

Rules: a command that reads opens the store read-only, and makes none. Only `get` and `verify` unpickle any value.
`dump` unpickles a value only if its pickle can contain nothing but JSON, so it runs no code that a file names. Each
printed key and each dumped row can be passed back. Rows go to standard output, and errors, in one line, to standard
error.

In the package, only `__main__.py` imports this folder.

Begin with `_parser` in `main.py`, which lists the commands.
"""
