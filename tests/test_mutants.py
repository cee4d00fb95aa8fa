"""The list of mutants fits the code as it stands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mutants import MUTANTS, PACKAGE, Mutant, apply

pytestmark = pytest.mark.once  # it reads the code of the package


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_the_code_and_leaves_it_python(mutant: Mutant, tmp_path: Path) -> None:
    """What a mutant replaces stands in the code exactly once, and what comes of it compiles."""
    shutil.copytree(PACKAGE, tmp_path / "package")
    apply(mutant, tmp_path / "package")
    compile((tmp_path / "package" / f"{mutant.module}.py").read_text(), mutant.module, "exec")
