"""Endings of programs: each accepted change is in the file, or the program got an error."""

from __future__ import annotations

import inspect
import os
import pickle
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
from conftest import OpenStore
from support.files import contents
from support.programs import run_script

from lmdb_object_store import FlushError, LmdbObjectStore, StoreClosedError
from lmdb_object_store import open as open_shelf

MIB = 1024 * 1024

OPEN = "store = opened()\nstore.update({f'k{i}': i for i in range(10)})\n"
TEN = {f"k{i}": i for i in range(10)}

# How a script ends, and with which status.
ENDINGS: dict[str, tuple[str, int]] = {
    "at its last line": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an exception": ("raise ValueError('no')", 1),
    "an interrupt": ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
    "in a function": ("def main(): raise SystemExit(4)\nmain()", 4),
    "del": ("del store", 0),
    "a cycle": ("store.itself = store\ndel store", 0),
    "a cycle, without a collector": ("import gc\ngc.disable()\nstore.itself = store\ndel store", 0),
    "a global cycle": ("store.itself = store", 0),
    "a module that outlives the package's": ("sys.script = sys.modules['__main__']", 0),
    "in a closure": ("def keep(kept=store): return kept\nos.keep = keep\ndel store", 0),
    "in a daemon thread": (
        "started = threading.Event()\n"
        "def hold(kept=store):\n    started.set()\n    threading.Event().wait()\n"
        "threading.Thread(target=hold, daemon=True).start()\nstarted.wait()\ndel store",
        0,
    ),
    "while a thread reads": (
        "started = threading.Event()\n"
        # An error that a daemon thread prints as the interpreter ends may abort it: a race in CPython itself.
        "def read():\n    try:\n        while True:\n            store.get('k1')\n            started.set()\n"
        "    except ValueError:\n        pass\n"
        "threading.Thread(target=read, daemon=True).start()\nstarted.wait()",
        0,
    ),
    "after a thread that outlives the main one": (
        "main = threading.main_thread()\n"
        "def late():\n    main.join()\n    store['k9'] = 9\n"
        "del store['k9']\nthreading.Thread(target=late).start()",
        0,
    ),
    "in an iteration": ("keys = iter(store)\nnext(keys)\nstore.update(k8=8, k9=9)", 0),
    "in a generator": ("def rows():\n    with store:\n        yield 1\nrow = rows()\nnext(row)", 0),
    "in a with block": ("with store: sys.exit(5)", 5),
    "through a second store": ("other = opened()\nother.update(k9=9)\ndel store['k9']\nstore.flush()", 0),
    "a pickled handle": ("import pickle\nother = pickle.loads(pickle.dumps(store))\nother['k9'] = 9\ndel store", 0),
    "a subclass with attributes": (
        "class Sub(LmdbObjectStore): pass\n"
        "sub = Sub(path, key_encoding='utf-8')\nsub.more = [sub]\nsub['k9'] = 9\ndel sub",
        0,
    ),
}


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        pytest.param(*ending, id=name, marks=[pytest.mark.posix] if name == "an interrupt" else [])
        for name, ending in ENDINGS.items()
    ],
)
def test_script_without_close_loses_nothing_however_it_ends(path: str, ending: str, status: int) -> None:
    """A script that never closes its store loses nothing, however it ends."""
    ended = run_script(OPEN + ending, path, status=status)
    assert contents(path) == TEN
    assert "Exception ignored" not in ended.stderr
    assert "Error during" not in ended.stderr


def test_writeback_store_that_outlives_the_package_ends_quietly(path: str) -> None:
    """The end of the interpreter takes the package's modules apart before the store is dropped."""
    source = """
        from lmdb_object_store import open
        store = open(path, writeback=True)
        store["key"] = [1]
        store["key"].append(2)
        sys.script = sys.modules["__main__"]
    """
    assert not run_script(source, path).stderr
    assert contents(path) == {"key": [1, 2]}


