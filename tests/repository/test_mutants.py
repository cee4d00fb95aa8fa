"""The mutants fit the code as it stands."""

from __future__ import annotations

import ast
from collections import Counter

import pytest
from mutants.layers import LAYERS
from mutants.mutate import Mutant, mutated
from run_mutants import PACKAGE, find

pytestmark = pytest.mark.once  # it reads the code of the package

SOURCE = """\
class Store:
    def put(self, key):  # a comment
        if self.closed or not key:
            raise ValueError('no')
        elif (self.full and
              key):
            self.flush()
            self.flush(key)
        for end in "\\0", "ü": self.add(-(key + end))

        def inner():
            return self.closed
"""


@pytest.mark.parametrize("module", [module for modules in LAYERS.values() for module in modules])
def test_mutants_of_a_module_apply_once_and_compile(module: str) -> None:
    """Each mutant finds its code once, changes the syntax tree and leaves it Python. Its file of tests is there."""
    source = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
    tree = ast.dump(ast.parse(source))
    for modules in LAYERS.values():
        for mutant in modules.get(module, []):
            bug = ast.parse(mutated(source, mutant))
            assert ast.dump(bug) != tree, mutant.name
            compile(bug, mutant.name, "exec")
            if mutant.tests:
                find(mutant.tests)


def test_names_of_mutants_are_unique() -> None:
    """A name stands for one mutant."""
    names = Counter(mutant.name for modules in LAYERS.values() for mutants in modules.values() for mutant in mutants)
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize(
    ("old", "new", "before", "after"),
    [
        ("self.closed or not key", "True", "if self.closed or not key:", "if (True):"),
        ("if self.full and key:", "if key:", "elif (self.full and\n              key):\n", "elif key:\n"),
        ("self.flush()", "", "            self.flush()\n", "            pass\n"),
        (
            "self.flush()\nself.flush(key)",
            "a()\nb()",
            "self.flush()\n            self.flush(key)",
            "a()\n            b()",
        ),
        ("key + end", "key - end", "-(key + end)", "-((key - end))"),
        ('"ü"', "1", '"ü"', "(1)"),
        ('raise ValueError("no")', "pass", "raise ValueError('no')", "pass"),
        ("def put(self, key):", "def take(self, key):", "def put(self, key):  # a comment\n", "def take(self, key):\n"),
    ],
)
def test_mutated_replaces_code_and_nothing_else(old: str, new: str, before: str, after: str) -> None:
    """Expressions, statements and first lines are found by their syntax, and the rest of the text stays."""
    assert SOURCE.count(before) == 1
    assert mutated(SOURCE, Mutant("", "Store", old, new)) == SOURCE.replace(before, after)


@pytest.mark.parametrize(
    ("function", "old"),
    [("Store.put", "self.closed"), ("Store.put", "self.open"), ("Store.take", "self.full"), ("", "if key:")],
)
def test_mutated_refuses_code_that_does_not_occur_once(function: str, old: str) -> None:
    """Code that occurs twice or not at all, inner functions included, is an error; so is an unknown function."""
    with pytest.raises(ValueError, match=r"occurs [02] times"):
        mutated(SOURCE, Mutant("", function, old, "1"))


def test_mutated_finds_inner_functions() -> None:
    """A qualified name leads to a function within a function."""
    assert "return (1)" in mutated(SOURCE, Mutant("", "Store.put.inner", "self.closed", "1"))
