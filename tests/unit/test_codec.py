"""Keys and values to bytes and back, without LMDB."""

from __future__ import annotations

import array
import pickle
import unicodedata
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lmdb_object_store._errors import shown
from lmdb_object_store._keys.codec import EMPTY, KeyCodec
from lmdb_object_store._values import serializing as _serializing
from lmdb_object_store._values.serializing import dumps, loads

LIMIT = 511
ENCODINGS = ["utf-8", "ascii", "latin-1", "utf-16", "utf-8-sig", "cp1252"]
HANDLERS = ["strict", "ignore", "replace", "surrogateescape", "surrogatepass", "backslashreplace", "xmlcharrefreplace"]
FORMS = [None, "NFC", "NFKC", "NFD", "NFKD"]

# Any bytes that a file can have as a key.
stored_keys = st.one_of(
    st.binary(min_size=1, max_size=LIMIT),
    st.text(min_size=1, max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.just(EMPTY),
)
encodable_texts = st.text(st.characters(codec="utf-8"), max_size=100)


@st.composite
def codecs(draw: st.DrawFn) -> KeyCodec:
    """Draw a codec with any of the options that a store may have."""
    encoding, errors = draw(st.sampled_from(ENCODINGS)), draw(st.sampled_from(HANDLERS))
    return KeyCodec(encoding, errors, draw(st.sampled_from(FORMS)), LIMIT)


def codec(encoding: str | None = "utf-8", errors: str = "strict", form: str | None = None) -> KeyCodec:
    """Return a codec for a file with the keys of LMDB 0.9."""
    return KeyCodec(encoding, errors, form, LIMIT)


class Text(str):
    """A subclass of str."""


class Data(bytes):
    """A subclass of bytes."""


class Nameless:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise ValueError("too long")


# -- round trips


@given(st.binary(max_size=600))
def test_encode_bytes_leads_back_property(key: bytes) -> None:
    """Bytes come back as they were, whatever their length; a long key too, which is then looked up in vain."""
    assume(key != EMPTY)
    raw = codec(None)
    assert raw.decode(raw.encode(key)) == key
    assert raw.to_bytes(raw.encode(key)) == key


@given(encodable_texts)
def test_encode_text_leads_back_property(key: str) -> None:
    """Text comes back as it was under UTF-8."""
    assert codec().decode(codec().encode(key)) == key


@given(codecs(), st.text(max_size=40))
def test_decode_encoded_text_gives_text_property(keys: KeyCodec, key: str) -> None:
    """A stored key that was text is given back as text that leads to the same row, under all options."""
    try:
        stored = keys.encode(key)
    except UnicodeError:
        assume(False)
    text = keys.decode(stored)
    assert isinstance(text, str)
    assert keys.encode(text) == stored


@given(codecs(), stored_keys)
@example(KeyCodec("ascii", "xmlcharrefreplace", None, LIMIT), b"\xff")
@example(KeyCodec("utf-8", "ignore", None, LIMIT), b"a\xff")
@example(KeyCodec("utf-8", "strict", "NFC", LIMIT), "e\u0301".encode())
@example(KeyCodec("utf-16", "strict", None, LIMIT), b"a\0")
def test_decode_any_bytes_gives_a_key_of_the_same_row_property(keys: KeyCodec, stored: bytes) -> None:
    """Any stored key is given back as text that leads to it, or else as the bytes it is."""
    key = keys.decode(stored)
    assert keys.encode(key) == stored
    if isinstance(key, bytes):
        assert key == (b"" if stored == EMPTY else stored)


@given(stored_keys)
def test_decode_without_an_encoding_gives_bytes_property(stored: bytes) -> None:
    """Without `key_encoding` a key is given back as bytes."""
    assert codec(None).decode(stored) == (b"" if stored == EMPTY else stored)


@given(st.binary(min_size=1, max_size=LIMIT).filter(lambda data: data != EMPTY))
def test_decode_utf8_gives_text_where_it_is_text_property(stored: bytes) -> None:
    """Under strict UTF-8 a stored key is str exactly where it is UTF-8."""
    try:
        expected: str | bytes = stored.decode()
    except UnicodeDecodeError:
        expected = stored
    assert codec().decode(stored) == expected


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        (("utf-8", "strict", None), b"\xff"),
        (("utf-8", "ignore", None), b"a\xff"),
        (("utf-8", "replace", None), b"\xff"),
        (("ascii", "xmlcharrefreplace", None), b"\xe9"),
        (("ascii", "namereplace", None), b"\xe9"),
        (("utf-8", "strict", "NFC"), "e\u0301".encode()),
        (("utf-8-sig", "strict", None), b"a"),
    ],
)
def test_decode_text_that_does_not_lead_back_gives_bytes(options: tuple[str, str, str | None], stored: bytes) -> None:
    """A stored key that no text of this store leads to is given as bytes, so that no row is hidden."""
    assert codec(*options).decode(stored) == stored


