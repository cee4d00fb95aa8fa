"""The programs of docs/examples: each prints what the cookbook shows, and does what it is there for."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import time
from importlib.util import find_spec
from pathlib import Path

import lmdb
import pytest

from lmdb_object_store import LmdbObjectStore, OrderedKeys

DOCS = Path(__file__).parents[2] / "docs"
COOKBOOK = (DOCS / "cookbook.md").read_text(encoding="utf-8")
STDLIB = Path(sysconfig.get_path("stdlib"))
SESSIONS = re.findall(r"```console\n(.*?)```", COOKBOOK, re.DOTALL)

pytestmark = [
    pytest.mark.once,  # the examples are the same programs with each Python
    pytest.mark.timeout(600),
]


def scripts_of(session: str) -> list[str]:
    """Return the examples that a session of the cookbook runs, one for each time."""
    return re.findall(r"^\$ python docs/examples/(\S+)", session, re.MULTILINE)


# These examples need other libraries, whose warnings are not this project's.
BORROWING = {script for session in SESSIONS if "$ pip install" in session for script in scripts_of(session)}


def command(script: str, *arguments: object) -> list[str]:
    """Return the command that runs the example `script` with warnings as errors."""
    warnings = "always::ResourceWarning" if script in BORROWING else "error"
    return [sys.executable, "-W", warnings, str(DOCS / "examples" / script), *map(str, arguments)]


def surroundings(home: Path) -> dict[str, str]:
    """Return the environment variables of an example, with a home directory of its own."""
    own = dict.fromkeys(("HOME", "USERPROFILE", "XDG_CACHE_HOME"), str(home))
    return {**os.environ, **own, "PYTHONUTF8": "1"}


def run(script: str, *arguments: object, home: Path) -> str:
    """Run the example `script` in the directory `home`, and return its output."""
    done = subprocess.run(
        command(script, *arguments),
        env=surroundings(home),
        cwd=home,
        text=True,
        encoding="utf-8",
        capture_output=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "unclosed store" not in done.stderr
    return done.stdout


def with_examples(program: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run `program` in the directory `home`; it can import the examples, and the modules in `home`."""
    found_at = filter(None, (str(home), str(DOCS / "examples"), os.environ.get("PYTHONPATH")))
    environment = {**surroundings(home), "PYTHONPATH": os.pathsep.join(found_at)}
    python = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    return subprocess.run(python, env=environment, cwd=home, text=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: scripts_of(session)[0])
def test_cookbook_command_prints_what_it_shows(session: str, tmp_path: Path) -> None:
    """Each command prints the lines below it; `…` is anything. It is skipped without its `pip install`."""
    for shown in session.removeprefix("$ ").split("\n$ "):
        line, _, want = shown.partition("\n")
        words = line.split()
        if words[:2] == ["pip", "install"]:
            if missing := [name for name in words[2:] if find_spec(name) is None]:
                pytest.skip(f"needs {', '.join(missing)}")
            continue
        got = run(words[1].removeprefix("docs/examples/"), *words[2:], home=tmp_path)
        assert re.fullmatch(re.escape(want.strip()).replace("…", ".*"), got.strip(), re.DOTALL), got


def test_cookbook_shows_every_example() -> None:
    """Each file is linked and run, quickstart.py by the README and the tests below."""
    files = {path.name for path in (DOCS / "examples").glob("*.py")}
    assert set(re.findall(r"\]\(examples/(\w+\.py)\)", COOKBOOK)) == files
    assert {script for session in SESSIONS for script in scripts_of(session)} == files - {"quickstart.py"}


def fetched(lines: list[str]) -> list[str]:
    """Return the pages that a crawl has fetched, in order."""
    return [line.split()[1] for line in lines if line.startswith("fetched ")]


