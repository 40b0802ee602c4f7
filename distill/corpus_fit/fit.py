"""From the teacher's token vectors and a corpus to a table: sample, embed, align, fit, refine, blend."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from distill.corpus_fit.blend import blend_tables, default_share
from distill.corpus_fit.pooling import MeanPooling
from distill.corpus_fit.refine import Refined, Texts, refine_table
from distill.corpus_fit.ridge import Fit, HeldOut, align, fit_table
from distill.corpus_fit.sample import FEWEST_TEXTS
from distill.corpus_fit.targets import Targets, principal_axes
from distill.corpus_fit.torch_pooling import pooling_on
from distill.table import principal_components, sif_weights
from distill.teacher.sentences import SentenceTeacher
from distill.teacher.vector_cache import vectors_of
from encoder.encoder import Encoder
from encoder.errors import InputError
from encoder.model import StaticModel
from encoder.tokens import TokenIds

__all__ = ["CorpusReport", "OnProgress", "fit_to_corpus"]

OnProgress = Callable[[str, int, int], None]
"""Called now and then with what is counted, the number done, and of all."""

_HELD_OUT_SHARE, _MOST_HELD_OUT = 20, 4096
_SPECIAL = 2  # tokens that the teacher puts around a text


@dataclass(frozen=True)
class CorpusReport:
    """What a fit to a corpus came to, all figures on texts that were held out.

    Attributes:
        texts: the texts that were fitted to.
        held_out: the texts that were held out.
        weights: of the token vectors that the fit began with, those that were best: `sif` or `none`.
        penalty: the λ that was best; None where none was better than the aligned vectors alone.
        steps: steps of conjugate gradients.
        cosine_aligned: mean cosine with the teacher's vectors when only aligned.
        cosine_fitted: the same after the fit.
        loss_fitted: how far similarities are from the teacher's after the fit; None without refinement.
        loss_refined: the same after the refinement.
        blend: how long plain distillation's vectors are beside the fitted ones.
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
    on_progress: OnProgress | None = None,
    on_held_out: Callable[[list[str]], None] | None = None,
) -> tuple[NDArray[np.float32], CorpusReport]:
    """Make the table of a static model that follows its teacher on a corpus.

    Args:
        tokens: the teacher's vectors of the vocabulary's entries, `(n_tokens, hidden_size)` float32.
        tokenizer_json: the static model's tokenizer.
        teacher: gives the sentence vectors to follow.
        texts: distinct texts in random order; the first ones are held out.
        dims: dimensions of the table; below 1, the share of the squared lengths to keep; None for all.
        sif: the constant of the SIF weights that the fit may start from, or None for none.
        refine: whether to refine the fitted table.
        blend: how long plain distillation's vectors are put beside the fitted ones; 0 for none of them, None
            for `default_share` of the number of texts.
        seed: of the refinement.
        cache: folder for the teacher's vectors and for what an interruption must not lose.
        on_progress: see `OnProgress`.
        on_held_out: called with the texts that are held out.

    Returns:
        The table, `(n_tokens, dim)` float32, and what it came to.

    Raises:
        InputError: hardly any text has a token.
        ConfigurationError: see `vectors_of`.
    """

    def tell(unit: str) -> Callable[[int, int], None] | None:
        return partial(on_progress, unit) if on_progress else None

    # Of the devices that a teacher may be on, CUDA's have all that a fit needs.
    device = teacher.device if teacher.device.type == "cuda" else torch.device("cpu")
    ids, kept = _tokenised(tokenizer_json, len(tokens), teacher.max_tokens - _SPECIAL, texts)
    n_held_out = min(max(len(kept) // _HELD_OUT_SHARE, 1), _MOST_HELD_OUT)
    if on_held_out:
        on_held_out([texts[row] for row in kept[:n_held_out]])
    vectors = vectors_of(teacher, [texts[row] for row in kept], cache, tell("texts"))
    whole = pooling_on(device, ids, len(tokens))
    held = Texts(whole.part(0, n_held_out), vectors.part(slice(n_held_out)))
    learned = Texts(whole.part(n_held_out, len(kept)), vectors.part(slice(n_held_out, None)))

    axes = principal_axes(learned.vectors, dims)
    targets = Targets(learned.vectors, axes)
    held_out = HeldOut(held.pooling, Targets(held.vectors, axes)[:])
    weights, fit = _best_fit(tokens, sif, learned.pooling, targets, held_out, tell("fitting steps"))
    refined: Refined | None = None
    if refine:
        refined = refine_table(
            fit.table,
            learned,
            held,
            seed=seed,
            device=device,
            folder=cache,
            on_progress=tell("refining steps"),
        )
    if blend is None:
        blend = default_share(len(learned))
    report = CorpusReport(
        texts=len(learned),
        held_out=len(held),
        weights=weights,
        penalty=fit.penalty if math.isfinite(fit.penalty) else None,
        steps=fit.steps,
        cosine_aligned=fit.aligned,
        cosine_fitted=fit.cosine,
        loss_fitted=refined.before if refined else None,
        loss_refined=refined.after if refined else None,
        blend=blend,
    )
    table = refined.table if refined else fit.table
    if blend:
        plain = _weighted(principal_components(tokens, table.shape[1]), sif)
        table = blend_tables(table, plain, blend, learned.pooling)
    return table, report


def _weighted(vectors: NDArray[np.float32], sif: float | None) -> NDArray[np.float32]:
    """Token vectors with SIF weights."""
    return vectors * sif_weights(len(vectors), sif)[:, None].astype(np.float32)


def _best_fit(
    tokens: NDArray[np.float32],
    sif: float | None,
    pooling: MeanPooling,
    targets: Targets,
    held_out: HeldOut,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[str, Fit]:
    """Fit from token vectors with SIF weights and without; the one that is best on held-out texts, by name.

    The tokens that a corpus lacks keep what they began with, so it matters most where a corpus is small.
    """
    ways = {"none": None} if sif is None else {"sif": sif, "none": None}
    fits = {}
    for number, (name, a) in enumerate(ways.items()):

        def tell(done: int, most: int, before: int = number) -> None:
            if on_progress:
                on_progress(before * most + done, len(ways) * most)

        start = align(_weighted(tokens, a), pooling, targets, held_out)
        fits[name] = fit_table(start, pooling, targets, held_out, tell)
    best = max(fits, key=lambda name: fits[name].cosine)
    return best, fits[best]


def _tokenised(
    tokenizer_json: str, n_tokens: int, max_tokens: int, texts: Sequence[str]
) -> tuple[TokenIds, NDArray[np.int64]]:
    """The tokens of the texts that have any, as far as the teacher reads, and the numbers of these texts."""
    config = {"max_length": max(max_tokens, 1)}
    encoder = Encoder(StaticModel(np.zeros((n_tokens, 1), np.float32), tokenizer_json, config))
    ids, offsets = encoder.tokenise(texts)
    lengths = np.diff(offsets)
    kept = np.flatnonzero(lengths)
    if len(kept) < FEWEST_TEXTS:
        raise InputError(
            f"only {len(kept)} texts of the corpus have a token that the teacher knows: is it the right text?"
        )
    return TokenIds(ids, np.concatenate([[0], np.cumsum(lengths[kept])])), kept
