"""Known cases: the threshold keeps its precision, and cases come and go by their ids."""

import numpy as np
import pytest

from distill.heads.cases import fit_cases, with_cases, without_cases
from distill.heads.examples import Examples
from encoder.errors import ConfigurationError, InputError
from encoder.heads.scoring import unit_vectors


def examples(n=600, noise=0.5, seed=0, labels=3):
    """Records around a centre for each label; the last label is noise."""
    random = np.random.default_rng(seed)
    centres = unit_vectors(random.normal(size=(labels, 16)))
    label = np.arange(n) % labels
    near = centres[label] + noise * random.normal(size=(n, 16)) / 4
    vectors = np.where((label == labels - 1)[:, None], random.normal(size=(n, 16)), near)
    return Examples(unit_vectors(vectors), tuple((f"l{k}",) for k in label), np.arange(n))


def ids(n, first=0):
    return [f"case-{k}" for k in range(first, first + n)]


def test_the_threshold_keeps_its_precision_on_other_records():
    records = examples(8000, 1.5)
    known = Examples(records.vectors[::2], records.labels[::2], records.texts[::2])
    head, report = fit_cases("known", known, ids(4000), precision=0.9)
    assert report.precision.low <= 0.9 <= report.precision.high
    assert head.metadata["recall"] == report.recall.value
    case = head.outcome(records.vectors[1::2]).case[:, 0]
    near = case >= 0
    right = [head.labels[head.label[k]] == one for k, (one,) in zip(case, records.labels[1::2], strict=True)]
    assert np.mean(np.array(right)[near]) == pytest.approx(0.9, abs=0.03)
    assert np.mean(right & near) == pytest.approx(report.recall.value, abs=0.05)


def test_equal_texts_do_not_find_each_other():
    several = examples(60)
    twice = Examples(
        np.concatenate([several.vectors] * 2), several.labels * 2, np.concatenate([several.texts] * 2)
    )
    _, once = fit_cases("known", several, ids(60), precision=0.5)
    _, both = fit_cases("known", twice, ids(120), precision=0.5)
    assert both == once


def test_of_equal_ids_the_last_counts_and_texts_without_tokens_are_left_out():
    some = examples(9)
    some.vectors[4] = 0
    head, report = fit_cases("known", some, ["a", "b", *ids(5), "a", "b"], threshold=0.5)
    assert report is None
    assert sorted(head.ids.tolist()) == ["a", "b", "case-0", "case-1", "case-3", "case-4"]
    row = head.ids.tolist().index("a")
    np.testing.assert_array_equal(head.vectors[row], some.vectors[7].astype(np.float16))


def test_cases_are_added_replaced_and_removed():
    head, _ = fit_cases("known", examples(30), ids(30), threshold=0.5)
    more = examples(6, seed=4, labels=4)
    added = with_cases(head, more, ids(6, first=27))
    assert added.ids.tolist() == ids(33)
    assert added.labels == ("l0", "l1", "l2", "l3")
    np.testing.assert_array_equal(added.vectors[:27], head.vectors[:27])
    np.testing.assert_array_equal(added.vectors[27:], more.vectors.astype(np.float16))
    assert [added.labels[k] for k in added.label[27:]] == [one for (one,) in more.labels]
    less = without_cases(added, ["case-0", "case-32"])
    assert less.ids.tolist() == ids(31, first=1)
    np.testing.assert_array_equal(less.vectors, added.vectors[1:32])
    assert less.metadata["cases"] == 31
    assert less.threshold == head.threshold


def test_what_cannot_be_done_is_an_error_that_says_why():
    some = examples(30)
    same = Examples(some.vectors, (("fraud",),) * 30, some.texts)
    with pytest.raises(InputError, match="all cases have the label 'fraud'"):
        fit_cases("known", same, ids(30))
    odd = Examples(some.vectors, tuple((f"l{k}",) for k in range(30)), some.texts)
    with pytest.raises(InputError, match=r"no threshold has a precision of 95\.0%; the best is 0\.0%"):
        fit_cases("known", odd, ids(30))
    with pytest.raises(ConfigurationError, match="`nearest` is 0"):
        fit_cases("known", some, ids(30), nearest=0)
    with pytest.raises(ConfigurationError, match="`precision` is 1"):
        fit_cases("known", some, ids(30), precision=1)
    nothing = Examples(np.zeros((3, 16), np.float32), some.labels[:3], np.arange(3))
    with pytest.raises(InputError, match="no case has a label and a text"):
        fit_cases("known", nothing, ids(3))
    head, _ = fit_cases("known", some, ids(30), threshold=0.5)
    with pytest.raises(InputError, match="has no case 'case-99'"):
        without_cases(head, ["case-99"])
    with pytest.raises(InputError, match="would have no case left"):
        without_cases(head, ids(30))


def test_many_cases_are_put_into_cells_and_keep_their_ids_and_labels(monkeypatch):
    monkeypatch.setattr("distill.heads.cases.FEW", 500)
    some = examples(900)
    head, _ = fit_cases("known", some, ids(900), threshold=0.5)
    assert head.cells.ends[-1] == 900
    assert 10 <= len(head.cells.centroids) <= 30
    rows = {one: row for row, one in enumerate(head.ids.tolist())}
    order = [rows[one] for one in ids(900)]
    np.testing.assert_array_equal(head.vectors[order], some.vectors.astype(np.float16))
    assert [head.labels[k] for k in head.label[order]] == [one for (one,) in some.labels]
    cosines = head.vectors.astype(np.float32) @ head.cells.centroids.astype(np.float32).T
    own = np.repeat(np.arange(len(head.cells.centroids)), np.diff(head.cells.ends))
    np.testing.assert_allclose(cosines[np.arange(900), own], cosines.max(axis=1), atol=1e-3)
    assert (head.outcome(some.vectors).case[:, 0] == order).mean() > 0.95
    less = without_cases(head, ids(400))
    assert less.cells is None
    more = with_cases(less, some, ids(900))
    assert more.cells.ends[-1] == 900
    assert sorted(more.ids.tolist()) == sorted(ids(900))


def test_equal_cases_are_in_one_cell(monkeypatch):
    monkeypatch.setattr("distill.heads.cases.FEW", 50)
    some = examples(4)
    many = Examples(np.repeat(some.vectors, 40, axis=0), some.labels * 40, np.repeat(some.texts, 40))
    head, _ = fit_cases("known", many, ids(160), threshold=0.5)
    assert np.diff(head.cells.ends).tolist() == [40] * 4
    assert head.outcome(some.vectors).similarity == pytest.approx(np.ones((4, 1)), abs=1e-3)
