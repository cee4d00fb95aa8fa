"""How far a long command of the command line is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing import TextIO


class Bar(Protocol):
    """What shows progress: a `tqdm`, or nothing."""

    def update(self, n: int) -> Any:
        """So many more are done."""

    def write(self, line: str) -> None:
        """Print `line` above."""


class _NoBar:
    def update(self, n: int) -> None:
        pass

    def write(self, line: str) -> None:
        print(line)


@contextmanager
def progress(total: int | None, unit: str = " rows", *, beside_output: bool = True) -> Iterator[Bar]:
    """A bar on standard error, if that is a terminal and tqdm is installed. `beside_output` False: not where standard
    output, which rows are printed to, is a terminal too."""
    make: Any = None
    if _is_terminal(sys.stderr) and (beside_output or not _is_terminal(sys.stdout)):
        with suppress(ImportError):
            from tqdm import tqdm

            make = tqdm
    if make is None:
        yield _NoBar()
    else:
        with make(total=total, unit=unit, unit_scale=True, leave=False, file=sys.stderr) as bar:
            yield bar


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # None: the process was started without it
