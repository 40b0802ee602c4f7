"""The kernel's tokens equal those of `tokenizers`, for every tokenizer that it supports and every text."""

import itertools
import json
import unicodedata

import numpy as np
import pytest
import tiny_tokenizers
from amounts import amount
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from unicode_texts import LONG_PARTS, many, mutate, texts

from encoder import Encoder
from encoder.model import StaticModel
from encoder.tokenizer.fallback import LibraryTokenizer
from encoder.tokenizer.tables import compile_tokenizer
from encoder.tokenizer.vocabulary import is_wordpiece
from encoder.tokenizer.wordpiece import WordPieceCompiler

KERNEL, LIBRARY = list(tiny_tokenizers.KERNEL), list(tiny_tokenizers.LIBRARY)
LIMITS = [512, 8, 1, None]


def _spec(name):
    return json.loads(tiny_tokenizers.named(name).to_str())


@pytest.fixture
def no_library(monkeypatch):
    """Fail where a text is left to the library."""

    def refuse(_self, left):
        raise AssertionError(f"left to the library: {left[:3]}")

    monkeypatch.setattr(LibraryTokenizer, "tokenise", refuse)


@pytest.mark.parametrize("name", KERNEL)
def test_bert_tokenizers_are_for_the_kernel(name):
    assert is_wordpiece(_spec(name))


@pytest.mark.parametrize("name", LIBRARY)
def test_tokenizers_that_the_kernel_cannot_do_exactly_are_for_the_library(name):
    assert not is_wordpiece(_spec(name))


@pytest.mark.parametrize("name", [*KERNEL, *LIBRARY])
def test_naughty_strings_give_the_librarys_ids(name, naughty_strings):
    assert tiny_tokenizers.different(name, naughty_strings) == []


@pytest.mark.slow
def test_log_lines_give_the_librarys_ids(loghub_lines):
    assert tiny_tokenizers.different("only trained", loghub_lines) == []


@pytest.mark.parametrize("name", [*KERNEL, *LIBRARY])
def test_some_log_lines_give_every_librarys_ids(name, loghub_lines):
    assert tiny_tokenizers.different(name, loghub_lines[::40]) == []


@pytest.mark.usefixtures("no_library")
def test_log_lines_are_never_left_to_the_library(loghub_lines):
    assert tiny_tokenizers.encoder("uncased").encode(loghub_lines).any(axis=1).mean() > 0.99


@pytest.mark.usefixtures("no_library")
def test_texts_of_living_scripts_are_never_left_to_the_library():
    lines = [unicodedata.normalize(form, line) for line in tiny_tokenizers.SAMPLE for form in ("NFC", "NFD")]
    assert tiny_tokenizers.encoder("uncased").encode(lines).any(axis=1).all()


@pytest.mark.parametrize("name", [*KERNEL, *LIBRARY])
def test_generated_unicode_gives_the_librarys_ids(name):
    random = np.random.default_rng(20)
    lines = [*many(400, random), *mutate(tiny_tokenizers.SAMPLE * 10, random)]
    assert tiny_tokenizers.different(name, lines) == []


@given(
    lines=st.lists(texts, min_size=1, max_size=12),
    name=st.sampled_from(KERNEL),
    limit=st.sampled_from(LIMITS),
)
def test_any_unicode_text_gives_the_librarys_ids(lines, name, limit):
    assert tiny_tokenizers.different(name, lines, limit) == []


@given(
    lines=st.lists(texts, min_size=1, max_size=12),
    name=st.sampled_from(LIBRARY),
    limit=st.sampled_from(LIMITS),
)
def test_any_unicode_text_gives_the_librarys_ids_by_the_library(lines, name, limit):
    assert tiny_tokenizers.different(name, lines, limit) == []


@pytest.mark.parametrize("name", ["uncased", "cased", "uncased, accents kept", "words of 7", "words of 128"])
def test_words_at_the_length_limit_count_normalised_characters(name):
    lengths = [1, 6, 7, 8, 15, 16, 17, 32, 33, 34, 49, 50, 51, 99, 100, 101, 127, 128, 129, 300]
    lines = [f"a {part * n} b" for part in LONG_PARTS for n in lengths]
    assert tiny_tokenizers.different(name, lines) == []


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7, 8, 512])
@pytest.mark.parametrize("name", ["uncased", "only trained", "unknown in the middle", "Unigram"])
def test_texts_are_cut_by_characters_then_by_tokens(name, limit):
    pieces = [
        "☃ ",
        "card ",
        "zqxj",
        "!",
        "中",
        "é",
        "ssh2 ",
        "\u200b",
        "[MASK] ",
        "e\u0301",
        " ",
        "\U0001d538",
    ]
    lines = [
        "".join(pieces[k % 12] for k in range(first, first + n)) for first in range(12) for n in range(24)
    ]
    assert tiny_tokenizers.different(name, [*lines, *(line * 60 for line in lines[::7])], limit) == []


