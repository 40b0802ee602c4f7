"""Pairs of texts that people have scored."""

import numpy as np
import pytest
import scipy.stats

from distill.evaluation.sets import Pairs
from distill.evaluation.sts import similarity_correlation, spearman


@pytest.mark.parametrize(("scores", "expected"), [((5, 4, 3, 0), 1.0), ((0, 3, 4, 5), -1.0)])
def test_it_is_the_rank_correlation_of_cosines(known_vectors, scores, expected):
    found = similarity_correlation(Pairs("four", "aaaa", "abcd", scores), known_vectors)
    assert found.value == pytest.approx(expected)
    assert found.n == 4


def test_equal_values_share_their_rank_as_in_scipy():
    random = np.random.default_rng(0)
    ours, theirs = random.integers(5, size=(2, 400))
    assert spearman(ours, theirs) == pytest.approx(scipy.stats.spearmanr(ours, theirs).statistic)


def test_constant_scores_have_no_correlation():
    assert np.isnan(spearman(np.ones(5), np.arange(5)))
