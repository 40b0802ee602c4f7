"""Tokens by the library, as model2vec uses it."""

import json

import model2vec
import numpy as np
import pytest
import tiny_tokenizers
from tokenizers import Tokenizer

from encoder.tokenizer.fallback import LibraryTokenizer, median_token_length, unknown_id

NO_LIMIT = 1 << 31
NAMES = [*tiny_tokenizers.LIBRARY, "uncased", "unknown in the middle"]


def _lists(ids, ends):
    return [row.tolist() for row in np.split(ids, ends)[:-1]]


@pytest.mark.parametrize("limit", [None, 512, 3, 1])
@pytest.mark.parametrize("name", NAMES)
def test_ids_are_model2vecs(name, limit, naughty_strings):
    texts = [*tiny_tokenizers.SAMPLE, *naughty_strings[::3], "", " ", "☃ card ☃"]
    reference = tiny_tokenizers.reference(name, limit)
    characters = None if limit is None else limit * reference.median_token_length
    cut = [text[:characters] for text in texts]
    tokenizer = LibraryTokenizer(tiny_tokenizers.named(name).to_str(), limit, characters, NO_LIMIT)
    assert _lists(*tokenizer.tokenise(texts)) == reference.tokenize(cut)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_id_and_median_length_are_model2vecs(name):
    tokenizer = tiny_tokenizers.named(name)
    reference = tiny_tokenizers.reference(name)
    assert unknown_id(tokenizer, json.loads(tokenizer.to_str())) == reference.unk_token_id
    assert median_token_length(tokenizer) == reference.median_token_length


def test_padding_and_truncation_of_the_file_are_ignored():
    tokenizer = Tokenizer.from_str(tiny_tokenizers.named("uncased").to_str())
    tokenizer.enable_padding(length=32, pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(2, direction="left")
    plain = LibraryTokenizer(tiny_tokenizers.named("uncased").to_str(), 4, None, NO_LIMIT)
    padded = LibraryTokenizer(tokenizer.to_str(), 4, None, NO_LIMIT)
    texts = ["card declined at the gate", ""]
    assert _lists(*padded.tokenise(texts)) == _lists(*plain.tokenise(texts))
    table = np.zeros((tokenizer.get_vocab_size(), 1), np.float32)
    theirs = model2vec.StaticModel(table, tokenizer, max_length=4)
    assert _lists(*padded.tokenise(texts)) == theirs.tokenize(texts)


def test_no_texts_give_no_ids():
    ids, ends = LibraryTokenizer(tiny_tokenizers.named("Unigram").to_str(), 512, 512, NO_LIMIT).tokenise([])
    assert (ids.shape, ids.dtype, ends.shape, ends.dtype) == ((0,), np.int32, (0,), np.int64)
