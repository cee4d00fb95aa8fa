"""The words of comments, docstrings and headings: how none of them begins."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PLAIN = ["lmdb_object_store", "tests", "docs", "README.md", ".github"]

# A sentence that begins so leaves its subject open. "What is new?" is a question, and so is plain.
OPENER = re.compile(r"(What|Whether|Those|Who|So many|But for|As the inherited|Of)\b(?![^.\n]*\?)")

pytestmark = pytest.mark.once  # it reads the code and the documents


def texts_of_python(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring, and of each comment: lines of comments in a row are one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, text
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            alone = token.line.strip().startswith("#")
            if not (alone and line == last + 1):
                for text in token.string.split("#"):  # a second comment may follow a linter's
                    yield line, text.strip(" -")
            last = line if alone else -1


def headings_of_markdown(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each heading outside code blocks."""
    in_code = False
    for number, line in enumerate(source.splitlines(), 1):
        in_code ^= line.lstrip().startswith("```")
        if not in_code and (heading := re.match(r"#+ +(.*)", line)):
            yield number, heading[1]


def wrong_words(path: Path) -> list[str]:
    """Return the places in `path` that begin with a forbidden opener."""
    texts = texts_of_python if path.suffix == ".py" else headings_of_markdown
    found = texts(path.read_text(encoding="utf-8"))
    return [f"{path.relative_to(ROOT)}:{line}: {text[:60]}" for line, text in found if OPENER.match(text)]


def files_of(name: str) -> list[Path]:
    """Return the files of one entry of PLAIN."""
    path = ROOT / name
    return [path] if path.is_file() else sorted(file for kind in ("*.py", "*.md") for file in path.rglob(kind))


@pytest.mark.parametrize("name", PLAIN)
def test_comments_docstrings_and_headings_begin_plainly(name: str) -> None:
    """A comment, a docstring and a heading begin with their subject."""
    files = files_of(name)
    assert files
    assert [place for path in files for place in wrong_words(path)] == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""What it does."""', 1),
        ('def f():\n    """Whether it is open."""', 1),
        ("# Those of the list\nx = 1  # of course", 1),
        ("x = 1  # Who knows", 1),
        ("x = 1  # noqa: F401  # Of the caller", 1),
        ("# -- So many more", 1),
        ("# A comment.\n# What continues a line is no beginning.", 0),
        ("# What is it?\nx = '# What it is'", 0),
    ],
)
def test_texts_of_python_finds_openers(source: str, count: int) -> None:
    """Docstrings and comments are found, strings are not."""
    assert sum(bool(OPENER.match(text)) for _, text in texts_of_python(source)) == count


def test_headings_of_markdown_leaves_out_code() -> None:
    """A comment in an example is no heading."""
    source = "# Of it\n\n```python\n# What it is\n```\n\n## What is new?\n### Whether\n"
    assert [line for line, text in headings_of_markdown(source) if OPENER.match(text)] == [1, 8]
