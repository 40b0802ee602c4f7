"""The table: PCA, SIF weights, clusters and number format of the teacher's token vectors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.arrays.dtypes import LARGEST, Dtype, largest, unusable
from encoder.errors import ConfigurationError

__all__ = ["as_dtype", "check_numbers", "cluster", "principal_components", "sif_weights"]

Floats = NDArray[np.floating[Any]]

_BLOCK = 8192  # rows copied to float64 at a time
_INT8_MAX = 127
_MAX_SCALE = 255
_LEAST_COSINE = 0.995  # of a row with the exact one


def principal_components(vectors: NDArray[np.float32], dims: float | None) -> NDArray[np.float32]:
    """Project vectors onto their principal components, without whitening.

    The sign of a component makes its largest score by magnitude positive.

    Args:
        vectors: `(n_rows, n_features)` float32.
        dims: the number of components; below 1, the share of the variance to explain; None returns `vectors`.

    Returns:
        `(n_rows, k)` float32 with k at most `n_features`; `vectors` themselves if there are too few rows.
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
    """Compute `(n_features, n_features)` in float64: components of close variances need the precision."""
    total = np.zeros((vectors.shape[1], vectors.shape[1]))
    for block in _blocks(vectors):
        centred = block - mean
        total += centred.T @ centred
    return total / (len(vectors) - 1)


def _blocks(vectors: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [vectors[start : start + _BLOCK] for start in range(0, len(vectors), _BLOCK)]


def sif_weights(n_tokens: int, a: float | None) -> NDArray[np.float64]:
    """Compute smooth inverse frequency weights, `a / (a + p)` (Arora et al., 2017).

    The frequency p of a token is estimated from its id by Zipf's law: `p ~ 1 / (id + 2)`.

    Returns:
        `(n_tokens,)` float64; ones if `a` is None.
    """
    if a is None:
        return np.ones(n_tokens)
    inverse_ranks = 1 / np.arange(2, n_tokens + 2)
    weights: NDArray[np.float64] = a / (a + inverse_ranks / inverse_ranks.sum())
    return weights


def cluster(vectors: NDArray[np.float32], n_clusters: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Cluster vectors by k-means, on one thread, so that the same vectors give the same clusters.

    Returns:
        The centres, `(n_clusters, n_features)` float32, and the centre of each row, `(n_rows,)` int32.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        kmeans = KMeans(n_clusters, init="random", random_state=42).fit(vectors)
    return kmeans.cluster_centers_.astype(np.float32), kmeans.labels_.astype(np.int32)


def as_dtype(table: Floats, dtype: Dtype) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """Convert a table to float32, float16 or int8.

    The lengths of token vectors differ a thousandfold, because frequent tokens have small SIF weights. So
    each int8 row has a scale of its own. The scales are whole multiples of one unit, from 1 to 255, by which
    the encoder multiplies without leaving integers. Vectors are normalised, so the unit cancels and is not
    stored. If a row is too short for these scales, they are exact numbers, with which the encoder is slower.

    Returns:
        The table, and the weights of its rows, `(n_rows,)` float32, or None if all are 1.

    Raises:
        ConfigurationError: a number is not finite, or beyond float16.
    """
    check_numbers(table)
    if dtype != "int8":
        return table.astype(dtype), None
    spans = np.abs(table).max(axis=1).astype(np.float64)
    unit = spans.max() / (_INT8_MAX * _MAX_SCALE)
    if unit == 0:
        return np.zeros(table.shape, np.int8), None
    scales = np.ceil(spans / _INT8_MAX / unit).clip(1, _MAX_SCALE)
    rounded = _rounded(table, scales * unit)
    if _least_cosine(rounded, table) < _LEAST_COSINE:
        scales = np.where(spans > 0, spans, 1) / _INT8_MAX
        rounded = _rounded(table, scales)
    return rounded, scales.astype(np.float32)


def check_numbers(table: Floats) -> None:
    """Check that a table's numbers fit into every `Dtype`.

    Raises:
        ConfigurationError: a number is not finite, or beyond float16.
    """
    if found := unusable(largest(table)):
        raise ConfigurationError(
            f"the teacher's vector of token {found[0]} holds {found[1]}: numbers must be finite and at most "
            f"{LARGEST:g}; set `precision` to float32, or take another teacher"
        )


def _rounded(table: Floats, scales: NDArray[np.float64]) -> NDArray[np.int8]:
    found: NDArray[Any] = np.rint(table / scales[:, None]).clip(-_INT8_MAX, _INT8_MAX)
    return found.astype(np.int8)


def _least_cosine(rounded: NDArray[np.int8], table: Floats) -> float:
    """Return the least cosine of two tables' rows; rows of zeros do not count."""
    exact, rows = table.astype(np.float64), rounded.astype(np.float64)
    products, lengths = np.einsum("ij,ij->i", rows, exact), np.linalg.norm(exact, axis=1)
    cosines = products / np.maximum(np.linalg.norm(rows, axis=1), 1) / np.where(lengths > 0, lengths, 1)
    return float(cosines[lengths > 0].min(initial=1))
