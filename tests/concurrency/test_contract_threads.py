"""The contract for threads: many readers beside a writer, and a close that waits for no value."""

from __future__ import annotations

import threading

from conftest import OpenStore
from support.stores import Store


def test_get_beside_a_writer_gives_whole_values(open_store: OpenStore) -> None:
    """Many threads read while one writes and flushes. Each sees whole values, old or new."""
    store = open_store(10)
    store.put_many({f"k{i}": (0, 0) for i in range(50)})
    barrier, wrong = threading.Barrier(5), list[object]()

    def read() -> None:
        barrier.wait(30)
        try:
            for i in range(500):
                first, second = store[f"k{i % 50}"]
                if first != second:
                    wrong.append((first, second))
        except Exception as error:
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    barrier.wait(30)
    for i in range(500):
        store[f"k{i % 50}"] = (i, i)
    for reader in readers:
        reader.join(30)
    assert wrong == []


def test_close_during_an_unpickling_ends_and_leaves_the_value(store: Store) -> None:
    """`close` does not hang on a reader that unpickles a value, and the reader gets the value."""
    store["a"] = Slow()
    store.flush()
    answers: list[object] = []
    reader = threading.Thread(target=lambda: answers.append(store["a"]))
    reader.start()
    assert Slow.begun.wait(30)
    store.close()
    Slow.go_on.set()
    reader.join(30)
    assert [type(answer) for answer in answers] == [Slow]


class Slow:
    """A value whose unpickling waits until the test continues it."""

    begun = threading.Event()
    go_on = threading.Event()

    def __getstate__(self) -> object:
        return {"some": "state"}

    def __setstate__(self, state: object) -> None:
        Slow.begun.set()
        assert Slow.go_on.wait(30)
