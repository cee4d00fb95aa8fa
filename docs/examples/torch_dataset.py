"""A PyTorch Dataset over a store, read by the workers of a DataLoader. The handle goes to them, not the data."""

from __future__ import annotations

import sys

import torch
from torch.utils.data import DataLoader, Dataset

from lmdb_object_store import LmdbObjectStore

Sample = tuple[torch.Tensor, torch.Tensor]
Samples = LmdbObjectStore[bytes, "tuple[list[float], float]"]


def key(index: int) -> bytes:
    """The key of a sample: its number, so that samples are in the file in their order."""
    return index.to_bytes(8, "big")


class StoreDataset(Dataset[Sample]):
    """The samples of a store. It is pickled with the handle, and opens the file where it is first read."""

    def __init__(self, store: Samples) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        """A whole batch from one read transaction: DataLoader asks for it where a dataset has this method."""
        found, missing = self.store.get_many([key(index) for index in indices])
        if missing:
            raise IndexError(f"{len(missing)} of {len(indices)} samples are not in the store")
        return [(torch.tensor(x), torch.tensor(y)) for x, y in (found[key(index)] for index in indices)]


def main(path: str = "samples.db", method: str = "spawn") -> None:
    torch.manual_seed(1)
    truth = torch.tensor([2.0, -1.0, 0.5])
    with Samples(path) as store:
        inputs = torch.randn(2_000, 3)
        store.put_many((key(n), (x.tolist(), float(x @ truth))) for n, x in enumerate(inputs))
        loader = DataLoader(
            StoreDataset(store), batch_size=100, shuffle=True, num_workers=2, multiprocessing_context=method
        )
        model = torch.nn.Linear(3, 1)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.2)
        for x, y in loader:
            optimiser.zero_grad()
            loss = torch.nn.functional.mse_loss(model(x).squeeze(1), y)
            loss.backward()
            optimiser.step()
        print(f"{len(loader)} batches, loss {loss.item():.4f}")
        print("weights:", *(f"{weight:.1f}" for weight in model.weight[0].tolist()))


if __name__ == "__main__":
    main(*sys.argv[1:])
