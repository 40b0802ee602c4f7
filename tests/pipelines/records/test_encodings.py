"""Which encoding a text has, and its text as UTF-8."""

import pytest

from encoder.errors import ConfigurationError
from pipelines.records.encodings import (
    check_encoding,
    detect_encoding,
    has_one_byte_each,
    not_decoded,
    to_utf8,
)

TEXTS = {
    "English": "id,text\n1,hello world\n",
    "German": "id;text\n1;Grüße aus Köln\n",
    "Russian": "id,text\n1,Привет, как дела — хорошо\n2,это второй текст\n",
    "Chinese": "id,text\n1,一个例子,一二三\n2,另一个文本\n",
    "Japanese": "テキスト,id\nこんにちは世界,1\n",
    "Korean": "안녕하세요 세계,1\n좋아요 고마워요,2\n",
    "Hindi": "नमस्ते दुनिया,1\nठीक है\n",
    "Arabic": "مرحبا,1\n",
    "line feeds in characters": "从上海到北京的航班今天早晨起飞,1\n价格比昨天的便宜得多\n",
    "one word": "hi\n",
    "JSON": '{"text":"naïve — “quoted” text"}\n',
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("language", TEXTS)
def test_the_encoding_is_found_with_and_without_a_mark(language, encoding):
    for text in (TEXTS[language], 300 * TEXTS[language]):
        for mark in ("", "\ufeff"):
            assert detect_encoding((mark + text).encode(encoding)) == encoding


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\0\n\0\n", b"a\0b\n", b"abc\0def\n" * 100, b"abc\0\0\0\0\n", b"x" * 4095 + "é\0".encode(),
     b"\xe9\n", b"GIF89a\0\1\xff", bytes(range(256)), b"1\n2\n3\n4\0",
     b"log line with one \0 and one \xe9\n" * 50,
     b"x0\nx\xc2\x80\xf0\x90\x80\x80\nx000\0\xc2\x80\xc2\x80\xc2\x80\nx\xff\nx0\nx\nx\n"],
)  # fmt: skip
def test_other_bytes_with_and_without_nuls_stay_utf8(data):
    assert detect_encoding(data) == "utf-8"


def test_a_mark_decides_and_the_users_word_comes_before_nul_bytes():
    assert detect_encoding("\ufeffä".encode("utf-16-le"), "cp1252") == "utf-16-le"
    assert detect_encoding("a\nb\n".encode("utf-16-le"), "cp1252") == "cp1252"


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_text_is_transcoded_whatever_pieces_it_comes_in(size):
    text = "a,Grüße 🦀\n" * 3
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-be", "utf-8", "shift_jis", "cp1252", "cp037"):
        known = text if encoding.startswith("utf") else "a,b\n"
        data = known.encode(encoding)
        pieces = (data[i : i + size] for i in range(0, len(data), size))
        assert b"".join(to_utf8(pieces, encoding)).decode() == known


@pytest.mark.parametrize(
    ("data", "encoding", "reason"),
    [
        (b"ab\x81c", "cp1252", "not cp1252: byte 0x81 at character 2"),
        (b"a\0\0\xd8b\0", "utf-16-le", "not utf-16-le: byte 0x00 at character 1"),
        (b"a\0b", "utf-16-le", "not utf-16-le: byte 0x62 at character 1"),
        (b"a\xff", "utf-8", "not UTF-8: byte 0xff at position 1"),
        (b"a\0", "utf-16-le", None),
    ],
)
def test_bytes_that_cannot_be_decoded_are_no_utf8_and_have_a_reason(data, encoding, reason):
    found = b"".join(to_utf8(iter([data]), encoding))
    assert not_decoded(found, encoding) == reason


def test_encodings_have_one_name_and_are_divisible_if_characters_are_bytes():
    names = {"Latin1": "iso8859-1", "windows-1252": "cp1252", "utf8": "utf-8", "utf-8-sig": "utf-8"}
    names |= {"UTF-16": "utf-16-le", "ascii": "utf-8"}
    assert {name: check_encoding(name) for name in names} == names
    for name in ("rot13", "base64", "nope", ""):
        with pytest.raises(ConfigurationError, match="unknown `encoding`"):
            check_encoding(name)
    assert all(map(has_one_byte_each, ("cp1252", "latin-1", "koi8-r", "cp437")))
    assert not any(map(has_one_byte_each, ("shift_jis", "gb18030", "utf-16-le", "cp037")))
