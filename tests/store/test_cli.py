"""The command line, as a user runs it: `python -m lmdb_object_store`."""

from __future__ import annotations

import dbm.dumb
import importlib.metadata
import json
import math
import os
import pickle
import shelve
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import date
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from hypothesis import example, given
from hypothesis import strategies as st
from support.files import contents
from support.threads import looping

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore, OrderedKeys, _cli, _jsonlines, _keytext
from lmdb_object_store._codec import KeyCodec

LIMIT = 60  # seconds for one command
FOUND_AT = str(Path(lmdb_object_store.__file__).parents[1])
COMMAND = [sys.executable, "-W", "error", "-m", "lmdb_object_store"]
UTF8 = KeyCodec("utf-8", "strict", None, 511)
EMPTY = b"\0" * 511


def environ(**more: str) -> dict[str, str]:
    """The environment of a command, which finds this very package, and writes to a pipe by blocks as is the default."""
    ours = {**os.environ, "PYTHONPATH": FOUND_AT, "PYTHONIOENCODING": "utf-8", **more}
    ours.pop("PYTHONUNBUFFERED", None)
    return ours


def run(
    *arguments: object, given: str = "", status: int = 0, limits: Callable[[], object] | None = None
) -> tuple[str, str]:
    """What a command prints, and what it reports on standard error: one line, if and only if it fails."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=given, capture_output=True, encoding="utf-8", env=environ(), timeout=LIMIT, preexec_fn=limits,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    if status == 0:
        assert not done.stderr
    elif not done.stdout:
        assert done.stderr.startswith("lmdb-object-store")
        assert done.stderr.count("\n") == 1
    return done.stdout, done.stderr


def here(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> tuple[str, str]:
    """The same in this process, which takes a hundredth of the time."""
    assert _cli.main([*map(str, arguments)]) == status
    out, err = capsys.readouterr()
    assert err.count("\n") == (status != 0 and not out)
    return out, err


def stored(path: str) -> dict[bytes, bytes]:
    """The rows of the file, by py-lmdb alone."""
    with lmdb.open(path, readonly=True) as environment, environment.begin() as txn:
        return {bytes(key): bytes(data) for key, data in txn.cursor()}


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


@pytest.fixture
def filled(open_store: OpenStore, path: str) -> str:
    """The path of a store with values and keys of all kinds, closed."""
    store = open_store()
    store.update(ada={"born": 1815}, alan=[1, 2.5, None, True, "ü"], day=date(2020, 1, 1), pair=(1, 2))
    store.update({"two\nlines": 1, "0x41": 2, "": 3, b"\xff": 4, "nan": math.nan, "half": "\ud83d"})
    store.close()
    return path


# -- the commands, one by one


def test_info(filled: str) -> None:
    """The figures of stats(), a line each."""
    out, _ = run("info", filled)
    with LmdbObjectStore[Any, Any](filled, readonly=True) as store:
        stats = store.stats()
    figures = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert figures.pop("path") == filled
    assert figures == {name: str(value) for name, value in vars(stats).items()}
    assert figures["entries"] == "10"


def test_keys(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In order, on a line each; what is no printable text in hexadecimal."""
    names = ["0x", "0x30783431", "ada", "alan", "day", "half", "nan", "pair", "0x74776f0a6c696e6573", "0xff"]
    assert run("keys", filled)[0].splitlines() == names
    assert here(capsys, "keys", filled, "--prefix", "a")[0] == "ada\nalan\n"
    assert here(capsys, "keys", filled, "--prefix", "0x61", "--limit", "1")[0] == "ada\n"
    assert here(capsys, "keys", filled, "--limit", "0")[0] == ""
    assert here(capsys, "keys", filled, "--prefix", "zz")[0] == ""


