"""Encodings of text other than UTF-8: what bytes are in, and their text as UTF-8."""

import codecs
import re
import unicodedata
from collections.abc import Iterator

from encoder.errors import ConfigurationError
from pipelines.records.utf8 import BOM, is_utf8, not_utf8

__all__ = [
    "UTF8",
    "check_encoding",
    "detect_encoding",
    "has_one_byte_each",
    "not_decoded",
    "other_encoding",
    "to_utf8",
    "wide_encoding",
]

UTF8 = "utf-8"

_MARKS = (  # the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (BOM, UTF8),
)
_SAME = {"utf-8-sig": UTF8, "ascii": UTF8, "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
_CONTROLS = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f\ufffe\uffff]")
_LOOKED_AT = 4096
_LEAST = 4  # bytes: two characters of UTF-16
_HIGH_BYTES = 16  # the first byte of a UTF-16 character is below in the alphabets whose bytes may be ASCII
_MOST = 0.9
_ENOUGH, _MOST_ASCII = 32, 0.75  # bytes, and the share of ASCII in them: half of them in Chinese or Japanese
_NO_CHARACTERS = ("Cn", "Co")  # unassigned, private
_SOME_ERRORS = 0.1
_NOT_ASCII = bytes({*range(256)} - {*range(32, 127), *b"\t\r\n"})
_BAD = 0xDC00  # a byte that cannot be decoded becomes this surrogate, as in PEP 383
_BAD_BYTE = re.compile("[\udc00-\udcff]")
_ERRORS = "millstream.mark"


def check_encoding(name: str) -> str:
    """The name of an encoding as this module uses it; UTF-16 and UTF-32 get a byte order, little endian.

    Raises:
        ConfigurationError: Python knows no such encoding of text.
    """
    try:
        found = codecs.lookup(name)
        "\n".encode(name)
    except (LookupError, UnicodeError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"unknown `encoding` {name!r}: use utf-8, utf-16, utf-32, latin-1, cp1252 or another of Python's"
        ) from error
    return _SAME.get(found.name, found.name)


def detect_encoding(head: bytes, otherwise: str = UTF8) -> str:
    """The encoding of a text that begins with `head`: by its byte order mark, else by its NUL bytes.

    Args:
        head: the first bytes.
        otherwise: the encoding where neither says another one.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    return (otherwise == UTF8 and wide_encoding(head)) or otherwise


def wide_encoding(data: bytes) -> str | None:
    """UTF-16 or UTF-32 with a byte order, if `data` is text of it; UTF-8 may have NUL bytes too."""
    for mark, name in _MARKS[:4]:
        if data.startswith(mark):
            return name
    head = data[:_LOOKED_AT]
    if len(head) < _LEAST or b"\0" not in head:
        return None
    for name in ("utf-32-le", "utf-32-be"):
        if _decoded(head, name) is not None:
            return name
    by_endian = {"utf-16-le": (head[0::2], head[1::2]), "utf-16-be": (head[1::2], head[0::2])}
    if _is_utf8_head(head):
        for name, (low, high) in by_endian.items():
            few_nuls = low.count(0) <= (1 - _MOST) * high.count(0)
            if few_nuls and _share(high) >= _MOST and _decoded(head, name, _SOME_ERRORS) is not None:
                return name
        return None
    errors = 0.0
    if len(head) < _ENOUGH or _ascii_share(head) > _MOST_ASCII:
        by_endian = {name: pair for name, pair in by_endian.items() if 2 * pair[1].count(0) >= len(pair[1])}
        errors = _SOME_ERRORS
    texts = {
        name: text
        for name, (low, _) in by_endian.items()
        if (text := _decoded(head, name, errors)) is not None and _has_its_line_feeds(low, text)
    }
    return max(texts, key=lambda name: sum(map(str.isascii, texts[name]))) if texts else None


def other_encoding(data: bytes) -> str | None:
    """Why a record is not UTF-8, if it is UTF-16 or UTF-32."""
    name = wide_encoding(data)
    return name and f"not UTF-8: it is {name}"


def _decoded(head: bytes, encoding: str, errors: float = 0.0) -> str | None:
    """The text of `head`, which may end inside a character; None if it is no text of this encoding.

    Args:
        head: bytes.
        encoding: may be its encoding.
        errors: the share of characters that may be damaged.
    """
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    if text.count("\ufffd") > errors * len(text):
        return None
    unusual = _CONTROLS.search(text) or any(
        unicodedata.category(char) in _NO_CHARACTERS for char in set(text)
    )
    return None if not text.strip() or unusual else text


def _has_its_line_feeds(low: bytes, text: str) -> bool:
    """Whether few line feeds among the low bytes belong to other characters, as in U+4E0A."""
    return low.count(b"\n") <= text.count("\n") + 2 + len(low) // 16


def _is_utf8_head(head: bytes) -> bool:
    cuts = (1, 2, 3) if len(head) == _LOOKED_AT else ()
    return is_utf8(head) or any(is_utf8(head[:-cut]) for cut in cuts)


def _ascii_share(head: bytes) -> float:
    return len(head.translate(None, _NOT_ASCII)) / len(head)


def _share(values: bytes) -> float:
    return sum(value < _HIGH_BYTES for value in values) / len(values)


def has_one_byte_each(encoding: str) -> bool:
    """Whether every character is one byte, and those of ASCII are as in ASCII."""
    if any(bytes([byte]).decode(encoding, "replace") != chr(byte) for byte in range(128)):
        return False
    decoder = codecs.getincrementaldecoder(encoding)
    return all(len(decoder("replace").decode(bytes([byte]))) == 1 for byte in range(128, 256))


def to_utf8(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Pieces of a text in UTF-8; it is invalid where bytes cannot be decoded, as `not_decoded` says."""
    if encoding == UTF8:
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder(encoding)(_ERRORS)
    for piece in pieces:
        if data := decoder.decode(piece).encode(UTF8, "surrogatepass"):
            yield data
    if data := decoder.decode(b"", final=True).encode(UTF8, "surrogatepass"):
        yield data


def not_decoded(row: bytes, encoding: str) -> str | None:
    """Why a row from `to_utf8` is no text of `encoding`, or None."""
    if (reason := not_utf8(row)) is None or encoding == UTF8:
        return reason
    found = _BAD_BYTE.search(row.decode(UTF8, "surrogatepass"))
    return (
        reason
        if found is None
        else f"not {encoding}: byte {ord(found[0]) - _BAD:#04x} at character {found.start()}"
    )


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_BAD + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ERRORS, _mark)
