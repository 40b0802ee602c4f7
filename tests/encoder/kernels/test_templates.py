"""Texts are cut into words as an obvious reference cuts them, and find the templates that they match."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encoder.arrays.texts import read_texts
from encoder.heads.group_tables import TemplateTables
from encoder.kernels.templates import MOST_WORDS, VARIABLE, hash_rows, sequences

SIGNS = "=,;:()[]{}\"'|<>"
WORD = r"(?:<[A-Za-z_]{1,39}>|(?!\.\.)[^\x00-\x20=,;:()\[\]{}\"'|<>])+"
PIECE = re.compile(rf'"[^"]*"|\.\.+|{WORD}|[^\x00-\x20]')
INSIDE = re.compile(r"(?<=[\w\x80-\U0010ffff])\.(?=[\w\x80-\U0010ffff])", re.ASCII)
LONGEST = 64
TOKEN = re.compile(r"<[A-Za-z_]{1,39}>")


def reference(text):
    """The words of a text, None for variables."""
    words, equals = [], -1
    for found in PIECE.finditer(text):
        word, end = found.group(), found.end()
        if (word[0] in SIGNS and len(word) == 1) or word.startswith(".."):
            equals = end if word == "=" else -1
            continue
        value = equals == found.start() or (equals >= 0 and text[end : end + 1] != "=")
        equals = -1
        long, inside = len(word.encode()) > LONGEST, len(INSIDE.findall(word))
        if value or word[0] == '"' or long or inside > 1 or TOKEN.search(word) or re.search("[0-9]", word):
            word = None
        if word is not None or not words or words[-1] is not None:
            words.append(word)
    return words[:MOST_WORDS]


def cut(texts):
    """The words of texts as the kernel cuts them, their hashes and keys."""
    (buffers,) = read_texts(texts)
    n = len(texts)
    hashes, first, last = (np.empty((n, MOST_WORDS), kind) for kind in (np.uint64, np.int64, np.int64))
    keys, counts = np.empty(n, np.uint64), np.empty(n, np.int64)
    sequences(buffers.data, buffers.offsets, hashes, first, last, keys, counts)
    words = [
        [
            None if hashes[r, k] == VARIABLE else buffers.data[first[r, k] : last[r, k]].tobytes().decode()
            for k in range(counts[r])
        ]
        for r in range(n)
    ]
    return words, [hashes[r, : counts[r]] for r in range(n)], keys


pieces = st.sampled_from(
    [*SIGNS, *" \t.../-_@é\n", "<ip>", "<number>", "user", "failed", "7", "a.b.c", "x" * 65, "ü" * 32]
)
texts = st.lists(pieces, max_size=40).map("".join) | st.text(max_size=30)


@given(st.lists(texts, min_size=1, max_size=5))
def test_words_are_those_of_the_reference(texts):
    words, hashes, keys = cut(texts)
    assert words == [reference(text) for text in texts]
    for k, mine in enumerate(hashes):
        for j, other in enumerate(hashes):
            assert (words[k] == words[j]) == (keys[k] == keys[j]) == np.array_equal(mine, other)


def test_only_the_first_words_are_read():
    words, _, _ = cut([" ".join("abcd" * 50)])
    assert words == [list(("abcd" * 50)[:MOST_WORDS])]


def tables(rows):
    (buffers,) = read_texts(rows)
    words, ends = np.empty(len(buffers.data) + 1, np.uint64), np.empty(len(rows) + 1, np.int64)
    n = hash_rows(buffers.data, buffers.offsets, words, ends)
    return TemplateTables.of(words[:n].copy(), ends)


def test_rows_have_the_hashes_of_their_texts():
    texts = ["session opened for user by", "user = 7 é", "one", "<ip>"]
    rows = [" ".join("<*>" if word is None else word for word in reference(text)) for text in texts]
    (buffers,) = read_texts(rows)
    words, ends = np.empty(len(buffers.data) + 1, np.uint64), np.empty(len(rows) + 1, np.int64)
    hash_rows(buffers.data, buffers.offsets, words, ends)
    for k, hashes in enumerate(cut(texts)[1]):
        assert np.array_equal(words[ends[k] : ends[k + 1]], hashes)


ROWS = ["<*>", "disk full", "login of <*>", "login of root", "user <*> has <*>", "user root has <*>"]


def test_the_template_with_most_fixed_words_is_found():
    table = tables(ROWS)
    found = {
        "login of 7": ("login of <*>", 1),
        "login of bob": ("login of <*>", 1),
        "login of root": ("login of root", 1),
        "user ann has cash": ("user <*> has <*>", 1),
        "user root has cash": ("user root has <*>", 1),
        "7": ("<*>", 1),
        "disk empty": ("disk full", 0.5),
        "user ann had cash": ("user <*> has <*>", 0.5),
        "word": (None, 0),
        "": (None, 0),
    }
    (buffers,) = read_texts([*found, None])
    rows, similarity = table.match(buffers)
    got = [(None if k < 0 else ROWS[k], s) for k, s in zip(rows, similarity.tolist(), strict=True)]
    assert got == [*found.values(), (None, 0)]


@given(st.lists(texts, min_size=1, max_size=20, unique=True))
def test_each_text_finds_its_own_sequence(texts):
    rows = {" ".join("<*>" if word is None else word for word in one) for one in map(reference, texts)}
    rows = sorted(rows - {""}, key=lambda row: (row.count(" "), row))
    (buffers,) = read_texts(texts)
    found, similarity = tables(rows).match(buffers)
    for text, row, same in zip(texts, found.tolist(), similarity.tolist(), strict=True):
        words = reference(text)
        assert (row < 0 and same == 0) if not words else same == 1
        if words:
            assert rows[row].split(" ") == ["<*>" if word is None else word for word in words]
