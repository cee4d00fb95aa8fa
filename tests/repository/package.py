"""Build the sdist and the wheel, check them, and run the sdist's tests on the installed wheel.

Usage: python tests/repository/package.py [--dist DIRECTORY] [PYTEST_ARGUMENT ...]

By default, everything is temporary.
Each version of Python that is found gets a clean environment, into which the wheel alone is installed. The tests that
need one version alone run once.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "lmdb_object_store"
VERSIONS = "py310,py311,py312,py313,py314"


def run(*command: object, cwd: Path) -> None:
    # Leave out the variables of tox: with them, the inner tox would share the directories of the outer one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOX_")}
    subprocess.run([sys.executable, "-m", *map(str, command)], cwd=cwd, env=environment, check=True)


def check_wheel(wheel: Path, package: Path) -> None:
    """Fail unless `wheel` has the whole of `package` and nothing else, and the version that it names."""
    files = (path for path in package.rglob("*") if path.suffix in {".py", ".typed"})
    modules = {path.relative_to(package.parent).as_posix() for path in files}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == modules, f"in one of wheel and package alone: {names ^ modules}"
        assert f"{PACKAGE}/py.typed" in names
        about = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(about))
        assert about.replace("METADATA", "licenses/LICENSE") in archive.namelist()
        version = re.search(r'__version__ = "(.+)"', archive.read(f"{PACKAGE}/__init__.py").decode())
    assert version is not None
    links = re.findall(r"\]\((?!https?:)[^)]*\)|<picture", str(metadata.get_payload()))
    assert not links, f"an index shows the README without the files that these lead to: {links}"
    assert metadata["Version"] == version[1]
    assert wheel.name == f"{metadata['Name']}-{version[1]}-py3-none-any.whl"


def check_sdist(sdist: Path) -> None:
    """Fail unless the sdist has all that its tests need, and nothing that a run of them left behind."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    program = Path(__file__).resolve().relative_to(ROOT).as_posix()
    for name in ("pyproject.toml", "tox.ini", "README.md", "LICENSE", f"{PACKAGE}/py.typed", program):
        assert name in names, f"{name} is not in the sdist"
    strays = [name for name in names if re.search(r"__pycache__|\.py[co]$|\.mdb$|\.tox/", name)]
    assert not strays, strays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dist", type=Path, help="keep what is built here, a directory without other builds")
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        dist = options.dist or Path(temporary, "dist")
        run("build", "--outdir", dist.resolve(), cwd=ROOT)  # the wheel is built from the sdist
        (wheel,), (sdist,) = dist.resolve().glob("*.whl"), dist.resolve().glob("*.tar.gz")
        run("twine", "check", "--strict", wheel, sdist, cwd=ROOT)
        check_wheel(wheel, ROOT / PACKAGE)
        check_sdist(sdist)
        with tarfile.open(sdist) as archive:
            archive.extractall(temporary, filter="data")
        unpacked = Path(temporary, sdist.name.removesuffix(".tar.gz"))
        shutil.rmtree(unpacked / PACKAGE)  # the tests must find the package in their environment alone
        arguments += ["--ignore=tests/repository/test_mutants.py"]  # it changes its source
        run("tox", "run", "--installpkg", wheel, "-e", f"{VERSIONS},once", "--", *arguments, cwd=unpacked)


if __name__ == "__main__":
    main()
