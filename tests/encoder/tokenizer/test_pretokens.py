"""Ids piece by piece equal those of `tokenizers`, for every tokenizer with a recipe and every text."""

import gzip
import json
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import model2vec
import numpy as np
import pretokenizers
import pyarrow as pa
import pytest
from amounts import amount
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizers import visible_table
from tokenizers import Regex, pre_tokenizers
from unicode_texts import many, mutate, texts

from encoder import Encoder
from encoder.arrays.texts import read_texts
from encoder.errors import InputError
from encoder.model import StaticModel, save_model
from encoder.tokenizer.fallback import LibraryTokenizer
from encoder.tokenizer.pretokens import PretokenTokenizer, pretoken_tokenizer
from encoder.tokenizer.recipes import recipe

PIECES = list(pretokenizers.PIECES)
DATA = Path(__file__).parents[4] / "shared/data"
TRICKY = [
    "",
    " ",
    "  ",
    "\t",
    "\n",
    " \n ",
    "a ",
    " a",
    "  a",
    "a  b",
    "a \n b",
    "a\tb",
    "a\u3000b",
    "\u3000a",
    "it's we'LL I'm'd 's",
    " 's",
    "x'\u017f 'S\u0301 \u0301",
    "1\u0301 12 123 1234 12345 \u0661\u0662\u0663\u0664",
    "e\u0301 e\u0301\u0301 a\u0301",
    "\u0301 a",
    "a \u0301b",
    "a\u0600 b",
    "a \u0600b",
    "\u0600 ",
    "\u200b a",
    "a \u200b b",
    "\u1100\u1161\u11a8 \uac00\u11a8 \uac01 a",
    "\u0e01\u0e33 \u0e33",
    "\u0915\u094d\u0937 \u0915\u093f b",
    "\U0001f1e9\U0001f1ea \U0001f468\u200d\U0001f469 \U0001f44d\U0001f3fd x",
    "\ufdfa \u00b4 \u00a8a",
    "\u2581a \u2581 b\u2581c",
    "<s> </s> <unk>",
    "a<unk>b",
    "<0x41> <0x0A>",
    "\0",
    "a\0b \0",
    "\r\n\r\n  x",
    "!\r\n\r!",
    "  !\n\n  1",
    "\u00a0a \u00a0 b",
    "card new york new  york Card",
    "<|endoftext|>x",
    "``a`` ` `` b",
    "ab" * 300,
    "7" * 600,
    "\u4e16\u754c" * 200,
    "a" * 511,
]


def _buffers(array):
    return read_texts(array)[0]


def _lists(ids, ends):
    return [row.tolist() for row in np.split(ids, ends)[:-1]]


def _both(name, max_tokens=None, max_chars=None):
    """Ours with its own library, and another library to compare with."""
    text = pretokenizers.named(name).to_str()
    n_tokens = pretokenizers.named(name).get_vocab_size()
    library, other = (LibraryTokenizer(text, max_tokens, max_chars, n_tokens) for _ in range(2))
    limits = (1 << 60 if limit is None else limit for limit in (max_tokens, max_chars))
    ours = pretoken_tokenizer(text, json.loads(text), library, *limits)
    assert ours is not None
    return ours, other


_made = {}


def _different(name, lines, max_tokens=None, max_chars=None):
    """Up to 5 texts whose ids are wrong, the first time or when their pieces are known, and the right ids."""
    key = (name, max_tokens, max_chars)
    ours, library = _made[key] = _made.get(key) or _both(*key)
    arrow = _buffers(pa.array(lines, pa.large_string()))
    rows = np.arange(len(lines))
    right = _lists(*library.tokenise(lines))
    for _ in range(2):
        found = _lists(*ours.tokenise(arrow, rows))
        wrong = [(lines[r], found[r], right[r]) for r in rows if found[r] != right[r]]
        if wrong:
            return wrong[:5]
    return []