# -- order


@given(st.lists(encodable_texts.filter(lambda text: not text or text.strip("\0"))))
def test_encode_utf8_keeps_the_order_of_code_points_property(keys: list[str]) -> None:
    """The order of stored keys is that of the text's code points, with the empty key first."""
    assert sorted(keys, key=codec().encode) == sorted(keys)


@given(st.lists(st.binary(max_size=LIMIT).filter(lambda key: not key or key.strip(b"\0"))))
def test_encode_bytes_keeps_their_order_property(keys: list[bytes]) -> None:
    """The order of stored keys is that of the keys, with the empty key first."""
    assert sorted(keys, key=codec(None).encode) == sorted(keys)


# -- kinds of keys


@given(st.binary(max_size=LIMIT).filter(lambda key: key != EMPTY))
def test_encode_bytes_likes_gives_one_key_property(key: bytes) -> None:
    """bytes, its subclasses, bytearray and memoryview of one content are the same key, as plain bytes."""
    for same in (key, Data(key), bytearray(key), memoryview(key), memoryview(bytearray(key))):
        stored = codec(None).encode(same)
        assert stored == (key or EMPTY)
        assert type(stored) is bytes


def test_encode_memoryview_of_any_shape_gives_its_bytes() -> None:
    """A memoryview that is not contiguous, or not of bytes, is the key of the bytes that it shows."""
    keys = codec(None)
    assert keys.encode(memoryview(b"a-b-c-")[::2]) == b"abc"
    assert keys.encode(memoryview(b"abc")[::-1]) == b"cba"
    assert keys.encode(memoryview(array.array("H", [1, 2]))) == array.array("H", [1, 2]).tobytes()
    assert keys.encode(memoryview(b"abcd").cast("B", [2, 2])) == b"abcd"


def test_encode_bytearray_copies_it() -> None:
    """A later change of a bytearray does not change the key."""
    key = bytearray(b"abc")
    stored = codec(None).encode(key)
    key[0] = 0
    assert stored == b"abc"


def test_encode_text_and_its_bytes_gives_one_key() -> None:
    """Text and its bytes are the same key where there is an encoding."""
    assert codec().encode("é") == codec().encode(Text("é")) == codec().encode("é".encode()) == b"\xc3\xa9"
    assert codec("latin-1").encode("é") == b"\xe9"


@pytest.mark.parametrize("form", ["NFC", "NFKC", "NFD", "NFKD"])
def test_encode_with_a_normal_form_gives_one_key(form: Any) -> None:
    """With `str_normalize` all spellings of a text are one key; bytes are left as they are."""
    keys, expected = codec(form=form), unicodedata.normalize(form, "é").encode()
    assert keys.encode("\u00e9") == keys.encode("e\u0301") == expected
    assert keys.encode(b"e\xcc\x81") == b"e\xcc\x81"
    assert keys.encode(b"\xc3\xa9") == b"\xc3\xa9"


