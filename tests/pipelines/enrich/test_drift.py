"""Windows of records against a baseline: what they add up to, whatever the batches."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from distill.heads import DriftRecords, fit_drift
from encoder import Encoder
from encoder.errors import ConfigurationError
from encoder.model import load_model
from pipelines.enrich.drift import DriftWindow
from pipelines.enrich.drift_sums import baseline_of
from pipelines.records.template import TextTemplate

USUAL = ("card used in lisbon", "card used in tokyo", "order paid at", "login failed", "disk full at")


def usual(n, seed=0):
    random = np.random.default_rng(seed)
    return [f"{USUAL[k]} {i}" for k, i in random.integers(0, (5, 90), (n, 2))]


@pytest.fixture(scope="module")
def encoder(headed):
    plain = load_model(headed("event", "fraud", "tags"))
    own = Encoder(plain, threads=1)
    texts = usual(1200)
    head, _ = fit_drift("usual", DriftRecords.of(own, texts), heads=plain.heads)
    return Encoder(replace(plain, heads=(*plain.heads, head)), threads=1)


@pytest.fixture
def window(encoder):
    return DriftWindow(encoder, baseline_of(encoder.heads.heads), TextTemplate.parse("text"))


def batch(texts):
    return pa.record_batch({"text": texts})


def test_records_of_the_baseline_have_no_drift_and_other_ones_have(window):
    for seed in range(1, 30):
        window.add(batch(usual(64, seed)))
    calm = window.drift()
    assert (calm.records, calm.shift.drift < 1, calm.unknown) == (29 * 64, True, 0)
    assert set(calm.labels) == {"event", "fraud", "tags"}
    assert all(0 <= shift < 0.1 for shift in calm.labels.values())
    window.begin()
    for seed in range(30):
        window.add(batch([*usual(60, seed), *["zzzz qqqq é☃ xxxx"] * 4]))
    found = window.drift()
    assert found.shift.drift > 1.5
    assert found.unusual > calm.unusual + 0.03


def test_the_most_unusual_records_are_named_by_their_places_and_no_text_is_kept(window):
    texts = usual(60)
    texts[7] = "qqqq zzzz xxxx"
    window.add(batch(texts), lambda row: ("topic", row))
    first = window.drift().examples[0]
    assert first.place == ("topic", 7)
    assert first.similarity < window._baseline.head.threshold
    assert not any("qqqq" in str(value) for value in vars(window).values())


def test_of_a_large_batch_evenly_spaced_records_are_measured(window):
    texts = ["qqqq zzzz xxxx"] * 1000
    window.add(batch(texts), lambda row: row)
    found = window.drift()
    assert found.records == 64
    assert len(found.examples) == 20
    assert all(one.place in {k * 1000 // 64 for k in range(64)} for one in found.examples)
    for _ in range(16):
        window.add(batch(texts))
    assert window.sums.records == 64
    window.add(batch(texts))
    assert window.sums.records == 128


def test_batches_do_not_matter_up_to_the_sample(encoder):
    template, baseline = TextTemplate.parse("text"), baseline_of(encoder.heads.heads)
    one, other = (DriftWindow(encoder, baseline, template) for _ in range(2))
    texts = usual(60, seed=5)
    one.add(batch(texts))
    for text in texts:
        other.add(batch([text]))
    other.add(batch([]).cast(batch(["x"]).schema))
    np.testing.assert_allclose(one.drift().shift.means[:-1], other.drift().shift.means[:-1], rtol=1e-6)


def test_unknown_tokens_are_counted(window):
    window.add(batch(["card ☃ ☃ ☃"] * 3))
    assert window.drift().unknown == pytest.approx(0.75)


def test_records_in_no_group_are_counted(encoder, window):
    share = encoder.heads.heads
    drift = next(head for head in share if head.kind == "drift")
    at = drift.measures.index("event=none")
    assert 0 < drift.means[at] < 1
    window.add(batch(["zzzz qqqq"] * 30))
    found = window.drift()
    assert found.shift.means[at] == 1
    assert found.labels["event"] == pytest.approx(1 - drift.means[at])


def test_a_classifier_that_was_fitted_again_is_left_out(encoder, headed):
    changed = load_model(headed("event", "fraud", "tags", seed=1))
    drift = next(head for head in encoder.heads.heads if head.kind == "drift")
    found = baseline_of((*changed.heads, drift))
    assert [one.name for one in found.counted] == ["event"]  # the same groups whatever the seed
    assert [drift.labels[column] for column in found.columns] == ["event=none"]


def test_a_model_without_a_baseline_has_none_and_two_are_refused(encoder, model):
    assert baseline_of(load_model(model).heads) is None
    drift = next(head for head in encoder.heads.heads if head.kind == "drift")
    with pytest.raises(ConfigurationError, match="several drift baselines, usual, other"):
        baseline_of((drift, replace(drift, name="other")))
