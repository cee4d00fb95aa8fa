"""The documentation site builds without a warning, and its reference has every public name."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import lmdb_object_store
from lmdb_object_store import LmdbObjectStore

pytestmark = pytest.mark.once  # the site is the same with each Python

ROOT = Path(__file__).parents[2]
MISSING = object()
# A reader looks for these texts, which have no name of their own.
SPECIAL = {
    *("__getitem__", "__setitem__", "__delitem__", "__contains__", "__iter__", "__reversed__", "__len__"),
    *("__eq__", "__or__", "__ior__", "__enter__", "__exit__"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site: the value of SITE, else a new folder."""
    pytest.importorskip("furo")
    pytest.importorskip("myst_parser")
    if built := os.environ.get("SITE"):
        return Path(built).resolve()
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", str(ROOT / "docs"), str(folder)]
    done = subprocess.run(command, text=True, encoding="utf-8", capture_output=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def documented(site: Path) -> set[str]:
    """Return the names in the site's inventory, without the package's."""
    from sphinx.util.inventory import InventoryFile

    with open(site / "objects.inv", "rb") as stream:
        inventory = InventoryFile.load(stream, "", posixpath.join)
    names = [name for kind, entries in inventory.items() if kind.startswith("py:") for name in entries]
    return {name.removeprefix("lmdb_object_store.") for name in names}


def members(one: object) -> set[str]:
    """Return the public attributes of `one`, without those of any object."""
    names = {*dir(type(one)), *getattr(one, "__dict__", ())}
    own = {name for name in names if getattr(type(one), name, None) is not getattr(object, name, MISSING)}
    return {name for name in own if not name.startswith("_") or name in SPECIAL}


def test_reference_has_every_public_name(documented: set[str]) -> None:
    """Each name in `__all__`, and each other public name of the package's own, is in the reference."""
    names = [name for name in dir(lmdb_object_store) if not name.startswith("_")]
    own = {name for name in names if is_own(getattr(lmdb_object_store, name))}
    assert {*lmdb_object_store.__all__, "open"} <= own
    assert own - documented == set()


def is_own(value: object) -> bool:
    return (getattr(value, "__module__", None) or "").startswith("lmdb_object_store")


def test_reference_has_the_whole_interface_of_a_store(documented: set[str], path: str) -> None:
    """Each method, property and attribute of a store, its parts and its views is in the reference."""
    with LmdbObjectStore[bytes, Any](path) as store:
        shown: dict[str, list[object]] = {
            "": [store, store.range()],
            "_mapping.views.": [store.keys(), store.values(), store.items()],
        }
        missing = [
            name
            for module, objects in shown.items()
            for one in objects
            for name in (f"{module}{type(one).__name__}.{member}" for member in members(one))
            if name not in documented
        ]
    assert missing == []


class Page(HTMLParser):
    """The links and targets of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            self.images.append((given.get("src") or "", given.get("class") or ""))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if given.get("id"):
            self.ids.add(given["id"] or "")


def test_chart_follows_the_theme(site: Path) -> None:
    """Each chart of the page on performance is there for a light and for a dark page, and shown on that alone."""
    page = Page((site / "performance.html").read_text(encoding="utf-8"))
    shown = [(source, classes) for source, classes in page.images if source.endswith(".svg")]
    themes = [re.search(r"only-(light|dark)", classes) for _, classes in shown]
    assert len(shown) == 2 * len(list((ROOT / "docs" / "benchmarks").glob("*-light.svg"))) > 0
    for (source, _), theme in zip(shown, themes):
        assert theme is not None
        assert source.endswith(f"-{theme[1]}.svg")
        assert (site / source).is_file()


def test_site_link_leads_to_an_existing_place(site: Path) -> None:
    """Each link within the site leads to a page or a file of the site, and to an existing place in it."""
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in paths}
    assert pages
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            assert target.is_file(), f"{path.name}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in pages[target].ids, f"{path.name}: {link}"
