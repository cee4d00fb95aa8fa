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

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What they show is in other tests: the cookbook's in test_examples.py.
WITHOUT_EXAMPLES = {"changelog.md", "cli.md", "cookbook.md", "design.md"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_examples_of_a_document(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of one document, in order, in one namespace and in a directory of their own."""
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


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.name != "cookbook.md"], ids=lambda path: path.name)
def test_commands_of_a_document(path: Path, tmp_path: Path) -> None:
    """The commands of one document, in order and in one directory, print what is shown; `…` stands for anything."""
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
def test_each_example_can_fail(path: Path) -> None:
    """Each Python block of a document is a session, whose output is compared, or an assertion stands in or after it."""
    for block in path.read_text(encoding="utf-8").split("```python\n")[1:]:
        assert block.startswith(">>> ") or "assert " in block, block


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Each link to a file of this repository leads to one."""
    for target in re.findall(r'\]\(([^)\s"]+)\)', path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target.partition("#")[0]).exists(), target
