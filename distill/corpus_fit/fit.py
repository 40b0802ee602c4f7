"""The corpus fit from start to end: tokenise, embed, align, fit, refine, blend."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from distill.corpus_fit.blend import blend_tables, default_blend
from distill.corpus_fit.pooling import pooling_on
from distill.corpus_fit.refine import Refined, Texts, refine_table
from distill.corpus_fit.ridge import Fit, HeldOut, align, fit_table
from distill.corpus_fit.sample import MIN_TEXTS
from distill.corpus_fit.targets import Targets, principal_axes
from distill.table import principal_components, sif_weights
from distill.teacher.sentences import SentenceTeacher
from distill.teacher.vector_cache import embed_cached
from encoder.encoder import Encoder
from encoder.errors import InputError
from encoder.model import StaticModel
from encoder.tokens import TokenIds

__all__ = ["CorpusFit", "CorpusReport", "Progress", "fit_to_corpus"]

Progress = Callable[[str, int, int], None]
"""Called with what is counted, the number done, and the total."""

_HELD_OUT_SHARE, _MAX_HELD_OUT = 20, 4096  # one text in 20
_SPECIAL = 2  # tokens that the teacher puts around a text


@dataclass(frozen=True)
class CorpusReport:
    """How the fit to a corpus went; all scores are on the held-out texts.

    Attributes:
        texts: the number of texts that the table was fitted to.
        held_out: the number of held-out texts.
        weights: the token weights that the fit started from, `sif` or `none`, whichever scored better.
        penalty: the best λ; None if no λ improved on the aligned vectors.
        steps: steps of conjugate gradients.
        cosine_aligned: mean cosine with the teacher's vectors after alignment.
        cosine_fitted: mean cosine with the teacher's vectors after the fit.
        loss_fitted: similarity loss after the fit; None without refinement.
        loss_refined: similarity loss after the refinement; None without refinement.
        blend: the length of the plain distillation's vectors relative to the fitted ones.
        left_out: how many more texts were drawn, which the teacher had no time to read.
    """

    texts: int
    held_out: int
    weights: str
    penalty: float | None
    steps: int
    cosine_aligned: float
    cosine_fitted: float
    loss_fitted: float | None
    loss_refined: float | None
    blend: float
    left_out: int = 0


class CorpusFit(NamedTuple):
    """A fitted table.

    Attributes:
        table: `(n_tokens, dim)` float32.
        report: how the fit went.
        held_out: the texts that the table was not fitted to.
    """

    table: NDArray[np.float32]
    report: CorpusReport
    held_out: tuple[str, ...]


def fit_to_corpus(
    tokens: NDArray[np.float32],
    tokenizer_json: str,
    teacher: SentenceTeacher,
    texts: Sequence[str],
    *,
    dims: float | None,
    sif: float | None,
    refine: bool,
    blend: float | None,
    seed: int,
    cache: Path,
    min_held_out: int = 1,
    progress: Progress | None = None,
) -> CorpusFit:
    """Fit the table of a static model to its teacher's vectors of a corpus.

    Args:
        tokens: the teacher's vectors of the vocabulary entries, `(n_tokens, hidden_size)` float32.
        tokenizer_json: the static model's tokenizer.
        teacher: the teacher of sentence vectors.
        texts: distinct texts in random order; the first ones are held out.
        dims: dimensions of the table; below 1, the share of the squared lengths to keep; None keeps all.
        sif: the constant of the SIF weights that the fit may start from; None for no weights.
        refine: whether to refine the fitted table.
        blend: the length of the plain distillation's vectors relative to the fitted ones; 0 leaves them out,
            None is `default_blend`.
        seed: random seed of the refinement.
        cache: folder for the teacher's vectors and the state of an interrupted refinement.
        min_held_out: the least number of held-out texts.
        progress: see `Progress`.

    Raises:
        InputError: too few texts have a token.
        ConfigurationError: the teacher's vectors cannot be computed or stored; see `embed_cached`.
    """

    def stage(unit: str) -> Callable[[int, int], None] | None:
        return progress and partial(progress, unit)

    # A fit needs operations that MPS and other devices lack.
    device = teacher.device if teacher.device.type == "cuda" else torch.device("cpu")
    ids, rows = _tokenise(tokenizer_json, len(tokens), teacher.max_tokens - _SPECIAL, texts)
    texts = [texts[row] for row in rows]
    n_held_out = _n_held_out(len(texts), min_held_out)
    vectors = embed_cached(teacher, texts, cache, stage("texts"))
    pooling = pooling_on(device, ids, len(tokens))
    held_out = Texts(pooling.part(0, n_held_out), vectors.part(slice(n_held_out)))
    train = Texts(pooling.part(n_held_out, len(texts)), vectors.part(slice(n_held_out, None)))

    weights, fit = _best_fit(tokens, sif, dims, train, held_out, stage("fitting steps"))
    refined = None
    if refine:
        refined = refine_table(
            fit.table,
            train,
            held_out,
            seed=seed,
            device=device,
            folder=cache,
            progress=stage("refining steps"),
        )
    table = refined.table if refined else fit.table
    if blend is None:
        blend = default_blend(len(train.pooling.tokens.ids))
    if blend:
        plain = _weighted(principal_components(tokens, table.shape[1]), sif)
        table = blend_tables(table, plain, blend, train.pooling)
    report = _report(len(train), n_held_out, weights, fit, refined, blend)
    return CorpusFit(table, report, tuple(texts[:n_held_out]))


def _tokenise(
    tokenizer_json: str, n_tokens: int, max_tokens: int, texts: Sequence[str]
) -> tuple[TokenIds, NDArray[np.int64]]:
    """Tokenise texts up to the teacher's maximum length; also return which texts have any token."""
    config = {"max_length": max(max_tokens, 1)}
    encoder = Encoder(StaticModel(np.zeros((n_tokens, 1), np.float32), tokenizer_json, config))
    ids, offsets = encoder.tokenise(texts)
    lengths = np.diff(offsets)
    rows = np.flatnonzero(lengths)
    if len(rows) < MIN_TEXTS:
        raise InputError(
            f"only {len(rows)} texts of the corpus have a token that the teacher knows: is it the right text?"
        )
    return TokenIds(ids, np.concatenate([[0], np.cumsum(lengths[rows])])), rows


