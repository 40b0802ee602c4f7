"""From the teacher's vectors to the table: principal components, weights, clusters, number format."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.dtypes import Dtype

__all__ = ["as_dtype", "cluster", "principal_components", "sif_weights"]

Floats = NDArray[np.floating[Any]]

_BLOCK = 8192  # rows that are copied as float64 at a time
_INT8_MAX = 127
_INT8_QUANTILE = 0.9999


def principal_components(vectors: NDArray[np.float32], dims: float | None) -> NDArray[np.float32]:
    """Turn vectors into their scores on the principal components, without whitening.

    The sign of a component is the one that makes its largest score by magnitude positive.

    Args:
        vectors: `(n_rows, n_features)` float32.
        dims: how many components; below 1, as many as explain that share of the variance; None for none.

    Returns:
        `(n_rows, k)` float32, k at most `n_features`; `vectors` themselves where there are too few rows.
    """
    n_rows, n_features = vectors.shape
    if dims is None or min(dims, n_features) >= n_rows:
        return vectors
    mean = vectors.mean(axis=0, dtype=np.float64)
    variances, components = np.linalg.eigh(_covariance(vectors, mean))
    variances, components = variances[::-1].clip(min=0), components[:, ::-1]  # the largest first
    if dims < 1:
        explained = np.cumsum(variances) / variances.sum()
        dims = int(np.searchsorted(explained, dims)) + 1
    components = components[:, : min(int(dims), n_features)]
    scores = np.concatenate([(block - mean) @ components for block in _blocks(vectors)], dtype=np.float32)
    largest = np.abs(scores).argmax(axis=0)
    return scores * np.where(scores[largest, np.arange(scores.shape[1])] < 0, -1, 1).astype(np.float32)


def _covariance(vectors: NDArray[np.float32], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(n_features, n_features)`, in float64: components whose variances lie close together depend on it."""
    total = np.zeros((vectors.shape[1], vectors.shape[1]))
    for block in _blocks(vectors):
        centred = block - mean
        total += centred.T @ centred
    return total / (len(vectors) - 1)


def _blocks(vectors: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [vectors[start : start + _BLOCK] for start in range(0, len(vectors), _BLOCK)]


def sif_weights(n_tokens: int, a: float | None) -> NDArray[np.float64]:
    """Smooth inverse frequencies, `a / (a + p)`, the rarer the heavier (Arora et al., 2017).

    The frequency p of a token is taken from its id alone, by Zipf's law: `p ~ 1 / (id + 2)`.

    Returns:
        `(n_tokens,)` float64; ones where `a` is None.
    """
    if a is None:
        return np.ones(n_tokens)
    inverse_ranks = 1 / np.arange(2, n_tokens + 2)
    weights: NDArray[np.float64] = a / (a + inverse_ranks / inverse_ranks.sum())
    return weights


def cluster(vectors: NDArray[np.float32], n_clusters: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Group vectors by k-means; one thread, so that the same vectors give the same clusters.

    Returns:
        The centres, `(n_clusters, n_features)` float32, and each row's centre, `(n_rows,)` int32.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        kmeans = KMeans(n_clusters, init="random", random_state=42).fit(vectors)
    return kmeans.cluster_centers_.astype(np.float32), kmeans.labels_.astype(np.int32)


def as_dtype(table: Floats, dtype: Dtype) -> NDArray[Any]:
    """Write a table as float32, float16 or int8.

    int8 has one scale for the whole table, which drops out when vectors are normalised and is not kept. It
    is set by the 99.99th percentile of the magnitudes: few entries are clipped, and all others are finer.
    """
    if dtype != "int8":
        return table.astype(dtype)
    limit = float(np.quantile(np.abs(table), _INT8_QUANTILE)) or 1.0
    rounded: NDArray[Any] = np.rint(table * (_INT8_MAX / limit))
    return rounded.clip(-_INT8_MAX, _INT8_MAX).astype(np.int8)
