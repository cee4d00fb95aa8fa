"""The imports of the package: each layer imports only layers below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lmdb_object_store

PACKAGE = Path(lmdb_object_store.__file__).parent

# From the lowest layer to the highest. Layers of one line do not import each other.
LINE = [
    {"_errors"},
    {"_keys"},
    {"_values"},
    {"_environment"},
    {"_buffer"},
    {"_transactions", "_mapping"},
    {"_store", "_lifecycle"},
    {"_shelve"},
    {"_cli"},
    {"__init__", "__main__"},
]
# `_store` uses `_lifecycle`. `open` and the version are asked for when a command runs.
ALLOWED = {("_store", "_lifecycle"), ("_cli", "__init__"), ("__main__", "__init__")}

PLACE = {name: number for number, names in enumerate(LINE) for name in names}

pytestmark = pytest.mark.once  # it reads the code of the package


def layer_of(parts: tuple[str, ...]) -> str:
    """Return the layer of a module: its folder, or its own name at the root of the package."""
    return parts[0] if parts else "__init__"


def modules() -> list[Path]:
    """Return the modules of the package, the `__init__.py` of its folders included."""
    return sorted(PACKAGE.rglob("*.py"))


def imports_of(source: str, module: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield what `module` imports from its own package, wherever in the code the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(("lmdb_object_store", *module[: len(module) - node.level]))
            origin = f"{base}.{node.module}" if node.module else base
            names = [f"{origin}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == "lmdb_object_store":
                yield tuple(rest) if rest and rest[0] in PLACE else ()


def wrong_imports(source: str, module: tuple[str, ...]) -> list[str]:
    """Return the imports of `module` that do not point to a lower layer."""
    here = layer_of(module)
    found = []
    for target in imports_of(source, module):
        there = layer_of(target)
        if there not in (here, "__init__") and PLACE[there] >= PLACE[here] and (here, there) not in ALLOWED:
            found.append(f"{'.'.join(module)} imports {'.'.join(target)}")
        if there == "__init__" and here != "__init__" and (here, there) not in ALLOWED:
            found.append(f"{'.'.join(module)} imports the package itself")
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_module_imports_lower_layers_alone(path: Path) -> None:
    """A module imports its own folder and layers below it, also inside functions and for type checkers."""
    module = path.relative_to(PACKAGE).with_suffix("").parts
    assert wrong_imports(path.read_text(), module) == []


@pytest.mark.parametrize(
    "source",
    [
        "from .._buffer.flush import FlushMixin",
        "def late():\n    from .._store import LmdbObjectStore",
        "import lmdb_object_store._cli.main",
        "from lmdb_object_store._mapping import keyed",
        "from ..import _lifecycle",
        "from .. import __version__",
    ],
)
def test_wrong_imports_of_a_wrong_module_finds_them(source: str) -> None:
    """An import that points upwards is found, in whatever form it is written."""
    assert wrong_imports(source, ("_environment", "read"))


def test_line_names_every_layer() -> None:
    """Each folder and each module at the root has its place in the line."""
    names = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("_*/__init__.py")}
    assert names == set().union(*LINE)


def test_folders_export_nothing() -> None:
    """The `__init__.py` of a folder holds a docstring alone, so that late imports stay late."""
    for path in PACKAGE.glob("_*/__init__.py"):
        assert all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body), path


def test_modules_have_at_most_300_lines() -> None:
    """A module of more lines has more than one responsibility."""
    assert {str(path): count for path in modules() if (count := len(path.read_text().splitlines())) > 300} == {}


def test_root_of_the_package_shows_at_most_15_names() -> None:
    """The listing of the package is its table of contents."""
    names = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert len(names) <= 15
