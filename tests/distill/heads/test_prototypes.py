"""Prototypes: a few examples are enough, and what is like none of them is named none."""

import numpy as np
import pytest

from distill.heads.examples import Examples
from distill.heads.prototypes import fit_prototypes
from encoder.errors import InputError
from encoder.heads.scoring import Heads, unit_vectors

CENTRES = np.random.default_rng(1).normal(size=(3, 32))


def near(k, n, seed=0):
    return unit_vectors(CENTRES[k] + 0.4 * np.random.default_rng(seed).normal(size=(n, 32)))


def examples(each=5):
    vectors = np.concatenate([near(k, each, seed=k) for k in range(2)])
    labels = tuple((name,) for name in ("fan", "disk") for _ in range(each))
    return Examples(vectors, labels, np.arange(2 * each))


def test_like_records_are_named_and_others_are_not():
    head = fit_prototypes("incident", examples())
    assert head.names == ("disk", "fan")
    (found,) = Heads([head])(np.concatenate([near(k, 200, seed=9) for k in range(3)]))
    for k, name in enumerate(("fan", "disk")):
        mine = found.nearest[200 * k : 200 * (k + 1)]
        assert (mine == head.names.index(name)).mean() > 0.6
    assert (found.nearest[400:] == -1).mean() > 0.95
    assert head.metadata["examples"] == {"disk": 5, "fan": 5}


def test_a_prototype_is_the_middle_of_its_examples_at_length_1():
    some = examples()
    head = fit_prototypes("incident", some, threshold=0.7)
    np.testing.assert_allclose(
        head.directions[1], unit_vectors(some.vectors[:5].sum(axis=0)[None])[0], atol=1e-6
    )
    assert head.threshold == 0.7


def test_one_example_needs_a_threshold():
    with pytest.raises(
        InputError, match="'disk' has one example: give at least 2 of each name, or set `threshold`"
    ):
        fit_prototypes("incident", examples(1))
    assert fit_prototypes("incident", examples(1), threshold=0.5).threshold == 0.5


def test_the_same_example_again_is_near_its_name():
    for seed in range(50):
        vectors = np.concatenate([np.repeat(near(k, 1, seed), 3, axis=0) for k in range(2)])
        some = Examples(vectors, (("fan",),) * 3 + (("disk",),) * 3, np.arange(6))
        (found,) = Heads([fit_prototypes("incident", some)])(vectors)
        assert found.nearest.tolist() == [1, 1, 1, 0, 0, 0]


def test_an_example_without_a_known_token_changes_nothing():
    some = examples()
    labels = (*some.labels, ("fan",))
    more = Examples(np.concatenate([some.vectors, np.zeros((1, 32), np.float32)]), labels, np.arange(11))
    one, other = (fit_prototypes("incident", each) for each in (some, more))
    assert one.threshold == other.threshold
    assert np.array_equal(one.directions, other.directions)


def test_examples_without_a_known_token_are_named():
    some = examples()
    blank = np.where(np.arange(10)[:, None] < 5, 0, some.vectors).astype(np.float32)
    with pytest.raises(InputError, match="the examples of 'fan' have no token"):
        fit_prototypes("incident", Examples(blank, some.labels, some.texts))
