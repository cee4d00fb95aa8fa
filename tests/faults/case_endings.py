"""Ways for a program to end: what it was to keep is in the file, and with SIGTERM's default what was flushed."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

from harness import Figures, budget
from journal import Journal, Model, compare, found_at
from support.programs import run_script

PROGRAM = """
sys.path[:0] = sys.argv[2].split(os.pathsep)
from pathlib import Path
from journal import Journal, random_operation
import random

source, journal = random.Random(sys.argv[3]), Journal(Path(sys.argv[4]))
store = opened(batch_size=10, map_size=1 << 20)
def write():
    while True:
        operation = random_operation(source, "k", without="close")
        if operation[0] not in ("clear", "grow"):
            return journal.run(store, operation)
for _ in range(source.randrange(200)):
    write()
"""
MULTIPROCESSING = """
if __name__ == "__main__":
    import multiprocessing
    worker = multiprocessing.get_context("{method}").Process(target=work, args=sys.argv[1:])
    worker.start()
    worker.join()
    assert worker.exitcode == 0
"""


def in_worker(method: str) -> str:
    """Run the program as the work of a `multiprocessing` process, which keeps its store and does not close it."""
    body = PROGRAM.replace("store = opened(", "global kept, store; kept = store = opened(")
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f"def work(*arguments):\n    sys.argv[1:] = arguments\n    global journal, source\n{lines}" + (
        MULTIPROCESSING.format(method=method)
    )


# A script, its exit status, and whether what is pending at its end must be in the file.
ENDINGS: dict[str, tuple[str, int, bool]] = {
    "no close": (PROGRAM, 0, True),
    "sys.exit": (PROGRAM + "sys.exit(3)", 3, True),
    "exception": (PROGRAM + "raise ValueError", 1, True),
    "collected": (PROGRAM + "del store", 0, True),
    "cycle": (PROGRAM + "store.itself = store\ndel store", 0, True),
    "with": (PROGRAM + "with store:\n    write()\n    raise ValueError", 1, True),
    "daemon": (
        PROGRAM + "def go_on():\n    try:\n        while True: write()\n    except ValueError: pass\n"
        "threading.Thread(target=go_on, daemon=True).start()\nthreading.Event().wait(0.02)",
        0,
        True,
    ),
    "fork": (in_worker("fork"), 0, True),
    "spawn": (in_worker("spawn"), 0, True),
    "SIGTERM": (PROGRAM + "signal.raise_signal(signal.SIGTERM)", -signal.SIGTERM, False),
    "SIGTERM handled": (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))" + PROGRAM + "signal.raise_signal(signal.SIGTERM)",
        143,
        True,
    ),
}


def run(seed: int, seconds: float, folder: Path) -> Figures:
    """Run one ending after the other."""
    source, figures, path = random.Random(seed), Figures("endings"), folder / "db"
    found_on = f"{Path(__file__).parent}:{Path(__file__).parents[1]}"
    for number in budget(seconds, len(ENDINGS)):
        shutil.rmtree(path, ignore_errors=True)
        program, status, flushed = list(ENDINGS.values())[number % len(ENDINGS)]
        run_script(program, str(path), found_on, str(source.random()), str(folder / "journal"), status=status)
        lines = list(Journal.read_file(folder / "journal"))
        model = Model(10)
        acknowledged, allowed = model.replay(lines)
        if flushed:
            # A daemon thread's last line may be missing, if the interpreter ended between the write and the line.
            cut_off = bool(lines) and not lines[-1][2]
            pending = [{key: stamp for key, stamp in model.pending.items() if stamp and stamp[0] == lines[-1][0]}]
            last = pending[0] if cut_off else {}
            every = Model(10)
            acknowledged, _ = every.replay([(n, operation, True) for n, operation, done in lines if done])
            acknowledged += len(every.pending)
            with_all = every.transactions(("flush", {}), 0)[0].applied_to(every.state)
            allowed = [with_all, {**with_all, **last}, *(allowed[1:] if cut_off else [])]
        figures.add(compare(acknowledged, allowed, found_at(str(path))))
        figures.rounds += 1
    return figures
