"""Distillation from end to end: vocabulary, teacher, table, and the fit to a corpus."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.corpus_fit.budget import MAX_SAMPLE, TIME_BUDGET, affordable, check_budget
from distill.corpus_fit.fit import CorpusReport, Progress, fit_to_corpus
from distill.corpus_fit.sample import sample_texts
from distill.parameters import DROP_PATTERN, Parameters, Pooling, Precision
from distill.table import as_dtype, check_numbers, cluster, principal_components, sif_weights
from distill.teacher.forward import embed_sequences
from distill.teacher.loading import Teacher, load_teacher
from distill.teacher.sentences import load_sentence_teacher
from distill.teacher.vector_cache import check_cache
from distill.vocabulary import build_vocabulary
from encoder.arrays.dtypes import Dtype
from encoder.errors import ConfigurationError
from encoder.masks import Masks
from encoder.model import StaticModel
from encoder.tokenizer.tables import compile_tokenizer
from encoder.user_cache import cache_folder

__all__ = ["DistillationResult", "distill"]

_SEQ_LENGTH = 1_000_000  # model2vec's value: a mean has no maximum length


@dataclass(frozen=True)
class DistillationResult:
    """A distilled model.

    Attributes:
        model: the static model; `encoder.model.save_model` writes it to a folder.
        report: how the fit to the corpus went; None without a corpus.
        held_out: the texts of the corpus that the table was not fitted to; empty without a corpus.
    """

    model: StaticModel
    report: CorpusReport | None = None
    held_out: tuple[str, ...] = ()


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
    sample: int | None = None,
    time_budget: float | None = None,
    refine: bool = True,
    blend: float | None = None,
    min_held_out: int = 1,
    masks: str | Iterable[str] = (),
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> DistillationResult:
    r"""Distil a sentence transformer into a static model.

    Without a corpus, this is model2vec's method: the teacher embeds every vocabulary entry by itself, as
    `[bos] id [eos]`; PCA reduces the vectors, and SIF weights scale them by the frequency rank of their
    tokens.

    With a corpus, the teacher also embeds a sample of its texts, and the table is fitted to these vectors
    (`distill.corpus_fit`). The model then follows the teacher much more closely, and distillation takes
    minutes instead of seconds. If it is interrupted, the same call resumes it.

    With a `sample`, the same call gives the same bytes on the same type of processor. With
    `precision="float32"`, tables from different types of processors differ only by rounding.

    Args:
        teacher: a Hugging Face id, or a folder with a transformer and a fast tokenizer.
        vocabulary: words to add. A word that the tokenizer would split becomes an added token.
        dims: dimensions of a vector; a float below 1 is the share of the variance to keep; None disables PCA.
        sif: the constant of the SIF weights, between 0 and 1; None disables the weights.
        drop_pattern: a regular expression; vocabulary entries that begin with a match are dropped.
        pooling: how the teacher's last hidden states become one vector: their `mean`, the `first`, the
            `last`, or the model's own `pooler`.
        dtype: the table's number format: `float32`, `float16` or `int8`.
        clusters: replace the token vectors by this many k-means centres; each token keeps its own weight.
        device: `auto` (a CUDA GPU if there is one, else the CPU), `cpu`, `cuda`, `mps` or any torch device.
        precision: `float32` reproduces model2vec's table to 1e-6; `bfloat16` makes matrix products faster and
            changes the cosine of two texts by a few 0.001 (components with nearly equal variances may also
            rotate); `auto` uses bfloat16 if the device has instructions for it.
        revision: the teacher's branch, tag or commit on the Hub.
        trust_remote_code: run code that comes with the teacher.
        corpus: texts like those you will embed; read once, after the teacher has loaded.
        sample: how many distinct texts of the corpus to use, drawn at random; None goes by the time.
        time_budget: without `sample`, use as many texts as the teacher reads in so many seconds, by default
            1,800, and at most a million. Another machine takes another number: to repeat a call, give the sum
            of `report.texts` and `report.held_out` as `sample`.
        refine: whether to refine the fitted table by gradient descent on text similarities.
        blend: the length of the plain distillation's vectors relative to the fitted ones
            (`distill.corpus_fit.blend`); 0 leaves them out; None picks it from the number of texts.
        min_held_out: fail before the fit if fewer texts than this can be held out.
        masks: what the model masks in texts before it embeds them, such as `"ip,card"` or
            `["order=ORD-[0-9]+"]` (`encoder.masks`); the teacher sees the corpus with the same masks.
        seed: random seed for sampling and refinement.
        cache: folder for the teacher's vectors of texts, which are computed once; by default in the user's
            cache.
        progress: called with what is counted (`tokens`, `texts`, `fitting steps`, `refining steps`), the
            number done, and the total.

    Raises:
        ConfigurationError: a parameter is out of range, or the teacher cannot be loaded or used.
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
        masks=Masks.parse(masks),
    )
    check_budget(sample, time_budget)
    if corpus is not None and clusters is not None:
        raise ConfigurationError("`clusters` cannot be combined with `corpus`: leave one of them out")
    loading: dict[str, Any] = {
        "device": device,
        "precision": precision,
        "revision": revision,
        "trust_remote_code": trust_remote_code,
    }
    token_teacher = load_teacher(teacher, **loading)  # fails before the corpus is read
    if corpus is None:
        return DistillationResult(
            _plain_model(_embed_tokens(token_teacher, vocabulary, parameters, progress), parameters)
        )
    folder = Path(cache).expanduser() if cache is not None else cache_folder() / "teachers"
    check_cache(folder)
    size = MAX_SAMPLE if sample is None else sample
    texts = sample_texts(corpus, size, seed=seed)
    if parameters.masks:
        texts = sample_texts(parameters.masks(texts).to_pylist(), size, seed=seed)  # some are equal now
    tokens = _embed_tokens(token_teacher, vocabulary, parameters, progress)
    del token_teacher  # frees its memory for the sentence teacher
    sentence_teacher = load_sentence_teacher(teacher, **loading)
    read = len(texts) if sample else affordable(sentence_teacher, texts, time_budget or TIME_BUDGET)
    fit = fit_to_corpus(
        tokens.vectors,
        tokens.tokenizer_json,
        sentence_teacher,
        texts[:read],
        dims=dims,
        sif=sif,
        refine=refine,
        blend=blend,
        min_held_out=min_held_out,
        seed=seed,
        cache=folder,
        progress=progress,
    )
    report = replace(fit.report, left_out=len(texts) - read)
    return DistillationResult(_model(fit.table, tokens, parameters), report, fit.held_out)


