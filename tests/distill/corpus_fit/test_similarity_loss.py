"""The loss of the refinement, held against its formula."""

import numpy as np
import pytest
import torch

from distill.corpus_fit.similarity_loss import similarity_loss


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
