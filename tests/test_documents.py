"""Every example of the README and of docs/ runs, and gives what it shows."""

from __future__ import annotations

import doctest
import re
import signal
from pathlib import Path

import pytest
from sybil import Document
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITHOUT_EXAMPLES = {"changelog.md", "cookbook.md", "design.md"}  # the cookbook's are in test_examples.py


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