def _n_held_out(n_texts: int, minimum: int) -> int:
    n_held_out = min(max(n_texts // _HELD_OUT_SHARE, 1), _MAX_HELD_OUT)
    if n_held_out < minimum:
        raise InputError(
            f"the corpus is too small: {n_held_out} of its {n_texts:,} texts are held out, and {minimum} are "
            f"needed (`min_held_out`): give about {minimum * _HELD_OUT_SHARE:,} distinct texts"
        )
    return n_held_out


def _best_fit(
    tokens: NDArray[np.float32],
    sif: float | None,
    dims: float | None,
    train: Texts,
    held_out: Texts,
    progress: Callable[[int, int], None] | None,
) -> tuple[str, Fit]:
    """Fit from token vectors with and without SIF weights; return the better fit and its weights' name.

    Tokens that the corpus lacks keep their initial vectors, so the weights matter most for a small corpus.
    """
    axes = principal_axes(train.vectors, dims)
    targets = Targets(train.vectors, axes)
    validation = HeldOut(held_out.pooling, Targets(held_out.vectors, axes)[:])
    starts = {"none": None} if sif is None else {"sif": sif, "none": None}
    fits = {}
    for number, (name, constant) in enumerate(starts.items()):

        def report(done: int, total: int, before: int = number) -> None:
            if progress:
                progress(before * total + done, len(starts) * total)

        start = align(_weighted(tokens, constant), train.pooling, targets, validation)
        fits[name] = fit_table(start, train.pooling, targets, validation, report)
    best = max(fits, key=lambda name: fits[name].cosine)
    return best, fits[best]


def _weighted(vectors: NDArray[np.float32], sif: float | None) -> NDArray[np.float32]:
    return vectors * sif_weights(len(vectors), sif)[:, None].astype(np.float32)


def _report(
    n_train: int, n_held_out: int, weights: str, fit: Fit, refined: Refined | None, blend: float
) -> CorpusReport:
    return CorpusReport(
        texts=n_train,
        held_out=n_held_out,
        weights=weights,
        penalty=fit.penalty if math.isfinite(fit.penalty) else None,
        steps=fit.steps,
        cosine_aligned=fit.aligned,
        cosine_fitted=fit.cosine,
        loss_fitted=refined.before if refined else None,
        loss_refined=refined.after if refined else None,
        blend=blend,
    )
