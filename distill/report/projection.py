"""Two dimensions out of many, for the map."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from distill.evaluation.cosines import unit

__all__ = ["project"]

_FEWEST_FOR_TSNE = 50
_NARROW = 50  # dimensions that t-SNE is given
_PERPLEXITY = 30.0
_START = 1e-2  # t-SNE begins near the middle


def project(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Places of vectors on a plane such that near ones stay near: t-SNE of their principal components.

    Few vectors are placed by their first two principal components alone.

    Returns:
        `(n, 2)`, each axis from 0 to 1.
    """
    rows = unit(vectors)
    n_rows, dim = rows.shape
    places = np.zeros((n_rows, 2))
    with warnings.catch_warnings(), threadpool_limits(1):  # threads wait for one another on busy machines
        warnings.simplefilter("ignore")  # equal vectors divide by nothing
        narrow = PCA(min(_NARROW, dim, n_rows), random_state=0).fit_transform(rows) if n_rows > 1 else rows
        places[:, : min(2, narrow.shape[1])] = narrow[:, :2]
        if n_rows >= _FEWEST_FOR_TSNE and dim > 1:
            perplexity = min(_PERPLEXITY, n_rows / 4)
            spread = TSNE(perplexity=perplexity, init=places * _START, random_state=0).fit_transform(narrow)
            places = spread.astype(np.float64)
    places -= places.min(axis=0)
    scaled: NDArray[np.float64] = places / np.maximum(places.max(axis=0), 1e-12)
    return scaled
