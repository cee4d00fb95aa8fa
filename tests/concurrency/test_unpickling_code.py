"""Values that use their store while they are unpickled."""

from __future__ import annotations

import pytest
from support.programs import run_script

AT_LOAD: dict[str, str] = {
    "writes": "store['written'] = 1",
    "writes and flushes": "store['written'] = 1; store.flush()",
    "grows": "store.put_many({str(i): os.urandom(1 << 20) for i in range(3)})",
    "closes": "store.close()",
    "deletes what is read": "store.pop_of_key()",
    "clears": "store.clear()",
    "has another thread write": "in_thread(lambda: store.put_many({'written': 1}))",
    "has another thread grow": "in_thread(lambda: store.put_many({str(i): os.urandom(1 << 20) for i in range(3)}))",
    "has another thread close": "in_thread(store.close)",
    "forks": "fork_and_read()",
}

READS: dict[str, str] = {
    "[]": "value = store['key']",
    "get_many": "value = store.get_many(['key'])[0][b'key']",
    "items": "value = next(iter(store.items()))[1]",
    "values": "value = next(reversed(store.values()))",
    "setdefault": "value = store.setdefault('key')",
    "==": "store == {'key': 0}; value = None",
}


@pytest.mark.posix
@pytest.mark.parametrize("at_load", AT_LOAD.values(), ids=AT_LOAD)
def test_get_value_that_uses_its_store_is_right(path: str, at_load: str) -> None:
    """A `__setstate__` that uses the store it is read from neither crashes nor hangs, and the value is right."""
    source = f"""
        class Loaded:
            def __reduce__(self): return Loaded, (), {{"a": 1}}
            def __setstate__(self, state):
                if active: at_load()

        def in_thread(body):
            thread = threading.Thread(target=body, daemon=True)
            thread.start()
            thread.join(15)
            assert not thread.is_alive()

        def fork_and_read():
            active.clear()
            pid = os.fork()
            if not pid:
                os._exit(store["key"][1] != tail)
            assert os.waitpid(pid, 0)[1] == 0

        class Store(LmdbObjectStore):
            def pop_of_key(self):
                active.clear()
                del self["key"]
                self.flush()

        def at_load(): {at_load}

        active = []
        tail = os.urandom(300_000)
        reads = sys.argv[2:]
        for number, read in enumerate(reads):
            directory = f"{{path}}{{number}}"
            store = Store(directory, key_encoding="utf-8", map_size=1 << 20)
            active.clear()
            store["key"] = [Loaded(), tail, "end"]
            store.flush()
            active.append(True)
            names = {{"store": store}}
            exec(read, names)
            value = names["value"]
            assert value is None or (value[1] == tail and value[2] == "end")
            store.close()
    """
    run_script(source, path, *READS.values(), limit=60)
