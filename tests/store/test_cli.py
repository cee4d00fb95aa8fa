"""The commands of the command line, as a user runs them: `python -m lmdb_object_store`."""

from __future__ import annotations

import dbm.dumb
import json
import os
import pickle
import shelve
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.commands import COMMAND, LIMIT, Evil, environ, fill, here, run, stored
from support.files import contents
from support.threads import looping

from lmdb_object_store import LmdbObjectStore, OrderedKeys
from lmdb_object_store._environment import registry

EMPTY = b"\0" * 511


@pytest.fixture
def filled(store: LmdbObjectStore[Any, Any]) -> str:
    """Return the path of a closed store with values and keys of all kinds."""
    return fill(store)


# -- the commands, one by one


def test_info_prints_the_figures_of_stats(filled: str) -> None:
    """Each figure of stats() has a line, except the commits and changes of the command's own store."""
    out, _ = run("info", filled)
    with LmdbObjectStore[Any, Any](filled, readonly=True) as store:
        stats = store.stats()
    figures = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert figures.pop("path") == filled
    assert figures == {name: str(value) for name, value in vars(stats).items() if name not in {"commits", "changes"}}
    assert figures["entries"] == "10"


def test_keys_prints_a_line_for_each_key(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Keys come in order, on a line each. Keys that are no printable text are hexadecimal."""
    names = ["0x", "0x30783431", "ada", "alan", "day", "half", "nan", "pair", "0x74776f0a6c696e6573", "0xff"]
    assert run("keys", filled)[0].splitlines() == names
    assert here(capsys, "keys", filled, "--prefix", "a")[0] == "ada\nalan\n"
    assert here(capsys, "keys", filled, "--prefix", "0x61", "--limit", "1")[0] == "ada\n"
    assert here(capsys, "keys", filled, "--limit", "0")[0] == ""
    assert here(capsys, "keys", filled, "--prefix", "zz")[0] == ""


def test_get_prints_json_or_the_repr(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A value is printed as JSON if possible, else as its repr."""
    assert json.loads(run("get", filled, "alan")[0]) == [1, 2.5, None, True, "ü"]
    answers = {"ada": '{"born": 1815}', "pair": "(1, 2)", "day": "datetime.date(2020, 1, 1)", "nan": "nan"}
    answers.update({"0x": "3", "0x74776f0a6c696e6573": "1", "0x30783431": "2", "0xff": "4", "": "3"})
    for key, answer in answers.items():
        assert here(capsys, "get", filled, key) == (answer + "\n", "")
    assert run("get", filled, "half") == ("'\\ud83d'\n", "")
    assert run("get", filled, "nobody", status=1)[1] == "lmdb-object-store: Key not found: 'nobody'\n"


def test_set_and_delete_change_the_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
def test_set_value_that_is_not_json_is_refused(tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The status is 2, as for all wrong arguments, and no store is made."""
    assert "JSON" in here(capsys, "set", tmp_path / "new", "a", value, status=2)[1]
    assert not (tmp_path / "new").exists()


def test_dump_and_load_through_a_pipe_keep_every_value(filled: str, tmp_path: Path) -> None:
    """A JSON value comes back as an equal value, any other with the same bytes."""
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


def test_load_into_a_store_keeps_other_keys(filled: str) -> None:
    """A load writes items one by one, and ignores empty lines."""
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
def test_load_line_that_cannot_be_loaded_is_named(
    tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the line, and what comes before it is stored."""
    (tmp_path / "dump").write_text(f'{{"key": "a", "value": 1}}\n{line}\n{{"key": "c", "value": 1}}\n')
    with (tmp_path / "dump").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        _, err = here(capsys, "load", tmp_path / "new", status=1)
    assert err.startswith("lmdb-object-store: line 2: ")
    assert contents(str(tmp_path / "new")) == {"a": 1}


def test_backup_copies_all_rows(filled: str, tmp_path: Path) -> None:
    """The copy has the same rows. An existing target is left alone."""
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


def test_verify_counts_values_and_names_those_that_fail(filled: str, path: str) -> None:
    """The status is 0 with a count if all values are readable, else 1 with the failing keys."""
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


def test_verify_of_a_damaged_file_reads_no_value(
    open_store: OpenStore, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The problems of the structure are printed, and no value is read."""
    with open_store() as store:
        store.update({f"k{i:04}": i for i in range(1000)})
        page = store.stats().page_bytes
    with open(os.path.join(path, "data.mdb"), "r+b") as file:
        file.seek(3 * page + 16)
        file.write(b"\xff" * 64)
    out, _ = here(capsys, "verify", path, status=1)
    assert "page" in out
    assert out.endswith("the file is damaged, and its values were not read\n")


def test_verify_beside_a_writer_sees_one_moment(store: LmdbObjectStore[str, Any], path: str) -> None:
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


def test_verify_holds_a_snapshot_while_it_checks(
    filled: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader is registered during the check, so that no writer uses its pages again."""

    def check(file: str, subdir: bool) -> list[str]:
        (environment,) = registry.all_environments()
        lines = environment.handle().readers().splitlines()[1:]  # process, thread, and "-" or a transaction
        readers.append([line.split()[0] for line in lines if line.split()[2] != "-"])
        return []

    readers: list[list[str]] = []
    monkeypatch.setattr("lmdb.verify.verify", check)
    here(capsys, "verify", filled)
    assert readers == [[str(os.getpid())]]


def dumb(path: str) -> shelve.Shelf[Any]:
    """Make a shelf in the format that every Python has."""
    return shelve.Shelf(dbm.dumb.open(path, "c"))  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [shelve.open, dumb])
def test_import_shelve_copies_all_items(tmp_path: Path, make: Callable[[str], Any]) -> None:
    """All items are copied with the shelf's bytes, and nothing is unpickled."""
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


def test_import_shelve_of_another_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command reports an error, and makes no store if the shelf is missing."""
    here(capsys, "import-shelve", tmp_path / "nothing", tmp_path / "new", status=1)
    assert os.listdir(tmp_path) == []
    with dbm.dumb.open(str(tmp_path / "old"), "c") as other:
        other["a"] = "text"
    assert "no shelf" in here(capsys, "import-shelve", tmp_path / "old", tmp_path / "new", status=1)[1]


# -- nothing is unpickled where it is said


def test_commands_but_get_and_verify_unpickle_nothing(
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


# -- which store


def test_commands_that_read_make_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No lock file is made either, in an existing folder."""
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


def test_commands_on_a_data_file_open_its_store(
    open_store: OpenStore, path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_commands_in_a_folder_that_cannot_be_written_to_read(
    filled: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock file that is missing and cannot be made is not needed."""
    os.unlink(os.path.join(filled, "lock.mdb"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "ada" in here(capsys, "keys", filled)[0]
    assert os.listdir(filled) == ["data.mdb"]


def test_command_reads_a_link_to_a_store_with_its_locks(
    open_store: OpenStore,
    path: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lock file of a single file is beside the file that a link leads to, also if no folder can be written to."""
    with open_store(subdir=False) as store:
        store["a"] = 1
    link = tmp_path / "link"
    link.symlink_to(path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert here(capsys, "keys", link)[0] == "a\n"
    assert not caplog.records  # "open without locks" otherwise


def test_serializer_json_reads_and_writes_such_a_store(
    open_store: OpenStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    path: str,
) -> None:
    """`--serializer json` reads and writes the values of a JSON store. Their bytes travel unchanged."""
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


def test_key_encoding_ordered_takes_literals(
    open_store: OpenStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    tmp_path: Path,
) -> None:
    """Keys are Python literals under `--key-encoding ordered`. Text is itself, and keys without a literal are bytes."""
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


def test_key_encoding_gives_the_keys_of_such_a_store(
    open_store: OpenStore, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    """Keys are printed as a store with that encoding gives them."""
    with open_store(key_encoding="latin-1") as store:
        store["ü"] = 1
    assert here(capsys, "get", path, "ü", "--key-encoding", "latin-1")[0] == "1\n"
    assert here(capsys, "keys", path, "--key-encoding", "latin-1")[0] == "ü\n"
    assert here(capsys, "keys", path)[0] == "0xfc\n"
    assert "no-such" in here(capsys, "keys", path, "--key-encoding", "no-such", status=1)[1]
