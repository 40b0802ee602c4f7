"""The refinement: nearer to the teacher's similarities, repeatable, and not lost when interrupted."""

import numpy as np
import pytest
import torch

from distill.corpus_fit import refine
from distill.corpus_fit.pooling import MeanPooling
from distill.corpus_fit.refine import Texts, refine_table, similarity_loss
from distill.teacher.vector_cache import TeacherVectors
from encoder.tokens import TokenIds

N_TOKENS, DIM = 60, 8
TABLE = np.random.default_rng(3).standard_normal((N_TOKENS, DIM), np.float32)
START = TABLE + 0.7 * np.random.default_rng(4).standard_normal(TABLE.shape, np.float32)


def texts_of(n, seed):
    """Texts whose vectors the table gives."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 9, n)
    ids = rng.integers(0, N_TOKENS, lengths.sum()).astype(np.int32)
    pooling = MeanPooling(TokenIds(ids, np.cumsum([0, *lengths])), N_TOKENS)
    rows = pooling.means(TABLE)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Texts(pooling, TeacherVectors(rows.astype(np.float16), np.arange(n)))


TRAIN, HELD_OUT = texts_of(400, 1), texts_of(90, 2)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(refine, "_BATCH", 128)
    monkeypatch.setattr(refine, "_LEARNING_RATE", 3e-2)


def test_similarities_of_other_texts_come_nearer():
    refined = refine_table(START, TRAIN, HELD_OUT)
    assert refined.after < 0.7 * refined.before

    def off(table):
        means = HELD_OUT.pooling.means(table)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        theirs = HELD_OUT.vectors[:]
        return np.abs(means @ means.T - theirs @ theirs.T).mean()

    assert off(refined.table) < 0.8 * off(START)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits():
    first, second, other = (refine_table(START, TRAIN, HELD_OUT, seed=s).table for s in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.slow
def test_an_interrupted_refinement_goes_on_to_the_same_bits(tmp_path):
    def interrupt(done, _total):
        if done == 75:
            raise KeyboardInterrupt

    expected = refine_table(START, TRAIN, HELD_OUT)
    with pytest.raises(KeyboardInterrupt):
        refine_table(START, TRAIN, HELD_OUT, folder=tmp_path, progress=interrupt)
    seen = []
    found = refine_table(START, TRAIN, HELD_OUT, folder=tmp_path, progress=lambda *told: seen.append(told))
    assert seen[0] == (70, 120)
    assert np.array_equal(found.table, expected.table)
    assert (found.steps, found.before, found.after) == (expected.steps, expected.before, expected.after)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_damaged_state_and_that_of_other_texts_are_passed_over(tmp_path):
    def interrupt(done, _total):
        if done == 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine_table(START, TRAIN, HELD_OUT, folder=tmp_path, progress=interrupt)
    (state,) = tmp_path.iterdir()
    seen = []
    refine_table(START, texts_of(300, 9), HELD_OUT, folder=tmp_path, progress=lambda *told: seen.append(told))
    state.write_bytes(state.read_bytes()[:1000])
    expected = refine_table(START, TRAIN, HELD_OUT)
    found = refine_table(START, TRAIN, HELD_OUT, folder=tmp_path, progress=lambda *told: seen.append(told))
    assert [done for done, _ in seen].count(0) == 2
    assert np.array_equal(found.table, expected.table)


@pytest.mark.slow
@pytest.mark.parametrize("error", [OSError("no space"), RuntimeError("PytorchStreamWriter failed")])
def test_a_state_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, caplog, error):
    def fail(_state, path):
        path.write(b"half of it")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    found = refine_table(START, TRAIN, HELD_OUT, folder=tmp_path)
    assert np.array_equal(found.table, refine_table(START, TRAIN, HELD_OUT).table)
    assert str(error) in caplog.text
    assert not list(tmp_path.iterdir())


def test_it_ends_early_and_keeps_the_best_table(monkeypatch):
    monkeypatch.setattr(refine, "_LEARNING_RATE", 3.0)  # far too fast: nothing gets better
    seen = []
    refined = refine_table(TABLE, TRAIN, HELD_OUT, progress=lambda *told: seen.append(told))
    assert len(seen) < 120
    assert refined.steps == 0
    assert refined.after == refined.before
    assert np.array_equal(refined.table, TABLE)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_loss_is_the_divergence_and_ten_mean_squares():
    rng = np.random.default_rng(1)
    ours, theirs = rng.standard_normal((5, 8)), rng.standard_normal((5, 12))
    found = similarity_loss(torch.from_numpy(ours), torch.from_numpy(theirs)).item()
    others = ~np.eye(5, dtype=bool)
    p, q = ((unit(x) @ unit(x).T)[others].reshape(5, 4) for x in (theirs, ours))
    chances = [np.exp(x / 0.05) / np.exp(x / 0.05).sum(axis=1, keepdims=True) for x in (p, q)]
    divergence = (chances[0] * np.log(chances[0] / chances[1])).sum() / 5
    assert found == pytest.approx(divergence + 10 * ((p - q) ** 2).sum() / 25, rel=1e-6)


def test_the_same_similarities_have_no_loss_whatever_the_lengths_and_axes():
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((6, 4))
    turned = rng.uniform(0.5, 2, (6, 1)) * rows @ np.linalg.qr(rng.standard_normal((4, 4)))[0]
    assert similarity_loss(torch.from_numpy(rows), torch.from_numpy(turned)).item() == pytest.approx(
        0, abs=1e-9
    )