def test_atexit_functions_registered_later_may_use_the_store(path: str) -> None:
    """Functions that the script itself registers run before the stores are closed."""
    source = """
        import atexit
        store = opened()
        atexit.register(lambda: store.update(at_exit=len(store)))
        store["key"] = 1
    """
    run_script(source, path)
    assert contents(path) == {"key": 1, "at_exit": 1}


def test_atexit_functions_registered_earlier_find_the_store_closed(path: str) -> None:
    """Functions registered before the package was imported run after the stores are closed, and get an error."""
    source = """
        import atexit, importlib
        def late():
            try:
                store["late"] = 1
            except ValueError as error:
                print(type(error).__name__)
        for name in [name for name in sys.modules if name.startswith("lmdb_object_store")]:
            del sys.modules[name]
        atexit.register(late)
        store = importlib.import_module("lmdb_object_store").LmdbObjectStore(path, key_encoding="utf-8")
        store["key"] = 1
    """
    ended = run_script(source, path)
    assert ended.stdout.split() == ["StoreClosedError"]
    assert contents(path) == {"key": 1}


def test_exit_with_a_store_that_fails_closes_the_others(path: str) -> None:
    """A store that cannot be written at exit, or whose `close` raises, does not keep the others open."""
    source = """
        class Bad(LmdbObjectStore):
            def close(self, strict=False): raise ValueError("no close today")
        small = opened(map_size=1 << 20, max_map_size=1 << 20)
        bad = Bad(path + "1", key_encoding="utf-8")
        others = [LmdbObjectStore(path + name, key_encoding="utf-8") for name in "234"]
        small["large"] = bytes(2 << 20)
        for other in others: other["key"] = 1
    """
    ended = run_script(source, path)
    assert [contents(path + name) for name in "234"] == [{"key": 1}] * 3
    assert "Error during final flush on close" in ended.stderr
    assert "no close today" in ended.stderr


# Each script writes more than fits, and ends in its own way.
TOO_LARGE = "store = opened(map_size=1 << 20, max_map_size=1 << 20)\nstore['large'] = bytes(2 << 20)\n"


@pytest.mark.parametrize("ending", ["", "del store", "store.itself = store; del store", "store.close()"])
def test_exit_whose_final_flush_fails_is_logged(path: str, ending: str) -> None:
    """The log names the path and the number of changes that could not be written."""
    ended = run_script(TOO_LARGE + ending, path)
    assert ended.stderr.count("Error during final flush on close") == 1
    assert "1 changes" in ended.stderr
    assert path in ended.stderr


def test_with_block_and_strict_close_that_fail_end_the_script_with_an_error(path: str) -> None:
    """A `with` block or a strict close at the end of a script makes its exit status differ from 0."""
    for ending in ("with store: pass", "store.close(strict=True)"):
        ended = run_script(TOO_LARGE + ending, path, status=1)
        assert "FlushError" in ended.stderr
        assert "MapFullError" in ended.stderr


def test_exit_after_a_collection_beside_a_commit_is_quiet(path: str) -> None:
    """A store collected while another thread had the lock is written at exit, and the log is empty."""
    source = """
        store = opened()
        store["key"] = 1
        lock, held, collected = store._environment.lock, threading.Event(), threading.Event()
        def hold():
            with lock:
                held.set()
                collected.wait(20)
        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(20)
        del store
        collected.set()
        holder.join(20)
    """
    assert not run_script(source, path).stderr
    assert contents(path) == {"key": 1}


def test_collection_of_an_open_store_is_a_resource_warning(path: str) -> None:
    """Python's development mode reports a store that nobody closed, once."""
    ended = run_script("store = opened()\nstore['key'] = 1\ndel store", path, python=("-X", "dev"))
    assert ended.stderr.count("ResourceWarning: unclosed store") == 1
    assert contents(path) == {"key": 1}


def test_resource_warning_that_is_an_error_loses_nothing(path: str) -> None:
    """A store that nobody closed is written even if warnings are errors."""
    run_script("store = opened()\nstore['key'] = 1\ndel store", path, python=("-W", "error"))
    assert contents(path) == {"key": 1}


