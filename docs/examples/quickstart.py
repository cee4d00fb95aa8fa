"""Index the modules of Python's standard library in a store, then answer questions from it.

Run it twice: the second time only the files that have changed are read again.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
import sysconfig
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from lmdb_object_store import LmdbObjectStore


class Module(TypedDict):
    """The record of a module in the store: a plain dict, which any program can read back."""

    stamp: tuple[int, int]  # the file's time of change in nanoseconds, and its size in bytes
    docstring: str
    classes: list[str]
    functions: list[str]
    imports: list[str]  # packages and modules of the top level


Index = LmdbObjectStore[str, Module]


def sources(root: Path) -> Iterator[tuple[str, Path]]:
    """Each module below `root`: its dotted name and its file."""
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        # A folder whose name is no identifier cannot be imported, such as `site-packages`.
        if path.is_file() and all(part.isidentifier() for part in parts):
            yield ".".join(parts).removesuffix(".__init__"), path


def stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def describe(path: Path) -> Module:
    """Read and parse one file. Of one that is not valid Python (Python's own tests have some), the stamp is kept."""
    module = Module(stamp=stamp(path), docstring="", classes=[], functions=[], imports=[])
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        module["docstring"] = f"(cannot be parsed: {type(error).__name__})"
        return module
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            module["classes"].append(node.name)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            module["functions"].append(node.name)
        elif isinstance(node, ast.Import):
            imports.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports.add(node.module.partition(".")[0])
    module["imports"] = sorted(imports)
    module["docstring"] = ast.get_docstring(tree) or ""
    return module


def refresh(index: Index, root: Path) -> None:
    """Bring the index up to date with the files. Stopped half-way, it goes on from there the next time."""
    files = dict(sources(root))
    stamps = {name: module["stamp"] for name, module in index.items()}
    gone = stamps.keys() - files.keys()
    for name in gone:
        del index[name]
    changed = [name for name, path in files.items() if stamps.get(name) != stamp(path)]
    for count, name in enumerate(changed, 1):
        index[name] = describe(files[name])
        if count % 50 == 0 or count == len(changed):
            print(f"\rreading {count} of {len(changed)}: {name:<60.60}", end="", file=sys.stderr, flush=True)
    if changed:
        print(file=sys.stderr)
    print(f"{len(files)} modules: {len(changed)} read, {len(files) - len(changed)} unchanged, {len(gone)} dropped")


def answer(index: Index, wanted_module: str, wanted_class: str) -> None:
    """Questions to the index. Each reads the store as any code reads a dict."""
    largest = sorted(((module["stamp"][1], name) for name, module in index.items()), reverse=True)[:5]
    print("largest modules:", ", ".join(f"{name} ({size:,} bytes)" for size, name in largest))
    imported = Counter(name for module in index.values() for name in module["imports"])
    print("imported most:", ", ".join(f"{name} (by {count})" for name, count in imported.most_common(5)))
    importers = [name for name, module in index.items() if wanted_module in module["imports"]]
    print(f"{wanted_module} is imported by {len(importers)} modules:", ", ".join(importers[:5]), "...")
    homes = [name for name, module in index.items() if wanted_class in module["classes"]]
    print(f"class {wanted_class} is defined in:", ", ".join(homes) or "no module")
    if found := index.get(wanted_module):
        print(f"{wanted_module} has {len(found['functions'])} functions and says: {found['docstring'][:70]!r} ...")


def main() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(description="Index Python's standard library in a store.")
    parser.add_argument("store", nargs="?", type=Path, default=cache / "lmdb_object_store" / "stdlib", help="its path")
    parser.add_argument("--root", type=Path, default=Path(sysconfig.get_path("stdlib")), help="the modules to index")
    parser.add_argument("--module", default="json", help="the module to ask for")
    parser.add_argument("--class", default="OrderedDict", dest="class_", help="the class to ask for")
    options = parser.parse_args()
    warnings.simplefilter("ignore", SyntaxWarning)  # of the sources read, as is the next
    warnings.simplefilter("ignore", DeprecationWarning)
    options.store.parent.mkdir(parents=True, exist_ok=True)
    print("the store:", options.store)
    with LmdbObjectStore[str, Module](options.store, key_encoding="utf-8") as index:
        refresh(index, options.root)
        began = time.perf_counter()
        answer(index, options.module, options.class_)
        print(f"answered from the store in {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