@pytest.mark.parametrize(("errors", "stored"), [("ignore", b"a"), ("replace", b"a?"), ("backslashreplace", b"a\\xe9")])
def test_encode_with_key_errors_handles_them(errors: str, stored: bytes) -> None:
    """`key_errors` says what becomes of text that the encoding cannot express."""
    assert codec("ascii", errors).encode("aé") == stored


def test_encode_text_that_cannot_be_encoded_names_it() -> None:
    """Under "strict" such a key is a UnicodeEncodeError that names the key and the remedies."""
    with pytest.raises(UnicodeEncodeError, match=r"'aé'.*key_errors"):
        codec("ascii").encode("aé")


def test_encode_none_is_refused() -> None:
    """None is no key."""
    with pytest.raises(TypeError, match=r"^Key cannot be None\.$"):
        codec().encode(None)


def test_encode_text_without_an_encoding_is_refused() -> None:
    """Text is no key without an encoding, and the message says how to make it one."""
    with pytest.raises(TypeError) as caught:
        codec(None).encode("a")
    assert str(caught.value) == "str keys are not allowed (set key_encoding='utf-8' etc. to enable)."


@pytest.mark.parametrize("key", [1, 1.0, (), [], object(), array.array("B", b"a")])
def test_encode_object_of_another_type_is_refused(key: object) -> None:
    """Anything else is no key, and the message names its type and the way out."""
    for encoding, kinds, own in ((None, "bytes-like", "bytes"), ("utf-8", "bytes-like or str", "str")):
        with pytest.raises(TypeError) as caught:
            codec(encoding).encode(key)
        assert str(caught.value) == (
            f"Key must be {kinds}; got {type(key).__name__}. Convert it to {own}, or make a store with "
            "key_encoding=OrderedKeys(), which takes numbers, dates and tuples."
        )


@pytest.mark.parametrize("key", [None, 1, (), [], "\ud800", b"a", bytearray(b"a"), "e\u0301"])
def test_encode_own_of_a_foreign_form_gives_none(key: object) -> None:
    """An object that iteration never gives is None for set operations, which ask of any object."""
    keys = KeyCodec("utf-8", "strict", "NFC", LIMIT)
    assert keys.encode_own(key) is None
    assert keys.encode_own("a") == b"a"
    assert keys.encode_own(b"\xff") == b"\xff"
    assert codec(None).encode_own(b"a") == b"a"


# -- limits


@pytest.mark.parametrize("limit", [511, 1978])
def test_encode_key_over_the_limit_is_refused(limit: int) -> None:
    """A key of the file's limit can be stored; one byte more is a ValueError that names key, length and limit."""
    keys = KeyCodec("utf-8", "strict", None, limit)
    assert keys.encode_to_store("k" * limit) == b"k" * limit
    with pytest.raises(ValueError, match=rf"'kkk.* {limit + 1} bytes.* at most {limit}"):
        keys.encode_to_store("k" * (limit + 1))
    assert keys.encode("k" * (limit + 1)) == b"k" * (limit + 1)


def test_encode_text_over_the_limit_in_bytes_is_refused() -> None:
    """The encoded key must fit."""
    assert len(codec().encode_to_store("é" * 255)) == 510
    with pytest.raises(ValueError, match="512 bytes"):
        codec().encode_to_store("é" * 256)


@pytest.mark.parametrize("limit", [511, 1978])
def test_encode_reserved_key_is_refused(limit: int) -> None:
    """The stand-in for the empty key cannot be written, and is looked up as a key that no file holds."""
    keys = KeyCodec("utf-8", "strict", None, limit)
    for reserved in (b"\0" * 511, "\0" * 511):
        assert len(keys.encode(reserved)) > limit
        with pytest.raises(ValueError, match="511 NUL bytes is reserved"):
            keys.encode_to_store(reserved)


def test_encode_neighbours_of_the_reserved_key_leads_back() -> None:
    """Other keys of NULs are keys like any other."""
    assert codec().encode_to_store(b"\0" * 510) == b"\0" * 510
    assert KeyCodec(None, "strict", None, 1978).encode_to_store(b"\0" * 512) == b"\0" * 512


