"""Classifiers find what is there to find, and refuse what nothing can be learned from."""

import numpy as np
import pytest

from distill.heads.classifier import fit_classifier
from distill.heads.examples import Examples
from encoder.errors import InputError
from encoder.heads.scoring import Heads, unit_vectors

DIM = 12


def clusters(n_labels, each, seed=0, spread=0.6, labels=None):
    """Records around one point a label."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(42).normal(size=(n_labels, DIM))
    target = np.repeat(np.arange(n_labels), each)
    vectors = unit_vectors(centres[target] + spread * random.normal(size=(len(target), DIM)))
    names = labels or [f"label {k}" for k in range(n_labels)]
    return Examples(vectors, tuple((names[k],) for k in target), np.arange(len(target)))


@pytest.mark.parametrize("n_labels", [2, 4])
@pytest.mark.parametrize("calibration", [None, "none", "temperature", "platt", "isotonic"])
def test_labels_are_found_with_probabilities_that_come_true(n_labels, calibration):
    head, report = fit_classifier("kind", clusters(n_labels, 60), calibration=calibration)
    test = clusters(n_labels, 60, seed=1)
    (found,) = Heads([head])(test.vectors)
    right = np.array(head.labels)[found.label] == np.array([label for (label,) in test.labels])
    assert right.mean() > 0.9
    assert report.accuracy > 0.9
    assert abs(found.score.mean() - right.mean()) < 0.06
    assert calibration is None or report.calibration == calibration
    assert head.metadata["c"] == report.c
    assert head.metadata["records"] == 60 * n_labels


@pytest.mark.slow
def test_several_labels_are_found():
    random = np.random.default_rng(3)
    vectors = unit_vectors(random.normal(size=(600, DIM)))
    truth = vectors[:, :3] > 0.1
    labels = tuple(tuple(f"tag {k}" for k in np.flatnonzero(row)) for row in truth)
    head, report = fit_classifier("tags", Examples(vectors, labels, np.arange(600)), multi_label=True)
    (found,) = Heads([head])(vectors)
    assert head.labels == ("tag 0", "tag 1", "tag 2")
    assert ((found.scores.T >= 0.5) == truth).mean() > 0.9
    assert report.accuracy > 0.7
    assert "temperature" not in {one.method for one in report.scores}


def test_balanced_weights_find_more_of_a_rare_label():
    many, few = clusters(2, 400, spread=1.5), clusters(2, 20, spread=1.5, seed=5)
    rows = [*range(400), *(20 + r for r in range(20))]
    vectors = np.concatenate([many.vectors[:400], few.vectors[20:]])
    examples = Examples(vectors, (*many.labels[:400], *few.labels[20:]), np.arange(len(rows)))
    recalls = {}
    for weight in ("none", "balanced"):
        head, _ = fit_classifier("kind", examples, class_weight=weight, calibration="none")
        (found,) = Heads([head])(vectors)
        recalls[weight] = (found.label[400:] == 1).mean()
    assert recalls["balanced"] > recalls["none"]


def test_the_same_seed_gives_the_same_head():
    first, second = (fit_classifier("kind", clusters(3, 20))[0] for _ in range(2))
    assert np.array_equal(first.weights, second.weights)
    assert first.metadata == second.metadata


def test_progress_reaches_its_end():
    told = []
    fit_classifier("kind", clusters(2, 10), progress=lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1] == len(told)


def test_what_nothing_can_be_learned_from_is_refused():
    with pytest.raises(InputError, match="all records have the label 'label 0': a classifier needs"):
        fit_classifier("kind", clusters(1, 20))
    few = clusters(2, 4)
    with pytest.raises(InputError, match="only 4 distinct texts have the label 'label 0': give at least 5"):
        fit_classifier("kind", few)
    same = clusters(2, 20)
    with pytest.raises(InputError, match="only 1 distinct texts have"):
        fit_classifier("kind", Examples(same.vectors, same.labels, np.arange(40) // 20))
    always = tuple(("always", *some) for some in clusters(2, 20).labels)
    with pytest.raises(InputError, match="only 0 distinct texts lack the label 'always'"):
        fit_classifier("kind", Examples(same.vectors, always, same.texts), multi_label=True)
