"""Texts of single elements: which ones can be embedded, and batches in which the others are alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoder import Encoder
from encoder.errors import InputError

__all__ = ["apart", "encode_texts", "is_text", "is_text_or_keyed"]

_LARGEST = 4096
_APART = (1,)  # the boundary between elements of length 0, which can be embedded, and those of length 1


def is_text(value: Any) -> bool:
    """Whether a value has a vector: a string of valid Unicode, or None."""
    return value is None or (isinstance(value, str) and (value.isascii() or _is_unicode(value)))


def is_text_or_keyed(element: Any) -> bool:
    """The same for an element that may be `(key, text)`, as Beam's `KeyedModelHandler` has them."""
    return is_text(element) or (isinstance(element, tuple) and len(element) == 2 and is_text(element[1]))


def apart(batching: Mapping[str, Any], fits: Callable[[Any], bool]) -> dict[str, Any]:
    """Options of `beam.BatchElements` with which a bad element does not fail the batch of good ones.

    Beam's failures are whole batches. An element that cannot be embedded counts as a full batch, so it is one
    of its own; with `max_batch_duration_secs`, Beam counts elements, and bad ones share their batches with
    each other alone. Batches have the largest size: the encoder gains nothing from smaller ones.

    Args:
        batching: the options of a `ModelHandler`; an `element_size_fn` or `length_fn` of the user's stays.
        fits: whether an element can be embedded.
    """
    n = batching.get("max_batch_size", _LARGEST)
    made = {"element_size_fn": lambda element: 1 if fits(element) else n, **batching}
    if "length_fn" not in batching:
        made |= {"length_fn": lambda element: 0 if fits(element) else 1, "bucket_boundaries": [*_APART]}
    return {**made, "min_batch_size": n, "max_batch_size": n}


def encode_texts(texts: Sequence[str | None], encoder: Encoder) -> NDArray[np.float32]:
    """`(n_texts, dim)` float32; zeros for None.

    Raises:
        InputError: an element is neither a string of valid Unicode nor None.
    """
    for row, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise InputError(f"element {row} of the batch is {type(text).__name__}: give strings or None")
    try:
        return encoder.encode(pa.array(texts, pa.string()))
    except UnicodeEncodeError:  # half of a surrogate pair, which json.loads accepts
        row = next(row for row, text in enumerate(texts) if not is_text(text))
        raise InputError(
            f"element {row} of the batch is not valid Unicode: it holds half of a surrogate pair"
        ) from None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
