"""Known cases as the arrays of a head's file, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.heads.cases import MOST_NEAREST, Cases, Strings
from encoder.heads.vector_index import Cells

__all__ = ["case_arrays", "check_cases", "check_strings", "unpack_cases"]

_TYPES = {
    "vectors": "<f2",
    "case_labels": "<i4",
    **{f"{what}_bytes": "|u1" for what in ("id", "label")},
    **{f"{what}_ends": "<i8" for what in ("id", "label")},
}
_CELL_TYPES = {"centroids": "<f2", "cell_ends": "<i8", "codes": "|u1"}  # only heads with many cases have them


def case_arrays(head: Cases) -> dict[str, NDArray[Any]]:
    """The arrays of a head's file."""
    labels = Strings.of(head.labels)
    strings = head.ids.data, labels.data, head.ids.ends, labels.ends
    arrays: list[NDArray[Any]] = [head.vectors, head.label, *strings]
    types = _TYPES
    if head.cells is not None:
        types = types | _CELL_TYPES
        arrays += [head.cells.centroids, head.cells.ends, head.index.codes]
    pairs = zip(types.items(), arrays, strict=True)
    with np.errstate(over="ignore"):  # whoever saves them looks for infinity
        return {name: np.ascontiguousarray(array, np.dtype(kind)) for (name, kind), array in pairs}


def unpack_cases(
    name: str, threshold: float, nearest: int, metadata: dict[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> Cases:
    """Known cases from the arrays of a file.

    Raises:
        ValueError, LookupError: an array is missing, or has another type or shape.
    """
    types = _TYPES | (_CELL_TYPES if "centroids" in arrays else {})
    for one, kind in types.items():
        if arrays[one].dtype != np.dtype(kind):
            raise ValueError(f"{one!r} is {arrays[one].dtype}, not {np.dtype(kind)}")
    vectors, label, id_bytes, label_bytes, id_ends, label_ends = (arrays[one] for one in _TYPES)
    ids, labels = Strings(id_bytes, id_ends), Strings(label_bytes, label_ends)
    check_strings(ids)
    check_strings(labels)
    cells = Cells(*(arrays[one] for one in _CELL_TYPES)) if "centroids" in arrays else None
    return Cases(name, ids, tuple(labels.tolist()), label, vectors, threshold, nearest, metadata, cells)


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
    if head.cells is not None:
        _check_cells(head.cells, n, dim)
    _ = head.index  # it checks the vectors


def _check_cells(cells: Cells, n: int, dim: int) -> None:
    ends = cells.ends
    if ends.ndim != 1 or not ends.size or ends[0] != 0 or ends[-1] != n or (np.diff(ends) <= 0).any():
        raise ValueError("its cells do not have a case each")
    if cells.centroids.shape != (len(ends) - 1, dim):
        raise ValueError(f"its centroids have shape {cells.centroids.shape}: {len(ends) - 1} cells have them")
