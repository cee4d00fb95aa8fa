"""A full-text index: which modules of Python's standard library contain a word, and how often.

Run it twice: the second time the index is there.
"""

from __future__ import annotations

import re
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lmdb_object_store import LmdbObjectStore, OrderedKeys

# A key for each word of each module: all modules with a word are one prefix, all words that begin alike one range.
Index = LmdbObjectStore[tuple[str, str], int]

WORD = re.compile(r"[a-z]{3,}")


def occurrences(folder: Path) -> Iterator[tuple[tuple[str, str], int]]:
    """((word, module), how often) for the modules in `folder`."""
    for file in sorted(folder.glob("*.py")):
        words = Counter(WORD.findall(file.read_text(encoding="utf-8", errors="replace").lower()))
        for word, count in words.items():
            yield (word, file.stem), count


def modules(index: Index, word: str) -> Counter[str]:
    """The modules that contain `word`, and how often."""
    return Counter({module: count for (_, module), count in index.prefix((word,)).items()})


def completions(index: Index, beginning: str, most: int) -> list[str]:
    """The first `most` words that begin so. Each costs one look-up, however many modules it is in."""
    words: list[str] = []
    word, _ = next(index.irange((beginning,)), ("", ""))
    while word.startswith(beginning) and len(words) < most:
        words.append(word)
        word, _ = next(index.irange((word + "\0",)), ("", ""))
    return words


def main(path: str = "words.db", folder: str = sysconfig.get_path("stdlib")) -> None:
    with Index(path, key_encoding=OrderedKeys()) as index:
        if not index:
            began = time.perf_counter()
            index.put_many(occurrences(Path(folder)))  # all or nothing: a killed run leaves no half of an index
            print(f"indexed in {time.perf_counter() - began:.1f} s")
        print(f"{len(index)} entries")
        print("pickle:", *(f"{module} ({count})" for module, count in modules(index, "pickle").most_common(3)))
        print("lock and barrier:", *sorted(modules(index, "lock") & modules(index, "barrier")))
        print("completions of unpick:", *completions(index, "unpick", 5))


if __name__ == "__main__":
    main(*sys.argv[1:])
