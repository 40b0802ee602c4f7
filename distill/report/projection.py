"""The projection of vectors to two dimensions, for the map."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from distill.evaluation.cosines import unit

__all__ = ["project"]

_MIN_FOR_TSNE = 50
_PCA_DIMS = 50  # before t-SNE
_PERPLEXITY = 30.0
_INITIAL_SCALE = 1e-2  # t-SNE starts near the origin


def project(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Project vectors to a plane by t-SNE of their principal components.

    Fewer than 50 vectors are projected to their first two principal components.

    Returns:
        `(n, 2)`, each axis from 0 to 1.
    """
    rows = unit(vectors)
    n_rows, dim = rows.shape
    points = np.zeros((n_rows, 2))
    with warnings.catch_warnings(), threadpool_limits(1):  # threads block one another on busy machines
        warnings.simplefilter("ignore")  # equal vectors divide by zero
        narrow = PCA(min(_PCA_DIMS, dim, n_rows), random_state=0).fit_transform(rows) if n_rows > 1 else rows
        points[:, : min(2, narrow.shape[1])] = narrow[:, :2]
        if n_rows >= _MIN_FOR_TSNE and dim > 1:
            perplexity = min(_PERPLEXITY, n_rows / 4)
            tsne = TSNE(perplexity=perplexity, init=points * _INITIAL_SCALE, random_state=0)
            points = tsne.fit_transform(narrow).astype(np.float64)
    points -= points.min(axis=0)
    scaled: NDArray[np.float64] = points / np.maximum(points.max(axis=0), 1e-12)
    return scaled
