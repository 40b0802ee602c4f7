"""The whole of a distillation."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.forward import embed_sequences
from distill.parameters import DROP_PATTERN, Dtype, Parameters, Pooling, Precision
from distill.table import as_dtype, cluster, principal_components, sif_weights
from distill.teacher import load_teacher
from distill.vocabulary import build_vocabulary
from encoder.errors import ConfigurationError
from encoder.model import StaticModel

__all__ = ["distill"]

_SEQ_LENGTH = 1_000_000  # what model2vec writes: a mean has no limit of its own


def distill(
    teacher: str | os.PathLike[str],
    *,
    vocabulary: Iterable[str] = (),
    dims: float | None = 256,
    sif: float | None = 1e-4,
    drop_pattern: str | None = DROP_PATTERN,
    pooling: Pooling = "mean",
    dtype: Dtype = "float16",
    clusters: int | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> StaticModel:
    r"""Distil a sentence transformer into a static model, by the method of model2vec.

    Every entry of the vocabulary goes through the teacher by itself, as `[bos] id [eos]`; the vectors are
    reduced by PCA and weighted by the rank of their tokens. The same call gives the same bytes on
    the same kind of processor; with `precision="float32"` tables of different kinds differ by rounding alone.

    Args:
        teacher: a Hugging Face id, or a folder with a transformer and a fast tokenizer.
        vocabulary: own words to add; what the tokenizer splits becomes an added token.
        dims: dimensions of a vector; a float below 1 is the share of the variance to keep; None for no PCA.
        sif: the constant of the SIF weights, between 0 and 1, or None for no weights.
        drop_pattern: vocabulary entries whose beginning matches this regular expression are left out.
        pooling: how the teacher's last hidden states become a vector: their `mean`, the `first`, the `last`,
            or the model's own `pooler`.
        dtype: the table's numbers: `float32`, `float16` or `int8`.
        clusters: share this many vectors among all tokens (k-means), each token keeping its own weight.
        device: `auto` (the GPU when there is one), `cpu`, `cuda`, `mps` or any other device of torch.
        precision: `float32` for Model2Vec's table to 1e-6; `bfloat16` for faster matrix products (the table
            is then the same up to a rotation of components with near-equal variances, and an error of a few
            0.001 in the cosines of texts); `auto` is bfloat16 where the device has instructions for it.
        revision: the teacher's branch, tag or commit on the Hub.
        trust_remote_code: run code that comes with the teacher.
        on_progress: called now and then with the number of entries done, and of all.

    Raises:
        ConfigurationError: a parameter is out of its range, or the teacher cannot be loaded or used.
    """
    parameters = Parameters(
        dims=dims,
        sif=sif,
        drop_pattern=drop_pattern,
        pooling=pooling,
        dtype=dtype,
        clusters=clusters,
        precision=precision,
    )
    loaded = load_teacher(
        teacher, device=device, precision=precision, revision=revision, trust_remote_code=trust_remote_code
    )
    entries = build_vocabulary(loaded.tokenizer, drop_pattern=drop_pattern, words=vocabulary)
    if clusters is not None and clusters > len(entries.tokens):
        raise ConfigurationError(f"clusters is {clusters}, and there are only {len(entries.tokens)} tokens")
    vectors = embed_sequences(loaded, entries.sequences, pooling=pooling, on_progress=on_progress)
    return _static_model(vectors, entries.tokenizer_json, parameters, loaded.name)


def _static_model(
    vectors: NDArray[np.float32], tokenizer_json: str, parameters: Parameters, teacher: str
) -> StaticModel:
    """Make the model from the teacher's vectors, `(n_tokens, hidden_size)`."""
    factors = sif_weights(len(vectors), parameters.sif)
    table: NDArray[np.floating[Any]]
    if parameters.clusters is None:
        table, weights, mapping = (
            principal_components(vectors, parameters.dims) * factors[:, None],
            None,
            None,
        )
    else:
        centres, mapping = cluster(vectors, parameters.clusters)
        table, weights = principal_components(centres, parameters.dims), factors
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "tokenizer_name": teacher,
        "apply_pca": parameters.dims,
        "sif_coefficient": parameters.sif,
        "hidden_dim": table.shape[1],
        "seq_length": _SEQ_LENGTH,
        "normalize": True,
        "pooling": parameters.pooling,
    }
    return StaticModel(as_dtype(table, parameters.dtype), tokenizer_json, config, weights, mapping)
