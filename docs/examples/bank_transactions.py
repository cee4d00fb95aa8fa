"""Transactions: many clients at once move money between accounts, and none of it gets lost."""

from __future__ import annotations

import asyncio
import random
import sys

from lmdb_object_store import LmdbObjectStore

Bank = LmdbObjectStore[str, int]


def transfer(bank: Bank, payer: str, payee: str, amount: int) -> None:
    """Move `amount`, or raise ValueError. What it has read is true until its end, and all of it happens or nothing."""
    with bank.transaction():
        bank[payer] -= amount
        bank[payee] += amount
        if bank[payer] < 0:
            raise ValueError(f"{payer} has not enough")  # undoes the two lines above


async def client(bank: Bank, names: list[str], choice: random.Random) -> int:
    """How many of ten transfers were made. A block cannot hold an `await`: a thread runs the whole function instead."""
    made = 0
    for _ in range(10):
        payer, payee = choice.sample(names, 2)
        try:
            await asyncio.to_thread(transfer, bank, payer, payee, choice.randrange(1, 80))
            made += 1
        except ValueError:
            pass
    return made


async def main(path: str = "bank.db") -> None:
    with Bank(path, key_encoding="utf-8") as bank:
        names = ["ada", "alan", "edsger", "grace"]
        bank.put_many(dict.fromkeys(names, 100))
        made = await asyncio.gather(*(client(bank, names, random.Random(seed)) for seed in range(10)))
        print(f"{sum(made)} of 100 transfers were made")
        print("sum:", sum(bank.values()), "smallest:", "not negative" if min(bank.values()) >= 0 else "negative")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
