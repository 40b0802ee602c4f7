"""WordPiece over UTF-8 buffers: token ids of many texts, without the interpreter and without its lock.

One pass over the bytes normalises, splits and looks up. What a character becomes is read from tables that
were asked of the tokenizer itself (`encoder.tokenizer.wordpiece`), so this module knows nothing of Unicode.

A word is looked up whole in a hash table first (most words are one token), then, when it is not there,
cut by the greedy longest match of WordPiece (Wu et al. 2016) along a double-array trie (Aoe 1989).
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["DONE", "FALLBACK", "NEEDS_PAGE", "WordPieceTables", "place_trie", "tokenise", "word_hash"]

# What a byte or a character becomes. Anything above is a byte of a word, or the number of a run.
SPACE, REMOVED, ISOLATED, MULTIBYTE, UNSURE = 0, 1, 2, 3, 4

# What became of a text.
DONE, NEEDS_PAGE, FALLBACK = 0, 1, 2

_WORD_BYTES = 512  # longest normalised word that is kept; longer ones are unknown to every vocabulary
_HASHED = 16  # bytes of a word that fit into the two keys of the hash table


class WordPieceTables(NamedTuple):
    """What the kernel knows of a tokenizer.

    Attributes:
        ascii: `(256,)` uint8: SPACE, REMOVED, ISOLATED, MULTIBYTE, or the normalised byte of a word.
        isolated: `(128,)` int32: token id of an ASCII character that stands alone, or -1 for unknown.
        page_of: `(4352,)` int32: row of `pages` for each 256 code points, or -1 while not yet asked for.
        pages: `(n_pages, 256)` int32: SPACE, REMOVED, UNSURE, or 8 + a row of `runs`.
        runs: `(n_runs, 4)` int32: first byte in `run_bytes`, bytes, characters, 1 if it stands alone.
        run_bytes: `(n,)` uint8: the normalised characters, UTF-8.
        cells: `(n_cells, 3)` int32: the trie's base, check and token id; roots are 0 (word) and 1 (inside).
        keys: `(n_slots, 2)` uint64: words of up to 16 bytes, most significant byte first; 0, 0 is free.
        values: `(n_slots,)` int32: their token ids.
        added: `(n_added, n)` uint8: added tokens as they stand in a text, padded with zeros.
        added_first: `(256,)` bool: bytes that an added token begins with.
        max_word_chars: words with more characters than this are unknown.
    """

    ascii: NDArray[np.uint8]
    isolated: NDArray[np.int32]
    page_of: NDArray[np.int32]
    pages: NDArray[np.int32]
    runs: NDArray[np.int32]
    run_bytes: NDArray[np.uint8]
    cells: NDArray[np.int32]
    keys: NDArray[np.uint64]
    values: NDArray[np.int32]
    added: NDArray[np.uint8]
    added_first: NDArray[np.bool_]
    max_word_chars: int


@njit(nogil=True, cache=True)
def place_trie(
    order: NDArray[np.int64],
    first: NDArray[np.int64],
    byte: NDArray[np.int64],
    child: NDArray[np.int64],
    token: NDArray[np.int64],
    size: int,
) -> NDArray[np.int32]:
    """Lay a trie out as a double array.

    Args:
        order: `(n_nodes,)` the nodes, parents before children; nodes 0 and 1 are the roots.
        first: `(n_nodes + 1,)` where each node's edges begin in `byte` and `child`.
        byte: `(n_edges,)` the edges' bytes, ascending within a node.
        child: `(n_edges,)` the nodes they lead to.
        token: `(n_nodes,)` the token id of each node, or -1.
        size: cells to reserve; must hold all nodes with their gaps.

    Returns:
        `(n_cells, 3)` int32: base, check (the parent's cell) and token id; every base leads into the array.
    """
    cell_of = np.zeros(order.shape[0], np.int64)
    cells = np.full((size, 3), -1, np.int32)
    used = np.zeros(size, np.bool_)
    cell_of[1] = 1
    used[:2] = True
    free, dense, top = 257, 257, 2  # where to look for a cell for one edge, and for several; every byte fits
    for node in order:
        a, z = first[node], first[node + 1]
        cells[cell_of[node], 2] = token[node]
        if a == z:
            continue
        while used[free]:
            free += 1
        base = (free if z - a == 1 else max(free, dense)) - byte[a]
        tries, fits = 0, False
        while not fits:
            fits = True
            for k in range(a, z):
                if used[base + byte[k]]:
                    fits = False
                    base += 1
                    tries += 1
                    break
        if tries > 64:  # crowded here: look further on next time, single edges will fill the gaps
            dense = base + byte[a]
        cells[cell_of[node], 0] = base
        for k in range(a, z):
            cell = base + byte[k]
            used[cell] = True
            cells[cell, 1] = cell_of[node]
            cell_of[child[k]] = cell
            top = max(top, cell)
    cells = cells[: top + 257].copy()
    for cell in range(cells.shape[0]):
        if cells[cell, 0] < 0:
            cells[cell, 0] = top + 1  # cells that nobody owns: every step from a leaf fails there
    return cells


@njit(nogil=True, cache=True, inline="always")
def word_hash(high: np.uint64, low: np.uint64, mask: np.int64) -> np.int64:
    """Slot of a word's two keys (multiplicative hashing, Knuth 6.4)."""
    mixed = (high * np.uint64(0x9E3779B97F4A7C15)) ^ (low * np.uint64(0xC2B2AE3D27D4EB4F))
    return np.int64((mixed ^ (mixed >> np.uint64(29))) >> np.uint64(17)) & mask


@njit(nogil=True, cache=True)
def _cut(word: Any, n: int, cells: Any, ids: Any, p: int) -> int:
    """Token ids of one word by greedy longest match; the new end of `ids`, or -1 for an unknown word."""
    j, root = 0, 0
    while j < n:
        state, last, last_end, k = root, -1, j, j
        while k < n:
            step = cells[state, 0] + word[k]
            if cells[step, 1] != state:
                break
            state = step
            k += 1
            if cells[state, 2] >= 0:
                last, last_end = cells[state, 2], k
        if last < 0:
            return -1
        ids[p] = last
        p += 1
        j, root = last_end, 1
    return p


@njit(nogil=True, cache=True)
def _starts_added(data: Any, i: int, e: int, added: Any) -> bool:
    """Whether an added token stands at byte i."""
    for row in range(added.shape[0]):
        k = 0
        while k < added.shape[1] and added[row, k] != 0 and i + k < e and data[i + k] == added[row, k]:
            k += 1
        if k == added.shape[1] or added[row, k] == 0:
            return True
    return False


@njit(nogil=True, cache=True)
def _clip(data: Any, i: int, e: int, limit: int) -> int:
    """End of the first `limit` characters of the text in bytes i to e."""
    chars = 0
    for k in range(i, e):
        if (data[k] & 0xC0) != 0x80:  # not a continuation byte: a character begins
            if chars == limit:
                return k
            chars += 1
    return e


@njit(nogil=True, cache=True, inline="always")
def _decode(data: Any, i: int) -> tuple[int, int]:
    """Code point at byte i of valid UTF-8 (2 to 4 bytes), and the byte behind it."""
    b = np.int64(data[i])
    if b < 0xE0:
        return ((b & 0x1F) << 6) | (data[i + 1] & 0x3F), i + 2
    if b < 0xF0:
        return ((b & 0x0F) << 12) | ((data[i + 1] & 0x3F) << 6) | (data[i + 2] & 0x3F), i + 3
    return (
        ((b & 0x07) << 18) | ((data[i + 1] & 0x3F) << 12) | ((data[i + 2] & 0x3F) << 6) | (data[i + 3] & 0x3F)
    ), i + 4


@njit(nogil=True, cache=True)
def tokenise(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    t: WordPieceTables,
    max_tokens: int,
    max_chars: int,
    word: NDArray[np.uint8],
    ids: NDArray[np.int32],
    p: int,
) -> tuple[int, int]:
    """Token ids of one text, unknown words left out.

    Args:
        data: UTF-8 bytes.
        start: first byte of the text.
        end: the byte behind its last.
        t: the tokenizer's tables.
        max_tokens: tokens of the text that count (unknown ones included).
        max_chars: characters of the text that count.
        word: `(512,)` room for one word.
        ids: int32, receives the ids; must have room for `end - start + 1` more.
        p: where in `ids` to begin.

    Returns:
        The new end of `ids`, and DONE or FALLBACK, or NEEDS_PAGE + 8 * page when a page of code points
        has to be asked for first. Unless DONE, the new end is `p`.
    """
    i, e = start, end
    if e - i > max_chars:
        e = _clip(data, i, e, max_chars)
    begin, unknown = p, 0
    mask = np.int64(t.values.shape[0] - 1)
    while i < e:
        n, chars = 0, 0
        high, low = np.uint64(0), np.uint64(0)
        c = np.uint8(SPACE)
        alone = -1
        while i < e:  # collect one word
            c = t.ascii[data[i]]
            if c > UNSURE:
                if n < 8:
                    high = (high << np.uint64(8)) | np.uint64(c)
                elif n < _HASHED:
                    low = (low << np.uint64(8)) | np.uint64(c)
                if n < _WORD_BYTES:
                    word[n] = c
                n += 1
                chars += 1
                i += 1
            elif c == MULTIBYTE:
                code, after = _decode(data, i)
                page = t.page_of[code >> 8]
                if page < 0:
                    return begin, NEEDS_PAGE + 8 * (code >> 8)
                run = t.pages[page, code & 255]
                if run == UNSURE:
                    return begin, FALLBACK
                if run == SPACE:
                    c = np.uint8(SPACE)
                    break
                i = after
                if run != REMOVED:
                    run -= 8
                    if t.runs[run, 3]:
                        alone = run
                        break
                    chars += t.runs[run, 2]
                    for k in range(t.runs[run, 0], t.runs[run, 0] + t.runs[run, 1]):
                        byte = t.run_bytes[k]
                        if n < 8:
                            high = (high << np.uint64(8)) | np.uint64(byte)
                        elif n < _HASHED:
                            low = (low << np.uint64(8)) | np.uint64(byte)
                        if n < _WORD_BYTES:
                            word[n] = byte
                        n += 1
            elif c == REMOVED:
                i += 1
            else:
                break
        if n:
            if chars > t.max_word_chars or n > _WORD_BYTES:
                unknown += 1
            else:
                found = -1
                if n <= _HASHED:
                    slot = word_hash(high, low, mask)
                    while t.keys[slot, 0] != 0:
                        if t.keys[slot, 0] == high and t.keys[slot, 1] == low:
                            found = t.values[slot]
                            break
                        slot = (slot + 1) & mask
                if found >= 0:
                    ids[p] = found
                    p += 1
                else:
                    q = _cut(word, n, t.cells, ids, p)
                    if q < 0:
                        unknown += 1
                    else:
                        p = q
        if alone >= 0 and p - begin + unknown < max_tokens:
            a = t.runs[alone, 0]
            q = _cut(t.run_bytes[a : a + t.runs[alone, 1]], t.runs[alone, 1], t.cells, ids, p)
            if q < 0:
                unknown += 1
            else:
                p = q
        elif alone < 0 and i < e:
            if c == ISOLATED:
                b = data[i]
                if t.added_first[b] and _starts_added(data, i, e, t.added):
                    return begin, FALLBACK
                if p - begin + unknown < max_tokens:
                    if t.isolated[b] >= 0:
                        ids[p] = t.isolated[b]
                        p += 1
                    else:
                        unknown += 1
                i += 1
            elif data[i] < 128:
                i += 1
            else:
                i = _decode(data, i)[1]
        if p - begin + unknown >= max_tokens:
            break
    return min(p, begin + max_tokens - unknown), DONE
