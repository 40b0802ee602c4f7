"""Places on the map."""

import numpy as np
import pytest

from distill.report.projection import project


def test_what_lies_together_stays_together():
    random = np.random.default_rng(0)
    vectors = np.repeat(np.eye(4, 30), 25, axis=0) + 0.02 * random.standard_normal((100, 30))
    places = project(vectors)
    assert places.shape == (100, 2)
    assert (places.min(), places.max()) == (0, 1)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) // 25 == np.arange(100) // 25).all()
    assert np.array_equal(places, project(vectors))


@pytest.mark.parametrize("shape", [(1, 5), (2, 5), (10, 1), (60, 1), (70, 3)])
def test_any_number_of_vectors_has_places(shape):
    places = project(np.random.default_rng(0).standard_normal(shape))
    assert places.shape == (shape[0], 2)
    assert np.isfinite(places).all()


def test_equal_vectors_are_no_error():
    assert np.isfinite(project(np.ones((80, 4)))).all()
