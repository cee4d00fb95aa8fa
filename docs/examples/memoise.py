"""A cache on disk for an expensive function: computed once, answered from the store ever after.

Run it twice: the second time it computes nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from lmdb_object_store import LmdbObjectStore, OrderedKeys

P = ParamSpec("P")
R = TypeVar("R")
Cache = LmdbObjectStore[Any, Any]
_MISSING: Any = object()  # not None, which a function may well return


def memoised(function: Callable[P, R], cache: Cache) -> Callable[P, R]:
    """`function`, with its results kept in `cache`. Its arguments are numbers, text, dates or tuples of these.

    The key is the function's module, its name and its arguments: clear the cache when the function itself has changed.
    """

    @wraps(function)
    def answer(*args: P.args, **kwargs: P.kwargs) -> R:
        key = (function.__module__, function.__qualname__, args, tuple(sorted(kwargs.items())))
        result: R = cache.get(key, _MISSING)
        if result is _MISSING:
            result = cache[key] = function(*args, **kwargs)
        return result

    return answer


def queens(size: int) -> int:
    """In how many ways can `size` queens stand on a board without attacking each other?"""

    def place(row: int, columns: int, left: int, right: int) -> int:
        if row == size:
            return 1
        free = [1 << n for n in range(size) if not (columns | left | right) & 1 << n]
        return sum(place(row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1) for bit in free)

    return place(0, 0, 0, 0)


def main(path: str = "memoise.db") -> None:
    # Each result is on the disk once it is computed, and no kill loses it: a commit is short beside the computation.
    with Cache(path, key_encoding=OrderedKeys(), batch_size=1) as cache:
        known, began = len(cache), time.perf_counter()
        solutions = memoised(queens, cache)
        print("solutions:", *(solutions(size) for size in range(1, 10)))
        print(f"{len(cache) - known} computed, {known} known before, {time.perf_counter() - began:.4f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
