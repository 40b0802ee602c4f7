"""Token ids of texts piece by piece, for tokenizers other than BERT's: without the interpreter and its lock.

`boundaries.py` cuts a text, `piece_table.py` remembers what pieces became. A new plain
piece is done by `subwords.py`; a new opaque one is reported, and the text done again once that
is known.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.boundaries import (
    BROKEN,
    LETTER,
    NEED,
    NUMBER,
    SPACE,
    after_ascii,
    after_regex,
    after_spaces,
)
from encoder.kernels.compiled import njit
from encoder.kernels.piece_table import find_piece, remember_piece
from encoder.kernels.subwords import new_piece
from encoder.kernels.utf8 import clip, decode

__all__ = [
    "DONE",
    "FALLBACK",
    "LONGEST",
    "MISSES",
    "NEEDS_PAGE",
    "UNSURE",
    "PieceTables",
    "gather",
    "tokenise_pieces",
]

# What became of a text.
DONE, NEEDS_PAGE, FALLBACK, MISSES = 0, 1, 2, 3

LONGEST = 512
"""Bytes of a piece; texts with longer ones are left to the library."""

UNSURE = -1
"""In place of the ids of a piece: those of a text with it are for the library."""

_SUMS = 1 << 16  # bytes of a text whose sums are rounded by much less than the margin
_BLANK = 0x20


class PieceTables(NamedTuple):
    r"""What the kernel knows of a tokenizer.

    Attributes:
        regex: 0 to cut at spaces, 1 at GPT-2's pattern, 2 at its successors'.
        digits: how many digits stay together.
        blanks: what several blanks before a plain piece are: 0 for the library, 1 as one, 2 each a sign.
        prefix: 0 where nothing is put before a text, 1 a space where there is none, 2 a space in any case.
        spaced: whether a space is put before each pre-token that begins with none.
        strict: whether only texts of plain characters are for the kernel.
        model: 0 where plain pieces are opaque too, 1 BPE of bytes, 2 BPE of characters, 3 Unigram.
        unknown: the id that counts and is left out, or -1.
        ascii: `(256,)` uint8, what the first 128 of them are, then DOUBT.
        page_of: `(4352,)` int32, row of `pages` for each 256 code points, or -1 while not yet asked for.
        pages: `(n_pages, 256)` uint8: what a character is, see `encoder.kernels.boundaries`.
        added: `(n_added, n)` uint8: added tokens, padded with 255, which no text holds.
        added_ids: `(n_added,)` int32: their ids.
        parted: whether what stands between added tokens is as a text by itself; else such texts are for the
            library.
        added_first: `(256,)` bool: bytes that an added token begins with.
        byte_ids: `(256,)` int32: the tokens of single bytes, or of ASCII characters for 2; -1 for none.
        pairs: BPE's merges, of `pair_table`.
        slots: BPE's words that are found before anything is merged, for 1, or its characters, for 2, as a
            table of pieces.
        arena: its records.
        edges: Unigram's vocabulary, of `token_trie`.
        tokens: likewise.
        scores: `(n_tokens,)` float64, Unigram's.
        unknown_score: that of a character which Unigram's vocabulary lacks.
        margin: where pieces are parts of what Unigram takes as one, how near two paths may come in a sure
            piece, see `best_path`; 0 elsewhere.
    """

    regex: int
    digits: int
    blanks: int
    prefix: int
    spaced: bool
    strict: bool
    model: int
    unknown: int
    ascii: NDArray[np.uint8]
    page_of: NDArray[np.int32]
    pages: NDArray[np.uint8]
    added: NDArray[np.uint8]
    added_ids: NDArray[np.int32]
    parted: bool
    added_first: NDArray[np.bool_]
    byte_ids: NDArray[np.int32]
    pairs: NDArray[np.int32]
    slots: NDArray[np.uint64]
    arena: NDArray[np.uint64]
    edges: NDArray[np.int64]
    tokens: NDArray[np.int32]
    scores: NDArray[np.float64]
    unknown_score: float
    margin: float


@njit(nogil=True, cache=True, inner=True)
def _next_added(data: Any, i: int, e: int, first: Any, added: Any) -> tuple[Any, Any, Any]:
    """Where the next added token begins and ends, the longest of those there, and its row; or e, e and -1."""
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
def _thought_before(data: Any, i: int, e: int, t: Any) -> tuple[Any, Any]:
    """Whether a space is to be thought before the text, and what is wrong with that, or DONE."""
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
    """Append the ids of pieces until one is not known, which most texts never meet.

    Apart from `_tokenise` because arrays out of a tuple cost counted references; `room` tokens still count.

    Returns:
        Where the unknown piece begins, where it ends, and what it is (0, DOUBT, BROKEN or NEED + page; BROKEN
        as well where ids do not fit), or twice the text's end; the new end of `ids`; how many tokens still
        count; whether a space is before the piece.
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
    """Token ids of a text without added tokens, of which `room` count.

    Returns:
        The new end of `ids`, what became of the text, how many pieces are missing so far, how many tokens
        still count.
    """
    if t.margin and e - i > _SUMS:
        return p, FALLBACK, n_missing, room
    lead, status = _thought_before(data, i, e, t)
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
    """Token ids of one text; the new end of `ids`, what became of it, how many pieces are missing so far."""
    status, room = DONE, max_tokens
    while i < e and room > 0:
        stop, after, row = e, e, -1
        if t.added.shape[0]:
            stop, after, row = _next_added(data, i, e, t.added_first, t.added)
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
    """Token ids of the texts that the kernel can do, and what it lacks for the others.

    Args:
        data: UTF-8 bytes of all texts.
        offsets: `(n_texts + 1,)` int64: text r is bytes `offsets[r]` to `offsets[r + 1]`.
        rows: the texts to do.
        t: the tokenizer.
        slots: `(n_slots, 2)` uint64, this thread's table of pieces; see `encoder.kernels.piece_table`.
        arena: its records.
        used: `(2,)` how much of both is taken.
        max_tokens: tokens of a text that count, unknown ones included.
        max_chars: characters of a text that count.
        ids: int32, receives the ids; what does not fit is left to the library.
        ends: `(n_rows,)` receives where the ids of each text end.
        status: `(n_rows,)` receives DONE, FALLBACK, MISSES, or NEEDS_PAGE + 4 * page.
        missing: `(n, 3)` receives pieces that are not known: first byte, bytes, 1 with a space before it.

    Returns:
        How many rows of `missing` are filled; when all are, there may be more.
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
    """Put the ids of texts into the order of the texts.

    Args:
        ids: ids of all texts in any order.
        first: `(n_texts,)` where each text's begin.
        lengths: `(n_texts,)` how many it has.

    Returns:
        The ids, text by text, and `(n_texts,)` int64, where each text's end.
    """
    ends = np.cumsum(lengths)
    out = np.empty(ends[-1] if ends.shape[0] else 0, np.int32)
    for r in range(first.shape[0]):
        begin = ends[r] - lengths[r]
        for k in range(lengths[r]):
            out[begin + k] = ids[first[r] + k]
    return out, ends