@pytest.mark.parametrize("name", list(pretokenizers.LIBRARY))
def test_tokenizers_that_are_not_exact_piece_by_piece_have_no_recipe(name):
    assert recipe(json.loads(pretokenizers.named(name).to_str())) is None


@pytest.mark.parametrize("name", PIECES)
def test_tricky_texts_give_the_librarys_ids(name):
    for limit in (None, 3):
        lines = TRICKY + ["x " + text for text in TRICKY] + [text + " y" for text in TRICKY]
        assert _different(name, lines, limit) == []


@pytest.mark.parametrize("name", PIECES)
def test_added_tokens_anywhere_give_the_librarys_ids(name):
    random = np.random.default_rng(7)
    added = [token.content for token in pretokenizers.named(name).get_added_tokens_decoder().values()]
    parts = [*added, *added, "card", "new", "é", "it's", " ", "  ", "\n", "\u0301", "12", "<", "unk>", "世界"]
    lines = ["".join(random.choice(parts, random.integers(1, 9))) for _ in range(400)]
    for limit in (None, 3):
        assert _different(name, lines, limit) == []


@pytest.mark.parametrize("name", PIECES)
def test_generated_unicode_gives_the_librarys_ids(name, naughty_strings):
    random = np.random.default_rng(31)
    lines = [*many(300, random), *mutate(pretokenizers.SAMPLE * 15, random), *naughty_strings]
    assert _different(name, lines) == []


@given(
    lines=st.lists(texts, min_size=1, max_size=12),
    name=st.sampled_from(PIECES),
    limit=st.sampled_from([(None, None), (512, 2048), (4, 30), (1, 4)]),
)
def test_any_unicode_text_gives_the_librarys_ids(lines, name, limit):
    assert _different(name, lines, *limit) == []


@given(
    line=st.text(
        st.sampled_from(" \n\r\ta'sSlL1\u00e9!\u0301\u00a0\u4e16\u0600\u1161\uac00\u200b\u2581<"), max_size=24
    ),
    name=st.sampled_from(PIECES),
)
def test_few_characters_in_any_order_give_the_librarys_ids(line, name):
    assert _different(name, [line]) == []


@pytest.mark.parametrize("name", ["GPT-2", "Qwen as distilled", "Llama 3", "E5", "Llama 2"])
def test_ordinary_texts_are_not_left_to_the_library(name, loghub_lines, monkeypatch):
    ours, library = _both(name)
    lines = [
        *loghub_lines[::100],
        *pretokenizers.SAMPLE,
        "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440, na\u00efve \u4e16\u754c",
    ]
    right = _lists(*library.tokenise(lines))

    def refuse(_self, left):
        raise AssertionError(f"left to the library: {left[:3]}")

    monkeypatch.setattr(LibraryTokenizer, "tokenise", refuse)
    assert _lists(*ours.tokenise(_buffers(pa.array(lines)), np.arange(len(lines)))) == right


def test_classes_of_characters_are_those_of_the_pattern():
    ours, _ = _both("Qwen")
    ours._add_pages(set(range(0x110)))
    splitter = pre_tokenizers.Split(Regex(pretokenizers.QWEN), "isolated")
    for code in [*range(0x80, 0x3100), *range(0xFB00, 0x10000), 0x1D7CE]:
        kind = ours._tables.pages[ours._tables.page_of[code >> 8], code & 255] & 7
        letters = len(splitter.pre_tokenize_str(f"a{chr(code)}a")) == 1
        assert letters == (kind == 1) or 0xD800 <= code < 0xE000, hex(code)


