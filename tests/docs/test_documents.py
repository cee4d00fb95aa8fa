"""Every example of the README and of docs/ runs, and gives what it shows."""

from __future__ import annotations

import doctest
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Document
from sybil.parsers.markdown import PythonCodeBlockParser

pytestmark = pytest.mark.once  # the documents are the same with each Python

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / ".github").glob("*.md"))]
# The cookbook's are in test_examples.py, the command line's in test_cli.py.
WITHOUT_EXAMPLES = {
    "changelog.md",
    "cli.md",
    "cookbook.md",
    "comparison.md",
    "design.md",
    "reference.md",
    "SECURITY.md",
}
PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">\s*<img alt="[^"]+" src="([^"]+)">'
    r"\s*</picture>"
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_examples_give_what_they_show(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each document's examples run in order, in one namespace and in a directory of their own."""
    monkeypatch.chdir(tmp_path)
    on_termination = signal.getsignal(signal.SIGTERM)
    document = Document.parse(str(path), PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS))
    examples = list(document)
    assert bool(examples) == (path.name not in WITHOUT_EXAMPLES)
    document.namespace["__name__"] = "__main__"
    try:
        for example in examples:
            example.evaluate()
    finally:
        signal.signal(signal.SIGTERM, on_termination)


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.name != "cookbook.md"], ids=lambda path: path.name)
def test_document_commands_print_what_they_show(path: Path, tmp_path: Path) -> None:
    """Each document's commands, run in order in one directory, print what is shown; `…` stands for anything."""
    blocks = path.read_text(encoding="utf-8").split("```console\n")[1:]
    assert bool(blocks) == (path.name in {"README.md", "cli.md"})
    program = tmp_path / "bin" / "lmdb-object-store"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lmdb_object_store "$@"\n')
    program.chmod(0o755)
    places = os.pathsep.join([str(program.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    examples = re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", "".join(block.partition("```")[0] for block in blocks), re.M)
    environment = {**os.environ, "PATH": places, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for command, shown in examples:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, text=True, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert re.fullmatch(re.escape(shown).replace("…", ".*"), done.stdout), f"{command}: {done.stdout}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_example_can_fail(path: Path) -> None:
    """Each Python block of a document is a session, whose output is compared, or an assertion stands in or after it."""
    for block in path.read_text(encoding="utf-8").split("```python\n")[1:]:
        assert block.startswith(">>> ") or "assert " in block, block


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_link_leads_to_a_file(path: Path) -> None:
    """Each link to a file of this repository leads to one."""
    for target in re.findall(r'\]\(([^)\s"]+)\)', path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_picture_has_files_for_both_themes(path: Path) -> None:
    """Each picture has a file for a light and one for a dark page, with one chart."""
    for dark, light in PICTURE.findall(text := path.read_text(encoding="utf-8")):
        assert dark == light.replace("-light.svg", "-dark.svg") != light
        assert (path.parent / dark).is_file()
        assert (path.parent / light).is_file()
    assert len(PICTURE.findall(text)) == text.count("<picture>\n") == text.count("<img ")


def test_comparison_has_the_figures_of_the_results() -> None:
    """Each row of the comparison by speed is in the benchmark's first table, with the same figures."""
    compared = rows_of_a_table(ROOT / "docs" / "comparison.md", "| workload |")
    measured = rows_of_a_table(ROOT / "docs" / "benchmarks" / "results.md", "| workload |")
    assert len(compared) > 5
    for label, figures in compared.items():
        assert figures == {system: measured[label][system] for system in figures}, label


def rows_of_a_table(path: Path, start: str) -> dict[str, dict[str, str]]:
    """Return the rows of the first table that begins with `start`, by their first cell."""
    lines = path.read_text(encoding="utf-8").partition(start)[2].partition("\n\n")[0].splitlines()
    heads, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(heads, row[1:])) for row in rows}
