"""Find code by its syntax tree, and replace it in the text.

Comments, quotes and layout do not matter to the search. The rest of the text stays as it is.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from functools import cache
from textwrap import dedent
from typing import Any, NamedTuple


class Mutant(NamedTuple):
    """A bug: `old`, which occurs once in `function`, becomes `new`.

    `old` is an expression, one or more statements, or the first line of a compound statement (`if x:`,
    `except OSError:`, `class A(B):`). An empty `new` deletes statements. `function` is a qualified name such as
    `KeyCodec.encode`, or the name of a class, or "" for the whole module. `tests` is the file of tests that fails.
    """

    name: str
    function: str
    old: str
    new: str
    tests: str = ""


def mutated(source: str, mutant: Mutant) -> str:
    """Return `source` with the mutant; raise ValueError if the code that it replaces does not occur exactly once."""
    old, new = (dedent(code).strip() for code in (mutant.old, mutant.new or "pass"))
    find = _heads if old.endswith(":") else _runs
    places = [place for scope in _definitions(source).get(mutant.function, []) for place in find(scope, old)]
    if len(places) != 1:
        where = mutant.function or "the module"
        raise ValueError(f"{mutant.name}: {old!r} occurs {len(places)} times in {where}")
    lines = source.encode().splitlines(keepends=True)  # `ast` counts columns in bytes
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    place = places[0]
    text = b"".join(lines)
    start = starts[place.line - 1] + place.column
    end = starts[place.end_line - 1] + place.end_column
    if text.startswith(b"elif ", start):
        start += len("el")
    if place.is_head:
        new += "\n"
    elif place.is_expression and _is_expression(new):
        new = f"({new})"  # so that the operators around it do not matter
    else:
        new = new.replace("\n", "\n" + " " * place.column)
    return (text[:start] + new.encode() + text[end:]).decode()


class _Place(NamedTuple):
    line: int
    column: int
    end_line: int
    end_column: int
    is_head: bool = False
    is_expression: bool = False


def _runs(scope: ast.AST, old: str) -> Iterator[_Place]:
    """Yield the places of an expression, or of statements that follow each other."""
    pattern: list[ast.AST] = [*ast.parse(old).body]
    if is_expression := _is_expression(old):
        pattern = [pattern[0].value]  # type: ignore[attr-defined]
    dumps = [ast.dump(node) for node in pattern]
    for node in ast.walk(scope):
        for _, nodes in ast.iter_fields(node):
            nodes = nodes if isinstance(nodes, list) else [nodes]
            for at in range(len(nodes) - len(pattern) + 1):
                run = nodes[at : at + len(pattern)]
                if all(type(a) is type(b) and ast.dump(a) == dump for a, b, dump in zip(run, pattern, dumps)):
                    first, last = run[0], run[-1]
                    yield _Place(
                        first.lineno, first.col_offset, last.end_lineno, last.end_col_offset, False, is_expression
                    )


def _heads(scope: ast.AST, old: str) -> Iterator[_Place]:
    """Yield the places of the first line of a compound statement, up to the line on which its block begins."""
    is_handler = old.startswith("except")
    pattern: Any = ast.parse(f"try: pass\n{old} pass" if is_handler else f"{old} pass").body[0]
    if is_handler:
        pattern = pattern.handlers[0]
    dump = ast.dump(_head(pattern))
    for node in ast.walk(scope):
        if isinstance(node, type(pattern)) and ast.dump(_head(node)) == dump:
            first = node.body[0]
            line = min([first.lineno, *(decorator.lineno for decorator in getattr(first, "decorator_list", []))])
            yield _Place(node.lineno, node.col_offset, line, 0, is_head=True)


def _head(node: ast.AST) -> ast.AST:
    """Return a copy of a compound statement without its blocks and decorators."""
    head = copy.copy(node)
    for name in {"body", "orelse", "decorator_list"} & set(head._fields):
        setattr(head, name, [])
    return head


def _is_expression(code: str) -> bool:
    body = ast.parse(code).body
    return len(body) == 1 and isinstance(body[0], ast.Expr)


@cache
def _definitions(source: str) -> dict[str, list[ast.AST]]:
    """Return the definitions by qualified name. One name has several if each version of Python has its own."""
    module = ast.parse(source)
    found: dict[str, list[ast.AST]] = {"": [module]}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.setdefault(prefix + child.name, []).append(child)
                visit(child, f"{prefix}{child.name}.")
            else:
                visit(child, prefix)

    visit(module, "")
    return found