def test_crawl_after_kills_resumes(tmp_path: Path) -> None:
    """A crawl killed twice ends with the pages of a crawl that nobody kills, and fetches no page again."""
    pages: list[str] = []
    slowly = command("job_queue.py", "crawl.db", "asyncio", 0.1)
    for count in (1, 5):
        with subprocess.Popen(
            slowly, env=surroundings(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, encoding="utf-8"
        ) as crawl:
            assert crawl.stdout
            lines = [crawl.stdout.readline() for _ in range(count)]
            crawl.kill()
            lines += crawl.stdout
        assert crawl.returncode, "it had not ended by itself"
        pages += fetched(lines)
    *lines, summary = run("job_queue.py", home=tmp_path).splitlines()
    pages += fetched(lines)

    *lines, expected = run("job_queue.py", "another.db", home=tmp_path).splitlines()
    whole = fetched(lines)
    assert summary == expected
    assert f"{len(whole)} pages, " in summary
    assert len(set(pages)) == len(pages), "none is fetched twice"
    assert set(pages) <= set(whole)
    assert len(whole) - len(pages) <= 2, "one may be stored and not printed yet at each kill"


def test_crawl_from_a_second_page_continues_the_first(tmp_path: Path) -> None:
    """The second start page waits behind the first, whose crawl was killed before it had fetched anything."""

    def job_waits() -> bool:
        try:
            with LmdbObjectStore(str(tmp_path / "crawl.db"), key_encoding=OrderedKeys(), readonly=True) as store:
                return ("todo", 0) in store
        except (OSError, lmdb.Error):  # not there yet, or not yet whole
            return False

    waiting = command("job_queue.py", "crawl.db", "asyncio", 600)
    with subprocess.Popen(waiting, env=surroundings(tmp_path), cwd=tmp_path) as crawl:
        limit = time.monotonic() + 60
        try:
            while not job_waits():
                assert crawl.poll() is None
                assert time.monotonic() < limit
                time.sleep(0.02)  # it prints nothing, and no event tells
        finally:
            crawl.kill()
    *lines, summary = run("job_queue.py", "crawl.db", "json", home=tmp_path).splitlines()
    assert fetched(lines)[:2] == ["asyncio", "json"]

    run("job_queue.py", "another.db", "asyncio", home=tmp_path)
    assert summary == run("job_queue.py", "another.db", "json", home=tmp_path).splitlines()[-1]


def test_cache_of_two_functions_with_one_name_keeps_them_apart(tmp_path: Path) -> None:
    """Each function has its own results, though both have one name and get the same arguments."""
    for name, factor in (("one", 2), ("two", 3)):
        (tmp_path / f"{name}.py").write_text(f"def f(number):\n    return number * {factor}\n", encoding="utf-8")
    program = """
        import one, two
        from lmdb_object_store import LmdbObjectStore, OrderedKeys
        from memoise import memoised

        with LmdbObjectStore("cache.db", key_encoding=OrderedKeys()) as cache:
            for _ in range(2):
                print(memoised(one.f, cache)(7), memoised(two.f, cache)(7), len(cache))
    """
    done = with_examples(program, tmp_path)
    assert done.stdout.splitlines() == ["14 21 2", "14 21 2"], done.stderr


def test_computation_that_is_killed_keeps_its_results(tmp_path: Path) -> None:
    """Each result is in the file before the next is computed."""
    program = """
        import os
        import memoise

        queens = memoise.queens
        memoise.queens = lambda size: queens(size) if size < 5 else os.kill(os.getpid(), 9)
        memoise.queens.__module__, memoise.queens.__qualname__ = "__main__", "queens"
        memoise.main()
    """
    killed = with_examples(program, tmp_path)
    assert killed.returncode
    assert not killed.stderr
    assert "5 computed, 4 known before" in run("memoise.py", home=tmp_path)


def test_word_index_of_a_folder_counts_words_by_module(tmp_path: Path) -> None:
    """Words are counted by module, in any case; modules with both words, and completions, are in order."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "one.py").write_text("Pickle pickle unpickle unpicked lock barrier", encoding="utf-8")
    (folder / "two.py").write_text("pickle unpickles unpin lock", encoding="utf-8")
    (folder / "three.py").write_text("barrier lock", encoding="utf-8")
    assert run("word_index.py", "index", folder, home=tmp_path).splitlines()[1:] == [
        "11 entries",
        "pickle: one (2) two (1)",
        "lock and barrier: one three",
        "completions of unpick: unpicked unpickle unpickles",
    ]


def test_reader_pool_counts_as_one_process_does(tmp_path: Path) -> None:
    """The workers find in the store what lies in the folder."""
    lines = run("reader_pool.py", home=tmp_path).splitlines()
    trees = {file.stem: ast.walk(ast.parse(file.read_bytes())) for file in (STDLIB / "json").glob("*.py")}
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert sorted(lines) == sorted(
        f"{name}: {sum(isinstance(node, functions) for node in nodes)} functions" for name, nodes in trees.items()
    )


@pytest.mark.posix
@pytest.mark.skipif(find_spec("torch") is None, reason="needs torch")
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_torch_workers_of_any_start_method_read_the_same(method: str, tmp_path: Path) -> None:
    """The cookbook starts the workers by spawn. The workers read the same data by every start method."""
    assert "20 batches, loss 0.0000" in run("torch_dataset.py", "samples.db", method, home=tmp_path)


@pytest.mark.slow  # indexes the whole standard library of Python
def test_quickstart_run_twice_works(tmp_path: Path) -> None:
    """The script works on a fresh machine, and again on the files that it left there."""
    for _ in range(2):
        assert "answered from the store" in run("quickstart.py", home=tmp_path)


def test_quickstart_after_changes_reads_only_changed_files(tmp_path: Path) -> None:
    """The index follows the files: new, changed, dropped, not valid Python, not a module."""
    root, store = tmp_path / "root", tmp_path / "store"
    shutil.copytree(STDLIB / "json", root / "json", ignore=shutil.ignore_patterns("*.pyc"))
    (root / "broken.py").write_text("class :\n")
    (root / "site-packages").mkdir()
    (root / "site-packages" / "other.py").write_text("class Other: pass\n")
    count = len(list(root.glob("**/*.py"))) - 1

    def answers(*arguments: str) -> str:
        return run("quickstart.py", store, "--root", root, *arguments, home=tmp_path)

    first = answers("--class", "JSONDecoder")
    assert f"{count} modules: {count} read, 0 unchanged, 0 dropped" in first
    assert "class JSONDecoder is defined in: json.decoder" in first
    assert "json has " in first

    assert f"{count} modules: 0 read, {count} unchanged, 0 dropped" in answers()

    (root / "json" / "tool.py").unlink()
    (root / "broken.py").write_text("class Mended: pass\n")
    third = answers("--class", "Mended")
    assert f"{count - 1} modules: 1 read, {count - 2} unchanged, 1 dropped" in third
    assert "class Mended is defined in: broken" in third
    assert "class Other is defined in: no module" in answers("--class", "Other")
