"""The documentation site: Sphinx, MyST and furo. `tox run -e docs` builds it into build/site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lmdb_object_store

# All public names: those that the package imports only when they are asked for, and those that `import *` leaves out.
_OURS = lmdb_object_store.__name__
_NAMES = {name: getattr(lmdb_object_store, name) for name in dir(lmdb_object_store) if not name.startswith("_")}
lmdb_object_store.__all__ = [
    name for name, value in _NAMES.items() if (getattr(value, "__module__", None) or "").startswith(_OURS)
]

project = "lmdbobjectstore"
author = "the authors of lmdbobjectstore"
version = release = lmdb_object_store.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx"]
exclude_patterns = ["inventories"]
html_theme = "furo"
html_title = f"lmdbobjectstore {release}"
html_show_copyright = False
html_copy_source = False
add_module_names = False
highlight_options = {"python": {"stripnl": True}}  # the empty line that ends a session

# Links to headings are those of GitHub.
myst_heading_anchors = 3

nitpicky = True
# In docstrings, what stands in single backquotes is a link where it is the name of something, and code where not. What
# can be nothing else than a name of LMDB's, or an error's, must be one. Nothing is said of the names of type variables.
default_role = "py:obj"
nitpick_ignore_regex = [("py:obj", r"(?!lmdb\.|\w+Error$).*"), ("py:class", r"([\w.]+\.)?[A-Z]\d?")]

# In files, so that the site is the same wherever it is built; a name that is referred to and not there is a warning.
# They are inventories of version 1, which is text: name, kind, page. Those of Python and py-lmdb were cut down.
_HERE = Path(__file__).parent
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", str(_HERE / "inventories" / "python.txt")),
    "lmdb": ("https://lmdb.readthedocs.io/en/release", str(_HERE / "inventories" / "lmdb.txt")),
}

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
autodoc_docstring_signature = False
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "inherited-members": "bytes,object",  # not of these
    "special-members": "__getitem__, __setitem__, __delitem__, __contains__, __len__, __bool__, __iter__, "
    "__reversed__, __eq__, __or__, __ior__, __enter__, __exit__",
    "show-inheritance": True,
}


def leave_out(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what every object, and every exception, has."""
    return True if getattr(member, "__objclass__", None) in (object, BaseException) else None


def show_public_bases(app: Any, name: str, shown: type, options: Any, bases: list[Any]) -> None:
    """Instead of a base that is not public, show its bases."""
    private = (f"{_OURS}._", "abc", "typing")
    names = (*lmdb_object_store.__all__, "Protocol")
    public = [b for b in shown.__mro__[1:-1] if b.__name__ in names or not b.__module__.startswith(private)]
    bases[:] = [base for base in public if not any(issubclass(other, base) for other in public if other is not base)]
    bases[:] = bases or [object]


def link_errors(app: Any, what: str, name: str, shown: Any, options: Any, lines: list[str]) -> None:
    """Errors stand in docstrings without backquotes."""

    def link(found: re.Match[str]) -> str:
        return f"`~{_OURS}.{found[0]}`" if found[0] in lmdb_object_store.__all__ else f"`{found[0]}`"

    lines[:] = [re.sub(r"(?<![\w.`])(lmdb\.)?[A-Z]\w*Error\b(?!`)", link, line) for line in lines]


def show_signature(app: Any, what: str, name: str, shown: Any, options: Any, signature: str, returns: str) -> Any:
    """Leave out the signature of a protocol, which cannot be called."""
    if what == "class" and getattr(shown, "_is_protocol", False):
        return "", returns
    return signature, returns


def find_lmdb(app: Any, env: Any, node: Any, content: Any) -> None:
    """py-lmdb's classes say of themselves that they are builtins."""
    if node["reftarget"] in ("Cursor", "Environment", "Transaction"):
        node["reftarget"] = f"lmdb.{node['reftarget']}"


_PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">'
    r'\s*<img alt="(?P<alt>[^"]*)" src="(?P<light>[^"]+)">\s*</picture>'
)
_IMAGES = r"""```{image} \g<light>
:alt: \g<alt>
:class: only-light
```
```{image} \g<dark>
:alt: \g<alt>
:class: only-dark
```"""


def show_pictures(app: Any, page: str, source: list[str]) -> None:
    """Show the pictures that GitHub chooses by the reader's colours as images that follow the theme's switch."""
    source[0] = _PICTURE.sub(_IMAGES, source[0])


def setup(app: Any) -> None:
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-bases", show_public_bases)
    app.connect("autodoc-process-docstring", link_errors)
    app.connect("autodoc-process-signature", show_signature)
    app.connect("missing-reference", find_lmdb, priority=100)  # before intersphinx
    app.connect("source-read", show_pictures)
