"""Two tables side by side, in the dimensions of one."""

import numpy as np
import pytest

from distill.corpus_fit.blend import blend_tables, default_blend
from distill.corpus_fit.pooling import MeanPooling
from encoder.tokens import TokenIds

N_TOKENS = 50


@pytest.fixture(scope="module")
def pooling():
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 12, 9000)  # more than one block
    ids = rng.zipf(1.2, lengths.sum()) % N_TOKENS
    return MeanPooling(TokenIds(ids.astype(np.int32), np.cumsum([0, *lengths])), N_TOKENS)


def tables(fitted, plain):
    rng = np.random.default_rng(2)
    return [rng.standard_normal((N_TOKENS, dim), np.float32) for dim in (fitted, plain)]


def test_with_room_for_all_the_products_of_texts_are_sums_of_both_tables(pooling):
    fitted, plain = tables(12, 3)
    fitted[:, 8:] = 0  # 8 dimensions and 3 fit into 12
    blended = blend_tables(fitted, plain, 0.5, pooling)
    assert blended.shape == (N_TOKENS, 12)
    assert blended.dtype == np.float32
    first, second, found = (pooling.means(table)[:300].astype(float) for table in (fitted, plain, blended))
    lengths = [
        np.sqrt(np.square(pooling.means(table).astype(float)).sum(axis=1).mean()) for table in (fitted, plain)
    ]
    expected = first @ first.T + (0.5 * lengths[0] / lengths[1]) ** 2 * second @ second.T
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-3)


def test_the_longest_dimensions_come_first_and_are_those_that_keep_most(pooling):
    fitted, plain = tables(10, 10)
    blended = blend_tables(fitted, plain, 1.0, pooling)
    squares = np.square(pooling.means(blended).astype(float)).sum(axis=0)
    assert (np.diff(squares) <= 0).all()
    scale = np.sqrt(np.square(pooling.means(fitted)).sum() / np.square(pooling.means(plain)).sum())
    both = pooling.means(np.hstack([fitted, scale * plain])).astype(float)
    expected = np.linalg.svd(both, compute_uv=False)[:10] ** 2
    np.testing.assert_allclose(squares, expected, rtol=1e-3)


def test_a_share_of_0_or_a_plain_table_of_zeros_changes_no_product(pooling):
    fitted, plain = tables(10, 4)
    expected = pooling.means(fitted)[:200]
    for other, share in ((plain, 0.0), (np.zeros_like(plain), 0.5)):
        found = pooling.means(blend_tables(fitted, other, share, pooling))[:200]
        np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-3)


def test_the_fewer_tokens_of_text_the_more_is_kept_of_plain_distillation():
    assert default_blend(0) == 1
    assert default_blend(100_000) == pytest.approx(0.5**0.5)
    assert default_blend(900_000) == pytest.approx(0.1**0.5)
