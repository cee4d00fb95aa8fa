"""All mutants, by the layer of the package and then by the path of the module within the package."""

from __future__ import annotations

import sys

from mutants import buffer, cli, environment, keys, mapping, shelve, store, transactions, values
from mutants.mutate import Mutant

LAYERS: dict[str, dict[str, list[Mutant]]] = {
    "keys": keys.MUTANTS,
    "values": values.MUTANTS,
    "environment": environment.MUTANTS,
    "buffer": buffer.MUTANTS,
    "transactions": transactions.MUTANTS,
    "mapping": mapping.MUTANTS,
    "store": store.MUTANTS,
    "shelve": shelve.MUTANTS,
    "cli": cli.MUTANTS,
}

# On Python 3.13 and later, CPython itself runs the `atexit` functions of such workers, so nothing is lost.
HARMLESS = {"forkserver's workers not closed"} if sys.version_info >= (3, 13) else set()
