"""What is said in several places is the same everywhere, and the checks of what is built can fail."""

from __future__ import annotations

import re
import zipfile
from configparser import ConfigParser
from importlib.metadata import metadata
from pathlib import Path

import package
import pytest

import lmdb_object_store

ROOT = Path(__file__).parent.parent
INSTALLED = Path(lmdb_object_store.__file__).parent
DISTRIBUTION = metadata("lmdbobjectstore")


def environments() -> list[str]:
    """What `tox run` runs, in its order."""
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    listed = re.sub(
        r"(\w+)\{(.*?)\}", lambda m: ", ".join(m[1] + end for end in m[2].split(",")), tox["tox"]["env_list"]
    )
    return listed.split(", ")


def matrix(name: str) -> list[list[str]]:
    """The lists of that name among the workflow's matrices."""
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    return [re.findall(r"[\w.-]+", found) for found in re.findall(rf"^ +{name}: \[(.*)\]$", workflow, re.M)]


def test_one_version() -> None:
    """The distribution's is the package's."""
    assert DISTRIBUTION["Version"] == lmdb_object_store.__version__


def test_the_same_pythons_everywhere() -> None:
    """Classifiers, the version required, tox, the check of the wheel and the workflow name the same ones."""
    pythons = re.findall(r":: (3\.\d+)$", "\n".join(DISTRIBUTION.get_all("Classifier", [])), re.M)
    names = [f"py{version.replace('.', '')}" for version in pythons]
    assert DISTRIBUTION["Requires-Python"] == f">={pythons[0]}"
    assert [name for name in environments() if name.startswith("py3")] == names
    assert package.VERSIONS.split(",") == names
    assert matrix("python") == [pythons]


def test_only_tested_systems_are_named() -> None:
    """Classifiers name the system that the README calls tested, and no other."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r'"Operating System :: (.*)"', project) == ["POSIX :: Linux"]
    assert re.findall(r"^Tested on (\w+)\.", readme, re.M) == ["Linux"]


def test_the_workflow_runs_what_tox_runs() -> None:
    """Each environment that `tox run` runs is in the workflow, and those that take more to install are."""
    (checks,) = matrix("environment")
    more = ["cookbook", "torch"]
    assert sorted(checks) == sorted([name for name in environments() if not name.startswith("py3")] + more)
    assert matrix("system")[0] == ["ubuntu-latest", "macos-latest", "windows-latest"]


def test_it_is_typed() -> None:
    """Type checkers read the annotations of a package that has this file."""
    assert (INSTALLED / "py.typed").is_file()


def wheel(folder: Path, version: str, without: str = "", also: str = "", readme: str = "") -> Path:
    """A wheel of the installed package: of another version, without a file or with one more, with a README."""
    about = f"lmdbobjectstore-{version}.dist-info"
    path = folder / f"lmdbobjectstore-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in INSTALLED.rglob("*"):
            if file.suffix in {".py", ".typed"} and file.name != without:
                archive.write(file, file.relative_to(INSTALLED.parent))
        for name in (f"{about}/licenses/LICENSE", *([also] if also else [])):
            archive.writestr(name, "")
        archive.writestr(f"{about}/METADATA", f"Name: lmdbobjectstore\nVersion: {version}\n\n{readme}")
    return path


def test_a_wheel_is_checked(tmp_path: Path) -> None:
    """One that lacks a file, has another's or another version, or dead links, does not pass."""
    version = lmdb_object_store.__version__
    package.check_wheel(wheel(tmp_path, version, readme="see [LMDB](https://lmdb.readthedocs.io/)"), INSTALLED)
    for wrong in (
        {"without": "py.typed"},
        {"without": "_views.py"},
        {"also": "tests/conftest.py"},
        {"version": "0.9"},
        {"readme": "see [usage](docs/usage.md)"},
    ):
        with pytest.raises(AssertionError):
            package.check_wheel(wheel(tmp_path, **{"version": version, **wrong}), INSTALLED)
