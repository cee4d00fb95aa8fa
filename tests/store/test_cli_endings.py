"""Ends of a command: wrong arguments, a closed pipe, a full disk, an interrupt; its progress bar."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import OpenStore
from support.commands import COMMAND, FOUND_AT, LIMIT, environ, fill, here, run, stored

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore


@pytest.fixture
def filled(store: LmdbObjectStore[Any, Any]) -> str:
    """Return the path of a closed store with values and keys of all kinds."""
    return fill(store)


# -- endings


@pytest.mark.parametrize(
    "arguments", [[], ["keys"], ["no-such"], ["keys", "db", "more"], ["keys", "db", "--limit", "-1"], ["get", "db"]]
)
def test_command_with_wrong_arguments_ends_with_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with one line and status 2."""
    assert "--help" in here(capsys, *arguments, status=2)[1]


def test_set_text_without_quotes_shows_how_text_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    """The message shows how a text is given."""
    assert """a text has quotes, '"Ada"'""" in here(capsys, "set", "db", "name", "Ada", status=2)[1]


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is the package's."""
    assert here(capsys, "--version")[0] == f"lmdb-object-store {lmdb_object_store.__version__}\n"


def test_command_message_of_several_lines_is_put_into_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines are joined."""
    assert here(capsys, "keys", tmp_path / "two\nlines", status=1)[1].endswith("two lines\n")


def test_help_describes_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of the program and of each command is described."""
    out, _ = here(capsys, "--help")
    for command in ("info", "keys", "get", "set", "delete", "dump", "load", "backup", "verify", "import-shelve"):
        assert command in out
        assert here(capsys, command, "--help")[0].startswith(f"usage: lmdb-object-store {command}")


def test_get_value_that_cannot_be_unpickled_names_its_key(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints one line that names the key."""
    with lmdb.open(path) as environment, environment.begin(write=True) as txn:
        txn.put(b"gone", b"cno.where\nthing\n.")
    assert "gone" in here(capsys, "get", path, "gone", status=1)[1]


@pytest.fixture
def long(open_store: OpenStore, path: str) -> str:
    """Return the path of a store whose keys fill any pipe."""
    with open_store() as store:
        store.update({f"{i:0100}": i for i in range(20_000)})
    return path


@pytest.mark.parametrize("command", ["keys", "dump"])
def test_command_on_a_closed_pipe_is_quiet(long: str, command: str) -> None:
    """Nothing is on standard error, and the status is the one that a shell reports of other programs."""
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
def test_command_whose_output_cannot_be_written_says_so(long: str, command: str) -> None:
    """The command prints one line, whether the error comes early or at its end."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, command, long], stdout=full, stderr=subprocess.PIPE, text=True, env=environ(), timeout=LIMIT
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "space" in done.stderr


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")
def test_command_without_standard_output_works(filled: str) -> None:
    """The output is dropped."""
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *COMMAND, "keys", filled], stderr=subprocess.PIPE, env=environ(), timeout=LIMIT
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.posix
def test_set_and_load_on_a_full_disk_say_so(filled: str) -> None:
    """The command prints one line with the cause, and no traceback of the log."""
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
    """Undo the settings that a job in the background inherits."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.posix
def test_load_that_is_interrupted_keeps_what_was_committed(tmp_path: Path) -> None:
    """The status is 130, nothing is on standard error, and committed items stay."""
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
def test_backup_that_is_interrupted_leaves_no_part(open_store: OpenStore, path: str, tmp_path: Path) -> None:
    """The status is 130, and no part of the copy is left; or it was complete just before."""
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


def test_script_is_installed_with_the_package() -> None:
    """The script is part of the distribution, and tqdm is its extra."""
    try:
        distribution = importlib.metadata.distribution("lmdbobjectstore")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    scripts = {entry.name: entry for entry in distribution.entry_points if entry.group == "console_scripts"}
    assert scripts["lmdb-object-store"].value == "lmdb_object_store._cli.main:main"
    assert [need for need in distribution.requires or [] if "tqdm" in need and "cli" in need]


# -- progress


def on_terminal(*arguments: object, output: bool = False, path: str = "", status: int = 0) -> tuple[str, str]:
    """Return the output of a command, and what appears on its terminal: standard error, or with `output` both."""
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
def test_progress_on_a_terminal_is_a_bar(long: str, tmp_path: Path) -> None:
    """The bar is on standard error and is removed at the end. The output is the same as without a bar."""
    out, shown = on_terminal("dump", long)
    assert "20.0k" in shown
    assert "rows/s" in shown
    assert shown.endswith("\r")
    assert out == run("dump", long)[0]
    assert "B/s" in on_terminal("backup", long, tmp_path / "copy")[1]
    assert "rows/s" in on_terminal("verify", long)[1]
    assert stored(str(tmp_path / "copy")) == stored(long)


@pytest.mark.posix
def test_progress_among_printed_rows_is_not_shown(filled: str) -> None:
    """Rows printed to a terminal leave no place for a bar."""
    for command in ("dump", "keys"):
        assert on_terminal(command, filled, output=True)[1] == run(command, filled)[0]


@pytest.mark.posix
def test_progress_without_tqdm_is_not_shown(filled: str, tmp_path: Path) -> None:
    """Without tqdm there is no bar, and no message about it."""
    (tmp_path / "tqdm.py").write_text("raise ImportError")
    assert on_terminal("verify", filled, path=str(tmp_path)) == ("10 values, 0 of which cannot be read\n", "")


@pytest.mark.posix
def test_progress_with_failing_keys_prints_them_above_the_bar(filled: str) -> None:
    """The lines stay whole on a terminal that shows both."""
    with lmdb.open(filled) as environment, environment.begin(write=True) as txn:
        txn.put(b"broken", b"no pickle")
    shown = on_terminal("verify", filled, output=True, status=1)[1]
    assert "\rbroken: UnpicklingError: invalid load key, 'n'.\n" in shown
    assert shown.endswith("\r11 values, 1 of which cannot be read\n")
