"""Facts that several files state are the same everywhere, and the checks of the built packages can fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from configparser import ConfigParser
from importlib.metadata import metadata
from itertools import product
from pathlib import Path

import package
import pytest

import lmdb_object_store

pytestmark = pytest.mark.once  # it reads the files of this repository

ROOT = Path(__file__).parents[2]
INSTALLED = Path(lmdb_object_store.__file__).parent
DISTRIBUTION = metadata("lmdbobjectstore")


def configured() -> ConfigParser:
    """Return the sections of tox.ini."""
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    return tox


def environments() -> list[str]:
    """Return the environments that `tox run` runs, in order."""
    tox = configured()
    listed = re.sub(
        r"(\w+)\{(.*?)\}", lambda m: ", ".join(m[1] + end for end in m[2].split(",")), tox["tox"]["env_list"]
    )
    return listed.split(", ")


def matrix(name: str) -> list[list[str]]:
    """Return the lists of that name among the workflow's matrices."""
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    return [re.findall(r"[\w.-]+", found) for found in re.findall(rf"^ +{name}: \[(.*)\]$", workflow, re.M)]


def test_distribution_has_the_packages_version() -> None:
    """The distribution's version is the package's."""
    assert DISTRIBUTION["Version"] == lmdb_object_store.__version__


def test_distribution_requires_lmdb_alone() -> None:
    """Nothing else is installed with the package, unless an extra is asked for."""
    needed = [need for need in DISTRIBUTION.get_all("Requires-Dist", []) if "extra" not in need]
    assert needed == ["lmdb>=3.0"]


def test_python_versions_are_the_same_everywhere() -> None:
    """Classifiers, the required version, tox, the check of the wheel and the workflow name the same Pythons."""
    pythons = re.findall(r":: (3\.\d+)$", "\n".join(DISTRIBUTION.get_all("Classifier", [])), re.M)
    names = [f"py{version.replace('.', '')}" for version in pythons]
    assert DISTRIBUTION["Requires-Python"] == f">={pythons[0]}"
    assert [name for name in environments() if name.startswith("py3")] == names
    assert package.VERSIONS.split(",") == names
    assert matrix("python") == [pythons]


def test_classifiers_name_the_tested_system_alone() -> None:
    """Classifiers name the system that the README calls tested, and no other."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r'"Operating System :: (.*)"', project) == ["POSIX :: Linux"]
    assert re.findall(r"^Tested on (\w+)\.", readme, re.M) == ["Linux"]


def test_workflow_runs_every_tox_environment() -> None:
    """Each environment of `tox run` is in the workflow, and so are those that take more to install."""
    (checks,) = matrix("environment")
    more = ["cookbook", "torch"]
    assert sorted(checks) == sorted([name for name in environments() if not name.startswith("py3")] + more)
    assert matrix("system")[0] == ["ubuntu-latest", "macos-latest", "windows-latest"]


def documented_command() -> str:
    """Return the README's test command, one line."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"<!-- tests -->\n```bash\n(.*)\n```", readme)
    return str(command)


def selected(command: str) -> set[tuple[bool, bool]]:
    """Return the kinds of tests that a pytest command selects, each as a pair: marked `slow`, marked `once`."""
    found = re.search(r'pytest .*-m ("[^"]+"|\w+)', command)
    expression = found[1].strip('"') if found else "True"
    return {(slow, once) for slow, once in product((False, True), repeat=2) if eval(expression)}


def test_tox_run_leaves_out_no_test() -> None:
    """Each test runs with each Python, or once; slow tests run too."""
    tox = configured()
    assert selected(tox["testenv"]["commands"]) == {(False, False), (True, False)}
    assert selected(tox["testenv:once"]["commands"]) == {(False, True), (True, True)}
    assert "once" in environments()
    assert not [name for name in environments() if name.startswith("py3") and f"testenv:{name}" in tox]