def test_exit_with_an_open_store_gives_no_warning(path: str) -> None:
    """A global store lasts as long as the program, and is no reason for a warning."""
    ended = run_script("store = opened()\nstore['key'] = 1", path, python=("-X", "dev"))
    assert "ResourceWarning" not in ended.stderr


def test_constructor_that_fails_warns_of_nothing(path: str) -> None:
    """A store that could not be opened ends without a message of its own."""
    source = """
        for options in ({"batch_size": 0}, {"key_encoding": "no such"}, {"map_size": -1}, {"no_such_option": 1}):
            try:
                opened(**options)
            except Exception as error:
                print(type(error).__name__)
        store = LmdbObjectStore.__new__(LmdbObjectStore)
        del store
    """
    ended = run_script(source, path, python=("-X", "dev"))
    assert len(ended.stdout.split()) == 4
    assert ended.stderr == ""


@pytest.mark.posix
def test_kill_keeps_all_flushed_changes(path: str) -> None:
    """A killed process loses its pending changes, and no flushed ones."""
    source = """
        store = opened()
        store["flushed"] = 1
        store.flush()
        store.put_many({"many": 2})
        store["pending"] = 3
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run_script(source, path, status=-signal.SIGKILL)
    assert contents(path) == {"flushed": 1, "many": 2}


# -- the with block


def test_with_block_writes_and_closes(path: str, open_store: OpenStore) -> None:
    """After a `with` block everything is in the file, and the store is closed."""
    with open_store() as store:
        store["key"] = 1
    assert contents(path) == {"key": 1}
    with pytest.raises(StoreClosedError):
        store["key"]
    with pytest.raises(StoreClosedError), store:
        pass


def test_with_block_that_raises_writes_earlier_changes(path: str, open_store: OpenStore) -> None:
    """An exception in a `with` block is raised unchanged. Earlier changes are in the file."""
    with pytest.raises(ZeroDivisionError), open_store() as store:
        store["key"] = 1
        raise ZeroDivisionError
    assert contents(path) == {"key": 1}


def test_with_block_whose_last_flush_fails_raises_with_the_changes(open_store: OpenStore) -> None:
    """The error of a `with` block's last flush names its cause and has the changes that were not stored."""
    large = os.urandom(2 * MIB)
    with pytest.raises(FlushError) as caught, open_store(map_size=MIB, max_map_size=MIB) as store:
        store["large"] = large
    assert caught.value.pending.keys() == {b"large"}
    assert type(caught.value.__cause__).__name__ == "MapFullError"


