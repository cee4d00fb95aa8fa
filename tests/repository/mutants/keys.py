"""Mutants of the keys as bytes: text, objects, order, intervals."""

from __future__ import annotations

from mutants.mutate import Mutant

MUTANTS = {
    "_keys/codec": [
        Mutant("stand-in of the empty key shown", "KeyCodec.decode", "b'' if stored == EMPTY else stored", "stored"),
        Mutant(
            "stand-in of the empty key taken for it",
            "KeyCodec.replaced",
            "self.unstorable if data == EMPTY else data",
            "data",
        ),
        Mutant(
            "keys that do not lead back",
            "KeyCodec.decode",
            "if self.lossless or self.encode(text) == stored:",
            "if True:",
        ),
        Mutant("keys of any length staged", "KeyCodec.encode_to_store", "if len(data) <= self.max_size:", "if True:"),
        Mutant("keys not normalized", "KeyCodec._encode_text", "key = self.normalized(key)", ""),
        Mutant("views of memory not copied", "KeyCodec.encode", "memoryview(key).tobytes()", "key"),
        Mutant("set operations fail for what is no key", "KeyCodec.encode_own", "ValueError", "UnicodeError"),
        Mutant(
            "sets know keys in any form",
            "KeyCodec.encode_own",
            "stored if type(own) is type(key) and own == key else None",
            "stored",
        ),
        Mutant(
            "the stand-in of the empty key in a page",
            "KeyCodec.decode_page",
            "if stored_keys and next(iter(stored_keys))[0] and next(reversed(first_and_last))[0]:",
            "if stored_keys and True:",
        ),
        Mutant(
            "a bound of the stand-in is that of any key too long",
            "KeyCodec.encode_bound",
            "EMPTY if data is self.unstorable else data",
            "data",
        ),
        Mutant(
            "an empty bound is that of its stand-in",
            "KeyCodec.encode_bound",
            "b'' if data is EMPTY else EMPTY if data is self.unstorable else data",
            "EMPTY if data is self.unstorable else data",
        ),
    ],
    "_keys/custom": [
        Mutant(
            "a key given that does not lead back",
            "EncodedKeys.decode",
            "if self._exact or self.encode(key) == stored:",
            "if True:",
        ),
        Mutant("a stored key encoded", "EncodedKeys.encode", "if type(key) is StoredKey:", "if False:"),
        Mutant("a stored key's prefix encoded", "EncodedKeys.prefix_bounds", "type(prefix) is StoredKey", "False"),
        Mutant("a stored key equal to bytes", "StoredKey.__eq__", "isinstance(other, StoredKey)", "True"),
        Mutant("an encoding that gives no bytes", "EncodedKeys.encode", "if type(data) is not bytes:", "if False:"),
        Mutant("an encoding's own errors", "EncodedKeys.encode", "Exception", "TypeError"),
        Mutant(
            "a failure to decode taken for a stranger",
            "EncodedKeys.decode",
            "except (MemoryError, RuntimeError):",
            "except ArithmeticError:",
        ),
        Mutant(
            "one stranger fails its page", "EncodedKeys.decode_page", "except ValueError:", "except ArithmeticError:"
        ),
        Mutant("bytes pass an encoding by", "EncodedKeys.__init__", "self.plain = 0", ""),
        Mutant("a class taken for an encoding", "EncodedKeys.check", "isinstance(encoding, type)", "False"),
        Mutant("options that do nothing", "EncodedKeys.check", "if errors != 'strict' or normalize:", "if False:"),
        Mutant("a value's key shown as bytes", "EncodedKeys.shown", "self.decode(stored)", "stored"),
        Mutant(
            "wrong bounds of a prefix",
            "EncodedKeys.prefix_bounds",
            "if not isinstance(low, bytes) or not (high is None or isinstance(high, bytes)):",
            "if not isinstance(low, bytes) and (not (high is None or isinstance(high, bytes))):",
        ),
        Mutant("a part's bounds are cut", "EncodedKeys.is_key", "type(self.decode(stored)) is not StoredKey", "True"),
    ],
    "_keys/ordered": [
        Mutant("negative zero is a key", "_float", "value + 0.0", "value"),
        Mutant("negative zero is read", "_read_float", "if value != value or bits == _SIGN - 1:", "if value != value:"),
        Mutant("NaN is a key", "_float", "if value != value:", "if False:"),
        Mutant("NaN is read", "_read_float", "if value != value or bits == _SIGN - 1:", "if bits == _SIGN - 1:"),
        Mutant("None in a tuple is its end", "_none", "b'\\x00\\xff'", "b'\\x00'"),
        Mutant("NUL in text is its end", "_str", "if '\\x00' not in value:", "if True:"),
        Mutant(
            "NUL in text is its end where it is read",
            "_read_tuple",
            "data[(end := data.index(0, at)) + 1] != 255",
            "(end := data.index(0, at))",
        ),
        Mutant(
            "tuples whose text goes on",
            "OrderedKeys.prefix_range",
            "(head, head + b'\\xff')",
            "(Interval.of_prefix(head).low, Interval.of_prefix(head).high)",
        ),
        Mutant("ints of more bytes than needed", "_positive", "if data[at] == 0:", "if False:"),
        Mutant(
            "ints of more bytes than needed, in tuples",
            "_read_tuple",
            "if _ZERO < code < _POSITIVE and data[at]:",
            "if _ZERO < code < _POSITIVE:",
        ),
        Mutant("negative ints of more bytes than needed", "_negative", "if data[at] == 255:", "if False:"),
        Mutant("short ints with a length", "_read_long", "if size <= _INLINE:", "if False:"),
        Mutant("ints of 256 bytes", "_long", "if size > _MOST:", "if size > _MOST + 1:"),
        Mutant("more after a key", "OrderedKeys.decode", "if end == len(data):", "if end <= len(data):"),
        Mutant("keys cut off", "OrderedKeys.decode", "if end == len(data):", "if end >= len(data):"),
    ],
    "_keys/ordered_times": [
        Mutant("times that are not equal in UTC", "_encode_datetime", "if utc != value:", "if False:"),
        Mutant("a zone without an offset", "_encode_datetime", "value.utcoffset()", "value.tzinfo"),
        Mutant("times before 1970 last", "", "(1 << 31, 1 << 63)", "(0, 0)"),
    ],
    "_keys/interval": [
        Mutant(
            "a minimum is always inside",
            "Interval.between",
            "minimum if with_minimum else minimum + b'\\x00'",
            "minimum",
        ),
        Mutant(
            "a minimum is never inside",
            "Interval.between",
            "minimum if with_minimum else minimum + b'\\x00'",
            "minimum + b'\\x00'",
        ),
        Mutant(
            "a maximum is never inside",
            "Interval.between",
            "maximum + b'\\x00' if with_maximum else maximum",
            "maximum",
        ),
        Mutant(
            "a prefix that ends with 0xFF",
            "Interval.of_prefix",
            "prefix.rstrip(b'\\xff')",
            "prefix[:-1] + prefix[-1:].rstrip(b'\\xff')",
        ),
        Mutant("bounds of any length sought", "Interval.cut", "self.low[:size]", "self.low"),
        Mutant(
            "a part of a part is larger", "Interval.__and__", "max(self.low, other.low)", "min(self.low, other.low)"
        ),
        Mutant("a part of a part ends later", "Interval.__and__", "min(highs)", "max(highs)"),
        Mutant("the empty key in any interval", "Interval.contains", "self.has_empty", "True"),
        Mutant(
            "the empty key above what it is not in",
            "Interval.__init__",
            "not low and (high is None or high > b'')",
            "not low",
        ),
        Mutant(
            "the empty key not looked for beyond the end",
            "Interval.__init__",
            "max(high, EMPTY + b'\\x00') if self.has_empty and high is not None else high",
            "high",
        ),
        Mutant(
            "the stand-in of the empty key taken for a key",
            "Interval.__init__",
            "not self.has_empty and low <= EMPTY and (high is None or high > EMPTY)",
            "False and (not self.has_empty and low <= EMPTY and (high is None or high > EMPTY))",
        ),
        Mutant(
            "pages never sifted",
            "Interval.sifted",
            "min(next(iter(rows)), next(reversed(rows))) > EMPTY",
            "min(next(iter(rows)), next(reversed(rows))) >= b''",
        ),
    ],
}
