"""Groups as the arrays of a head's file, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.heads.case_files import check_strings
from encoder.heads.cases import Strings
from encoder.heads.groups import Groups
from encoder.kernels.templates import MOST_WORDS

__all__ = ["check_groups", "group_arrays", "unpack_groups"]

_TEXTS = ("ids", "titles", "first_seen", "examples", "templates", "rows")
_NUMBERS = {"sizes": "<i8", "group": "<i4", "template": "<i4", "vectors": "<f2"}


def group_arrays(head: Groups) -> dict[str, NDArray[Any]]:
    """The arrays of a head's file."""
    none = np.empty((0, head.dim), np.float16)
    arrays: dict[str, NDArray[Any]] = {"vectors": none if head.vectors is None else head.vectors}
    arrays |= {name: getattr(head, name) for name in _NUMBERS if name != "vectors"}
    with np.errstate(over="ignore"):  # whoever saves them looks for infinity
        arrays = {name: np.ascontiguousarray(arrays[name], np.dtype(kind)) for name, kind in _NUMBERS.items()}
    for name in _TEXTS:
        strings: Strings = getattr(head, name)
        arrays |= {f"{name}_bytes": strings.data, f"{name}_ends": strings.ends}
    return arrays


def unpack_groups(
    name: str, threshold: float | None, metadata: dict[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> Groups:
    """Groups from the arrays of a file.

    Raises:
        ValueError, LookupError: an array is missing, or has another type or shape.
    """
    kinds = {
        **_NUMBERS,
        **{f"{one}_bytes": "|u1" for one in _TEXTS},
        **{f"{one}_ends": "<i8" for one in _TEXTS},
    }
    for one, kind in kinds.items():
        if arrays[one].dtype != np.dtype(kind):
            raise ValueError(f"{one!r} is {arrays[one].dtype}, not {np.dtype(kind)}")
    texts: dict[str, Any] = {one: Strings(arrays[f"{one}_bytes"], arrays[f"{one}_ends"]) for one in _TEXTS}
    for strings in texts.values():
        check_strings(strings)
    numbers: dict[str, Any] = {one: arrays[one] for one in _NUMBERS}
    vectors = numbers.pop("vectors")
    if vectors.ndim != 2 or (threshold is None) != (len(vectors) == 0):
        raise ValueError("its vectors do not have a threshold")
    return Groups(
        name,
        **texts,
        **numbers,
        dim=vectors.shape[1],
        vectors=vectors if len(vectors) else None,
        threshold=1.0 if threshold is None else threshold,
        metadata=metadata,
    )


def check_groups(head: Groups, dim: int) -> None:
    """Check that the parts of groups match each other and the model.

    Raises:
        ValueError: they do not.
    """
    n, n_templates, n_rows = len(head.ids), len(head.templates), len(head.rows)
    if head.dim != dim:
        raise ValueError(f"its groups are of a model of {head.dim} dimensions, not {dim}")
    texts = [getattr(head, name).tolist() for name in _TEXTS]  # UTF-8
    if not n or len(set(texts[0])) < n:
        raise ValueError("its groups do not have an id of their own each")
    of_groups = {len(head.titles), len(head.first_seen), len(head.examples), len(head.sizes)}
    if of_groups != {n} or head.sizes.ndim != 1 or head.sizes.min() < 0:
        raise ValueError("its groups do not have a title, a size, a first time and an example each")
    if not _are_numbers(head.group, n_templates, n) or not _are_numbers(head.template, n_rows, n_templates):
        raise ValueError("its templates and rows do not have a group and a template each")
    lengths = np.diff(head.tables.ends)
    if not 1 <= lengths.min() <= lengths.max() <= MOST_WORDS or (np.diff(lengths) < 0).any():
        raise ValueError(f"its rows must have 1 to {MOST_WORDS} words, and be ascending by their number")
    if head.vectors is not None:
        if head.vectors.shape != (n, dim):
            raise ValueError(f"its vectors have shape {head.vectors.shape}: it must be ({n}, {dim})")
        _ = head.index  # it checks the vectors


def _are_numbers(array: NDArray[np.int32], n: int, end: int) -> bool:
    return array.shape == (n,) and n > 0 and 0 <= array.min() <= array.max() < end
