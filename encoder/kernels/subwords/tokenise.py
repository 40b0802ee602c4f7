"""Tokenise texts piece by piece, for tokenizers other than BERT's.

`boundaries` splits a text and `piece_table` remembers the ids of pieces. `new_piece` tokenises a new plain
piece. A new opaque one is reported to the caller, who adds it to the table and repeats the text.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit
from encoder.kernels.subwords.boundaries import BROKEN, NEED, after_ascii, after_regex, after_spaces
from encoder.kernels.subwords.new_piece import new_piece
from encoder.kernels.subwords.piece_table import find_piece, remember_piece
from encoder.kernels.subwords.surroundings import next_added, space_before
from encoder.kernels.subwords.tables import DONE, FALLBACK, LONGEST, MISSES, NEEDS_PAGE, UNSURE, PieceTables
from encoder.kernels.utf8 import clip

__all__ = ["gather", "tokenise_pieces"]

_SUMS = 1 << 16  # bytes of a text up to which the rounding error of sums is far below the margin


@njit(nogil=True, cache=True, inner=True)
def _known_pieces(
    data: Any,
    i: int,
    e: int,
    lead: bool,
    regex: int,
    digits: int,
    blanks: int,
    ascii_: Any,
    page_of: Any,
    pages: Any,
    slots: Any,
    arena: Any,
    table_ids: Any,
    unknown: int,
    ids: Any,
    p: int,
    room: int,
) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Append the ids of pieces, at most `room`, up to the first unknown piece; most texts have none.

    A function of its own, because arrays taken from a tuple cost reference counts.

    Returns:
        The start, end and class of the unknown piece (0, DOUBT, BROKEN or NEED + page; BROKEN also if ids do
        not fit), or the text's end twice and 0; the new end of `ids`; the remaining room; whether to assume a
        space before the piece.
    """
    while i < e and room > 0:
        j, wrong = after_ascii(data, i, e, ascii_, regex, digits), 0
        if j == i and regex:
            j, wrong = after_regex(data, i, e, lead, regex == 2, digits, page_of, pages)
        elif j == i:
            j, wrong = after_spaces(data, i, e, blanks, page_of, pages)
        if wrong >= BROKEN or j - i > LONGEST:
            return i, j, wrong, p, room, lead
        at, n_ids = find_piece(data, i, j - i, lead, slots, arena)
        if p + n_ids > ids.shape[0]:
            return i, j, BROKEN, p, room, lead
        if at < 0:
            return i, j, wrong, p, room, lead
        if n_ids and table_ids[at] == UNSURE:
            return i, j, BROKEN, p, room, lead
        n_ids = min(n_ids, room)
        for k in range(at, at + n_ids):
            ids[p] = table_ids[k]
            p += table_ids[k] != unknown
        room -= n_ids
        i = j
        lead = False
    return e, e, 0, p, room, False


@njit(nogil=True, cache=True, inner=True)
def _part(
    data: Any,
    i: int,
    e: int,
    t: Any,
    slots: Any,
    arena: Any,
    used: Any,
    room: int,
    rooms: Any,
    ids: Any,
    p: int,
    missing: Any,
    n_missing: int,
) -> tuple[Any, Any, Any, Any]:
    """Tokenise a text without added tokens to at most `room` ids.

    Returns:
        The new end of `ids`, the text's status, the number of missing pieces so far, the remaining room.
    """
    if t.margin and e - i > _SUMS:
        return p, FALLBACK, n_missing, room
    lead, status = space_before(data, i, e, t)
    text, places, paths, sums = rooms
    table_ids = arena.view(np.int32)
    while status in (DONE, MISSES):
        i, j, wrong, p, room, lead = _known_pieces(
            data,
            i,
            e,
            lead,
            t.regex,
            t.digits,
            t.blanks,
            t.ascii,
            t.page_of,
            t.pages,
            slots,
            arena,
            table_ids,
            t.unknown,
            ids,
            p,
            room,
        )
        n = j - i
        if wrong >= NEED:
            return p, NEEDS_PAGE + 4 * (wrong - NEED), n_missing, room
        if wrong != BROKEN and n == 0:
            break
        if wrong == BROKEN or n > LONGEST or (wrong and t.strict) or p + 2 * LONGEST > ids.shape[0]:
            return p, FALLBACK, n_missing, room
        q = -1
        if wrong == 0 and t.model:
            q = new_piece(data, i, n, lead, t, text, places, paths, sums, ids, p)
        if q < 0 and wrong == 0 and t.margin:
            ids[p] = UNSURE
            remember_piece(data, i, n, lead, ids, p, p + 1, slots, arena, used)
            return p, FALLBACK, n_missing, room
        if q >= 0:
            remember_piece(data, i, n, lead, ids, p, q, slots, arena, used)
            q = min(q, p + room)
            room -= q - p
            first = p
            for k in range(first, q):
                ids[p] = ids[k]
                p += ids[k] != t.unknown
        else:
            status = MISSES
            if n_missing < missing.shape[0]:
                missing[n_missing, 0], missing[n_missing, 1] = i, n
                missing[n_missing, 2] = lead
                n_missing += 1
        i = j
        lead = False
    return p, status, n_missing, room


