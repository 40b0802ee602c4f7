"""Vectors of texts that are known, without a model."""

import numpy as np
import pytest


@pytest.fixture
def known_vectors():
    """A function that embeds texts by a table: each text's first character says its direction."""
    table = {"a": [1.0, 0.0], "b": [0.9, 0.1], "c": [0.5, 0.5], "d": [0.0, 1.0]}
    return lambda texts: np.array([table.get(text[:1], [0.0, 0.0]) for text in texts], np.float32)
