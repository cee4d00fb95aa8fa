"""Reading a pickle in parts, so that the large strings in it are copied only once. A pure function.

A pickle of protocol 4 or 5 is a sequence of frames and of strings without a frame, those of 64 KiB and more (PEP 3154,
PEP 574). Each large string becomes an object at once. `pickle.loads` gets the rest of the pickle, and the objects as
buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Strings of at least this many bytes are taken out.
LARGE = 1 << 16

# Bytes of the pickle that are examined at a time.
_WINDOW = 4096

_PROTO, _FRAME, _NEXT_BUFFER = 0x80, 0x95, 0x97
# Up to three bytes between two strings have no frame. These codes make tuples, lists and dicts of the strings, and
# have no argument: ( ) ] } a e s t u TUPLE1 TUPLE2 TUPLE3 MEMOIZE
_BARE = frozenset(b"()]}aestu\x85\x86\x87\x94")
# By the code of a string in pickletools: its type, the width of its length in bytes, more arguments for the type.
_STRINGS: dict[int, tuple[type, int, tuple[str, ...]]] = {
    0x42: (bytes, 4, ()),
    0x8E: (bytes, 8, ()),
    0x96: (bytearray, 8, ()),
    0x58: (str, 4, ("utf-8", "surrogatepass")),
    0x8D: (str, 8, ("utf-8", "surrogatepass")),
}

# cut(make, start, stop, *arguments) returns `make(bytes of the pickle from start to stop, *arguments)`.
Cut = Callable[..., Any]


def parts(cut: Cut) -> tuple[bytes | bytearray, list[Any]]:
    """Return `data` and `strings` for `pickle.loads(data, buffers=strings)`.

    `data` is the whole pickle, and `strings` is empty, if the pickle is short or of another form.
    """
    window = cut(bytes, 0, _WINDOW)
    if len(window) < _WINDOW:
        return window, []
    if window[0] != _PROTO or window[1] < 4:
        return cut(bytes, 0, None), []
    data = bytearray()
    strings: list[Any] = []
    at, end = 0, 2  # the place of `window` in the pickle, and the number of its bytes that are done
    while True:
        while (step := _step(window, end)) and end + step <= len(window):
            end += step
        data += window[:end]
        at += end
        make, width, arguments = _STRINGS.get(window[end] if end < len(window) else 0, (None, 0, ()))
        header = 1 + width
        size = int.from_bytes(window[end + 1 : end + header], "little")
        if step:  # a frame that ends beyond the window
            data += cut(bytes, at, at + step)
            at += step
        elif make is not None and size >= LARGE and end + header <= len(window):
            strings.append(cut(make, at + header, at + header + size, *arguments))
            data.append(_NEXT_BUFFER)
            at += header + size
        elif end < len(window) or end < _WINDOW:
            return data + cut(bytes, at, None), strings
        window, end = cut(bytes, at, at + _WINDOW), 0


def _step(window: bytes, at: int) -> int:
    """Return the size of the frame, or of the code without an argument, that begins at `at`; 0 for anything else."""
    if at < len(window) and window[at] in _BARE:
        return 1
    if len(window) < at + 9 or window[at] != _FRAME:
        return 0
    return 9 + int.from_bytes(window[at + 1 : at + 9], "little")
