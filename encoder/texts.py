"""Texts of any kind as the plain arrays that the kernels read."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoder.errors import InputError

__all__ = ["TextBuffers", "as_arrays", "buffers", "strings"]

_NO_BYTES = np.zeros(0, np.uint8)
_NO_BYTES.flags.writeable = False


class TextBuffers(NamedTuple):
    """UTF-8 texts as numpy arrays, without copies of the Arrow buffers.

    Attributes:
        data: all bytes, uint8.
        offsets: `(n_texts + 1,)` int64: text r is `data[offsets[r]:offsets[r + 1]]`.
        valid: `(n_texts,)` bool, False for null, or empty when no text is null.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    valid: NDArray[np.bool_]

    def block(self, first: int, last: int, room: int) -> "TextBuffers":
        """Some of the texts, with at least `room` bytes of `data` behind the last of them."""
        offsets, valid = self.offsets[first : last + 1], self.valid[first:last]
        begin, end = int(offsets[0]), int(offsets[-1])
        data = self.data[begin:]
        if end + room > len(self.data):
            data = np.zeros(end - begin + room, np.uint8)
            data[: end - begin] = self.data[begin:end]
            data.flags.writeable = False  # as Arrow's are: Numba compiles anew for arrays that may be changed
        return TextBuffers(data, offsets - begin, valid)


def as_arrays(texts: Any) -> list[pa.Array]:
    """Texts as string or large_string arrays, one for each chunk.

    Args:
        texts: an Arrow string array (string, large_string, string_view, dictionary of these), a chunked
            array, or an iterable of str and None.

    Raises:
        InputError: the values are not strings, or a str holds lone surrogates.
    """
    if isinstance(texts, pa.ChunkedArray):
        return [_strings(chunk) for chunk in texts.chunks]
    if isinstance(texts, pa.Array):
        return [_strings(texts)]
    return [_from_python(texts)]


def _from_python(texts: Iterable[str | None]) -> pa.Array:
    try:
        values = texts if isinstance(texts, list | tuple | np.ndarray) else list(texts)
        # pyarrow would take bytes for UTF-8.
        if any(issubclass(kind, bytes) for kind in set(map(type, values))):
            raise InputError("texts must be str or None, not bytes: decode them first")
        # Large offsets: a list may hold more than 2 GiB.
        return pa.array(values, pa.large_string(), from_pandas=True)
    except (pa.ArrowException, TypeError) as error:
        raise InputError(f"texts must be str or None: {error}") from error
    except UnicodeEncodeError as error:
        raise InputError(
            f"a text holds a lone surrogate, so it is not Unicode: decode with errors='replace' ({error})"
        ) from error


def _strings(array: pa.Array) -> pa.Array:
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return array
    view = pa.types.is_dictionary(array.type) and _is_text(array.type.value_type)
    if view or _is_text(array.type) or pa.types.is_null(array.type):
        return array.cast(pa.large_string())
    raise InputError(f"texts must be Arrow strings, not {array.type}: cast the column, or name another one")


def _is_text(kind: pa.DataType) -> bool:
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(check(kind) for check in checks)


def buffers(array: pa.Array) -> TextBuffers:
    """The buffers of a string or large_string array, a slice included."""
    width: type[np.int32 | np.int64] = np.int64 if pa.types.is_large_string(array.type) else np.int32
    _, offsets, data = array.buffers()
    if offsets is None or len(array) == 0:
        return TextBuffers(_NO_BYTES, np.zeros(len(array) + 1, np.int64), np.zeros(0, np.bool_))
    all_offsets = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1]
    valid = np.zeros(0, np.bool_)
    if array.null_count:
        valid = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    bytes_ = _NO_BYTES if data is None else np.frombuffer(data, np.uint8)
    bytes_.flags.writeable = False  # as most are: Numba compiles anew for arrays that may be written to
    return TextBuffers(bytes_, all_offsets.astype(np.int64), valid)


def strings(texts: TextBuffers, rows: NDArray[np.int64]) -> list[str]:
    """Some of the texts as str.

    Raises:
        InputError: a text is not valid UTF-8, which Arrow's own files may hold unnoticed.
    """
    data, offsets = texts.data, texts.offsets
    try:
        return [data[offsets[r] : offsets[r + 1]].tobytes().decode() for r in rows]
    except UnicodeDecodeError as error:
        raise InputError(
            f"a text is not valid UTF-8: decode the column with errors='replace' ({error})"
        ) from error
