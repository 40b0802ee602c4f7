"""Novelty: Mahalanobis's distance, and as many alerts as were asked for."""

import numpy as np
import pytest

from distill.heads.examples import Examples
from distill.heads.novelty import fit_novelty
from encoder.errors import ConfigurationError, InputError
from encoder.heads.scoring import Heads, unit_vectors

DIM = 16


def normal(n, seed=0):
    random = np.random.default_rng(seed)
    return unit_vectors(random.normal(size=(n, DIM)) * np.linspace(1, 0.1, DIM) + np.eye(DIM)[0] * 2)


def examples(vectors):
    return Examples(vectors, ((),) * len(vectors), np.arange(len(vectors)))


def distances(head, vectors):
    return Heads([head])(vectors)[0].distance


def test_with_all_axes_it_is_the_distance_of_mahalanobis():
    vectors = normal(500)
    head = fit_novelty("odd", examples(vectors), alert_rate=0.01, axes=DIM)
    wide = vectors.astype(np.float64)
    covariance = np.cov(wide, rowvar=False, bias=True)
    covariance += np.eye(DIM) * 0.01 * np.trace(covariance) / DIM
    off = normal(50, seed=1).astype(np.float64) - wide.mean(axis=0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", off, np.linalg.inv(covariance), off))
    np.testing.assert_allclose(distances(head, normal(50, seed=1)), expected, rtol=1e-4)


def test_with_few_axes_the_others_share_their_mean_variance():
    vectors = normal(500)
    head = fit_novelty("odd", examples(vectors), alert_rate=0.01, axes=4)
    wide = vectors.astype(np.float64)
    values, axes = np.linalg.eigh(np.cov(wide, rowvar=False, bias=True))
    values[:-4] = values[:-4].mean()
    values += 0.01 * values.mean()
    off = (normal(50, seed=1) - wide.mean(axis=0)) @ axes
    np.testing.assert_allclose(
        distances(head, normal(50, seed=1)), np.sqrt((off**2 / values).sum(axis=1)), rtol=1e-4
    )
    assert len(head.directions) == 5


@pytest.mark.parametrize("rate", [0.2, 0.05, 0.01])
def test_of_normal_texts_to_come_about_the_wanted_share_is_called_novel(rate):
    head = fit_novelty("odd", examples(normal(2000)), alert_rate=rate, axes=8)
    alerts = Heads([head])(normal(20_000, seed=1))[0].novel.mean()
    assert rate / 2 < alerts < 1.6 * rate
    assert head.metadata["alert_rate"] == rate


def test_what_is_somewhere_else_is_novel():
    head = fit_novelty("odd", examples(normal(1000)), alert_rate=0.01, axes=8)
    elsewhere = unit_vectors(normal(200, seed=2) - 4 * np.eye(DIM)[0])
    assert Heads([head])(elsewhere)[0].novel.mean() > 0.9


def test_normal_texts_may_all_be_the_same():
    head = fit_novelty("odd", examples(np.repeat(normal(1), 200, axis=0)), alert_rate=0.01)
    same, other = distances(head, np.concatenate([normal(1), normal(1, seed=3)]))
    assert np.isfinite([same, other]).all()
    assert other > 10 * (same + 1e-3)


def test_what_cannot_be_promised_is_refused():
    with pytest.raises(
        InputError, match=r"100 normal records are too few for an alert rate of 0.1 %: give 999"
    ):
        fit_novelty("odd", examples(normal(100)), alert_rate=0.001)
    with pytest.raises(InputError, match="99 normal records are too few"):
        fit_novelty("odd", examples(normal(99)), alert_rate=0.5)
    for rate in (0, 1, -1):
        with pytest.raises(ConfigurationError, match="must be between 0 and 1"):
            fit_novelty("odd", examples(normal(200)), alert_rate=rate)
    with pytest.raises(ConfigurationError, match="`axes` is 0: it must be 1 or more"):
        fit_novelty("odd", examples(normal(200)), alert_rate=0.1, axes=0)
