"""Run the tests on each mutant, to see that they notice it.

Usage: python tests/repository/run_mutants.py [--layer NAME] [--part 1/4] [--jobs N] [--record] [WORD ...]
Words choose the mutants whose name holds one of them. Ends with status 1 if a mutant survives. --record writes the file
of the test that failed into the list of mutants.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mutants.layers import HARMLESS, LAYERS
from mutants.mutate import Mutant, mutated

TESTS = Path(__file__).resolve().parent.parent
PACKAGE = TESTS.parent / "lmdb_object_store"
FILE_SECONDS, SUITE_SECONDS = 120, 1800  # more than the tests need, for a mutant that hangs a process

# These look at the text of the package or of the documents.
NO_KILLERS = ["repository", "test_mutants.py", "test_documents.py", "test_packaging.py", "test_site.py"]

_PASSED = (0, 5)  # the tests passed, or there were none


class Run(NamedTuple):
    """The end of the tests of one mutant."""

    killed: bool
    seconds: float
    by: str


def run(package: Path, row: tuple[str, str, Mutant]) -> Run:
    """Run the tests on a copy of `package` with the mutant, until one fails: its own file first, then all others."""
    _, module, mutant = row
    start = time.monotonic()
    with _open_folder() as folder:
        copy = Path(folder, package.name)
        shutil.copytree(package, copy)
        path = copy / f"{module}.py"
        path.write_text(mutated(path.read_text(encoding="utf-8"), mutant), encoding="utf-8")
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
            compiled.unlink()
        for arguments, seconds in _stages(mutant.tests):
            if failure := _failure(arguments, seconds, Path(folder)):
                return Run(True, time.monotonic() - start, failure)
    return Run(False, time.monotonic() - start, "")


@contextmanager
def _open_folder() -> Iterator[str]:
    """Yield a temporary folder that other users can enter, because some tests become another user."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        yield folder


def _fails_anyway(package: Path, tests: str) -> str:
    """Return the test of a file that fails on the package without a mutant."""
    with _open_folder() as folder:
        shutil.copytree(package, Path(folder, package.name))
        return _failure([*find(tests), "-m", "not slow"], SUITE_SECONDS, Path(folder))


def _stages(tests: str) -> Iterator[tuple[list[str], float]]:
    """Yield what pytest runs, and for how many seconds at most."""
    if tests:
        yield [*find(tests), "-m", "not slow"], FILE_SECONDS
        yield [*find(tests), "-m", "slow"], FILE_SECONDS
    everything = [str(TESTS)]
    for name in NO_KILLERS:
        everything += [f"--ignore={path}" for path in TESTS.rglob(name)]
    yield [*everything, "-m", "not slow"], SUITE_SECONDS
    yield [*everything, "-m", "slow"], SUITE_SECONDS


def find(tests: str) -> list[str]:
    """Return the paths of the files of tests with these names, which spaces separate, wherever they are."""
    paths = []
    for name in tests.split():
        found = [str(path) for path in TESTS.rglob(name)]
        if len(found) != 1:
            raise FileNotFoundError(f"{name} is there {len(found)} times below {TESTS}")
        paths += found
    return paths


def _failure(arguments: list[str], seconds: float, folder: Path) -> str:
    """Return the test that fails on the package in `folder`, or how else the tests end; "" if they pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--timeout=60", "-p", "no:cacheprovider"]
    command += ["-p", "mutants.first_failure"]
    command += ["-c", str(TESTS.parent / "pyproject.toml"), "--rootdir", str(TESTS.parent), *arguments]
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(TESTS / "repository")]),
        "HYPOTHESIS_PROFILE": "mutants",
        "TMPDIR": str(folder),
    }
    # The output goes to a file, because a process that the tests left behind would keep a pipe open.
    with open(folder / "output", "w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return "the tests did not end"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        lines = output.read().splitlines()
    if status in _PASSED:
        return ""
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR ")) and "/tests/" in line]
    return (failed or lines[-1:] or [f"status {status}"])[0].rpartition("/tests/")[2]


def record(layer: str, mutant: Mutant, by: str) -> None:
    """Replace the files of tests of `mutant` by the one file of the test `by`, in the list of mutants."""
    path = TESTS / "repository" / "mutants" / f"{layer}.py"
    before, name, after = path.read_text(encoding="utf-8").partition(f'"{mutant.name}"')
    after = after.replace(f'"{mutant.tests}"', f'"{Path(by.partition("::")[0]).name}"', 1)
    path.write_text(before + name + after, encoding="utf-8")


def chosen(options: argparse.Namespace) -> list[tuple[str, str, Mutant]]:
    """Return the layer, the module and the mutant for each mutant that the options choose."""
    found = [
        (layer, module, mutant)
        for layer, modules in LAYERS.items()
        for module, mutants in modules.items()
        for mutant in mutants
        if options.layer in (None, layer) and mutant.name not in HARMLESS
        if not options.words or any(word in mutant.name for word in options.words)
    ]
    part, parts = map(int, options.part.split("/"))
    return found[part - 1 :: parts]


def main() -> int:
    """Run the chosen mutants, and print a line for each and a table of the layers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", choices=LAYERS)
    parser.add_argument("--part", default="1/1", metavar="K/N")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--record", action="store_true")
    parser.add_argument("words", nargs="*", metavar="WORD")
    options = parser.parse_args()
    rows = chosen(options)
    table: dict[str, list[Run]] = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        package = Path(folder, PACKAGE.name)
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(package, quiet=1)  # once for all copies of it
        files = sorted({mutant.tests for _, _, mutant in rows} - {""})
        for file, failure in zip(files, pool.map(partial(_fails_anyway, package), files)):
            if failure:
                print(f"{file} fails on the package as it is: {failure}")
                return 2
        for (layer, _, mutant), result in zip(rows, pool.map(partial(run, package), rows)):
            status = "killed  " if result.killed else "SURVIVED"
            print(f"{status} {result.seconds:5.1f} s  {layer}: {mutant.name}: {result.by[:110]}", flush=True)
            if options.record and mutant.tests and "::" in result.by:
                record(layer, mutant, result.by)
            table.setdefault(layer, []).append(result)
    print(f"\n{'layer':14}{'mutants':>8}{'killed':>8}{'survived':>10}{'seconds':>9}")
    everything = [result for results in table.values() for result in results]
    for layer, results in [*table.items(), ("all", everything)]:
        killed = sum(result.killed for result in results)
        seconds = sum(result.seconds for result in results)
        print(f"{layer:14}{len(results):8}{killed:8}{len(results) - killed:10}{seconds:9.0f}")
    return int(not all(result.killed for result in everything))


if __name__ == "__main__":
    sys.exit(main())
