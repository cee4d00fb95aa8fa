"""A pickle read in parts: the large strings in it become objects at once, and are copied only once. A pure function.

A pickle of protocol 4 or 5 is a sequence of frames, and of strings too large for one (PEP 3154: 64 KiB and more;
PEP 574: `bytearray`). Each such string is left out of what is given to `pickle.loads`, which gets it as a buffer
(PEP 574) in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Strings of so many bytes are taken out.
LARGE = 1 << 16

# The pickle is looked at by so many bytes at a time.
_WINDOW = 4096

_PROTO, _FRAME, _NEXT_BUFFER = 0x80, 0x95, 0x97
# The codes of up to three bytes stand without a frame between two such strings. These make tuples, lists and dicts of
# them, and have no argument: ( ) ] } a e s t u TUPLE1 TUPLE2 TUPLE3 MEMOIZE
_BARE = frozenset(b"()]}aestu\x85\x86\x87\x94")
# The codes of pickletools for a string: what makes it, the width of its length in bytes, the maker's other arguments.
_STRINGS: dict[int, tuple[type, int, tuple[str, ...]]] = {
    0x42: (bytes, 4, ()),
    0x8E: (bytes, 8, ()),
    0x96: (bytearray, 8, ()),
    0x58: (str, 4, ("utf-8", "surrogatepass")),
    0x8D: (str, 8, ("utf-8", "surrogatepass")),
}

# cut(make, start, stop, *arguments): `make(those bytes of the pickle, *arguments)`.
Cut = Callable[..., Any]


def parts(cut: Cut) -> tuple[bytes | bytearray, list[Any]]:
    """What `pickle.loads(data, buffers=strings)` takes; the whole pickle and no strings if it is of another form."""
    window = cut(bytes, 0, _WINDOW)
    if len(window) < _WINDOW:
        return window, []
    if window[0] != _PROTO or window[1] < 4:
        return cut(bytes, 0, None), []
    data = bytearray()
    strings: list[Any] = []
    at, end = 0, 2  # what `window` begins with in the pickle, and how much of it is seen to
    while True:
        while (step := _step(window, end)) and end + step <= len(window):
            end += step
        data += window[:end]
        at += end
        make, width, arguments = _STRINGS.get(window[end] if end < len(window) else 0, (None, 0, ()))
        header = 1 + width
        size = int.from_bytes(window[end + 1 : end + header], "little")
        if step:  # a frame that the window holds the beginning of
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
    """The size of what stands there and can be passed over: a frame, or a code without an argument; else 0."""
    if at < len(window) and window[at] in _BARE:
        return 1
    if len(window) < at + 9 or window[at] != _FRAME:
        return 0
    return 9 + int.from_bytes(window[at + 1 : at + 9], "little")