def test_encode_empty_key_leads_back() -> None:
    """The empty key is stored as its stand-in and given back as what it was."""
    assert codec().encode_to_store("") == codec().encode_to_store(b"") == b"\0" * 511
    assert codec().decode(b"\0" * 511) == ""
    assert codec(None).decode(b"\0" * 511) == b""


# -- options


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("no-such-encoding", "strict", None), LookupError),
        (("rot13", "strict", None), LookupError),
        ((8, "strict", None), TypeError),
        (("utf-8", "no-such-handler", None), LookupError),
        (("utf-8", 8, None), TypeError),
        (("utf-8", "strict", "NFX"), ValueError),
        (("utf-8", "strict", 8), TypeError),
    ],
)
def test_codec_options_that_do_not_exist_are_refused(options: tuple[Any, Any, Any], error: type[Exception]) -> None:
    """An unknown encoding, handler or normal form is an error at once, not at the first key."""
    with pytest.raises(error):
        KeyCodec.check(*options)


@pytest.mark.parametrize("options", [(None, "strict", None), ("utf-8", "ignore", "NFKC"), ("latin-1", "replace", "")])
def test_codec_options_that_exist_are_taken(options: tuple[Any, Any, Any]) -> None:
    """Known options pass."""
    KeyCodec.check(*options)


# -- values

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


@given(values)
def test_dumps_value_leads_back_property(value: object) -> None:
    """A value comes back equal, of the same type, from a pickle of the highest protocol."""
    data = dumps("key", value)
    assert data == pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    assert loads(data) == value
    assert type(loads(data)) is type(value)


def test_dumps_value_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle beyond LMDB's limit is a ValueError that names key, size and limit. The longest allowed one is taken."""
    assert _serializing.MAX_VALUE_BYTES == 0xFFFFFFFF
    size = len(pickle.dumps(b"x" * 100, pickle.HIGHEST_PROTOCOL))
    monkeypatch.setattr(_serializing, "MAX_VALUE_BYTES", size)
    assert len(dumps("key", b"x" * 100)) == size
    with pytest.raises(ValueError, match=rf"'key' is {size + 1} bytes.* at most {size}"):
        dumps("key", b"x" * 101)


# -- how a key is shown


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("user:7", "'user:7'"),
        (b"user:7", "'user:7'"),
        (bytearray("é".encode()), "'é'"),
        (memoryview(b"ab"), "'ab'"),
        (b"", "''"),
        (b"\xff\0", "0xff00"),
        (b"a\n", "0x610a"),
        (b"\xff" * 100, f"0x{'ff' * 24}… (100 bytes)"),
        ("k" * 49, f"'{'k' * 48}'… (49 characters)"),
        (b"k" * 49, f"'{'k' * 48}'… (49 characters)"),
        (17, "17"),
        (("a", 1), "('a', 1)"),
        (tuple(range(99)), "(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 1…"),
        (Nameless(), "<Nameless>"),
    ],
)
def test_shown_key_is_readable(key: object, text: str) -> None:
    """Text is quoted, other bytes are hexadecimal, and both are cut to a readable length."""
    assert shown(key) == text


@pytest.mark.parametrize("key", [b"k" * 600, "é".encode() * 300, b"-" + "é".encode() * 300])
def test_shown_long_text_key_has_its_own_length(key: bytes) -> None:
    """However long the key is, the message shows its beginning as text and tells its whole length."""
    assert shown(key).startswith(f"'{key.decode()[:48]}'…")
    assert str(len(key)) in shown(key) or str(len(key.decode())) in shown(key)


@given(st.binary(max_size=2000) | st.text(st.characters(categories=["L", "N", "P"]), max_size=2000))
def test_shown_any_key_is_short_property(key: bytes | str) -> None:
    """No key makes a message longer than a line or two."""
    assert len(shown(key)) < 150
    assert shown(key).isprintable()
