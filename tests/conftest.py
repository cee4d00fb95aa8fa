"""Fixtures for all tests, and the profiles of Hypothesis."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from support.stores import TINY, TOO_LARGE
from support.threads import frequent_switches

from lmdb_object_store import LmdbObjectStore
from lmdb_object_store._buffer import pending as _pending

# `parent` is given each time: by default it would be whatever profile is loaded, and CI loads one by itself.
_BASE = settings(
    parent=settings.get_profile("default"), deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.register_profile("quick", parent=_BASE, max_examples=25, stateful_step_count=30)
settings.register_profile("ci", parent=_BASE, max_examples=300, stateful_step_count=40, derandomize=True)
settings.register_profile(
    "nightly", parent=_BASE, max_examples=20_000, stateful_step_count=80, derandomize=False, print_blob=True
)
# With a mutant, any failure is enough, so no time is spent on a shorter example.
settings.register_profile("mutants", parent=settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# As Python without its global lock does; see docs/concurrency.md. `support.programs` does so in other processes.
if os.environ.get("ADD_UNDER_LOCK"):
    _pending.ONE_STEP = False

_HAS_FORK = hasattr(os, "fork")
collect_ignore = [] if _HAS_FORK else ["faults/test_faults.py", "faults/test_harness.py"]  # made of forks and signals


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip each test that is marked `posix` where there is no fork, as on Windows."""
    for item in () if _HAS_FORK else items:
        if item.get_closest_marker("posix"):
            item.add_marker(pytest.mark.skip(reason="needs fork and POSIX signals"))


pytest_plugins = ["support.mappings", "support.writeback"]

OpenStore = Callable[..., LmdbObjectStore[Any, Any]]


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose name has no word of the test's: an error that shows it would match any such word."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Return the path of the test's store."""
    return str(tmp_path / "db")


@pytest.fixture
def open_store(path: str) -> Iterator[OpenStore]:
    """Open stores at `path`, by default with str keys and of the class `kind`, and close them after the test."""
    stores: list[LmdbObjectStore[Any, Any]] = []

    def opened(*args: Any, **options: Any) -> LmdbObjectStore[Any, Any]:
        kind: type[LmdbObjectStore[Any, Any]] = options.pop("kind", LmdbObjectStore)
        store = kind(options.pop("path", path), *args, **{"key_encoding": "utf-8", **options})
        stores.append(store)
        return store

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> LmdbObjectStore[Any, Any]:
    """Open a store with str keys."""
    return open_store()


@pytest.fixture
def full(open_store: OpenStore) -> LmdbObjectStore[Any, Any]:
    """Open a store whose next flush fails: `kept` is in the file, `small` and `large` are pending."""
    store = open_store(**TINY)
    store["kept"] = 1
    store.flush()
    store["small"] = 2
    store["large"] = TOO_LARGE
    return store


@pytest.fixture
def pending(request: pytest.FixtureRequest, open_store: OpenStore) -> LmdbObjectStore[Any, Any]:
    """Open a store with one key in the file and one pending."""
    store = open_store(autoflush_on_read=getattr(request, "param", True))
    store["stored"] = 1
    store.flush()
    store["pending"] = 2
    return store


@pytest.fixture
def _races() -> Iterator[None]:
    """Have threads take turns so often that races show. (A tight loop takes fewer turns.)"""
    with frequent_switches():
        yield


races = pytest.mark.usefixtures("_races")