class _Tokens(NamedTuple):
    """What the teacher makes of the vocabulary.

    Attributes:
        vectors: `(n_tokens, hidden_size)` float32.
        tokenizer_json: the static model's tokenizer.
        teacher: the teacher's name.
    """

    vectors: NDArray[np.float32]
    tokenizer_json: str
    teacher: str


def _embed_tokens(
    teacher: Teacher, words: Iterable[str], parameters: Parameters, progress: Progress | None
) -> _Tokens:
    """Build the vocabulary and embed its entries."""
    entries = build_vocabulary(teacher.tokenizer, drop_pattern=parameters.drop_pattern, words=words)
    n_tokens, clusters = len(entries.tokens), parameters.clusters
    if clusters is not None and clusters > n_tokens:
        raise ConfigurationError(f"`clusters` is {clusters}, but there are only {n_tokens} tokens")
    vectors = embed_sequences(
        teacher,
        entries.sequences,
        pooling=parameters.pooling,
        progress=progress and partial(progress, "tokens"),
    )
    check_numbers(vectors)  # before hours of fitting
    return _Tokens(vectors, entries.tokenizer_json, teacher.name)


def _plain_model(tokens: _Tokens, parameters: Parameters) -> StaticModel:
    """Reduce and weight the token vectors, or their cluster centres."""
    weights = sif_weights(len(tokens.vectors), parameters.sif)
    if parameters.clusters is None:
        table = principal_components(tokens.vectors, parameters.dims) * weights[:, None]
        return _model(table, tokens, parameters)
    centres, mapping = cluster(tokens.vectors, parameters.clusters)
    return _model(principal_components(centres, parameters.dims), tokens, parameters, weights, mapping)


def _model(
    table: NDArray[np.floating[Any]],
    tokens: _Tokens,
    parameters: Parameters,
    weights: NDArray[np.float64] | None = None,
    mapping: NDArray[np.int32] | None = None,
) -> StaticModel:
    """Put the model together, with the configuration that model2vec writes."""
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "tokenizer_name": tokens.teacher,
        "apply_pca": parameters.dims,
        "sif_coefficient": parameters.sif,
        "hidden_dim": table.shape[1],
        "seq_length": _SEQ_LENGTH,
        "normalize": True,
        "pooling": parameters.pooling,
        **({"masks": list(parameters.masks.to_json())} if parameters.masks else {}),
    }
    stored, scales = as_dtype(table, parameters.dtype)
    if scales is not None:
        own: Any = np.float32(1) if weights is None else weights
        weights = own * (scales if mapping is None else scales[mapping])
    tables = compile_tokenizer(tokens.tokenizer_json)
    return StaticModel(stored, tokens.tokenizer_json, config, weights, mapping, tables)
