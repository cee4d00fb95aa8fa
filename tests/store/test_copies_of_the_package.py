"""A file opened by two copies of the package, beside py-lmdb or in a sub-interpreter: the error names the cause."""

from __future__ import annotations

import sys

import lmdb
import pytest
from support.files import contents
from support.programs import run_script

from lmdb_object_store import LmdbObjectStore

# -- one file, two copies of the package

_PURGED = """
store = opened()
store["a"] = 1
store.flush()
store["b"] = 2
import importlib, lmdb
match sys.argv[2]:
    case "purged":
        for name in [name for name in sys.modules if name.startswith("lmdb_object_store")]:
            del sys.modules[name]
    case "with py-lmdb":
        for name in [name for name in sys.modules if name.startswith("lmdb")]:
            del sys.modules[name]
    case "reloaded":
        for name in sorted(name for name in sys.modules if name.startswith("lmdb_object_store.")):
            importlib.reload(sys.modules[name])
import lmdb_object_store as again
try:
    again.LmdbObjectStore(path, key_encoding="utf-8")
except lmdb.Error as error:
    print(error)
except Exception as error:  # of the other copy of py-lmdb
    assert type(error).__module__ == "lmdb", error
    print(error)
"""
COPIES = ["purged", "with py-lmdb", "reloaded"]


@pytest.mark.parametrize("how", COPIES)
def test_open_in_a_second_copy_of_the_package_says_so(path: str, how: str) -> None:
    """The error names the cause and the cure; both items arrive at the exit of the program, which closes nothing."""
    ended = run_script(_PURGED, path, how)
    assert f"{path} is already open in this process" in ended.stdout
    assert "second copy of this package" in ended.stdout
    assert "Close the file there first" in ended.stdout
    assert contents(path) == {"a": 1, "b": 2}


@pytest.mark.parametrize("how", COPIES)
def test_open_in_a_second_copy_of_the_package_once_the_first_has_closed(path: str, how: str) -> None:
    """A closed first copy no longer hinders the second."""
    ended = run_script(
        _PURGED + 'store.close(strict=True)\nprint(dict(again.LmdbObjectStore(path, key_encoding="utf-8")))', path, how
    )
    assert ended.stdout.splitlines()[-1] == "{'a': 1, 'b': 2}"


def test_open_beside_py_lmdb_says_so(path: str) -> None:
    """A program that has the file open with py-lmdb itself gets the same error."""

    with lmdb.open(path), pytest.raises(lmdb.Error, match=r"already open in this process.* py-lmdb itself"):
        LmdbObjectStore(path)


_INTERPRETERS = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
store = opened()
store["a"] = 1
store.flush()
store["b"] = 2
code = '''
import sys
sys.path[:] = %r
try:
    from lmdb_object_store import LmdbObjectStore
    LmdbObjectStore(%r)
except Exception as error:
    print(type(error).__name__, error, flush=True)
'''
isolated = sys.argv[2] == "isolated"
if sys.version_info >= (3, 13):
    interpreter = interpreters.create("isolated" if isolated else "legacy")
else:
    interpreter = interpreters.create(isolated=isolated)
interpreters.run_string(interpreter, code % (sys.path, path))
interpreters.destroy(interpreter)
"""


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        pytest.param(
            "isolated",
            "ImportError py-lmdb cannot be imported in a sub-interpreter",
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="all of them share one lock"),
        ),
        ("legacy", "already open in this process"),
    ],
)
def test_open_in_a_sub_interpreter_says_so(path: str, kind: str, message: str) -> None:
    """An interpreter with its own lock cannot import py-lmdb. One of mod_wsgi finds the file open. Nothing is lost."""
    ended = run_script(_INTERPRETERS, path, kind)
    assert message in ended.stdout
    assert contents(path) == {"a": 1, "b": 2}
