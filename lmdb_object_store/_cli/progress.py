"""A progress bar for the long commands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class Bar:
    """A progress bar that shows nothing. On a terminal, a bar of `tqdm` stands in for it."""

    def update(self, n: int) -> None:
        """Advance the bar by `n`."""

    def write(self, line: str) -> None:
        """Print `line` above the bar."""
        print(line)


@contextmanager
def progress(total: int | None, unit: str = " rows", *, beside_output: bool = True) -> Iterator[Bar]:
    """Give a bar on standard error, if standard error is a terminal and tqdm is installed.

    With `beside_output` False give none if standard output is a terminal too: the printed rows would break the bar.
    """
    make: Any = None
    if _is_terminal(sys.stderr) and (beside_output or not _is_terminal(sys.stdout)):
        with suppress(ImportError):
            from tqdm import tqdm

            make = tqdm
    if make is None:
        yield Bar()
    else:
        with make(total=total, unit=unit, unit_scale=True, leave=False, file=sys.stderr) as bar:
            yield bar


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # None: the process was started without it
