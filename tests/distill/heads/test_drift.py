"""Drift baselines: windows of the same records stay below the level, new kinds of records do not."""

import numpy as np
import pytest

from distill.heads.drift import DriftRecords, fit_drift
from distill.heads.drift_levels import RATE
from encoder.errors import InputError
from encoder.heads.drift import LENGTH, NEW_WORDS, UNKNOWN, UNUSUAL
from encoder.heads.scoring import Classifier, unit_vectors
from encoder.tokens import TokenIds

DIM, KINDS = 24, 40
CENTRES = unit_vectors(np.random.default_rng(99).normal(size=(KINDS + 1, DIM)))
SHARES = 1 / np.arange(1, KINDS + 1) / (1 / np.arange(1, KINDS + 1)).sum()


def records(kinds, random):
    """Vectors around the centres of kinds, and lengths of their texts."""
    noise = random.normal(size=(len(kinds), DIM)) * 0.08
    return unit_vectors(CENTRES[kinds] + noise), 20 + kinds + random.integers(0, 10, len(kinds))


def independent(n, random):
    return records(random.choice(KINDS, n, p=SHARES), random)


def in_runs(length):
    """Records whose kind stays for so many of them on average."""

    def made(n, random):
        kinds = random.choice(KINDS, n, p=SHARES)
        stays = random.random(n) < 1 - 1 / length
        stays[0] = False
        return records(kinds[np.maximum.accumulate(np.where(stays, 0, np.arange(n)))], random)

    return made


def words(n, first=0):
    """Texts of two tokens each, of ten."""
    return TokenIds((first + np.arange(2 * n) % 10).astype(np.int32), 2 * np.arange(n + 1))


def fit(vectors, lengths, **options):
    made = DriftRecords(vectors, lengths, np.linspace(0, 0.02, 50), words(len(vectors)))
    return fit_drift("usual", made, **options)


def shift(head, vectors, lengths, unknown=0.01, tokens=None):
    groups, similarity = head.nearest(vectors)
    counts = np.bincount(groups, minlength=len(head.centres))
    new = head.new_words(words(len(vectors)) if tokens is None else tokens).sum()
    unusual = head.unusual(groups, similarity).sum(axis=1)
    sums = np.array([*counts, *unusual, new, np.log1p(lengths).sum(), unknown * 100])
    return head.shift(sums, np.array([*[len(vectors)] * (len(sums) - 1), 100.0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stream", "n_records"), [(independent, 3000), (in_runs(4), 4000), (in_runs(100), 16_000)]
)
def test_windows_of_the_same_records_exceed_the_level_as_rarely_as_stated(stream, n_records):
    drifts = []
    for seed in range(3):
        random = np.random.default_rng(seed)
        head, _ = fit(*stream(n_records, random))
        for size in (100, 500, 2000):
            drifts += [shift(head, *stream(size, random)).drift for _ in range(50)]
    assert sum(drift > 1 for drift in drifts) <= len(drifts) * RATE + 2
    assert max(drifts) > 0.4  # and it is no empty promise


def test_a_new_kind_of_which_there_are_five_in_a_hundred_is_found_in_two_thousand_records():
    random = np.random.default_rng(0)
    head, report = fit(*independent(3000, random))
    for _ in range(5):
        vectors, lengths = independent(2000, random)
        vectors[::20] = records(np.full(100, KINDS), random)[0]
        found = shift(head, vectors, lengths)
        assert found.drift > 2
        assert found.measure == UNUSUAL or found.measure.startswith("group ")
    assert report.held_out < 1.5


def test_a_kind_that_comes_more_often_is_named_by_its_group():
    random = np.random.default_rng(1)
    head, _ = fit(*independent(4000, random))
    usual, more = independent(1800, random), records(np.full(200, 7), random)
    found = shift(head, *(np.concatenate(pair) for pair in zip(usual, more, strict=True)))
    assert found.drift > 1
    assert found.measure == f"group {head.nearest(CENTRES[7:8])[0][0] + 1}"
    assert found.found > found.expected + 0.02


def test_longer_texts_and_unknown_tokens_are_drift_too():
    random = np.random.default_rng(2)
    head, _ = fit(*independent(4000, random))
    vectors, lengths = independent(1000, random)
    assert shift(head, vectors, lengths * 2).measure == LENGTH
    found = shift(head, vectors, lengths, unknown=0.5)
    assert (found.measure, found.found) == (UNKNOWN, 0.5)


def test_records_of_new_words_are_drift_whatever_their_vectors():
    random = np.random.default_rng(2)
    head, _ = fit(*independent(4000, random))
    usual, new = words(950), words(50, first=90)
    tokens = TokenIds(np.append(usual.ids, new.ids), np.append(usual.offsets, 1900 + new.offsets[1:]))
    found = shift(head, *independent(1000, random), tokens=tokens)
    assert (found.measure, found.expected, found.found) == (NEW_WORDS, 0, 0.05)
    assert found.drift > 1


def test_one_new_word_of_five_is_not_many():
    head, _ = fit(*independent(600, np.random.default_rng(2)))
    tokens = TokenIds(np.array([0, 1, 2, 3, 99, 0, 1, 2, 99], np.int32), np.array([0, 5, 9, 9]))
    assert head.new_words(tokens).tolist() == [False, True, False]


def test_shares_of_labels_are_measures():
    random = np.random.default_rng(3)
    weights = np.stack([CENTRES[0], CENTRES[1]]) * 20
    topic = Classifier("topic", ("card", "disk"), weights, np.zeros(2, np.float32))
    head, _ = fit(*independent(1000, random), heads=[topic])
    assert head.labels == ("topic=card", "topic=disk")
    at = head.measures.index("topic=card")
    labels = topic.outcome((independent(1000, np.random.default_rng(3))[0] @ weights.T).T).label
    assert head.means[at] == pytest.approx((labels == 0).mean())
    assert set(head.scored) == {"topic"}


def test_records_that_change_over_time_raise_the_level():
    random = np.random.default_rng(4)
    first, last = (records(random.choice(some, 2000), random) for some in ([1, 2, 3], [3, 4, 5]))
    changing, report = fit(*(np.concatenate(pair) for pair in zip(first, last, strict=True)))
    assert report.held_out > 1.5
    assert shift(changing, *records(random.choice([1, 2, 3], 500), random)).drift < 1


def test_the_same_records_give_the_same_baseline():
    one, two = (fit(*independent(600, np.random.default_rng(5)))[0] for _ in range(2))
    for name in ("centres", "means", "variances", "levels"):
        assert np.array_equal(getattr(one, name), getattr(two, name))


def test_records_that_are_all_the_same_have_no_drift():
    same = records(np.zeros(600, int), np.random.default_rng(6))[0][:1].repeat(600, axis=0)
    head, _ = fit(same, np.full(600, 20))
    assert len(head.centres) == 1
    assert shift(head, same, np.full(600, 20)).drift < 0.5


def test_too_few_records_are_refused():
    with pytest.raises(InputError, match="499 records are too few for a baseline: give 500 or more"):
        fit(*independent(499, np.random.default_rng(0)))