@pytest.mark.parametrize("behind", ["", " ", "   ", "\0", " \u200b", " card"])
def test_a_word_beyond_the_limit_is_cut_whatever_follows_it(behind):
    words = ["休rofooWuzepfaqdsk", "买侉伇rofooWuzepfaqdsk休侪仍仆", "zqxjzqxj" * 5, "zqxj" * 3]
    for limit in range(1, 14):
        assert tiny_tokenizers.different("uncased", [word + behind for word in words], limit) == []


def test_unknown_words_use_up_the_limit_and_are_left_out():
    encoder = tiny_tokenizers.encoder("only trained", 2)
    once = encoder.encode("card")
    assert once.any()
    np.testing.assert_array_equal(encoder.encode(["☃ card card", "☃ ☃ card"]), [once, np.zeros(8)])


@pytest.mark.parametrize("token", ["[CLS]", "[MASK]", "[UNK]", "[PAD]", "[SEP]"])
@pytest.mark.parametrize("name", ["uncased", "cased", "only trained"])
def test_added_tokens_inside_texts_are_one_token(name, token):
    around = [
        "{}",
        "a{}b",
        " {} ",
        "{}{}",
        "[{}]",
        "card {}",
        "é{}é",
        "{",
        "中{}中",
        "x" * 101 + "{}",
        "\u0301{}\u0301",
    ]
    lines = [form.replace("{}", token) for form in around]
    lines += (
        [line.lower() for line in lines] + [line[:-1] for line in lines] + [" ".join(line) for line in lines]
    )
    assert tiny_tokenizers.different(name, lines) == []


def _bert(vocabulary, **options):
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", **options))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _differ(vocabulary, lines):
    """As `tiny_tokenizers.different`, for a vocabulary: the texts whose summed rows differ."""
    tokenizer = _bert(vocabulary)
    table = tiny_tokenizers.visible_table(len(vocabulary))
    found = Encoder(StaticModel(table, tokenizer.to_str(), {"max_length": None})).encode(lines)
    unknown = vocabulary["[UNK]"]
    rows = [e.ids for e in tokenizer.encode_batch_fast(lines, add_special_tokens=False)]
    ids = [[i for i in row if i != unknown] for row in rows]
    means = np.array([table[row].mean(axis=0, dtype=np.float64) if row else np.zeros(8) for row in ids])
    return [lines[r] for r in np.flatnonzero(~np.isclose(found, means, atol=1e-5).all(axis=1))[:5]]


pieces = st.text(st.sampled_from("abAé中ж7\u0301\0#"), min_size=1, max_size=20)


@given(
    words=st.sets(pieces, max_size=60),
    inside=st.sets(pieces, max_size=60),
    lines=st.lists(texts, min_size=1, max_size=5),
)
@example(words={"A"}, inside={"\0"}, lines=[""])
def test_every_word_of_any_vocabulary_is_found_and_no_other(words, inside, lines):
    entries = dict.fromkeys(["[UNK]", *words, *(f"##{piece}" for piece in inside)])
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    probes = [*words, *inside, *(word + piece for word in words for piece in list(inside)[:3])]
    probes += [word[:-1] for word in probes] + [word + "a" for word in probes]
    assert _differ(vocabulary, [*probes, *lines]) == []


@pytest.mark.parametrize("word", ["A", "CARD", "Card7", "A" * 15, "A" * 31])
def test_entries_in_capitals_are_not_found_by_words_with_removed_characters(word):
    vocabulary = {"[UNK]": 0, word: 1, word.lower()[1:] or "b": 2}
    forms = [word, f"{word}\0", f"\0{word}", f"{word[:1]}\0{word[1:]}", f"{word}\x01", f"{word} {word}\0"]
    assert _differ(vocabulary, forms) == []


def test_words_of_every_length_are_distinguished():
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = [letters[:n] for n in range(1, 30)] + [letters[:n] + "z" for n in range(30)]
    words += [f"{a}{b}" * n for a in "ab" for b in "xy" for n in range(1, 12)]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(["[UNK]", *words]))}
    near = [word[:k] + "q" + word[k + 1 :] for word in words for k in range(len(word))]
    assert _differ(vocabulary, [*words, *near, *(f"{w}-{v}." for w, v in itertools.pairwise(words))]) == []


