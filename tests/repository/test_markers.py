"""The marks of the tests are complete."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once  # it reads the tests

TESTS = Path(__file__).parents[1]
# Names and helpers of the tests that need `fork` or a signal of POSIX.
POSIX = re.compile(
    r"\b(fork|in_child|Child|SIGKILL|SIGINT|SIGALRM|SIGUSR1|setitimer|resource|on_terminal|interruptible)\b|status=-"
)


def is_marked(node: ast.FunctionDef, module: ast.Module) -> bool:
    """Return True if the test, one of its cases or its whole module is marked `posix`."""
    of_module = [each for each in module.body if ast.unparse(each).startswith("pytestmark = ")]
    return any("mark.posix" in ast.unparse(mark) for mark in [*node.decorator_list, *of_module])


def test_posix_is_marked_where_a_test_uses_it() -> None:
    """A test whose code names `fork` or a POSIX signal is marked, since it would fail on Windows."""
    unmarked = []
    for path in sorted(TESTS.rglob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        for node in module.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                code = node.body[1:] if ast.get_docstring(node) else node.body
                if POSIX.search("\n".join(map(ast.unparse, code))) and not is_marked(node, module):
                    unmarked.append(f"{path.name}::{node.name}")
    assert unmarked == []