def test_no_other_character_makes_a_contraction():
    splitter = pre_tokenizers.Split(Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"), "isolated")
    lone = [chr(code) for code in range(0x80, 0x30000) if not 0xD800 <= code < 0xE000]
    joined = "'" + "'".join(lone)
    found = {joined[a + 1 : b] for _, (a, b) in splitter.pre_tokenize_str(joined) if b - a == 2}
    assert "\u017f" in found  # which is why it is in doubt
    assert found == {"\u017f"}


def test_a_full_memo_is_dropped_and_ids_stay_right(monkeypatch):
    monkeypatch.setattr("encoder.tokenizer.pretokens._SLOTS", 64)
    for name in ("GPT-2", "E5", "Llama 3"):
        ours, library = _both(name)
        lines = [f"word{n} caf\u00e9{n}\u0301 {n * 7919}" for n in range(300)]
        right = _lists(*library.tokenise(lines))
        for _ in range(2):
            assert _lists(*ours.tokenise(_buffers(pa.array(lines)), np.arange(300))) == right
        assert all(not cache.is_full() for cache in ours._free)


def test_threads_share_one_tokenizer():
    ours, library = _both("Qwen")
    blocks = [
        [f"{n} caf\u00e9 {n * k} \u041f\u0440\u0438\u0432\u0435\u0442{k}" for n in range(50)]
        for k in range(40)
    ]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda b: _lists(*ours.tokenise(_buffers(pa.array(b)), np.arange(len(b)))), blocks)
    assert list(found) == [_lists(*library.tokenise(block)) for block in blocks]


def test_some_rows_of_an_array_are_tokenised_in_their_order():
    ours, library = _both("GPT-2")
    lines = ["a b", None, "card <|endoftext|>", "", "it's 12 o'clock", "x" * 600]
    rows = np.array([4, 0, 2, 5])
    found = _lists(*ours.tokenise(_buffers(pa.array(lines)), rows))
    assert found == _lists(*library.tokenise([lines[r] for r in rows]))
    assert _lists(*ours.tokenise(_buffers(pa.array(lines)), rows[:0])) == []


def test_broken_utf8_is_an_input_error():
    ours, _ = _both("E5")
    data = pa.py_buffer(b"good \xff\xfe bad")
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(np.array([0, 11], np.int32)), data])
    with pytest.raises(InputError, match="UTF-8"):
        ours.tokenise(_buffers(broken), np.arange(1))


@pytest.mark.parametrize("name", ["GPT-2 with a space in front", "Qwen as distilled", "XLM-R", "Llama 2"])
def test_vectors_are_model2vecs_on_the_same_folder(name, tmp_path, loghub_lines):
    tokenizer = pretokenizers.named(name)
    table = visible_table(tokenizer.get_vocab_size()).astype(np.float32)
    save_model(StaticModel(table, tokenizer.to_str(), {"normalize": True, "max_length": 12}), tmp_path / "m")
    lines = [*loghub_lines[::50], *TRICKY, *pretokenizers.SAMPLE]
    ours = Encoder.load(tmp_path / "m", threads=1)
    assert isinstance(ours._tokenizer._pretokens, PretokenTokenizer)
    theirs = model2vec.StaticModel.from_pretrained(tmp_path / "m", force_download=False).encode(lines)
    np.testing.assert_allclose(ours.encode([*lines, None])[:-1], theirs, atol=1e-5)
    np.testing.assert_array_equal(ours.encode(lines), np.vstack([ours.encode(line) for line in lines]))


@pytest.mark.slow
@pytest.mark.parametrize("name", PIECES)
def test_many_real_and_generated_lines_give_the_librarys_ids(name, loghub_lines):
    corpus = DATA / "corpus/general.txt.gz"
    if not corpus.exists():
        pytest.skip(f"needs {corpus}, which is absent")
    with gzip.open(corpus, "rt", encoding="utf-8") as file:
        sentences = file.read().splitlines()
    turn = PIECES.index(name)
    random = np.random.default_rng(turn)
    less = amount(20, 1)
    lines = [*loghub_lines[turn :: 4 * less], *sentences[turn :: 12 * less]]
    lines += [unicodedata.normalize("NFD", line) for line in sentences[:: 100 * less] if not line.isascii()]
    lines += mutate(lines[::2], random)
    lines += [*many(12_000 // less, random), *many(6_000 // less, random, anywhere=True)]
    for limit in ((None, None), (6, 60)):
        assert _different(name, lines, *limit) == []
