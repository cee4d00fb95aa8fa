"""A crawl that can be killed at any moment, and goes on from there when it is run again.

It follows the imports of Python's standard library as a crawler follows links: a page is a module, and its links are
the modules that it imports.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
import time
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from lmdb_object_store import LmdbObjectStore, OrderedKeys

LIBRARY = Path(sysconfig.get_path("stdlib"))

# ("page", name): the links of a page, or None if it is still to be fetched
# ("todo", number): the name of a page to fetch, in the order in which they were found
Crawl = LmdbObjectStore[tuple[str, Any], Any]


def fetch(name: str) -> set[str]:
    """The modules that the module `name` imports at its top level; none if it is not written in Python."""
    base = LIBRARY.joinpath(*name.split("."))
    package = base / "__init__.py"
    file = package if package.is_file() else base.with_suffix(".py")
    links: set[str] = set()
    for node in ast.parse(file.read_bytes()).body if file.is_file() else ():
        if isinstance(node, ast.Import):
            links.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = name if file == package else name.rpartition(".")[0]
            links.add(resolve_name("." * node.level + (node.module or ""), parent))
    return links


def crawl(store: Crawl, start: str, delay: float) -> None:
    """Fetch every page that can be reached from `start`, each after a delay of so many seconds."""
    todo = store.prefix(("todo",))
    if ("page", start) not in store:
        last = todo.peekitem()[0][1] if todo else -1  # a crawl from another page may have been killed
        store.put_many({("page", start): None, ("todo", last + 1): start})
    while todo:
        job, name = todo.peekitem(last=False)
        if store["page", name] is None:  # else it was fetched, and the program was killed before the `del` was stored
            time.sleep(delay)  # a polite crawler pauses between two fetches from a site
            links = sorted(fetch(name))
            new = [link for link in links if ("page", link) not in store]
            (_, last), _ = todo.peekitem()
            pages = {("page", name): links, **{("page", link): None for link in new}}
            jobs = {("todo", number): link for number, link in enumerate(new, last + 1)}
            store.put_many(pages | jobs)  # one transaction: what was found and what follows from it, or neither
            print("fetched", name, flush=True)
        del todo[job]  # waits in memory for the next put_many


def main(path: str = "crawl.db", start: str = "asyncio", delay: str = "0") -> None:
    with Crawl(path, key_encoding=OrderedKeys(), autoflush_on_read=False) as store:
        crawl(store, start, float(delay))
        pages = store.prefix(("page",))
        print(f"{len(pages)} pages, {sum(map(len, pages.values()))} links")


if __name__ == "__main__":
    main(*sys.argv[1:])
