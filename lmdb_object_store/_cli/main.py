"""The command line: its arguments, its errors and its exit status. `commands` has the commands themselves."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from .. import __version__
from .._errors import FlushError
from . import commands, jsonlines, keytext

_NAME = "lmdb-object-store"

# Exit statuses of a program that an interrupt or a closed pipe ended, as a shell reports them.
_INTERRUPTED, _PIPE_CLOSED = 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. By default the arguments are those of the process.

    The status is 0, or 2 for wrong arguments. It is 1 if the command failed, with one line on standard error.
    """
    try:
        return _flushed(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return _PIPE_CLOSED
    except Exception as error:
        try:
            print(end="", flush=True)
        except (OSError, ValueError):
            _drop_output()
        if sys.stderr is not None:  # None: the process was started without it
            print(f"{_NAME}: {_message(error)}", file=sys.stderr)
        return 1


def _flushed(arguments: Sequence[str] | None) -> int:
    if hasattr(sys.stdout, "reconfigure"):  # the terminal may lack a character of a value's repr
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as end:  # argparse has printed a message, or the help
        status = end.code
    else:
        status = options.run(options)
    print(end="", flush=True)
    return int(status or 0)


def _drop_output() -> None:
    """Discard the output that is still buffered. At its exit the interpreter would fail to write it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _message(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, FlushError) and error.__cause__ is not None:
        return f"{text}: {_message(error.__cause__)}"
    return text or type(error).__name__


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # The inherited method would print the usage as well.
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"not a number of keys: {text!r}")
    return int(text)


def _serializer(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _json(text: str) -> Any:
    try:
        return jsonlines.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON, in which a text has quotes, '\"Ada\"': {error}") from None


_ARGUMENTS: dict[str, dict[str, Any]] = {
    "PATH": {"help": "the store: its directory, or its data file"},
    "KEY": {"help": "text, or 0x and the key's bytes in hexadecimal"},
    "JSON": {"help": "the value", "type": _json},
    "TARGET": {"help": "the copy, which must not exist yet"},
    "OLD": {"help": "the shelf, as shelve.open names it"},
    "NEW": {"help": "the store; made if there is none"},
}


def _parser() -> _Parser:
    parser = _Parser(prog=_NAME, description="Look into, change, copy and check a store of Python objects.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subcommands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(run: Callable[[Any], int | None], usage: str, text: str) -> _Parser:
        name, *arguments = usage.split()
        added = subcommands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        added.set_defaults(run=run)
        for argument in arguments:
            added.add_argument(argument.lower(), metavar=argument, **_ARGUMENTS[argument])
        if run not in (commands.info, commands.backup):
            text = "the encoding of text keys (default: utf-8), or `ordered` for OrderedKeys()"
            kind = keytext.encoding
            added.add_argument("--key-encoding", default="utf-8", metavar="NAME", type=kind, help=text)
        if run in (commands.get, commands.set_, commands.dump, commands.load, commands.verify):
            text = "the module that the store was opened with as `serializer` (default: pickle)"
            added.add_argument("--serializer", default=pickle, metavar="MODULE", type=_serializer, help=text)
        return added

    command(commands.info, "info PATH", "figures of the store; unpickles nothing")
    keys = command(commands.keys, "keys PATH", "list the keys in order; unpickles nothing")
    keys.add_argument("--prefix", metavar="P", help="only keys that begin with this, which is given as KEY is")
    keys.add_argument("--limit", metavar="N", type=_count, help="at most N keys")

    command(commands.get, "get PATH KEY", "print a value, which is unpickled: as JSON if it is, else its repr")
    command(commands.set_, "set PATH KEY JSON", "store a value; makes the store if there is none")
    command(commands.delete, "delete PATH KEY", "delete a key")
    command(commands.dump, "dump PATH", "print all rows as lines of JSON; runs no code of theirs")
    command(
        commands.load, "load PATH", "store the rows of a dump from standard input; makes the store if there is none"
    )
    backup = command(commands.backup, "backup PATH TARGET", "copy the store, also while others write to it")
    backup.add_argument("--no-compact", dest="compact", action="store_false", help="copy free pages too")
    command(commands.verify, "verify PATH", "check the file, then unpickle every value; list the keys that fail")
    command(commands.import_shelve, "import-shelve OLD NEW", "store the items of a shelf; unpickles nothing")
    return parser