def test_coverage_takes_a_python_that_can_run_all_code() -> None:
    """Parts of the package are for Python 3.12 and later."""
    pythons = configured()["testenv:coverage"]["base_python"].split(", ")
    assert sorted(pythons) == [name for name in environments() if name.startswith("py3") and name >= "py312"]


def test_documented_command_leaves_out_slow_tests_alone() -> None:
    """The README's command installs what the tests need, and spreads all other tests over the processors."""
    assert selected(documented_command()) == {(False, False), (False, True)}
    assert " --group tests " in documented_command()
    assert " pytest -n auto " in documented_command()


# For every program named python3 or python. It makes environments of itself, and writes down its calls.
FAKE_PYTHON = """\
#!/bin/sh
echo "$PATH $*" >> "{folder}/calls"
[ "$2" != venv ] || { mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; }
[ "$2" != pytest ] || { echo "= 7 tests in 0.01s ="; exit {status}; }
"""
FAKE_PYENV = """\
#!/bin/sh
[ "$1" != root ] || echo "{folder}"
[ "$1" != versions ] || printf '3.9.1\\n3.11.7\\n3.13.0\\n'
"""


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize("status", [0, 1])
def test_ci_runs_the_documented_command_with_one_python_then_tox(tmp_path: Path, status: int) -> None:
    """The README's command finds Python 3.11 alone; tox finds all of them, the newest first."""
    shutil.copytree(ROOT / ".ci", tmp_path / "checkout" / ".ci")
    shutil.copy(ROOT / "README.md", tmp_path / "checkout")
    old, new = (tmp_path / "versions" / version / "bin" for version in ("3.11.7", "3.13.0"))
    for program, text in (
        (old / "python3", FAKE_PYTHON),
        (new / "python3", FAKE_PYTHON),
        (tmp_path / "bin" / "python3", FAKE_PYTHON),
        (tmp_path / "bin" / "pyenv", FAKE_PYENV),
    ):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(text.replace("{folder}", str(tmp_path)).replace("{status}", str(status)))
        program.chmod(0o755)
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    done = subprocess.run(
        [tmp_path / "checkout" / ".ci" / "run"],
        env={"HOME": str(tmp_path), "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    assert done.stdout.splitlines()[0] == documented_command()
    calls = [call.split(" ", 1) for call in (tmp_path / "calls").read_text().splitlines() if " -c " not in call]
    documented = re.findall(r"python3? (.*?)(?: && |$)", documented_command().replace('"', ""))
    assert calls[: len(documented)] == [[f"{old}:/usr/bin:/bin", words] for words in documented]
    with_tox = calls[len(documented) :]
    assert {found for found, _ in with_tox} <= {f"{new}:{old}:{path}"}
    assert bool(with_tox) is (status == 0)
    assert not with_tox or with_tox[-1][1].startswith("-m tox run-parallel")


def test_package_has_py_typed() -> None:
    """Type checkers read the annotations of a package that has this file."""
    assert (INSTALLED / "py.typed").is_file()


def wheel(folder: Path, version: str, without: str = "", also: str = "", readme: str = "") -> Path:
    """Make a wheel of the installed package: of another version, without a file or with one more, with a README."""
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


def test_wheel_that_is_wrong_does_not_pass(tmp_path: Path) -> None:
    """A wheel that lacks a file, has a foreign file, another version or dead links does not pass."""
    version = lmdb_object_store.__version__
    package.check_wheel(wheel(tmp_path, version, readme="see [LMDB](https://lmdb.readthedocs.io/)"), INSTALLED)
    for wrong in (
        {"without": "py.typed"},
        {"without": "views.py"},
        {"also": "tests/conftest.py"},
        {"version": "0.9"},
        {"readme": "see [usage](docs/usage.md)"},
    ):
        with pytest.raises(AssertionError):
            package.check_wheel(wheel(tmp_path, **{"version": version, **wrong}), INSTALLED)
