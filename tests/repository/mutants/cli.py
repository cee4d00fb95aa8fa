"""Mutants of the command line."""

from __future__ import annotations

from mutants.mutate import Mutant

MUTANTS = {
    "_cli/jsonlines": [
        Mutant(
            "any pickle is unpickled by a dump",
            "_is_safe",
            "if code.name not in _SAFE_CODES:",
            "if False:",
            "test_cli.py",
        ),
        Mutant(
            "bytes after a pickle are dropped",
            "_is_safe",
            "end == len(data) - 1",
            "True",
            "test_json_lines.py",
        ),
        Mutant(
            "memory for any number",
            "_is_safe",
            "if code.name == 'LONG_BINPUT' and (argument or 0) > len(data):",
            "if False:",
            "test_json_lines.py",
        ),
        Mutant(
            "shared lists are doubled by a dump",
            "is_json",
            "id(item) in seen",
            "False",
            "test_json_lines.py",
        ),
        Mutant(
            "depth without an end",
            "is_json",
            "depth == _MAX_DEPTH",
            "False",
            "test_json_lines.py",
        ),
        Mutant(
            "keys of any type are JSON",
            "is_json",
            "kind is dict and (not all(type(key) is str for key in item))",
            "False",
            "test_json_lines.py",
        ),
        Mutant(
            "lone surrogates are JSON",
            "is_json",
            "not item.isascii()",
            "False",
            "test_cli.py",
        ),
        Mutant(
            "infinity is JSON",
            "is_json",
            "if item - item != 0:",
            "if False:",
            "test_cli.py",
        ),
        Mutant(
            "any number is JSON",
            "is_json",
            "if item.bit_length() > _MAX_INT_BITS:",
            "if False:",
            "test_json_lines.py",
        ),
        Mutant(
            "the stand-in of the empty key is dumped",
            "to_line",
            "codec.to_bytes(stored)",
            "stored",
            "test_json_lines.py",
        ),
        Mutant(
            "a line with more than a row",
            "from_line",
            "len(names) != 2",
            "False",
            "test_cli.py",
        ),
        Mutant(
            "any JSON is a key",
            "from_line",
            "if not isinstance(key, (str, bytes)):",
            "if False:",
            "test_cli.py",
        ),
        Mutant(
            "base64 is not checked",
            "_bytes",
            "base64.b64decode(text, validate=True)",
            "base64.b64decode(text)",
            "test_cli.py",
        ),
        Mutant(
            "NaN is JSON",
            "loads",
            "json.loads(text, parse_constant=_refuse)",
            "json.loads(text, parse_constant=float)",
            "test_cli.py",
        ),
    ],
    "_cli/keytext": [
        Mutant(
            "what is shown is another key's text",
            "show",
            "_stored(codec, parse(text, key_encoding)) == stored",
            "True",
            "test_cli.py",
        ),
        Mutant(
            "keys on several lines",
            "show",
            "text.isprintable()",
            "True",
            "test_cli.py",
        ),
        Mutant(
            "bytes in hexadecimal go through the encoding",
            "parse",
            "StoredKey(bytes.fromhex(text[len(_HEX):]))",
            "bytes.fromhex(text[len(_HEX):])",
            "test_cli.py",
        ),
        Mutant(
            "ordered keys are text",
            "parse",
            "if isinstance(key_encoding, OrderedKeys):",
            "if False:",
            "test_cli.py",
        ),
    ],
    "_cli/progress": [
        Mutant(
            "a bar among the rows",
            "progress",
            "beside_output or not _is_terminal(sys.stdout)",
            "True",
            "test_cli_endings.py",
        ),
        Mutant(
            "a bar in a file",
            "progress",
            "_is_terminal(sys.stderr)",
            "True",
            "test_cli.py",
        ),
    ],
    "_cli/commands": [
        Mutant(
            "info counts the commits of its own store",
            "info",
            'if name not in {"commits", "changes"}:',
            "if True:",
            "test_cli.py",
        ),
        Mutant(
            "verify reports pages that were used again",
            "verify",
            "not has_locks(store.env)",
            "False",
            "test_containers.py",
        ),
        Mutant(
            "a look makes a store",
            "_data_file",
            "if not os.path.isfile(file) or not os.path.getsize(file):",
            "if False:",
            "test_cli.py",
        ),
        Mutant(
            "a look at an empty file",
            "_data_file",
            "not os.path.getsize(file)",
            "False",
            "test_cli.py",
        ),
        Mutant(
            "delete makes a store",
            "delete",
            "_data_file(arguments.path)",
            "",
            "test_cli.py",
        ),
        Mutant(
            "a look makes a lock file",
            "_open_to_read",
            """
            LmdbObjectStore(
                where, key_encoding=key_encoding, serializer=serializer, readonly=True, subdir=subdir, lock=lock
            )
            """,
            "LmdbObjectStore(where, key_encoding=key_encoding, serializer=serializer, readonly=True, subdir=subdir)",
            "test_cli.py",
        ),
        Mutant(
            "a last flush that fails is silent",
            "_open_to_write",
            "store.close(strict=True)",
            "store.close()",
            "test_cli_endings.py",
        ),
        Mutant(
            "a structure checked without a snapshot",
            "verify",
            "problems = verify.verify(_data_file(arguments.path), subdir=False)",
            """
            snapshot.abort()
            problems = verify.verify(_data_file(arguments.path), subdir=False)
            """,
            "test_cli.py",
        ),
        Mutant("values of a damaged file are read", "verify", "if problems:", "if False:", "test_cli.py"),
        Mutant(
            "failing values do not count",
            "verify",
            "1 if failed else 0",
            "0",
            "test_cli.py",
        ),
        Mutant(
            "what is no shelf is imported",
            "import_shelve",
            "if not data.endswith(b'.'):",
            "if False:",
            "test_cli.py",
        ),
        Mutant(
            "an interrupted backup is left by the command",
            "backup",
            "discard(part)",
            "",
            "test_cli_endings.py",
        ),
        Mutant(
            "a failed backup succeeds",
            "backup",
            "for error in errors:\n    raise error",
            "",
            "test_cli.py",
        ),
    ],
    "_cli/main": [
        Mutant(
            "a closed pipe is an error",
            "main",
            "except BrokenPipeError:",
            "except ArithmeticError:",
            "test_cli_endings.py",
        ),
        Mutant(
            "output lost at the end",
            "_flushed",
            "print(end='', flush=True)",
            "",
            "test_cli_endings.py",
        ),
        Mutant(
            "an interrupt is a traceback",
            "main",
            "except KeyboardInterrupt:",
            "except ZeroDivisionError:",
            "test_cli_endings.py",
        ),
        Mutant(
            "the usage with each error",
            "_Parser.error",
            "def error(self, message: str) -> NoReturn:",
            "def error_(self, message: str) -> NoReturn:",
            "test_cli.py",
        ),
        Mutant(
            "the cause is not printed",
            "_message",
            "isinstance(error, FlushError)",
            "False",
            "test_cli_endings.py",
        ),
        Mutant(
            "messages of several lines",
            "_message",
            "' '.join(str(error).split())",
            "str(error)",
            "test_cli_endings.py",
        ),
    ],
}
