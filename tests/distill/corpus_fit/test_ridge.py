"""The fit, held against the direct solution of the regression and against a planted table."""

import numpy as np
import pytest

from distill.corpus_fit import ridge as fit
from distill.corpus_fit.pooling import MeanPooling
from distill.corpus_fit.ridge import HeldOut, _ConjugateGradients, align, fit_table
from distill.corpus_fit.targets import Targets
from distill.teacher.vector_cache import TeacherVectors
from encoder.tokens import TokenIds

N_TOKENS, DIM = 40, 6


def texts_of(n, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 9, n)
    ids = rng.zipf(1.3, lengths.sum()) % N_TOKENS
    return MeanPooling(TokenIds(ids.astype(np.int32), np.cumsum([0, *lengths])), N_TOKENS)


def targets_of(rows):
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    vectors = TeacherVectors(rows.astype(np.float16), np.arange(len(rows)))
    return Targets(vectors, np.eye(rows.shape[1], dtype=np.float32))


@pytest.fixture
def planted():
    """A table, texts whose targets it gives but for some noise, and other texts."""
    rng = np.random.default_rng(5)
    table = rng.standard_normal((N_TOKENS, DIM), np.float32)
    learned, held = texts_of(3000, 1), texts_of(300, 2)

    def noisy(pooling):
        return targets_of(pooling.means(table) + 0.1 * rng.standard_normal((len(pooling), DIM), np.float32))

    return table, learned, noisy(learned), HeldOut(held, noisy(held)[:])


def dense(pooling):
    return pooling.means(np.eye(N_TOKENS, dtype=np.float32)).astype(np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [0.1, 3.0])
def test_conjugate_gradients_solve_the_ridge_regression(planted, penalty):
    _, learned, targets, _ = planted
    start = np.random.default_rng(8).standard_normal((N_TOKENS, DIM), np.float32)
    a, y = dense(learned), targets[:]
    expected = np.linalg.solve(a.T @ a + penalty * np.eye(N_TOKENS), a.T @ y + penalty * start)
    solver = _ConjugateGradients(learned, penalty, learned.scatter(y) + np.float32(penalty) * start, start)
    solver.step(60)
    np.testing.assert_allclose(solver.solution, expected, atol=1e-3)


def test_the_fit_finds_the_planted_vectors_and_says_so(planted):
    table, learned, targets, held_out = planted
    start = np.random.default_rng(8).standard_normal((N_TOKENS, DIM), np.float32)
    seen = []
    found = fit_table(start, learned, targets, held_out, lambda *told: seen.append(told))
    assert found.aligned == held_out.cosine(start) < 0.5
    assert found.cosine == held_out.cosine(found.table) > 0.95
    assert found.cosine >= held_out.cosine(table) - 0.02  # whose means are not of length 1, as targets are
    assert found.steps > 0
    assert seen
    assert all(0 < done <= total for done, total in seen)


def test_noise_asks_for_a_larger_penalty(planted):
    table, _, _, held_out = planted
    rng = np.random.default_rng(9)
    near = table + 0.1 * rng.standard_normal(table.shape, np.float32)
    few = texts_of(60, 3)
    clean = few.means(table)
    penalties = []
    for noise in (0.0, 3.0):
        rows = clean + noise * rng.standard_normal(clean.shape, np.float32)
        penalties.append(fit_table(near, few, targets_of(rows), held_out).penalty)
    assert penalties[0] < penalties[1]


def test_penalties_that_change_nothing_are_passed_over(planted, monkeypatch):
    """Of long texts all that are tried first do: each token weighs little in them."""
    table, learned, targets, held_out = planted
    start = table + np.random.default_rng(8).standard_normal(table.shape, np.float32)
    expected = fit_table(start, learned, targets, held_out)
    monkeypatch.setattr(fit, "_PENALTIES", (1e9, 1e8, 1e7, *fit._PENALTIES))
    assert fit_table(start, learned, targets, held_out).penalty == expected.penalty < 1


def test_one_penalty_without_a_gain_is_not_the_last(planted, monkeypatch):
    table, learned, targets, held_out = planted
    start = table + np.random.default_rng(8).standard_normal(table.shape, np.float32)
    monkeypatch.setattr(fit, "_PENALTIES", (30.0, 30.0, 0.1, 0.1, 0.1, 0.01))
    seen = []
    found = fit_table(start, learned, targets, held_out, lambda done, _: seen.append(done))
    assert found.penalty == 0.1
    assert seen[-1] <= 5 * fit._MAX_STEPS


def test_a_start_that_cannot_be_bettered_is_kept(planted):
    table, _, _, held_out = planted
    few = texts_of(30, 4)
    noise = targets_of(np.random.default_rng(1).standard_normal((30, DIM)))
    found = fit_table(table, few, noise, held_out)
    assert found.cosine >= held_out.cosine(table)


def test_alignment_undoes_a_linear_map(planted):
    table, learned, targets, held_out = planted
    rng = np.random.default_rng(3)
    mixed = table @ rng.standard_normal((DIM, 9), np.float32)  # the hidden size is larger than dims
    aligned = align(mixed, learned, targets, held_out)
    assert aligned.shape == table.shape
    assert held_out.cosine(aligned) > 0.97
