"""Texts as the plain arrays that kernels read."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.kernels.wordpiece.pieces import ROOM

__all__ = ["Block", "TextBuffers", "in_blocks", "read_texts", "strings"]

_NO_BYTES = np.zeros(0, np.uint8)
_NO_BYTES.flags.writeable = False
_ALL_VALID = np.zeros(0, np.bool_)
_BEHIND = bytes(ROOM)
_FEWEST, _MOST = 512, 4096  # texts per block: enough to pay for a thread; few enough for the caches


class TextBuffers(NamedTuple):
    """UTF-8 texts as NumPy arrays, which share the memory of Arrow's buffers.

    Attributes:
        data: all bytes, uint8.
        offsets: `(n_texts + 1,)` int64: text r is `data[offsets[r]:offsets[r + 1]]`.
        valid: `(n_texts,)` bool, False for null; empty if no text is null.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    valid: NDArray[np.bool_]

    def block(self, first: int, last: int) -> "TextBuffers":
        """The texts `first` to `last`, with at least `ROOM` bytes of `data` after them."""
        begin, end = self.offsets.item(first), self.offsets.item(last)
        has_room = end + ROOM <= len(self.data)
        if has_room and begin == first == 0 and last == len(self.offsets) - 1:
            return self
        offsets, valid = self.offsets[first : last + 1] - begin, self.valid[first:last]
        if has_room:
            return TextBuffers(self.data[begin:], offsets, valid)
        data = np.zeros(end - begin + ROOM, np.uint8)
        data[: end - begin] = self.data[begin:end]
        data.flags.writeable = False  # as Arrow's are: Numba compiles another variant for writeable arrays
        return TextBuffers(data, offsets, valid)

    def take(self, rows: NDArray[np.int64]) -> "TextBuffers":
        """A copy of some of the texts, none of them null."""
        pieces = [self.data[self.offsets[r] : self.offsets[r + 1]].tobytes() for r in rows]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
        return TextBuffers(np.frombuffer(b"".join([*pieces, _BEHIND]), np.uint8), offsets, _ALL_VALID)


def read_texts(texts: Any) -> list[TextBuffers]:
    """Convert texts to buffers, one for each chunk.

    Args:
        texts: a str, an Arrow string array (string, large_string, string_view, dictionary of these), a
            chunked array, or an iterable of str and None.

    Raises:
        InputError: the values are not strings, or a str holds lone surrogates.
    """
    if isinstance(texts, pa.ChunkedArray):
        return [_buffers(_strings(chunk)) for chunk in texts.chunks]
    if isinstance(texts, pa.Array):
        return [_buffers(_strings(texts))]
    try:
        return [_from_python(texts)]
    except UnicodeEncodeError as error:
        raise InputError(
            f"a text holds a lone surrogate, so it is not Unicode: decode with errors='replace' ({error})"
        ) from error


def _from_python(texts: str | Iterable[str | None]) -> TextBuffers:
    if isinstance(texts, str):
        data = texts.encode()
        return TextBuffers(np.frombuffer(data + _BEHIND, np.uint8), np.array([0, len(data)]), _ALL_VALID)
    try:
        values = texts if isinstance(texts, list | tuple | np.ndarray) else list(texts)
        if isinstance(values, list) and (joined := _joined(values)):
            return joined
        # pyarrow would take bytes for UTF-8.
        if any(issubclass(kind, bytes) for kind in set(map(type, values))):
            raise InputError("texts must be str or None, not bytes: decode them first")
        # Large offsets: a list may hold more than 2 GiB.
        return _buffers(pa.array(values, pa.large_string(), from_pandas=True))
    except (pa.ArrowException, TypeError) as error:
        raise InputError(f"texts must be str or None: {error}") from error


def _joined(texts: list[Any]) -> TextBuffers | None:
    """The buffers of a list of ASCII str, faster than through Arrow; None for any other list."""
    try:
        text = "".join(texts)
    except TypeError:
        return None
    if not text.isascii():
        return None
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
    return TextBuffers(np.frombuffer(text.encode() + _BEHIND, np.uint8), offsets, _ALL_VALID)


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


def _buffers(array: pa.Array) -> TextBuffers:
    """The buffers of a string or large_string array, which may be a slice."""
    width: type[np.int32 | np.int64] = np.int64 if pa.types.is_large_string(array.type) else np.int32
    _, offsets, data = array.buffers()
    if offsets is None or len(array) == 0:
        return TextBuffers(_NO_BYTES, np.zeros(len(array) + 1, np.int64), _ALL_VALID)
    all_offsets = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1]
    valid = _ALL_VALID
    if array.null_count:
        valid = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    bytes_ = _NO_BYTES if data is None else np.frombuffer(data, np.uint8)
    bytes_.flags.writeable = False  # as most are: Numba compiles another variant for writeable arrays
    return TextBuffers(bytes_, all_offsets.astype(np.int64), valid)


def strings(texts: TextBuffers, rows: NDArray[np.int64]) -> list[str]:
    """Some of the texts as str.

    Raises:
        InputError: a text is not valid UTF-8, which Arrow does not check when it reads files.
    """
    data, offsets = texts.data, texts.offsets
    try:
        return [data[offsets[r] : offsets[r + 1]].tobytes().decode() for r in rows]
    except UnicodeDecodeError as error:
        raise InputError(
            f"a text is not valid UTF-8: decode the column with errors='replace' ({error})"
        ) from error


class Block(NamedTuple):
    """Texts that a thread processes in one go, and the row of the first one among all texts."""

    texts: TextBuffers
    first: int


def in_blocks(parts: list[TextBuffers], threads: int) -> list[Block]:
    """Cut texts into non-empty blocks that keep `threads` threads busy to the end."""
    blocks, first = [], 0
    for part in parts:
        n_texts, size = len(part.offsets) - 1, _FEWEST
        if n_texts > _FEWEST:
            rounds = math.ceil(n_texts / (threads * _MOST))
            size = max(_FEWEST, math.ceil(n_texts / (threads * rounds)))
        for begin in range(0, n_texts, size):
            end = min(begin + size, n_texts)
            blocks.append(Block(part.block(begin, end), first + begin))
        first += n_texts
    return blocks
