"""Fixtures for all tests, and the profiles of Hypothesis."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from lmdb_object_store import LmdbObjectStore

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

# On Windows: what the fault suite is made of is not there, nor what these words in a test or its parameters stand for.
_HAS_FORK = hasattr(os, "fork")
_NEEDS_FORK = re.compile(
    r"\b(fork|in_child|Child|SIGKILL|SIGINT|SIGALRM|SIGUSR1|setitimer|resource|on_terminal|interruptible)\b|status=-"
)
collect_ignore = [] if _HAS_FORK else ["faults/test_faults.py", "faults/test_harness.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip each test that needs what only POSIX has, where it is missing."""
    for item in () if _HAS_FORK else items:
        if isinstance(item, pytest.Function):
            parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
            text = [inspect.getsource(item.function), *(value for value in parameters if isinstance(value, str))]
            if _NEEDS_FORK.search("\n".join(text)):
                item.add_marker(pytest.mark.skip(reason="needs fork and POSIX signals"))


OpenStore = Callable[..., LmdbObjectStore[Any, Any]]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a test's store lies."""
    return str(tmp_path / "db")


@pytest.fixture
def open_store(path: str) -> Iterator[OpenStore]:
    """Opens stores at `path` (str keys unless told otherwise, of the class `kind`), and closes them after the test."""
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
    """A store with str keys."""
    return open_store()
