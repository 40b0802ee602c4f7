"""Figures of heads on records whose truth is known."""

import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from distill.heads.evaluation import evaluate_head
from distill.heads.examples import Examples
from encoder.errors import InputError
from encoder.heads.scoring import Classifier, Novelty, Prototypes, unit_vectors

DIM = 3
EYE = np.eye(DIM, dtype=np.float32)


def vectors(n, seed=0):
    return unit_vectors(np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32))


def examples(found, labels):
    return Examples(found, tuple(labels), np.arange(len(found)))


def test_a_classifier_has_scikit_learns_figures():
    found = vectors(300)
    random = np.random.default_rng(1)
    truth = (10 * found + random.gumbel(size=found.shape)).argmax(axis=1)
    head = Classifier("kind", ("a", "b", "c"), 10 * EYE, np.zeros(3, np.float32))
    quality = evaluate_head(head, examples(found, [("abc"[k],) for k in truth]))
    said = found.argmax(axis=1)
    scores = np.exp(10 * found)
    scores /= scores.sum(axis=1, keepdims=True)
    figures = quality.figures
    assert figures["accuracy"].value == pytest.approx((said == truth).mean())
    assert figures["macro F1"].value == pytest.approx(f1_score(truth, said, average="macro"))
    each = [average_precision_score(truth == k, scores[:, k]) for k in range(3)]
    assert figures["average precision"].value == pytest.approx(np.mean(each), abs=1e-6)
    assert figures["calibration error"].value < 0.1
    for one in figures.values():
        assert one.low <= one.value <= one.high
    for k, row in enumerate(quality.labels):
        assert (row.label, row.records) == ("abc"[k], (truth == k).sum())
        assert row.f1 == pytest.approx(f1_score(truth == k, said == k))
        assert row.average_precision == pytest.approx(each[k], abs=1e-6)
    wrong = {(t, s): n for t, s, n in quality.confusions}
    assert sum(wrong.values()) == (said != truth).sum()
    assert wrong.get(("a", "b"), 0) == ((truth == 0) & (said == 1)).sum()


@pytest.mark.parametrize("seed", [10, 13])  # whose resamples are nearly all larger than the error itself
def test_a_calibration_error_is_inside_its_interval(seed):
    head = Classifier("kind", ("a", "b", "c"), 10 * EYE, np.zeros(3, np.float32))
    found = vectors(300, seed)
    truth = (10 * found + np.random.default_rng(seed).gumbel(size=found.shape)).argmax(axis=1)
    error = evaluate_head(head, examples(found, [("abc"[k],) for k in truth])).figures["calibration error"]
    assert 0 <= error.low <= error.value <= error.high < 0.1


def test_labels_that_a_classifier_does_not_know_are_left_out():
    head = Classifier("kind", ("a", "b", "c"), EYE, np.zeros(3, np.float32))
    quality = evaluate_head(head, examples(vectors(4), [("a",), ("z",), ("b",), ("a",)]))
    assert (quality.records, quality.skipped) == (3, 1)
    assert json.loads(json.dumps(quality.to_json()))["labels"][2]["average_precision"] is None
    with pytest.raises(InputError, match="no record has a label of the head 'kind', which knows a, b, c"):
        evaluate_head(head, examples(vectors(1), [("z",)]))


@pytest.mark.slow
def test_several_labels_are_right_together_or_not_at_all():
    head = Classifier("tags", ("a", "b", "c"), 100 * EYE, np.zeros(3, np.float32), "sigmoid", True)
    found = vectors(200)
    truth = [tuple(np.array(list("abc"))[row > 0]) for row in found]
    quality = evaluate_head(head, examples(found, truth))
    assert quality.figures["accuracy"].value == pytest.approx(1, abs=0.02)
    assert quality.confusions == []
    quality = evaluate_head(head, examples(found, [("a",)] * 200))
    assert quality.figures["accuracy"].value == pytest.approx(
        np.mean([labels == ("a",) for labels in truth]), abs=0.02
    )


def test_what_is_near_no_prototype_should_be_of_no_name():
    head = Prototypes("incident", ("x", "y"), EYE[:2], 0.9)
    found = np.stack([EYE[0], EYE[1], EYE[2], EYE[0]])
    quality = evaluate_head(head, examples(found, [("x",), ("y",), ("other",), ()]))
    assert quality.figures["accuracy"].value == 0.75
    assert [(row.label, row.records) for row in quality.labels] == [("x", 1), ("y", 1), ("(none)", 2)]
    assert quality.confusions == [("(none)", "x", 1)]


def test_novelty_has_an_alert_rate_and_finds_what_is_named():
    head = Novelty(
        "odd", np.stack([EYE[0], -EYE[1]]), np.array([0, 1], np.float32), np.zeros(1, np.float32), 1.0
    )
    found = unit_vectors(np.array([[0, 1, 0]] * 8 + [[0, -1, 0]] * 2, np.float32))
    labels = [("normal",)] * 7 + [("attack",)] * 3
    quality = evaluate_head(head, examples(found, labels), novel=["attack"])
    assert quality.figures["alert rate"].value == 0
    assert quality.figures["detected"].value == pytest.approx(2 / 3)
    assert quality.figures["AUROC"].value == pytest.approx(5 / 6)
    assert list(evaluate_head(head, examples(found, labels)).figures) == ["alert rate"]
    with pytest.raises(InputError, match="no record has the label 'nope'; there are attack, normal"):
        evaluate_head(head, examples(found, labels), novel=["attack", "nope"])
