"""Which tokens a static model has, and what the teacher reads for them."""

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from distill.vocabulary import build_vocabulary
from encoder.errors import ConfigurationError


def vocabulary_of(folder, words=(), drop_pattern=r"\[unused\d+\]"):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer, build_vocabulary(tokenizer, drop_pattern=drop_pattern, words=words)


def test_special_and_unused_tokens_go_but_the_unknown_and_the_padding_token(wordpiece_teacher):
    tokenizer, vocabulary = vocabulary_of(wordpiece_teacher)
    gone = {"[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]", "[unused2]"}
    assert set(vocabulary.tokens) == set(tokenizer.get_vocab()) - gone
    assert vocabulary.tokens[:2] == ["[PAD]", "[UNK]"]


def test_every_token_is_read_between_the_special_tokens(teacher):
    tokenizer, vocabulary = vocabulary_of(teacher)
    first, last = tokenizer("").input_ids
    ids = tokenizer.get_vocab()
    assert vocabulary.sequences == [[first, ids[token], last] for token in vocabulary.tokens]


def test_texts_keep_their_tokens(teacher):
    theirs, vocabulary = vocabulary_of(teacher)
    ours = Tokenizer.from_str(vocabulary.tokenizer_json)
    text = " the card was refused"  # the blank: byte-level tokenizers now treat the first word as any other
    assert ours.encode(text).tokens == theirs.tokenize(text)
    assert [vocabulary.tokens[i] for i in ours.encode(text).ids] == ours.encode(text).tokens


def test_unknown_characters_stay_unknown(unigram_teacher):
    _, vocabulary = vocabulary_of(unigram_teacher)
    ids = Tokenizer.from_str(vocabulary.tokenizer_json).encode("Ω").ids
    assert vocabulary.tokens[ids[-1]] == "<unk>"


def test_own_words_become_tokens_of_their_own(teacher):
    _, vocabulary = vocabulary_of(teacher, words=["chargeback", "card not present", "chargeback"])
    tokens = Tokenizer.from_str(vocabulary.tokenizer_json).encode("a chargeback for card not present").tokens
    assert {"chargeback", "▁chargeback", "Ġchargeback"} & set(tokens)
    assert "card not present" in {token.strip() for token in tokens}


def test_the_teacher_reads_an_own_word_as_it_stands_in_a_text(teacher):
    tokenizer, vocabulary = vocabulary_of(teacher, words=["chargeback"])
    row = next(i for i, token in enumerate(vocabulary.tokens) if token.endswith("chargeback"))
    assert vocabulary.sequences[row] == tokenizer(" chargeback").input_ids


def test_short_own_words_may_be_parts_of_longer_ones(bpe_teacher):
    _, vocabulary = vocabulary_of(bpe_teacher, words=["chargebacks", "chargeback", "charge"])
    tokens = Tokenizer.from_str(vocabulary.tokenizer_json).encode("charge chargeback chargebacks").tokens
    assert tokens == ["Ġcharge", "Ġchargeback", "Ġchargebacks"]


def test_words_that_are_known_empty_or_dropped_are_passed_over(wordpiece_teacher):
    _, plain = vocabulary_of(wordpiece_teacher)
    _, same = vocabulary_of(wordpiece_teacher, words=["card", "Card", "\u200b", "", "unused"])
    assert same.tokens == [*plain.tokens, "unused"]


def test_a_pattern_that_leaves_nothing_is_refused(wordpiece_teacher):
    tokenizer = AutoTokenizer.from_pretrained(wordpiece_teacher)
    vocabulary = build_vocabulary(tokenizer, drop_pattern=".*")
    assert vocabulary.tokens == ["[UNK]"]  # WordPiece cannot be without


def test_a_unigram_without_tokens_is_refused(unigram_teacher):
    tokenizer = AutoTokenizer.from_pretrained(unigram_teacher)
    with pytest.raises(ConfigurationError, match="drops every token"):
        build_vocabulary(tokenizer, drop_pattern=".*")
