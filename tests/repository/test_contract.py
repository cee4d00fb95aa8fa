"""Each sentence of the contract has a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once  # it reads the tests

TESTS = Path(__file__).parents[1]
ROWS = re.findall(r"^\| (?!the contract says)([^|]+) \|([^|]*)\|$", (TESTS / "contract.md").read_text("utf-8"), re.M)


def names_in(path: Path) -> set[str]:
    """Return the names of the functions and variables of a module of tests."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    return functions | {ast.unparse(node.targets[0]) for node in body if isinstance(node, ast.Assign)}


def test_contract_has_all_its_sentences() -> None:
    """The table is read as a whole."""
    assert len(ROWS) > 50


@pytest.mark.parametrize(("sentence", "tests"), ROWS, ids=[sentence for sentence, _ in ROWS])
def test_contract_sentence_has_tests(sentence: str, tests: str) -> None:
    """Each test that a sentence names is there, and each sentence names one."""
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
    assert named, sentence
    for file, name in named:
        assert name.lower().startswith("test"), name
        assert name in names_in(TESTS / file), f"{file} has no {name}"
