"""The columns that enrichment adds: vectors, model version, and the scores of heads.

A head's columns begin with its name:

    fraud_label, fraud_score               a classifier: the label and its probability
    tags_labels, tags_scores               one with several labels: a list, and the probability of each
    incident_nearest, incident_similarity  prototypes: a name or null, and a cosine
    odd_distance, odd_novel                novelty
    known_id, known_label, known_similarity  known cases (`case_columns.py`)
    event_group, event_template, event_similarity  groups: an id and a template, or nulls for a new kind
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoder.arrays.dtypes import Dtype
from encoder.errors import ConfigurationError
from encoder.heads.cases import Cases, Known
from encoder.heads.drift import Drift, Unscored
from encoder.heads.groups import Grouped, Groups
from encoder.heads.scoring import (
    DECISION_THRESHOLD,
    Classifier,
    Head,
    Heads,
    Labelled,
    Nearest,
    Novel,
    Outcome,
    Prototypes,
)
from pipelines.enrich import Layout
from pipelines.enrich.case_columns import case_columns, case_fields

__all__ = ["VectorFormat", "parse_heads", "repeated", "score_columns", "score_fields"]

_ARROW = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}


@dataclass(frozen=True)
class VectorFormat:
    """How vectors are written.

    Attributes:
        layout: `list` (fixed-size list: DuckDB, polars and Lance read it) or `binary` (fixed-size bytes,
            little endian: `numpy.frombuffer(value, dtype)`).
        dtype: `float32`, `float16`, or `int8`: each vector scaled so that its largest component is ±127,
            which keeps its cosines.
    """

    layout: Layout = "list"
    dtype: Dtype = "float32"

    def arrow_type(self, dim: int) -> pa.DataType:
        """The column's type for vectors of `dim` dimensions."""
        return _arrow_type(self.layout, self.dtype, dim)

    def row_bytes(self, dim: int) -> int:
        """The bytes of one vector."""
        return dim * int(_ARROW[self.dtype].bit_width) // 8

    def field(self, dim: int) -> pa.Field:
        """The column `embedding`."""
        return pa.field("embedding", self.arrow_type(dim), nullable=False)

    def column(self, vectors: NDArray[Any]) -> pa.Array:
        """A column over `(n, dim)` vectors of `Encoder.encode` in this dtype, without a copy."""
        kind, data = self.arrow_type(vectors.shape[1]), [None, pa.py_buffer(vectors)]
        if self.layout == "binary":
            return pa.Array.from_buffers(kind, len(vectors), data)
        elements = pa.Array.from_buffers(kind.value_type, vectors.size, data)
        return pa.Array.from_buffers(kind, len(vectors), [None], children=[elements])


@lru_cache(maxsize=64)  # creating a type takes noticeable time in small batches
def _arrow_type(layout: str, dtype: str, dim: int) -> pa.DataType:
    if layout == "binary":
        return pa.binary(dim * np.dtype(dtype).itemsize)
    return pa.list_(pa.field("element", _ARROW[dtype], nullable=False), dim)


def repeated(text: str, n_rows: int) -> pa.DictionaryArray:
    """A dictionary column that repeats a text `n_rows` times; cached for batches of similar size."""
    return _column(text, max(n_rows - 1, 0).bit_length()).slice(0, n_rows)


@lru_cache(maxsize=64)
def _column(text: str, log_rows: int) -> pa.DictionaryArray:
    indices = np.zeros(1 << log_rows, np.int32)
    return pa.DictionaryArray.from_arrays(indices, pa.array([text], pa.string()))


_NAME = pa.dictionary(pa.int32(), pa.string())


def parse_heads(text: str | None) -> tuple[str, ...] | None:
    """Parse `fraud,odd` or `none` into the sorted names of heads; None is for all.

    Raises:
        ConfigurationError: the text names no head.
    """
    if text is None:
        return None
    names = sorted({name for part in text.split(",") if (name := part.strip())})
    if not names:
        raise ConfigurationError("--heads is empty: write names of heads, or none")
    return () if names == ["none"] else tuple(names)


def score_fields(heads: Heads) -> list[pa.Field]:
    """The columns that heads add."""
    return [field for head in heads.heads for field in _fields(head)]


def _fields(head: Head) -> list[pa.Field]:
    if isinstance(head, Classifier):
        if head.multi_label:
            scores = pa.struct([pa.field(label, pa.float32(), nullable=False) for label in head.labels])
            labels = pa.list_(pa.field("element", pa.string(), nullable=False))
            return [_field(head, "labels", labels), _field(head, "scores", scores)]
        return [_field(head, "label", _NAME), _field(head, "score", pa.float32())]
    if isinstance(head, Prototypes):
        nearest = pa.field(f"{head.name}_nearest", _NAME)
        return [nearest, _field(head, "similarity", pa.float32())]
    if isinstance(head, Cases):
        return case_fields(head)
    if isinstance(head, Groups):
        names = [pa.field(f"{head.name}_{what}", pa.string()) for what in ("group", "template")]
        return [*names, _field(head, "similarity", pa.float32())]
    if isinstance(head, Drift):  # it is about windows of records
        return []
    return [_field(head, "distance", pa.float32()), _field(head, "novel", pa.bool_())]


def _field(head: Head, what: str, kind: pa.DataType) -> pa.Field:
    return pa.field(f"{head.name}_{what}", kind, nullable=False)


def score_columns(heads: Heads, vectors: NDArray[np.float32], texts: Any) -> list[pa.Array]:
    """The columns of `score_fields` for `(n, dim)` vectors and their texts, masked."""
    outcomes = zip(heads.heads, heads(vectors, texts, masked=True), strict=True)
    return [column for head, outcome in outcomes for column in _columns(head, outcome)]


def _columns(head: Head, outcome: Outcome) -> Iterator[pa.Array]:
    if isinstance(outcome, Labelled):
        assert isinstance(head, Classifier)
        yield pa.DictionaryArray.from_arrays(outcome.label, pa.array(head.labels, pa.string()))
        yield pa.array(outcome.score)
    elif isinstance(outcome, Nearest):
        assert isinstance(head, Prototypes)
        indices = pa.array(outcome.nearest, mask=outcome.nearest < 0)
        yield pa.DictionaryArray.from_arrays(indices, pa.array(head.names, pa.string()))
        yield pa.array(outcome.similarity)
    elif isinstance(outcome, Novel):
        yield pa.array(outcome.distance)
        yield pa.array(outcome.novel)
    elif isinstance(outcome, Known):
        assert isinstance(head, Cases)
        yield from case_columns(head, outcome)
    elif isinstance(outcome, Grouped):
        assert isinstance(head, Groups)
        for texts, numbers in ((head.ids, outcome.group), (head.templates, outcome.template)):
            yield texts.arrow.take(pa.array(numbers, mask=numbers < 0)).cast(pa.string())
        yield pa.array(outcome.similarity)
    elif not isinstance(outcome, Unscored):
        labels, scores = _fields(head)
        assert isinstance(head, Classifier)
        rows, chosen = np.nonzero(outcome.scores.T >= DECISION_THRESHOLD)
        ends = np.searchsorted(rows, np.arange(outcome.scores.shape[1] + 1)).astype(np.int32)
        names = pa.array(head.labels, pa.string()).take(pa.array(chosen))
        yield pa.ListArray.from_arrays(pa.array(ends), names, type=labels.type)
        yield pa.StructArray.from_arrays([pa.array(row) for row in outcome.scores], fields=list(scores.type))