@njit(nogil=True, cache=True, inner=True)
def _tokenise(
    data: Any,
    i: int,
    e: int,
    t: Any,
    slots: Any,
    arena: Any,
    used: Any,
    max_tokens: int,
    rooms: Any,
    ids: Any,
    p: int,
    missing: Any,
    n_missing: int,
) -> tuple[Any, Any, Any]:
    """Tokenise one text; the new end of `ids`, its status, the number of missing pieces so far."""
    status, room = DONE, max_tokens
    while i < e and room > 0:
        stop, after, row = e, e, -1
        if t.added.shape[0]:
            stop, after, row = next_added(data, i, e, t.added_first, t.added)
            if row >= 0 and not t.parted:
                return p, FALLBACK, n_missing
        if i < stop:
            p, now, n_missing, room = _part(
                data, i, stop, t, slots, arena, used, room, rooms, ids, p, missing, n_missing
            )
            if now not in (DONE, MISSES):
                return p, now, n_missing
            status = max(status, now)
        if row >= 0 and room > 0:
            ids[p] = t.added_ids[row]
            p += t.added_ids[row] != t.unknown
            room -= 1
        i = after
    return p, status, n_missing


@njit(nogil=True, cache=True, allocates=True)
def tokenise_pieces(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    t: PieceTables,
    slots: NDArray[np.uint64],
    arena: NDArray[np.uint64],
    used: NDArray[np.int64],
    max_tokens: int,
    max_chars: int,
    ids: NDArray[np.int32],
    ends: NDArray[np.int64],
    status: NDArray[np.int64],
    missing: NDArray[np.int64],
) -> int:
    """Tokenise the texts for which the kernel knows all pieces, and report what the others need.

    Args:
        data: the UTF-8 bytes of all texts.
        offsets: `(n_texts + 1,)` int64: text r is bytes `offsets[r]` to `offsets[r + 1]`.
        rows: the texts to tokenise.
        t: the tokenizer.
        slots: `(n_slots, 2)` uint64, this thread's table of pieces (`encoder.kernels.subwords.piece_table`).
        arena: its records.
        used: `(2,)` how much of both is taken.
        max_tokens: how many tokens of a text to use, unknown ones included.
        max_chars: how many characters of a text to use.
        ids: int32, receives the ids; a text whose ids do not fit gets FALLBACK.
        ends: `(n_rows,)` receives the end of each text's ids.
        status: `(n_rows,)` receives DONE, FALLBACK (for the library), MISSES (repeat with the missing
            pieces), or NEEDS_PAGE + 4 * page.
        missing: `(n, 3)` receives missing pieces: first byte, length, 1 if a space is assumed before it.

    Returns:
        The number of rows of `missing` that are filled; if all are, there may be more.
    """
    rooms = (
        np.empty(3 * LONGEST + 8, np.uint8),
        np.empty(3 * LONGEST + 8, np.int64),
        np.empty((3 * LONGEST + 8, 3), np.int32),
        np.empty(3 * LONGEST + 8, np.float64),
    )
    p, n_missing = 0, 0
    for k in range(rows.shape[0]):
        r = rows[k]
        i, e = offsets[r], offsets[r + 1]
        if e - i > max_chars:
            e = clip(data, i, e, max_chars)
        q, status[k], n_missing = _tokenise(
            data, i, e, t, slots, arena, used, max_tokens, rooms, ids, p, missing, n_missing
        )
        if status[k] == DONE:
            p = q
        ends[k] = p
    return n_missing


@njit(nogil=True, cache=True, allocates=True)
def gather(
    ids: NDArray[np.int32], first: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Sort ids by text.

    Args:
        ids: the ids of all texts, in any order of the texts.
        first: `(n_texts,)` the index of each text's first id.
        lengths: `(n_texts,)` the number of its ids.

    Returns:
        The ids in the order of the texts, and `(n_texts,)` int64, the end of each text in them.
    """
    ends = np.cumsum(lengths)
    out = np.empty(ends[-1] if ends.shape[0] else 0, np.int32)
    for r in range(first.shape[0]):
        begin = ends[r] - lengths[r]
        for k in range(lengths[r]):
            out[begin + k] = ids[first[r] + k]
    return out, ends
