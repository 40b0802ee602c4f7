"""Samples of a corpus."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.corpus_fit.sample import MAX_CHARS, MIN_TEXTS, sample_texts
from encoder.errors import ConfigurationError, InputError

TEXTS = [f"text {i}" for i in range(1000)]


@given(st.integers(0, 1000), st.integers(0, 9))
def test_the_sample_depends_on_the_set_of_texts_alone(shuffle_seed, seed):
    shuffler = random.Random(shuffle_seed)
    again = TEXTS + shuffler.choices(TEXTS, k=500)
    shuffler.shuffle(again)
    assert sample_texts(again, 200, seed=seed) == sample_texts(TEXTS, 200, seed=seed)


def test_texts_are_distinct_and_those_of_the_corpus():
    drawn = sample_texts(TEXTS * 3, 500)
    assert len(drawn) == len(set(drawn)) == 500
    assert set(drawn) < set(TEXTS)
    assert set(sample_texts(TEXTS * 3, 5000)) == set(TEXTS)


def test_another_seed_draws_others_and_a_larger_sample_begins_with_the_smaller():
    assert sample_texts(TEXTS, 300)[:200] == sample_texts(TEXTS, 200)
    assert set(sample_texts(TEXTS, 200, seed=1)) != set(sample_texts(TEXTS, 200, seed=2))


def test_every_text_is_as_likely_however_often_it_comes():
    skewed = TEXTS + TEXTS[:500] * 20
    random.Random(0).shuffle(skewed)
    often = [sum(text in set(TEXTS[:500]) for text in sample_texts(skewed, 200, seed=s)) for s in range(30)]
    assert sum(often) / 30 == pytest.approx(100, abs=5)  # three standard errors


def test_blanks_do_not_count_and_long_texts_are_cut():
    drawn = sample_texts([None, "", " \n", *TEXTS, "x" * 9999, "x" * 5000], 2000)
    assert len(drawn) == 1001
    assert "x" * MAX_CHARS in drawn


def test_the_corpus_is_read_as_a_stream():
    assert len(sample_texts((f"text {i}" for i in range(20_000)), 100)) == 100


def test_too_few_texts_are_refused():
    with pytest.raises(InputError, match="the corpus has only 99 distinct texts"):
        sample_texts(TEXTS[: MIN_TEXTS - 1] * 5, 1000)
    with pytest.raises(ConfigurationError, match="`sample` is 99"):
        sample_texts(TEXTS, 99)


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_that_is_none_is_refused_before_anything_is_read(seed):
    with pytest.raises(ConfigurationError, match=f"`seed` is {seed}: it must be 0 or more"):
        sample_texts(iter(lambda: pytest.fail("it was read"), None), 500, seed=seed)