def test_with_block_that_raises_and_fails_to_flush_raises_its_own_error(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """If the body and the last flush both fail, the body's exception is raised and the other is logged."""
    with pytest.raises(ZeroDivisionError), open_store(map_size=MIB, max_map_size=MIB) as store:
        store["large"] = os.urandom(2 * MIB)
        raise ZeroDivisionError
    assert "Error during final flush on close" in caplog.text


def test_with_block_after_a_failed_flush_raises_at_its_end(open_store: OpenStore) -> None:
    """The last flush of a block fails again, and the block raises its error, although the body has seen the failure."""
    with pytest.raises(FlushError, match="not stored"), open_store(map_size=MIB, max_map_size=MIB) as store:
        store["large"] = os.urandom(2 * MIB)
        with pytest.raises(Exception, match="full"):
            store.flush()


def test_with_block_with_a_change_after_a_failure_raises_again(open_store: OpenStore) -> None:
    """A change made after a reported failure makes the last flush's failure news again."""
    with pytest.raises(FlushError), open_store(map_size=MIB, max_map_size=MIB) as store:
        store["large"] = os.urandom(2 * MIB)
        with pytest.raises(Exception, match="full"):
            store.flush()
        store["more"] = 1


def test_with_block_after_a_reads_failed_flush_raises_at_its_end(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A read's failed flush was only logged. The end of the block raises the error."""
    with pytest.raises(FlushError), open_store(map_size=MIB, max_map_size=MIB) as store:
        store["large"] = os.urandom(2 * MIB)
        assert store.get("none") is None
        assert "could not flush" in caplog.text


# -- a close that has no room


def at_depth(left: int, body: Callable[[], object]) -> None:
    """Run `body` where `left` more frames fit below the recursion limit."""
    depth = len(inspect.stack(0))

    def descend(number: int) -> None:
        if number:
            descend(number - 1)
        else:
            body()

    descend(sys.getrecursionlimit() - depth - left - 2)


@pytest.mark.parametrize("options", [{}, {"map_size": MIB, "max_map_size": MIB}], ids=["flush works", "flush fails"])
def test_close_at_the_recursion_limit_loses_nothing(
    path: str, open_store: OpenStore, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    """Wherever the recursion limit ends a close, the store stays open or the caller gets the lost changes."""
    value = os.urandom(2 * MIB) if options else 1
    outcomes = set()
    for left in range(60):
        caplog.clear()
        store = open_store(path=f"{path}{left}", **options)
        store["key"] = value
        try:
            at_depth(left, store.close)
        except FlushError as error:
            told = error.pending.keys() == {b"key"}
            assert told
            outcomes.add("told")
            continue
        except RecursionError:
            if store._is_closed:
                assert not options, f"closed, and nobody was told, with {left} frames left"
            outcomes.add("open")
            store.close()
        else:
            outcomes.add("closed")
        assert store._is_closed
        if options:
            assert "1 changes" in caplog.text, left
        else:
            assert contents(f"{path}{left}") == {"key": 1}, left
    assert outcomes >= {"open", "closed"}


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_close_without_memory_leaves_the_store_open(
    path: str, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Neither error says anything about the changes: the store takes more, and a second close writes all."""
    store = open_store()
    store["key"] = 1
    with monkeypatch.context() as patch:
        patch.setattr(store, "_commit", raising(error))
        with pytest.raises(error):
            store.close()
        with pytest.raises(error), store:
            pass
    store["more"] = 2
    store.close()
    assert contents(path) == {"key": 1, "more": 2}


def raising(error: type[Exception]) -> Callable[..., None]:
    """Return a function that raises `error`."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_collection_without_memory_is_written_later(
    path: str, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store collected when there is no memory to write it is written by the next commit."""
    other = open_store()
    store = LmdbObjectStore(path, key_encoding="utf-8")
    store["key"] = 1
    with monkeypatch.context() as patch:
        patch.setattr(LmdbObjectStore, "_commit", raising(MemoryError))
        with pytest.warns(ResourceWarning):
            del store
        assert "key" not in other
    other["more"] = 2
    other.flush()
    assert dict(other) == {"key": 1, "more": 2}


def test_close_of_a_writeback_store_without_frames_leaves_it_open(path: str) -> None:
    """A value that needs more frames than are left is written by a second close; the others are by the first."""
    store: Any = open_shelf(path, writeback=True)
    store["a"], store["b"] = Nested(), [1]
    store["a"].value = 1
    store["b"].append(2)
    with pytest.raises(RuntimeError, match="recursion"):
        at_depth(Nested.frames, store.close)
    with store.env.begin() as txn:
        assert pickle.loads(txn.get(b"b")) == [1, 2]
        assert pickle.loads(txn.get(b"a")).value == 0
    store.close()
    with open_shelf(path, "r") as reader:
        assert reader["a"].value == 1


class Nested:
    """A value whose pickling takes many frames of Python."""

    frames = 100
    value = 0

    def __reduce__(self) -> tuple[Callable[[int], Nested], tuple[int]]:
        def descend(number: int) -> None:
            if number:
                descend(number - 1)

        descend(self.frames)
        return nested, (self.value,)


def nested(value: int) -> Nested:
    """Return a `Nested` of `value`."""
    made = Nested()
    made.value = value
    return made
