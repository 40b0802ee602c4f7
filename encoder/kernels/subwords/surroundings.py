"""What stands around pieces: added tokens, and the space that a tokenizer assumes before a text."""

from typing import Any

import numpy as np

from encoder.kernels.compiled import njit
from encoder.kernels.subwords.boundaries import LETTER, NUMBER, SPACE
from encoder.kernels.subwords.tables import DONE, FALLBACK, NEEDS_PAGE
from encoder.kernels.utf8 import decode

__all__ = ["next_added", "space_before"]

_BLANK = 0x20


@njit(nogil=True, cache=True, inner=True)
def next_added(data: Any, i: int, e: int, first: Any, added: Any) -> tuple[Any, Any, Any]:
    """The start, end and row of the next added token, the longest if there are several; or e, e and -1."""
    for start in range(i, e):
        if first[data[start]]:
            end, found = start, -1
            for row in range(added.shape[0]):
                k = 0
                while k < added.shape[1] and start + k < e and data[start + k] == added[row, k]:
                    k += 1
                if (k == added.shape[1] or added[row, k] == 255) and start + k > end:
                    end, found = start + k, row
            if found >= 0:
                return start, end, found
    return e, e, -1


@njit(nogil=True, cache=True, inner=True)
def space_before(data: Any, i: int, e: int, t: Any) -> tuple[Any, Any]:
    """Whether to assume a space before the text, and the status if that is not certain, or DONE."""
    if t.prefix == 2 or (t.prefix == 1 and data[i] != _BLANK):
        if t.prefix == 2:
            return True, DONE
        code, after = np.int64(data[i]), i + 1
        if code >= 0x80:
            code, after = decode(data, i, e)
        if after < 0:
            return False, FALLBACK
        page = t.page_of[code >> 8]
        if page < 0:
            return False, NEEDS_PAGE + 4 * (code >> 8)
        kind = t.pages[page, code & 255] & 7
        fits = kind != SPACE if t.regex else kind in (LETTER, NUMBER)
        return fits, DONE if fits else FALLBACK
    return False, DONE