@pytest.mark.slow
def test_many_new_words_do_not_disturb_one_another():
    random = np.random.default_rng(5)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz0123456789é"))
    words = ["".join(random.choice(letters, size=n)) for n in random.integers(1, 22, 30_000)]
    lines = [" ".join(words[k : k + 6]) for k in range(0, len(words), 5)]
    assert tiny_tokenizers.different("uncased", lines) == []
    assert tiny_tokenizers.different("uncased", lines[::-1]) == []


@pytest.mark.slow
def test_ids_of_more_than_20_bits_are_kept():
    entries = ["[UNK]", *(f"w{i}" for i in range(1 << 20)), "late", "##est", "##20"]
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    assert (
        _differ(vocabulary, ["late", "lateest w7 late", "w1048575 w104857520 w5", "lateest20est20est20est20"])
        == []
    )


def test_pages_are_added_once_and_old_tables_do_not_change():
    compiled = compile_tokenizer(tiny_tokenizers.named("uncased").to_str())
    compiler = WordPieceCompiler(_spec("uncased"), compiled)
    before = compiler.tables
    compiler.add_pages({0, 4, 0x4E})
    assert (before.page_of == -1).all()
    learnt = compiler.tables
    assert sorted(np.flatnonzero(learnt.page_of >= 0)) == [0, 4, 0x4E]
    compiler.add_pages({4})
    assert compiler.tables.pages.shape == learnt.pages.shape == (3, 256)


def _code_points():
    """All below 0x3000, where most scripts with rules of their own are, and some or all of the others."""
    codes = [*range(0x3000), *range(0x3000, 0x110000, amount(64, 1))]
    return [chr(code) for code in codes if not 0xD800 <= code < 0xE000]


def _seen_by(name):
    """The tokenizer with all characters that it makes of any code point in its vocabulary."""
    tokenizer = Tokenizer.from_str(tiny_tokenizers.named(name).to_str())
    normalised = (tokenizer.normalizer.normalize_str(char) for char in _code_points())
    letters = {c for text in normalised for c in text if unicodedata.category(c) != "Cn"}
    old = tiny_tokenizers.named(name).get_vocab()
    entries = sorted(old, key=old.get)
    entries += sorted({*letters, *(f"##{letter}" for letter in letters)} - set(entries))
    tokenizer.model = models.WordPiece({entry: i for i, entry in enumerate(entries)}, unk_token="[UNK]")
    return tokenizer


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["uncased", "cased", *amount([], ["uncased, accents kept", "cased, accents stripped"])]
)
def test_code_points_give_the_librarys_ids(name, monkeypatch):
    seen = _seen_by(name)
    monkeypatch.setitem(tiny_tokenizers.KERNEL, "seen", lambda: seen)
    for cached in (tiny_tokenizers.named, tiny_tokenizers.encoder, tiny_tokenizers.reference):
        cached.cache_clear()
    points = _code_points()
    assigned = [point for point in points if unicodedata.category(point) != "Cn"]
    # Alone, inside a word and doubled; between marks; between characters that are split or decomposed.
    for form, chars in (("{} a{}b {}{}", points), ("a\u0327{}\u0301z 7{}", assigned), ("中{}가", assigned)):
        for first in range(0, len(chars), 100_000):
            lines = [form.replace("{}", char) for char in chars[first : first + 100_000]]
            assert tiny_tokenizers.different("seen", lines) == [], form
    for cached in (tiny_tokenizers.named, tiny_tokenizers.encoder, tiny_tokenizers.reference):
        cached.cache_clear()


@pytest.mark.slow
def test_many_texts_give_the_librarys_ids(loghub_lines):
    random = np.random.default_rng(2026)
    done, wanted = 0, amount(200_000, 2_000_000)
    for turn in itertools.count():
        if done >= wanted:
            break
        name, limit = (
            (KERNEL[turn % len(KERNEL)], (None, 512, 8)[turn % 3]) if turn % 2 else ("uncased", None)
        )
        lines = [*mutate(loghub_lines, random), *many(14_000, random, anywhere=name == "uncased")]
        assert tiny_tokenizers.different(name, lines, limit) == [], (name, limit)
        done += len(lines)
        print(f"{done:,} texts alike, last by the tokenizer {name!r}", flush=True)
