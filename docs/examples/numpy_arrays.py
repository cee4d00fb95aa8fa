"""NumPy arrays: a matrix that need not fit into memory, kept in blocks of rows and worked through block by block."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from lmdb_object_store import LmdbObjectStore, OrderedKeys

# The key is the number of a block's first row. An array is pickled as any object is, its data in one piece, which is
# copied once when it is read: the array that you get is yours to change.
Matrix = LmdbObjectStore[int, "np.ndarray[Any, np.dtype[np.float64]]"]

ROWS, COLUMNS, BLOCK = 20_000, 50, 1_000


def rows(matrix: Matrix, start: int, stop: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The rows from `start` to before `stop`, of as many blocks as they lie in."""
    first = next(matrix.irange(maximum=start, reverse=True))
    blocks = list(matrix.range(first, stop, inclusive=(True, False)).values())
    return np.concatenate(blocks)[start - first : stop - first]


def main(path: str = "matrix.db") -> None:
    random = np.random.default_rng(1)
    weights = random.normal(size=COLUMNS)
    with Matrix(path, key_encoding=OrderedKeys()) as matrix:
        matrix.clear()
        for start in range(0, ROWS, BLOCK):  # 400 kB each: commits are by `batch_bytes`, 64 MiB, not one by one
            matrix[start] = random.normal(size=(BLOCK, COLUMNS))
        print(len(matrix), "blocks,", sum(block.nbytes for block in matrix.values()), "bytes")

        # Least squares, of which only the sums over all rows are in memory: one block at a time is read.
        left, right = np.zeros((COLUMNS, COLUMNS)), np.zeros(COLUMNS)
        for block in matrix.values():
            left += block.T @ block
            right += block.T @ (block @ weights)
        found = np.linalg.solve(left, right)
        print("weights found:", bool(np.allclose(found, weights)))

        # Any rows, across the border of two blocks; and a change, which is written by assigning the block again.
        print("rows 1990 to 2010:", rows(matrix, 1990, 2010).shape)
        block = matrix[2000]
        block[0] = 0
        matrix[2000] = block
        print("row 2000 is zero:", not matrix[2000][0].any())


if __name__ == "__main__":
    main(*sys.argv[1:])