def test_get(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON where the value is, else its repr."""
    assert json.loads(run("get", filled, "alan")[0]) == [1, 2.5, None, True, "ü"]
    answers = {"ada": '{"born": 1815}', "pair": "(1, 2)", "day": "datetime.date(2020, 1, 1)", "nan": "nan"}
    answers.update({"0x": "3", "0x74776f0a6c696e6573": "1", "0x30783431": "2", "0xff": "4", "": "3"})
    for key, answer in answers.items():
        assert here(capsys, "get", filled, key) == (answer + "\n", "")
    assert run("get", filled, "half") == ("'\\ud83d'\n", "")
    assert run("get", filled, "nobody", status=1)[1] == "lmdb-object-store: Key not found: 'nobody'\n"


def test_set_and_delete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`set` makes the store and replaces values, `delete` wants the key to be there."""
    path = tmp_path / "new"
    assert run("set", path, "a", '{"b": [1, "ü"]}') == ("", "")
    assert contents(str(path)) == {"a": {"b": [1, "ü"]}}
    here(capsys, "set", path, "a", "null")
    here(capsys, "set", path, "0x62", "1e3")
    here(capsys, "set", path, "--", "-minus", "-1")
    assert contents(str(path)) == {"a": None, "b": 1000.0, "-minus": -1}
    assert run("delete", path, "a") == ("", "")
    assert "'a'" in here(capsys, "delete", path, "a", status=1)[1]
    assert contents(str(path)) == {"b": 1000.0, "-minus": -1}


@pytest.mark.parametrize("value", ["{", "NaN", "[Infinity]", "", "'a'", "[" * 100_000])
def test_what_is_not_json_is_not_set(tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2 as for all wrong arguments, and no store is made."""
    assert "JSON" in here(capsys, "set", tmp_path / "new", "a", value, status=2)[1]
    assert not (tmp_path / "new").exists()


def test_dump_and_load(filled: str, tmp_path: Path) -> None:
    """Through a pipe: what is JSON comes back as the same value, all else with the same bytes."""
    dumping = subprocess.Popen([*COMMAND, "dump", filled], stdout=subprocess.PIPE, env=environ())
    subprocess.run([*COMMAND, "load", tmp_path / "new"], stdin=dumping.stdout, check=True, env=environ(), timeout=LIMIT)
    assert dumping.stdout is not None
    dumping.stdout.close()
    assert dumping.wait(LIMIT) == 0
    before, after = stored(filled), stored(str(tmp_path / "new"))
    assert list(before) == list(after)
    in_json = {b"ada", b"alan", b"two\nlines", b"0x41", b"\xff", EMPTY}
    for key, data in before.items():
        assert after[key] == data or (key in in_json and pickle.loads(after[key]) == pickle.loads(data))
    out, _ = run("dump", tmp_path / "new")
    assert out == run("dump", filled)[0]
    rows = [json.loads(line) for line in out.splitlines()]
    assert {"key": "ada", "value": {"born": 1815}} in rows
    assert {"key_base64": "/w==", "value": 4} in rows
    assert sum("value_base64" in row for row in rows) == 4
    assert out.isascii()


def test_load_keeps_what_is_there_and_replaces(filled: str) -> None:
    """A load is so many writes; empty lines count for nothing."""
    lines = '{"key": "ada", "value": 1}\n\n{"value": 2, "key": "more"}\n'
    run("load", filled, given=lines)
    found = stored(filled)
    assert (len(found), pickle.loads(found[b"ada"]), pickle.loads(found[b"more"])) == (11, 1, 2)


@pytest.mark.parametrize(
    "line",
    [
        "no",
        "[]",
        "{}",
        '{"key": "b"}',
        '{"value": 1}',
        '{"key": "b", "value": 1, "more": 2}',
        '{"key": "b", "value": 1, "value_base64": ""}',
        '{"key": 1, "value": 1}',
        '{"key": "b", "value": NaN}',
        '{"key": "b", "value_base64": "?"}',
        '{"key": "b", "value_base64": 1}',
        '{"key_base64": null, "value": 1}',
        json.dumps({"key": "b" * 5000, "value": 1}),
        json.dumps({"key": "\ud83d", "value": 1}),
        '{"key": "b", "value": ' + "[" * 100_000 + "}",
    ],
)
def test_a_line_that_cannot_be_loaded(
    tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the line, and what comes before it is stored."""
    (tmp_path / "dump").write_text(f'{{"key": "a", "value": 1}}\n{line}\n{{"key": "c", "value": 1}}\n')
    with (tmp_path / "dump").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        _, err = here(capsys, "load", tmp_path / "new", status=1)
    assert err.startswith("lmdb-object-store: line 2: ")
    assert contents(str(tmp_path / "new")) == {"a": 1}


def test_backup(filled: str, tmp_path: Path) -> None:
    """The same rows; a target that exists is left alone."""
    with LmdbObjectStore[Any, Any](filled) as store:
        store.put_many({b"large": bytes(1 << 20)})
        store.delete(b"large")
    assert run("backup", filled, tmp_path / "copy") == ("", "")
    assert stored(str(tmp_path / "copy")) == stored(filled)
    assert "copy" in run("backup", filled, tmp_path / "copy", status=1)[1]
    assert "nowhere" in run("backup", filled, tmp_path / "nowhere" / "copy", status=1)[1]
    run("backup", "--no-compact", filled, tmp_path / "whole")
    sizes = [os.stat(tmp_path / name / "data.mdb").st_size for name in ("db", "whole", "copy")]
    assert sizes[0] == sizes[1] > sizes[2]


def test_verify(filled: str, path: str) -> None:
    """Status 0 and a count where all is well, else 1 and the keys that fail."""
    assert run("verify", filled)[0] == "10 values, 0 of which cannot be read\n"
    with lmdb.open(path) as environment, environment.begin(write=True) as txn:
        txn.put(b"broken\n", b"no pickle")
        txn.put(b"gone", b"cnowhere_to_be_found\nthing\n.")
    out, err = run("verify", filled, status=1)
    assert out.splitlines() == [
        "0x62726f6b656e0a: UnpicklingError: invalid load key, 'n'.",
        "gone: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        "12 values, 2 of which cannot be read",
    ]
    assert not err


def test_verify_of_a_damaged_file(open_store: OpenStore, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the check of the structure finds is printed, and no value is read."""
    with open_store() as store:
        store.update({f"k{i:04}": i for i in range(1000)})
        page = store.stats().page_bytes
    with open(os.path.join(path, "data.mdb"), "r+b") as file:
        file.seek(3 * page + 16)
        file.write(b"\xff" * 64)
    out, _ = here(capsys, "verify", path, status=1)
    assert "page" in out
    assert out.endswith("the file is damaged, and its values were not read\n")


def test_verify_beside_a_writer(store: LmdbObjectStore[str, Any], path: str) -> None:
    """The check sees the pages of one moment, whatever is written meanwhile."""
    store.put_many({f"k{i:05}": "x" * 500 for i in range(5000)})
    number = 0

    def write() -> None:
        nonlocal number
        number += 1
        store.put_many({f"k{i:05}": "y" * (number % 700) for i in range(number % 7, 5000, 7)})

    with looping(write):
        for _ in range(3):
            assert run("verify", path)[0] == "5000 values, 0 of which cannot be read\n"


def dumb(path: str) -> shelve.Shelf[Any]:
    """A shelf in the format that every Python has."""
    return shelve.Shelf(dbm.dumb.open(path, "c"))  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [shelve.open, dumb])
def test_import_shelve(tmp_path: Path, make: Callable[[str], Any]) -> None:
    """All items, with the bytes that the shelf has; nothing is unpickled."""
    proof = tmp_path / "proof"
    with make(str(tmp_path / "old")) as shelf:
        shelf.update({"ada": {"born": 1815}, "ü": (1, 2), "": None})
        shelf["evil"] = Evil(proof)
        shelf.dict[b"\xff"] = pickle.dumps("bytes")
    assert run("import-shelve", tmp_path / "old", tmp_path / "new") == ("", "")
    assert not proof.exists()
    rows = stored(str(tmp_path / "new"))
    assert pickle.loads(rows.pop(b"evil")) is None
    assert proof.exists()
    assert {key: pickle.loads(data) for key, data in rows.items()} == {
        b"ada": {"born": 1815}, "ü".encode(): (1, 2), EMPTY: None, b"\xff": "bytes",
    }  # fmt: skip


def test_import_of_what_is_no_shelf(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error, and no store where the shelf is missing."""
    here(capsys, "import-shelve", tmp_path / "nothing", tmp_path / "new", status=1)
    assert os.listdir(tmp_path) == []
    with dbm.dumb.open(str(tmp_path / "old"), "c") as other:
        other["a"] = "text"
    assert "no shelf" in here(capsys, "import-shelve", tmp_path / "old", tmp_path / "new", status=1)[1]


# -- nothing is unpickled where it is said


def test_nothing_unpickles_but_get_and_verify(
    open_store: OpenStore,
    path: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A value that acts when it is unpickled goes through a dump and a load, and everything else, unnoticed."""
    proof = tmp_path / "proof"
    with open_store() as store:
        store["evil"] = {"a": [Evil(proof)]}
    here(capsys, "info", path)
    here(capsys, "keys", path)
    here(capsys, "backup", path, tmp_path / "copy")
    (tmp_path / "dump").write_text(here(capsys, "dump", path)[0])
    with (tmp_path / "dump").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        here(capsys, "load", tmp_path / "new")
    assert stored(str(tmp_path / "new")) == stored(path)
    assert not proof.exists()
    here(capsys, "get", path, "evil")
    assert proof.exists()
    proof.rmdir()
    here(capsys, "verify", path)
    assert proof.exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip
OTHERS = st.recursive(
    st.binary() | st.text(st.characters()) | st.floats() | st.integers() | st.complex_numbers() | st.none(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.integers() | st.text(), inner)
    | inner.map(lambda one: [one, one]) | st.frozensets(st.integers()),
)  # fmt: skip


@given(JSON, st.sampled_from([2, 3, 4, 5]))
def test_json_travels_as_json_property(value: Any, protocol: int) -> None:
    """Whatever JSON can say, pickled by any binary protocol, unless a list or dict is in it twice."""
    value = json.loads(json.dumps(value))  # where Hypothesis has put an object into it twice
    data = pickle.dumps(value, protocol)
    line = _jsonlines.to_line(UTF8, b"k", data)
    assert repr(json.loads(line)["value"]) == repr(value)
    key, bytes_, back = _jsonlines.from_line(line)
    assert (key, bytes_, repr(back)) == ("k", None, repr(value))


@given(OTHERS | JSON, st.sampled_from([0, 1, 2, 3, 4, 5]))
def test_every_value_comes_back_property(value: Any, protocol: int) -> None:
    """By value and by type where it is JSON, else by its bytes."""
    data = pickle.dumps(value, protocol)
    _, bytes_, back = _jsonlines.from_line(_jsonlines.to_line(UTF8, b"k", data))
    assert bytes_ == data or (bytes_ is None and repr(back) == repr(value))


@given(st.binary(max_size=510), st.sampled_from([UTF8, KeyCodec(None, "strict", None, 511)]))
@example(b"", KeyCodec(None, "strict", None, 511))
def test_any_bytes_come_back_property(data: bytes, codec: KeyCodec) -> None:
    """What is no pickle, as key and as value."""
    line = _jsonlines.to_line(codec, data or EMPTY, b"\x80" + data)
    key, bytes_, _ = _jsonlines.from_line(line)
    assert bytes_ == b"\x80" + data
    assert UTF8.encode(key) == (data or EMPTY)
    assert "AAAA" not in line or b"\0\0\0" in data


def nested(depth: int) -> Any:
    """A list in a list in a list …"""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
SHARED = [1]


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(CYCLE),
        pickle.dumps([SHARED, SHARED]),
        pickle.dumps({"a": SHARED, "b": {"c": SHARED}}),
        pickle.dumps(nested(300)),
        pickle.dumps({1: 2}),
        pickle.dumps({"a": {None: 2}}),
        pickle.dumps(1 << 5000),
        pickle.dumps([math.inf]),
        pickle.dumps("\ud83d\ude00"),
        pickle.dumps({"\udc00": 1}),
        pickle.dumps(1) + b"more",
        b"\x80\x05]r\xff\xff\xff\x00.",  # memory for 2**24 numbers
        b"\x80\x05.",
        b"\x80\x05]]s.",
        b"",
        b"\x80",
        b"\x80\x05\x82\x01.",  # a class by its number
    ],
)
def test_what_json_would_change_travels_as_bytes(data: bytes) -> None:
    """Identity, order of depth, numbers and text that JSON has not, and what is no pickle at all."""
    assert "value" not in json.loads(_jsonlines.to_line(UTF8, b"k", data))


def test_only_plain_pickles_are_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever names, calls or builds anything is not given to the unpickler."""

    def loads(data: bytes) -> Any:
        raise AssertionError(data)

    monkeypatch.setattr(pickle, "loads", loads)
    evil = Evil(Path("nowhere"))
    for value in (evil, [evil], {"a": evil}, (1,), b"x", bytearray(b"x"), {1}, date(2020, 1, 1), len, 1j):
        for protocol in range(6):
            assert _jsonlines.json_of(pickle.dumps(value, protocol)) is None


@given(st.text() | st.binary())
def test_keys_as_text_property(key: str | bytes) -> None:
    """On one line, of what can be printed, and back to the same key."""
    try:
        row = UTF8.encode_to_store(key)
    except (UnicodeError, ValueError):
        return
    text = _keytext.show(UTF8, row, "utf-8")
    assert text.isprintable()
    assert text
    assert UTF8.encode(_keytext.parse(text, "utf-8")) == row


# -- which store


def test_a_look_makes_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even its lock file, in a folder that is there already."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "other").write_bytes(b"no LMDB file" * 1000)
    for name in ("nothing", "folder", "empty", "other"):
        path = tmp_path / name
        looks: list[list[object]] = [
            ["info"],
            ["keys"],
            ["get", "a"],
            ["delete", "a"],
            ["dump"],
            ["backup", tmp_path / "copy"],
            ["verify"],
        ]
        for command, *more in looks:
            _, err = here(capsys, command, path, *more, status=1)
            assert name == "other" or str(path) in err
    assert sorted(os.listdir(tmp_path)) in (["empty", "folder", "other"], ["empty", "folder", "other", "other-lock"])
    assert os.listdir(tmp_path / "folder") == []
    run("keys", tmp_path / "nothing", status=1)


def test_a_data_file(open_store: OpenStore, path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that is one file is opened as one; one in a folder may be named by its file, with the folder's lock."""
    with open_store(subdir=False) as store:
        store["a"] = 1
    assert here(capsys, "get", path, "a")[0] == "1\n"
    here(capsys, "set", path, "b", "2")
    here(capsys, "backup", path, tmp_path / "copy")
    assert here(capsys, "keys", tmp_path / "copy")[0] == "a\nb\n"
    assert (tmp_path / "copy").is_file()
    here(capsys, "set", tmp_path / "folder", "a", "1")
    assert here(capsys, "keys", tmp_path / "folder" / "data.mdb")[0] == "a\n"
    assert sorted(os.listdir(tmp_path / "folder")) == ["data.mdb", "lock.mdb"]
    with open_store(path=str(tmp_path / "data.mdb"), subdir=False) as store:
        store["single"] = 1
    assert here(capsys, "keys", tmp_path / "data.mdb")[0] == "single\n"
    assert not (tmp_path / "lock.mdb").exists()


def test_a_folder_that_cannot_be_written_to(
    filled: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no lock file, and none can be made, none is needed."""
    os.unlink(os.path.join(filled, "lock.mdb"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "ada" in here(capsys, "keys", filled)[0]
    assert os.listdir(filled) == ["data.mdb"]


def test_another_serializer(
    open_store: OpenStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    path: str,
) -> None:
    """`--serializer json` reads and writes the values of such a store; their bytes travel as they are."""
    option = ("--serializer", "json")
    with open_store(serializer=json) as store:
        store["a"] = [1]
    assert here(capsys, "get", path, "a", *option)[0] == "[1]\n"
    here(capsys, "set", path, "b", '{"c": 2}', *option)
    assert here(capsys, "verify", path, *option)[0].startswith("2 values, 0 of which")
    assert "2 of which" in here(capsys, "verify", path, status=1)[0]
    lines = here(capsys, "dump", path, *option)[0]
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(lines.encode())))
    here(capsys, "load", tmp_path / "copy", *option)
    assert stored(str(tmp_path / "copy")) == stored(path) == {b"a": b"[1]", b"b": b'{"c": 2}'}
    assert "no_such" in here(capsys, "get", path, "a", "--serializer", "no_such", status=2)[1]


def test_ordered_keys(
    open_store: OpenStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    tmp_path: Path,
) -> None:
    """`--key-encoding ordered`: keys are literals of Python's, text is itself, and what has no literal is bytes."""
    keys: list[Any] = [None, b"b", "5", "ada", "0x00", ("u", (1, 2.5)), -7, 5, 1.5, True, date(2024, 5, 1)]
    ordered = ("--key-encoding", "ordered")
    with open_store(key_encoding=OrderedKeys()) as store:
        store.update((key, repr(key)) for key in keys)
        listed = list(store)
    shown = here(capsys, "keys", path, *ordered)[0].splitlines()
    assert shown[:5] == ["None", "b'b'", "'0x00'", "'5'", "ada"]
    assert "('u', (1, 2.5))" in shown
    for text, key in zip(shown, listed):
        assert here(capsys, "get", path, *ordered, "--", text)[0] == json.dumps(repr(key)) + "\n"
    here(capsys, "set", path, "('u', 9)", "1", *ordered)
    assert here(capsys, "keys", path, "--prefix", "('u',)", *ordered)[0].splitlines() == ["('u', (1, 2.5))", "('u', 9)"]
    lines = here(capsys, "dump", path, *ordered)[0]
    here(capsys, "delete", path, "5", *ordered)
    with open_store(key_encoding=OrderedKeys()) as store:
        assert store["5"] == "'5'"
        assert 5 not in store
        assert store["u", 9] == 1
        rows = dict(store)
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(lines.encode())))
    here(capsys, "load", tmp_path / "copy", *ordered)
    here(capsys, "delete", tmp_path / "copy", "5", *ordered)
    with LmdbObjectStore[Any, Any](tmp_path / "copy", key_encoding=OrderedKeys()) as store:
        assert dict(store) == rows


def test_key_encoding(open_store: OpenStore, capsys: pytest.CaptureFixture[str], path: str) -> None:
    """Keys are those of a store that is opened with it."""
    with open_store(key_encoding="latin-1") as store:
        store["ü"] = 1
    assert here(capsys, "get", path, "ü", "--key-encoding", "latin-1")[0] == "1\n"
    assert here(capsys, "keys", path, "--key-encoding", "latin-1")[0] == "ü\n"
    assert here(capsys, "keys", path)[0] == "0xfc\n"
    assert "no-such" in here(capsys, "keys", path, "--key-encoding", "no-such", status=1)[1]


# -- endings


@pytest.mark.parametrize(
    "arguments", [[], ["keys"], ["no-such"], ["keys", "db", "more"], ["keys", "db", "--limit", "-1"], ["get", "db"]]
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, and one line."""
    assert "--help" in here(capsys, *arguments, status=2)[1]


def test_a_text_without_its_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    """The message shows how a text is given."""
    assert """a text has quotes, '"Ada"'""" in here(capsys, "set", "db", "name", "Ada", status=2)[1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """That of the package."""
    assert here(capsys, "--version")[0] == f"lmdb-object-store {lmdb_object_store.__version__}\n"


def test_a_message_of_several_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is put into one."""
    assert here(capsys, "keys", tmp_path / "two\nlines", status=1)[1].endswith("two lines\n")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the whole and of each command."""
    out, _ = here(capsys, "--help")
    for command in ("info", "keys", "get", "set", "delete", "dump", "load", "backup", "verify", "import-shelve"):
        assert command in out
        assert here(capsys, command, "--help")[0].startswith(f"usage: lmdb-object-store {command}")


def test_a_value_that_cannot_be_unpickled(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the key."""
    with lmdb.open(path) as environment, environment.begin(write=True) as txn:
        txn.put(b"gone", b"cno.where\nthing\n.")
    assert "gone" in here(capsys, "get", path, "gone", status=1)[1]


@pytest.fixture
def long(open_store: OpenStore, path: str) -> str:
    """The path of a store whose keys fill any pipe."""
    with open_store() as store:
        store.update({f"{i:0100}": i for i in range(20_000)})
    return path


@pytest.mark.parametrize("command", ["keys", "dump"])
def test_a_closed_pipe_is_quiet(long: str, command: str) -> None:
    """Nothing on standard error, and the status that a shell reports of other programs then."""
    process = subprocess.Popen([*COMMAND, command, long], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ())
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(LIMIT) == 141
    process.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
@pytest.mark.parametrize("command", ["info", "dump"])
def test_output_that_cannot_be_written(long: str, command: str) -> None:
    """One line, whether it is noticed amid the command or at its end."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, command, long], stdout=full, stderr=subprocess.PIPE, text=True, env=environ(), timeout=LIMIT
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "space" in done.stderr


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")
def test_without_standard_output(filled: str) -> None:
    """What is printed goes nowhere."""
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *COMMAND, "keys", filled], stderr=subprocess.PIPE, env=environ(), timeout=LIMIT
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.posix
def test_a_full_disk(filled: str) -> None:
    """One line, with the cause, and no traceback of the log."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

    before = stored(filled)
    value = json.dumps("x" * 100_000)
    assert "changes are not stored: " in run("set", filled, "large", value, status=1, limits=limit)[1]
    lines = '{"key": "large", "value": ' + value + "}\nno\n"
    assert "changes are not stored: " in run("load", filled, given=lines, status=1, limits=limit)[1]
    assert stored(filled) == before


def interruptible() -> None:
    """Undo what a job in the background inherits."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.posix
def test_an_interrupt_of_a_load(tmp_path: Path) -> None:
    """Status 130, nothing on standard error, and what was committed stays."""
    process = subprocess.Popen(
        [*COMMAND, "load", tmp_path / "new"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environ(), preexec_fn=interruptible,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stderr is not None
    for number in range(10_001):
        process.stdin.write(b'{"key": "%d", "value": 1}\n' % number)
    process.stdin.flush()
    deadline = time.monotonic() + LIMIT
    while not (tmp_path / "new" / "data.mdb").exists() or len(stored(str(tmp_path / "new"))) < 10_000:
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT) == 130
    assert process.stderr.read() == b""
    process.stdin.close()
    process.stderr.close()
    assert len(stored(str(tmp_path / "new"))) >= 10_000


@pytest.mark.posix
def test_an_interrupt_of_a_backup(open_store: OpenStore, path: str, tmp_path: Path) -> None:
    """Status 130, and no part of the copy is left; or it was complete just before."""
    with open_store() as store:
        store.update({str(i): bytes(1 << 20) for i in range(48)})
    process = subprocess.Popen(
        [*COMMAND, "backup", path, tmp_path / "copy"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ(), preexec_fn=interruptible,
    )  # fmt: skip
    while process.poll() is None and not list(tmp_path.glob("copy.*.part/data.mdb")):
        pass
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(LIMIT) in (130, 0)
    process.stderr.close()
    assert sorted(os.listdir(tmp_path)) in (["db"], ["copy", "db"])
    if (tmp_path / "copy").exists():
        assert len(stored(str(tmp_path / "copy"))) == 48


def test_the_script_is_installed() -> None:
    """As part of the distribution, and tqdm as its extra."""
    try:
        distribution = importlib.metadata.distribution("lmdbobjectstore")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    scripts = {entry.name: entry for entry in distribution.entry_points if entry.group == "console_scripts"}
    assert scripts["lmdb-object-store"].value == "lmdb_object_store._cli:main"
    assert [need for need in distribution.requires or [] if "tqdm" in need and "cli" in need]


# -- progress


def on_terminal(*arguments: object, output: bool = False, path: str = "", status: int = 0) -> tuple[str, str]:
    """What a command prints, and what appears on the terminal that is its standard error, or with `output` both."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    shown: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(ours, 4096):
                shown.append(data)
        except OSError:  # the terminal's other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL, stdout=theirs if output else subprocess.PIPE, stderr=theirs, timeout=LIMIT,
        env=environ(PYTHONPATH=os.pathsep.join(filter(None, [path, FOUND_AT]))),
    )  # fmt: skip
    os.close(theirs)
    reader.join(LIMIT)
    os.close(ours)
    assert done.returncode == status
    return (done.stdout or b"").decode(), b"".join(shown).decode().replace("\r\n", "\n")


@pytest.mark.posix
def test_progress_on_a_terminal(long: str, tmp_path: Path) -> None:
    """A bar on standard error, which goes away at the end; the output is as without."""
    out, shown = on_terminal("dump", long)
    assert "20.0k" in shown
    assert "rows/s" in shown
    assert shown.endswith("\r")
    assert out == run("dump", long)[0]
    assert "B/s" in on_terminal("backup", long, tmp_path / "copy")[1]
    assert "rows/s" in on_terminal("verify", long)[1]
    assert stored(str(tmp_path / "copy")) == stored(long)


@pytest.mark.posix
def test_no_progress_among_the_rows(filled: str) -> None:
    """Nor any where rows are printed to a terminal themselves."""
    for command in ("dump", "keys"):
        assert on_terminal(command, filled, output=True)[1] == run(command, filled)[0]


@pytest.mark.posix
def test_progress_without_tqdm(filled: str, tmp_path: Path) -> None:
    """Where it is not installed there is none, and nothing is said of it."""
    (tmp_path / "tqdm.py").write_text("raise ImportError")
    assert on_terminal("verify", filled, path=str(tmp_path)) == ("10 values, 0 of which cannot be read\n", "")


@pytest.mark.posix
def test_failing_keys_above_the_bar(filled: str) -> None:
    """Whole lines on a terminal that shows both."""
    with lmdb.open(filled) as environment, environment.begin(write=True) as txn:
        txn.put(b"broken", b"no pickle")
    shown = on_terminal("verify", filled, output=True, status=1)[1]
    assert "\rbroken: UnpicklingError: invalid load key, 'n'.\n" in shown
    assert shown.endswith("\r11 values, 1 of which cannot be read\n")
