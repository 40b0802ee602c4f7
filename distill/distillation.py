"""The whole of a distillation."""

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.corpus_fit.fit import CorpusReport, OnProgress, fit_to_corpus
from distill.corpus_fit.sample import sample_texts
from distill.parameters import DROP_PATTERN, Parameters, Pooling, Precision
from distill.table import as_dtype, cluster, principal_components, sif_weights
from distill.teacher.forward import embed_sequences
from distill.teacher.loading import Teacher, load_teacher
from distill.teacher.sentences import load_sentence_teacher
from distill.teacher.vector_cache import check_cache
from distill.vocabulary import build_vocabulary
from encoder.dtypes import Dtype
from encoder.errors import ConfigurationError
from encoder.model import StaticModel
from encoder.tokenizer.tables import compile_tokenizer
from encoder.user_cache import cache_folder

__all__ = ["SAMPLE", "distill"]

SAMPLE = 200_000
"""Texts of a corpus that are used by default."""

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
    corpus: Iterable[str | None] | None = None,
    sample: int = SAMPLE,
    refine: bool = True,
    blend: float | None = None,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
    on_report: Callable[[CorpusReport], None] | None = None,
    on_held_out: Callable[[list[str]], None] | None = None,
) -> StaticModel:
    r"""Distil a sentence transformer into a static model, by the method of model2vec or fitted to a corpus.

    Every entry of the vocabulary goes through the teacher by itself, as `[bos] id [eos]`; the vectors are
    reduced by PCA and weighted by the rank of their tokens. The same call gives the same bytes on
    the same kind of processor; with `precision="float32"` tables of different kinds differ by rounding alone.

    With a corpus, the teacher embeds a sample of its texts as well, and the table becomes the one that
    follows these vectors best (`distill.corpus_fit`): much nearer to the teacher, in minutes instead of
    seconds. An interrupted call goes on where it was when it is made again.

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
        corpus: texts like those that the model is for; read once, before all else.
        sample: use this many distinct texts of the corpus, drawn at random.
        refine: whether gradient steps follow the fit to the corpus.
        blend: how long plain distillation's vectors are put beside the fitted ones
            (`distill.corpus_fit.blend`); 0 for none of them; None for the more the fewer texts there are.
        seed: of the sample and of the refinement.
        cache: folder for the teacher's vectors of texts, which are computed once; by default in the user's
            cache.
        on_progress: called now and then with what is counted (`tokens`, `texts`, `fitting steps`, `refining
            steps`), the number done, and of all.
        on_report: called with what the fit to the corpus came to.
        on_held_out: called with the texts of the corpus that were not fitted to.

    Raises:
        ConfigurationError: a parameter is out of its range, or the teacher cannot be loaded or used.
        InputError: the corpus has too few texts.
    """
    parameters = Parameters(
        dims=dims,
        sif=sif,
        drop_pattern=drop_pattern,
        pooling=pooling,
        dtype=dtype,
        clusters=clusters,
        precision=precision,
        blend=blend,
    )
    if corpus is not None and clusters is not None:
        raise ConfigurationError("clusters cannot be fitted to a corpus: leave one of the two out")
    place: dict[str, Any] = {
        "device": device,
        "precision": precision,
        "revision": revision,
        "trust_remote_code": trust_remote_code,
    }
    folder = Path(cache).expanduser() if cache is not None else cache_folder() / "teachers"
    loaded = load_teacher(teacher, **place)  # what is wrong with it is said before the corpus is read
    if corpus is not None:
        check_cache(folder)
        corpus = sample_texts(corpus, sample, seed=seed)
    vectors, tokenizer_json, name = _tokens(loaded, vocabulary, parameters, on_progress)
    del loaded  # it may be large, and the one of sentences follows
    if corpus is None:
        return _static_model(vectors, tokenizer_json, parameters, name)
    table, report = fit_to_corpus(
        vectors,
        tokenizer_json,
        load_sentence_teacher(teacher, **place),
        corpus,
        dims=dims,
        sif=sif,
        refine=refine,
        blend=blend,
        seed=seed,
        cache=folder,
        on_progress=on_progress,
        on_held_out=on_held_out,
    )
    if on_report:
        on_report(report)
    config = _config(table, parameters, name)
    return StaticModel(
        as_dtype(table, dtype), tokenizer_json, config, tables=compile_tokenizer(tokenizer_json)
    )


def _tokens(
    teacher: Teacher, words: Iterable[str], parameters: Parameters, on_progress: OnProgress | None
) -> tuple[NDArray[np.float32], str, str]:
    """The vectors of the vocabulary, `(n_tokens, hidden_size)`, the tokenizer, the teacher's name."""
    entries = build_vocabulary(teacher.tokenizer, drop_pattern=parameters.drop_pattern, words=words)
    n_tokens, clusters = len(entries.tokens), parameters.clusters
    if clusters is not None and clusters > n_tokens:
        raise ConfigurationError(f"clusters is {clusters}, and there are only {n_tokens} tokens")
    tell = None if on_progress is None else partial(on_progress, "tokens")
    vectors = embed_sequences(teacher, entries.sequences, pooling=parameters.pooling, on_progress=tell)
    return vectors, entries.tokenizer_json, teacher.name


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
    config = _config(table, parameters, teacher)
    stored, tables = as_dtype(table, parameters.dtype), compile_tokenizer(tokenizer_json)
    return StaticModel(stored, tokenizer_json, config, weights, mapping, tables)


def _config(table: NDArray[np.floating[Any]], parameters: Parameters, teacher: str) -> dict[str, Any]:
    """The settings that model2vec writes."""
    return {
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
