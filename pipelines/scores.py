"""What heads say, as Arrow columns beside the vectors.

Columns begin with the head's name: `fraud_label` (the label) and `fraud_score` (its probability) of a
classifier; `tags_labels` (a list) and `tags_scores` (the probability of each) of one that gives several;
`incident_nearest` (a name, or null) and `incident_similarity` (a cosine) of prototypes; `odd_distance` and
`odd_novel` of novelty.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoder.errors import ConfigurationError
from encoder.heads import CHOSEN, Classifier, Head, Heads, Labelled, Nearest, Novel, Outcome, Prototypes

__all__ = ["parse_heads", "score_columns", "score_fields"]

_NAME = pa.dictionary(pa.int32(), pa.string())


def parse_heads(text: str | None) -> tuple[str, ...] | None:
    """Read `fraud,odd` or `none`: the names of heads, sorted; None is for all.

    Raises:
        ConfigurationError: it names nothing.
    """
    if text is None:
        return None
    names = sorted({name for part in text.split(",") if (name := part.strip())})
    if not names:
        raise ConfigurationError("--heads names nothing: write the heads' names, or none")
    return () if names == ["none"] else tuple(names)


def score_fields(heads: Heads) -> list[pa.Field]:
    """The columns that heads add."""
    return [field for head in heads.heads for field in _fields(head)]


def _fields(head: Head) -> list[pa.Field]:
    if isinstance(head, Classifier):
        if head.several:
            scores = pa.struct([pa.field(label, pa.float32(), nullable=False) for label in head.labels])
            labels = pa.list_(pa.field("element", pa.string(), nullable=False))
            return [_field(head, "labels", labels), _field(head, "scores", scores)]
        return [_field(head, "label", _NAME), _field(head, "score", pa.float32())]
    if isinstance(head, Prototypes):
        nearest = pa.field(f"{head.name}_nearest", _NAME)
        return [nearest, _field(head, "similarity", pa.float32())]
    return [_field(head, "distance", pa.float32()), _field(head, "novel", pa.bool_())]


def _field(head: Head, what: str, kind: pa.DataType) -> pa.Field:
    return pa.field(f"{head.name}_{what}", kind, nullable=False)


def score_columns(heads: Heads, vectors: NDArray[np.float32]) -> list[pa.Array]:
    """The columns of `score_fields` for such vectors, `(n, dim)`."""
    outcomes = zip(heads.heads, heads(vectors), strict=True)
    return [column for head, outcome in outcomes for column in _columns(head, outcome)]


def _columns(head: Head, outcome: Outcome) -> Iterator[pa.Array]:
    if isinstance(outcome, Labelled):
        assert isinstance(head, Classifier)  # noqa: S101 - its outcome
        yield pa.DictionaryArray.from_arrays(outcome.label, pa.array(head.labels, pa.string()))
        yield pa.array(outcome.score)
    elif isinstance(outcome, Nearest):
        assert isinstance(head, Prototypes)  # noqa: S101 - its outcome
        indices = pa.array(outcome.nearest, mask=outcome.nearest < 0)
        yield pa.DictionaryArray.from_arrays(indices, pa.array(head.names, pa.string()))
        yield pa.array(outcome.similarity)
    elif isinstance(outcome, Novel):
        yield pa.array(outcome.distance)
        yield pa.array(outcome.novel)
    else:
        labels, scores = _fields(head)
        assert isinstance(head, Classifier)  # noqa: S101 - its outcome
        rows, chosen = np.nonzero(outcome.scores.T >= CHOSEN)
        ends = np.searchsorted(rows, np.arange(outcome.scores.shape[1] + 1)).astype(np.int32)
        names = pa.array(head.labels, pa.string()).take(pa.array(chosen))
        yield pa.ListArray.from_arrays(pa.array(ends), names, type=labels.type)
        yield pa.StructArray.from_arrays([pa.array(row) for row in outcome.scores], fields=list(scores.type))
