"""The columns of known cases.

known_id, known_label, known_similarity  the nearest case, or nulls if none is near enough; the cosine
known_nearest, known_vote, known_share   if a head gives several: a list of those that are near enough, the
label that most of them have, and its share
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from encoder.heads.cases import Cases, Known

__all__ = ["case_columns", "case_fields"]

_NAME = pa.dictionary(pa.int32(), pa.string())
_CASE = pa.struct(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("similarity", pa.float32(), nullable=False),
    ]
)
_CASES = pa.list_(pa.field("element", _CASE, nullable=False))


def case_fields(head: Cases) -> list[pa.Field]:
    """The columns that a head adds."""
    found = [
        pa.field(f"{head.name}_id", pa.string()),
        pa.field(f"{head.name}_label", _NAME),
        pa.field(f"{head.name}_similarity", pa.float32(), nullable=False),
    ]
    if head.nearest == 1:
        return found
    return [
        *found,
        pa.field(f"{head.name}_nearest", _CASES, nullable=False),
        pa.field(f"{head.name}_vote", _NAME),
        pa.field(f"{head.name}_share", pa.float32(), nullable=False),
    ]


def case_columns(head: Cases, outcome: Known) -> Iterator[pa.Array]:
    """The columns of `case_fields` for texts with these nearest cases."""
    ids, names, labels = head.arrow
    nearest, near = outcome.case[:, 0], outcome.case >= 0
    first = pa.array(nearest, mask=nearest < 0)
    yield ids.take(first).cast(pa.string())
    yield pa.DictionaryArray.from_arrays(labels.take(first), names)
    yield pa.array(np.ascontiguousarray(outcome.similarity[:, 0]))
    if head.nearest == 1:
        return
    some = pa.array(outcome.case[near])
    similarity = pa.array(outcome.similarity[near])
    parts = [ids.take(some).cast(pa.string()), names.take(labels.take(some)), similarity]
    ends = np.cumsum([0, *near.sum(axis=1)], dtype=np.int32)
    structs = pa.StructArray.from_arrays(parts, fields=list(_CASE))
    yield pa.ListArray.from_arrays(pa.array(ends), structs, type=_CASES)
    vote, share = outcome.votes(head.label, len(head.labels))
    yield pa.DictionaryArray.from_arrays(pa.array(vote, mask=vote < 0), names)
    yield pa.array(share)
