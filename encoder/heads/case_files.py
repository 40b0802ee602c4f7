"""Known cases as the arrays of a head's file, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.heads.cases import MOST_NEAREST, Cases, Strings

__all__ = ["case_arrays", "check_cases", "check_strings", "unpack_cases"]

_TYPES = {
    "vectors": "<f2",
    "case_labels": "<i4",
    **{f"{what}_bytes": "|u1" for what in ("id", "label")},
    **{f"{what}_ends": "<i8" for what in ("id", "label")},
}
_LONGEST = 1.01  # square of the length of a vector of length 1 in float16
_AT_ONCE = 1 << 16


def case_arrays(head: Cases) -> dict[str, NDArray[Any]]:
    """The arrays of a head's file."""
    labels = Strings.of(head.labels)
    arrays = (head.vectors, head.label, head.ids.data, labels.data, head.ids.ends, labels.ends)
    pairs = zip(_TYPES.items(), arrays, strict=True)
    with np.errstate(over="ignore"):  # whoever saves them looks for infinity
        return {name: np.ascontiguousarray(array, np.dtype(kind)) for (name, kind), array in pairs}


def unpack_cases(
    name: str, threshold: float, nearest: int, metadata: dict[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> Cases:
    """Known cases from the arrays of a file.

    Raises:
        ValueError, LookupError: an array is missing, or has another type or shape.
    """
    for one, kind in _TYPES.items():
        if arrays[one].dtype != np.dtype(kind):
            raise ValueError(f"{one!r} is {arrays[one].dtype}, not {np.dtype(kind)}")
    vectors, label, id_bytes, label_bytes, id_ends, label_ends = (arrays[one] for one in _TYPES)
    ids, labels = Strings(id_bytes, id_ends), Strings(label_bytes, label_ends)
    check_strings(ids)
    check_strings(labels)
    return Cases(name, ids, tuple(labels.tolist()), label, vectors, threshold, nearest, metadata)


def check_strings(strings: Strings) -> None:
    """Check that each of the strings of a file has a place.

    Raises:
        ValueError: one has none.
    """
    ends = strings.ends
    ordered = ends.ndim == 1 and ends.size and ends[0] == 0 and (np.diff(ends) >= 0).all()
    if not ordered or strings.data.shape != (ends[-1],):
        raise ValueError("its texts do not have a place each")


def check_cases(head: Cases, dim: int) -> None:
    """Check that the parts of known cases match each other and the model.

    Raises:
        ValueError: they do not.
    """
    n = len(head.vectors)
    if head.vectors.shape != (n, dim) or not n:
        raise ValueError(f"its vectors have shape {head.vectors.shape}: it must be (n_cases, {dim})")
    if head.label.shape != (n,) or not 0 <= head.label.min() <= head.label.max() < len(head.labels):
        raise ValueError("its cases do not have one of its labels each")
    if len(head.ids) != n or len(set(head.ids.tolist())) < n:
        raise ValueError("its cases do not have an id of their own each")
    if not 1 <= head.nearest <= MOST_NEAREST:
        raise ValueError(f"it gives {head.nearest} cases: 1 to {MOST_NEAREST} can be had")
    for first in range(0, n, _AT_ONCE):
        some = head.vectors[first : first + _AT_ONCE].astype(np.float32)
        if not (np.einsum("nd,nd->n", some, some) <= _LONGEST).all():  # also where a number is not finite
            raise ValueError("its vectors do not have length 1")
