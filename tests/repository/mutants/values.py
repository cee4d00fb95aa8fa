"""Mutants of the values as bytes: pickle or another serializer, large values."""

from __future__ import annotations

from mutants.mutate import Mutant

MUTANTS = {
    "_values/serializing": [
        Mutant(
            "a serializer is not checked",
            "check",
            "all((callable(getattr(serializer, name, None)) for name in ('dumps', 'loads')))",
            "any((callable(getattr(serializer, name, None)) for name in ('dumps', 'loads')))",
            "test_serializers.py",
        ),
        Mutant("a serializer's text is not encoded", "_serialized", "data = data.encode()", "", "test_messages.py"),
        Mutant(
            "a serializer's other results are stored",
            "_serialized",
            "if not isinstance(data, (bytes, bytearray, memoryview)):",
            "if False:",
            "test_serializers.py",
        ),
        Mutant("a serializer's buffer is not copied", "_serialized", "data = bytes(data)", "", "test_serializers.py"),
        Mutant(
            "a serialized value has no limit",
            "_serialized",
            "if len(data) > MAX_VALUE_BYTES:",
            "if False:",
            "test_serializers.py",
        ),
        Mutant(
            "a module is pickled",
            "pickled_form",
            "serializer.__name__ if isinstance(serializer, ModuleType) else serializer",
            "serializer",
            "test_buffering.py",
        ),
        Mutant("a serializer's error names no key", "_serialized", "note_key(error, key)", "", "test_messages.py"),
        Mutant(
            "setdefault with an old pickle protocol",
            "",
            "partial(_serialized, _PickleProtocol(pickle.HIGHEST_PROTOCOL))",
            "partial(_serialized, _PickleProtocol(2))",
            "test_serializers.py",
        ),
        Mutant("an interrupt is noted", "_serialized", "Exception", "BaseException", "test_messages.py"),
        Mutant(
            "a class's own error is called damage",
            "remedy",
            "if pickles and whole and (not isinstance(error, (pickle.UnpicklingError, EOFError))):",
            "if False and (not isinstance(error, (pickle.UnpicklingError, EOFError))):",
            "test_unpickling.py",
        ),
        Mutant(
            "the protocol is ignored",
            "by_protocol",
            "0 <= protocol < pickle.HIGHEST_PROTOCOL",
            "9 <= protocol < pickle.HIGHEST_PROTOCOL",
            "test_shelve.py",
        ),
    ],
    "_values/large": [
        Mutant(
            "large strings of any form taken out",
            "parts",
            "if window[0] != _PROTO or window[1] < 4:",
            "if False:",
            "test_large_parts.py",
        ),
        Mutant("small strings taken out", "parts", "size >= LARGE", "True", "test_large_parts.py"),
        Mutant(
            "frames that end in the next window skipped",
            "parts",
            "data += cut(bytes, at, at + step)",
            "",
            "test_large_parts.py",
        ),
    ],
}
