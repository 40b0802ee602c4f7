"""The report of a model without evaluations: a map of vocabulary words instead of records."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from distill.evaluation.evaluate import Evaluation
from distill.evaluation.models import static_model
from distill.evaluation.sets import Records
from distill.report.page import render_report
from encoder.encoder import Encoder
from encoder.model import StaticModel

__all__ = ["frequent_words", "render_word_report"]

_MAX_WORDS = 500
_WORD_BEGINS = "▁Ġ"  # the markers of SentencePiece and of byte-level BPE
_WORD = re.compile(r"[^\W\d_]{3,}")


def render_word_report(
    model: StaticModel,
    name: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> str:
    """Render the report of a model without figures; the same model gives the same page.

    Args:
        model: the model.
        name: its name.
        metadata: where the model comes from; see `render_report`.
        parameters: how it was made; any JSON.
    """
    words = frequent_words(model)
    own = static_model(model, name)
    unmeasured = Evaluation(
        model=name,
        kind=own.kind,
        dim=own.dim,
        n_bytes=own.n_bytes,
        texts_per_second=0.0,
        reference=None,
        figures=(),
        vectors=own.embed(words) if words else None,
    )
    return render_report(
        model,
        [unmeasured],
        texts=(),
        records=Records("words", words),
        subject="words",
        shown=len(words),
        metadata=metadata,
        parameters=parameters,
    )


def frequent_words(model: StaticModel) -> list[str]:
    """Return the first 500 words that are one token, in vocabulary order, which is usually by frequency."""
    tokenizer = Tokenizer.from_str(model.tokenizer_json)
    tokens = (tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size()))
    stripped = dict.fromkeys(token.lstrip(_WORD_BEGINS) for token in tokens if token)
    words = [word for word in stripped if _WORD.fullmatch(word)]
    ids, offsets = Encoder(model).tokenise(words)
    lone = np.flatnonzero(np.diff(offsets) == 1)
    first = {int(ids[offsets[k]]): words[k] for k in lone[::-1]}  # the first word of each token
    return [words[k] for k in lone if first[int(ids[offsets[k]])] == words[k]][:_MAX_WORDS]
