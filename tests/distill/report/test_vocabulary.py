"""The page of a model that nothing was measured on."""

import json
import re

import numpy as np
import pytest
from distill_report import make_word_report, small_model
from tiny_tokenizers import named
from tokenizers import Tokenizer, models

from distill.report import render_word_report
from distill.report.vocabulary import frequent_words
from encoder.encoder import Encoder
from encoder.model import StaticModel


def model_of(tokenizer):
    table = np.ones((tokenizer.get_vocab_size(), 4), np.float32)
    return StaticModel(table, tokenizer.to_str(), {"normalize": True})


@pytest.mark.parametrize(
    "name", ["uncased", "cased", "Unigram", "byte-level BPE", "BPE with Metaspace", "WordLevel"]
)
def test_words_are_those_that_are_a_token_each_in_the_vocabularys_order(name):
    model = model_of(named(name))
    words = frequent_words(model)
    assert words
    assert len(set(words)) == len(words)
    ids, offsets = Encoder(model).tokenise(words)
    assert np.array_equal(np.diff(offsets), np.ones(len(words)))
    assert len(np.unique(ids)) == len(ids)
    assert all(word.isalpha() and len(word) > 2 for word in words)


def test_no_more_than_500_are_taken():
    words = [f"{chr(97 + k // 676)}{chr(97 + k // 26 % 26)}{chr(97 + k % 26)}" for k in range(900)]
    vocabulary = {"[UNK]": 0, **{word: k + 1 for k, word in enumerate(words)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    assert frequent_words(model_of(tokenizer)) == words[:500]


def test_it_says_that_nothing_was_measured_and_maps_words(pages):
    page = pages["words"]
    assert "<h1>events@7</h1>" in page
    assert "Not measured" in page
    assert "texts per second" not in page
    points = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["points"]
    words = frequent_words(small_model(np.random.default_rng(0)))
    assert [point["t"] for point in points] == words
    assert f"Map of {len(words)} words" in page
    for text in ("Nearest words", "all-MiniLM-L6-v2", "<th>dims</th><td><code>12</code></td>"):
        assert text in page


def test_the_same_model_gives_the_same_page(pages):
    assert make_word_report() == pages["words"]


def test_a_vocabulary_without_words_has_a_page_without_a_map():
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "1": 1, "22": 2}, unk_token="[UNK]"))
    page = render_word_report(model_of(tokenizer), "digits")
    assert "<h1>digits</h1>" in page
    assert 'id="map"' not in page
