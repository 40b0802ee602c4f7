"""Calibration: as scikit-learn's where it has the same, and the best way is found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from distill.heads.calibration import Calibration, calibrate, choose, ece, log_loss


def drawn(n, n_labels, seed=0, sharpness=1.0):
    """Logits whose softmax, divided by `sharpness`, is how labels were drawn."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, n_labels)) * 2
    logits -= logits.mean(axis=1, keepdims=True)  # as those of weights that were regularised
    gumbel = random.gumbel(size=logits.shape)
    targets = (logits + gumbel).argmax(axis=1)[:, None] == np.arange(n_labels)
    return logits * sharpness, targets


@pytest.mark.slow
@given(n_labels=st.integers(2, 5), method=st.sampled_from(["sigmoid", "isotonic"]), seed=st.integers(0, 999))
def test_probabilities_are_those_of_scikit_learns_calibration(n_labels, method, seed):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(300, 6))
    target = (vectors @ random.normal(size=(6, n_labels)) + random.gumbel(size=(300, n_labels))).argmax(1)
    target[:n_labels] = np.arange(n_labels)
    model = LogisticRegression().fit(vectors, target)
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method=method, cv=2).fit(vectors, target)
    (calibrated,) = theirs.calibrated_classifiers_
    weights, bias = model.coef_, model.intercept_
    scale, shift, curves = np.ones(n_labels), np.zeros(n_labels), ()
    if n_labels == 2:
        weights, bias = np.concatenate([-weights, weights]), np.concatenate([-bias, bias])
    if method == "sigmoid":
        found = [(-one.a_, -one.b_) for one in calibrated.calibrators]
        if n_labels == 2:  # the other label is what is left
            found = [(found[0][0], -found[0][1]), *found]
        scale, shift = np.array(found).T
    else:
        curves = [(one.X_thresholds_, one.y_thresholds_) for one in calibrated.calibrators]
        if n_labels == 2:
            x, y = curves[0]
            curves = [(-x[::-1], 1 - y[::-1]), (x, y)]
    link = "isotonic" if method == "isotonic" else "sigmoid"
    head = Calibration("none", link, scale, shift, tuple(curves)).head(
        "kind", tuple(map(str, range(n_labels))), weights, bias, multi_label=False
    )
    # In float64, since a curve may rise by a step between two float32.
    logits = (weights @ vectors.T + bias[:, None]) * scale[:, None] + shift[:, None]
    np.testing.assert_allclose(head.probabilities(logits).T, theirs.predict_proba(vectors), atol=1e-6)


def test_the_temperature_is_what_logits_were_multiplied_with():
    logits, targets = drawn(4000, 4, sharpness=3)
    found = calibrate("temperature", logits, targets, multi_label=False)
    assert found.scale == pytest.approx(1 / 3, rel=0.06)


@pytest.mark.parametrize("n_labels", [2, 4])
@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_each_way_makes_overconfident_scores_come_true(n_labels, method):
    logits, targets = drawn(6000, n_labels, sharpness=4)
    half = slice(3000, None)
    before = calibrate("none", logits, targets, multi_label=False)(logits[half], multi_label=False)
    fitted = calibrate(method, logits[:3000], targets[:3000], multi_label=False)
    after = fitted(logits[half], multi_label=False)
    assert ece(before, targets[half], multi_label=False) > 0.1
    # One label's curve knows nothing of the others' logits, which matters where there are more than two.
    assert ece(after, targets[half], multi_label=False) < (0.04 if n_labels == 2 else 0.13)
    np.testing.assert_allclose(after.sum(axis=1), 1, atol=1e-5)


def test_several_labels_are_calibrated_one_by_one():
    random = np.random.default_rng(1)
    logits = random.normal(size=(5000, 3)) * [1, 2, 3]
    targets = random.random(logits.shape) < 1 / (1 + np.exp(-logits + 1))
    found = calibrate("platt", logits * 4, targets, multi_label=True)
    np.testing.assert_allclose(found.scale, 1 / 4, rtol=0.1)
    np.testing.assert_allclose(found.shift, -1, atol=0.15)


@pytest.mark.parametrize(("sharpness", "taken"), [(1.0, {"none", "temperature"}), (5.0, {"temperature"})])
def test_the_way_that_is_needed_is_taken(sharpness, taken):
    logits, targets = drawn(1500, 3, seed=2, sharpness=sharpness)
    folds = np.arange(len(logits)) % 5
    chosen, scores = choose(logits, targets, folds, multi_label=False)
    assert chosen.method in taken
    assert [one.method for one in scores] == ["none", "temperature", "platt", "isotonic"]
    assert min(scores, key=lambda one: one.log_loss).method == chosen.method
    forced, _ = choose(logits, targets, folds, multi_label=False, method="isotonic")
    assert forced.method == "isotonic"


def test_the_calibration_error_of_known_scores():
    probabilities = np.tile([[0.8, 0.2]], (1000, 1))
    targets = np.zeros((1000, 2), bool)
    targets[:800, 0], targets[800:, 1] = True, True
    targets = np.random.default_rng(0).permutation(targets)
    assert ece(probabilities, targets, multi_label=False) < 0.06
    assert ece(probabilities, ~targets, multi_label=False) == pytest.approx(0.6, abs=0.01)
    assert log_loss(probabilities, targets, multi_label=False) == pytest.approx(
        -0.8 * np.log(0.8) - 0.2 * np.log(0.2)
    )


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_calibration_error_does_not_depend_on_the_order_of_the_records(multi_label):
    random = np.random.default_rng(0)
    sure = random.choice([0.55, 0.7, 0.9], 1000)  # as isotonic regression's steps
    truth = random.random(1000) < sure
    noise = random.uniform(-1e-8, 1e-8, 1000)  # of float32
    probabilities, targets = np.stack([sure + noise, 1 - sure], 1), np.stack([truth, ~truth], 1)
    orders = [np.arange(1000), np.argsort(truth), np.argsort(~truth), random.permutation(1000)]
    found = [ece(probabilities[rows], targets[rows], multi_label=multi_label) for rows in orders]
    assert len(set(found)) == 1
    # All that is off is the mean of each step; in a bin with parts of two steps, these may cancel.
    steps = sum((sure == one).mean() * abs(one - truth[sure == one].mean()) for one in np.unique(sure))
    assert 0.8 * steps < found[0] < steps + 1e-6


def test_of_distinct_probabilities_each_bin_is_off_by_its_mean():
    random = np.random.default_rng(0)
    sure = random.uniform(0.5, 1, 1500)
    truth = random.random(1500) < sure**2
    order = np.argsort(sure).reshape(15, 100)
    bins = np.abs(sure[order].mean(axis=1) - truth[order].mean(axis=1))
    found = ece(np.stack([sure, 1 - sure], 1), np.stack([truth, ~truth], 1), multi_label=False)
    assert found == pytest.approx(bins.mean(), abs=1e-5)


def test_a_probability_of_zero_for_what_happens_costs_much_and_not_everything():
    assert 10 < log_loss(np.array([[0.0, 1.0]]), np.array([[True, False]]), multi_label=False) < 20
