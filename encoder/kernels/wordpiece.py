"""WordPiece over UTF-8 buffers: token ids of many texts, without the interpreter and without its lock.

One pass over the bytes normalises, splits and looks up. What a character becomes is read from tables that
were asked of the tokenizer itself (`encoder.tokenizer.wordpiece`), so this module knows nothing of Unicode.

A word of up to 32 bytes is looked up whole in a hash table; one that is not there is cut by WordPiece's
greedy longest match (Wu et al. 2016) along a double-array trie (Aoe 1989) and then remembered in the table.
Words of ASCII letters and digits are found and folded to lower case 8 bytes at a time.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from encoder.kernels.memory import load8, trailing_zeros

__all__ = ["DONE", "FALLBACK", "NEEDS_PAGE", "WordPieceTables", "place_trie", "remember_word", "tokenise"]

# What a byte or a character becomes. Anything above is a byte of a word, or the number of a run.
SPACE, REMOVED, ISOLATED, MULTIBYTE, UNSURE = 0, 1, 2, 3, 4

# What became of a text.
DONE, NEEDS_PAGE, FALLBACK = 0, 1, 2

_WORD_BYTES = 512  # longest normalised word that is kept; longer ones are unknown to every vocabulary
_HASHED = 32  # bytes of a word that fit into the keys of the hash table
_SLOT = 8  # numbers in a slot of the hash table, a cache line: four keys, then the pieces
_UNKNOWN = 15  # in place of the number of pieces: the word has none
_PIECES = 12  # token ids that fit into a slot of the hash table, three in a number
_ID_BITS, _ID_MASK = np.uint64(20), np.uint64((1 << 20) - 1)

_ONES, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_LOW7, _CASE = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x2020202020202020)


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
        words: `(n_slots, 8)` uint64: the hash table of the words that are one token: four keys (the word's
            bytes, the first one lowest; 0 is a free slot), then their ids, as `remember_word` packs them.
        added: `(n_added, n)` uint8: added tokens as they stand in a text, padded with zeros.
        added_first: `(256,)` bool: bytes that an added token begins with.
        max_word_chars: words with more characters than this are unknown.
        plain_ascii: whether ASCII letters and digits, and nothing else in ASCII, make words.
        lower: whether they are folded to lower case.
    """

    ascii: NDArray[np.uint8]
    isolated: NDArray[np.int32]
    page_of: NDArray[np.int32]
    pages: NDArray[np.int32]
    runs: NDArray[np.int32]
    run_bytes: NDArray[np.uint8]
    cells: NDArray[np.int32]
    words: NDArray[np.uint64]
    added: NDArray[np.uint8]
    added_first: NDArray[np.bool_]
    max_word_chars: int
    plain_ascii: bool
    lower: bool


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
def _slot(k0: Any, k1: Any, k2: Any, k3: Any, n_slots: int) -> Any:
    """Where to look for a word first (multiplicative hashing, Knuth 6.4)."""
    mixed = (k0 ^ (k1 * np.uint64(0xC2B2AE3D27D4EB4F))) * np.uint64(0x9E3779B97F4A7C15)
    if k2:
        mixed ^= (k2 ^ (k3 * np.uint64(0xD6E8FEB86659FD93))) * np.uint64(0xA0761D6478BD642F)
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(n_slots - 1))


@njit(nogil=True, cache=True)
def remember_word(words: Any, keys: Any, ids: Any, first: int, last: int) -> bool:
    """Put a word into the hash table.

    Args:
        words: `(n_slots, 8)` uint64, as in `WordPieceTables`, with a free slot. Numbers 4 to 7 of a slot hold
            three ids each in 20 bits; the lowest 4 bits of number 4 are how many there are, 15 for unknown.
        keys: `(4,)` uint64, the word's bytes.
        ids: token ids, of which `ids[first:last]` are the word's.
        first: its first id.
        last: behind its last id; less than `first` for an unknown word.

    Returns:
        Whether it was put there: words of more than 12 pieces are not, nor ids of more than 20 bits.
    """
    if last - first > _PIECES:
        return False
    for k in range(first, last):
        if ids[k] >= 1 << 20:
            return False
    slot = _slot(keys[0], keys[1], keys[2], keys[3], words.shape[0])
    while words[slot, 0] != 0:
        slot = (slot + 1) & (words.shape[0] - 1)
    for k in range(4):
        words[slot, k] = keys[k]
        words[slot, 4 + k] = 0
    words[slot, 4] = _UNKNOWN if last < first else last - first
    for k in range(last - first):
        words[slot, 4 + k // 3] |= np.uint64(ids[first + k]) << (np.uint64(4) + _ID_BITS * np.uint64(k % 3))
    return True


@njit(nogil=True, cache=True, inline="always")
def _first_bytes(bytes8: Any, n: Any) -> Any:
    """The lowest n of 8 bytes, the others zero."""
    if n >= 8:
        return bytes8
    return bytes8 & ((np.uint64(1) << np.uint64(8 * max(n, 0))) - np.uint64(1))


@njit(nogil=True, cache=True, inline="always")
def _ascii_word(bytes8: Any, lower: bool) -> tuple[Any, Any]:
    """How many of 8 bytes, from the lowest on, are ASCII letters or digits, and these as a key.

    All 8 at once: adding moves a byte's high bit when it is at or above a bound (Lamport 1975).
    """
    folded = bytes8 | _CASE
    letter = (folded & _LOW7) + _ONES * np.uint64(0x80 - 0x61)
    behind_z = (folded & _LOW7) + _ONES * np.uint64(0x80 - 0x7B)
    digit = (bytes8 & _LOW7) + _ONES * np.uint64(0x80 - 0x30)
    behind_9 = (bytes8 & _LOW7) + _ONES * np.uint64(0x80 - 0x3A)
    stop = (((letter & ~behind_z) | (digit & ~behind_9)) & ~bytes8 & _HIGH) ^ _HIGH
    key = folded if lower else bytes8
    if stop == 0:
        return 8, key
    n = np.int64(trailing_zeros(stop)) >> 3
    return n, _first_bytes(key, n)


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
def _clip(data: Any, i: int, e: int, limit: int) -> int:
    """End of the first `limit` characters of the text in bytes i to e."""
    chars = 0
    for k in range(i, e):
        if (data[k] & 0xC0) != 0x80:  # not a continuation byte: a character begins
            if chars == limit:
                return k
            chars += 1
    return e


@njit(nogil=True, cache=True)
def _decode(data: Any, i: int, e: int) -> tuple[Any, Any]:
    """Code point of 2 to 4 bytes at byte i of a text that ends at e, and the byte behind it, or -1 if broken.

    Arrow columns need not hold valid UTF-8 (Parquet files are not checked when read), and what is decoded
    here becomes an index.
    """
    b = np.int64(data[i])
    n = 2 if b < 0xE0 else 3 if b < 0xF0 else 4
    if b < 0xC2 or b > 0xF4 or i + n > e:
        return 0, -1
    code = b & (0x7F >> n)
    for k in range(i + 1, i + n):
        if (data[k] & 0xC0) != 0x80:
            return 0, -1
        code = (code << 6) | (data[k] & 0x3F)
    if (n == 3 and code < 0x800) or (n == 4 and not 0x10000 <= code <= 0x10FFFF):
        return 0, -1
    return code, i + n


@njit(nogil=True, cache=True, inline="always")
def _look_up(words: Any, k0: Any, k1: Any, k2: Any, k3: Any, ids: Any, p: int) -> Any:
    """Append the ids of a word in the hash table; the new end of `ids`, -1 for unknown, -2 if not there."""
    slot = _slot(k0, k1, k2, k3, words.shape[0])
    while words[slot, 0] != 0:
        if words[slot, 0] == k0 and words[slot, 1] == k1 and words[slot, 2] == k2 and words[slot, 3] == k3:
            packed = words[slot, 4]
            n = np.int64(packed & np.uint64(15))
            ids[p] = (packed >> np.uint64(4)) & _ID_MASK
            if n == 1:
                return p + 1
            if n == _UNKNOWN:
                return -1
            for k in range(1, n):
                shift = np.uint64(4) + _ID_BITS * np.uint64(k % 3)
                ids[p + k] = (words[slot, 4 + k // 3] >> shift) & _ID_MASK
            return p + n
        slot = (slot + 1) & (words.shape[0] - 1)
    return -2


@njit(nogil=True, cache=True)
def _add_byte(word: Any, n: int, keys: Any, byte: Any) -> int:
    """Append a byte to the word and to its keys; its new length."""
    if n < _HASHED:
        keys[n >> 3] |= np.uint64(byte) << np.uint64(8 * (n & 7))
    if n < _WORD_BYTES:
        word[n] = byte
    return n + 1


@njit(nogil=True, cache=True)
def _collect(data: Any, i: int, e: int, t: Any, word: Any, keys: Any) -> tuple[int, int, int, int, int]:
    """Normalise one word of any characters, byte by byte.

    Returns:
        Where it ends; its bytes; its characters; the run that ends it and stands alone, or -1; what is wrong.
    """
    n, chars = 0, 0
    keys[:] = 0
    while i < e:
        c = t.ascii[data[i]]
        if c > UNSURE:
            n = _add_byte(word, n, keys, c)
            chars += 1
            i += 1
        elif c == MULTIBYTE:
            code, after = _decode(data, i, e)
            if after < 0:
                return i, n, chars, -1, FALLBACK
            page = t.page_of[code >> 8]
            if page < 0:
                return i, n, chars, -1, NEEDS_PAGE + 8 * (code >> 8)
            run = t.pages[page, code & 255]
            if run == UNSURE:
                return i, n, chars, -1, FALLBACK
            if run == SPACE:
                return (i, n, chars, -1, DONE) if n else (after, 0, 0, -1, DONE)
            i = after
            if run != REMOVED:
                run -= 8
                if t.runs[run, 3]:
                    return i, n, chars, run, DONE
                chars += t.runs[run, 2]
                for k in range(t.runs[run, 0], t.runs[run, 0] + t.runs[run, 1]):
                    n = _add_byte(word, n, keys, t.run_bytes[k])
        elif c == REMOVED:
            i += 1
        else:
            break
    return i, n, chars, -1, DONE


@njit(nogil=True, cache=True)
def _new_word(
    word: Any, n: int, chars: int, keys: Any, t: Any, memo: Any, used: Any, ids: Any, p: int
) -> int:
    """Cut a word that the hash table does not know, and remember it; as `_cut`."""
    q = -1 if chars > t.max_word_chars or n > _WORD_BYTES else _cut(word, n, t.cells, ids, p)
    if n <= _HASHED and used[0] < (memo.shape[0] >> 2) * 3 and remember_word(memo, keys, ids, p, q):
        used[0] += 1
    return q


@njit(nogil=True, cache=True)
def _easy_words(
    data: Any,
    i: int,
    easy: int,
    e: int,
    ascii_: Any,
    isolated: Any,
    added: Any,
    added_first: Any,
    memo: Any,
    lower: bool,
    ids: Any,
    p: int,
    room: int,
) -> tuple[int, int, int]:
    """Do the words that are plain ASCII and in the hash table, until one is not; most texts to their end.

    Apart from `tokenise` so that the compiler keeps all that it needs in registers. 32 bytes can be loaded
    from every place before `easy`; the text ends at `e`; `room` tokens still count.

    Returns:
        Where it stopped; the new end of `ids`; how many unknown words there were.
    """
    unknown, end = 0, p + room
    while i < easy and p + unknown < end:
        b = data[i]
        c = ascii_[b]
        if c == SPACE:
            i += 1
        elif c == ISOLATED:
            if added_first[b] and _starts_added(data, i, e, added):
                break
            ids[p] = isolated[b]
            known = isolated[b] >= 0
            p += known
            unknown += not known
            i += 1
        else:
            k1, k2, k3 = np.uint64(0), np.uint64(0), np.uint64(0)
            n, k0 = _ascii_word(load8(data, i), lower)
            if n == 8:
                m, k1 = _ascii_word(load8(data, i + 8), lower)
                n += m
                if m == 8:
                    m, k2 = _ascii_word(load8(data, i + 16), lower)
                    n += m
                    if m == 8:
                        m, k3 = _ascii_word(load8(data, i + 24), lower)
                        n += m
            if n == 0:
                break
            if i + n < e:
                c = ascii_[data[i + n]]
                if c not in (SPACE, ISOLATED):
                    break
            elif i + n > e:  # the next text follows without a gap
                n = e - i
                k0, k1 = _first_bytes(k0, n), _first_bytes(k1, n - 8)
                k2, k3 = _first_bytes(k2, n - 16), _first_bytes(k3, n - 24)
            q = _look_up(memo, k0, k1, k2, k3, ids, p)
            if q == -2:
                break
            if q < 0:
                unknown += 1
            else:
                p = q
            i += n
    return i, p, unknown


@njit(nogil=True, cache=True)
def tokenise(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    t: WordPieceTables,
    memo: NDArray[np.uint64],
    used: NDArray[np.int64],
    max_tokens: int,
    max_chars: int,
    word: NDArray[np.uint8],
    keys: NDArray[np.uint64],
    ids: NDArray[np.int32],
    p: int,
) -> tuple[int, int]:
    """Token ids of one text, unknown words left out.

    Args:
        data: UTF-8 bytes.
        start: first byte of the text.
        end: the byte behind its last.
        t: the tokenizer's tables.
        memo: `(n_slots, 8)` uint64, a copy of `t.words` that this thread alone fills with the words it meets.
        used: `(1,)` how many slots of it are taken.
        max_tokens: tokens of the text that count (unknown ones included).
        max_chars: characters of the text that count.
        word: `(512,)` room for one word.
        keys: `(4,)` room for its keys.
        ids: int32, receives the ids; must have room for `end - start + 8` more.
        p: where in `ids` to begin.

    Returns:
        The new end of `ids`, and DONE or FALLBACK, or NEEDS_PAGE + 8 * page when a page of code points
        has to be asked for first. Unless DONE, the new end is `p`.
    """
    i, e, begin, unknown = start, end, p, 0
    if e - i > max_chars:
        e = _clip(data, i, e, max_chars)
    easy = min(e, data.shape[0] - _HASHED) if t.plain_ascii else i
    while i < e and p - begin + unknown < max_tokens:
        if i < easy:
            i, p, more = _easy_words(
                data,
                i,
                easy,
                e,
                t.ascii,
                t.isolated,
                t.added,
                t.added_first,
                memo,
                t.lower,
                ids,
                p,
                max_tokens - (p - begin) - unknown,
            )
            unknown += more
            if i >= e or p - begin + unknown >= max_tokens:
                break
        b = data[i]
        c = t.ascii[b]
        if c == ISOLATED:
            if t.added_first[b] and _starts_added(data, i, e, t.added):
                return begin, FALLBACK
            q = -1
            if t.isolated[b] >= 0:
                ids[p] = t.isolated[b]
                q = p + 1
            n, alone = 1, -1
            i += 1
        elif c == SPACE:
            i += 1
            continue
        else:
            i, n, chars, alone, wrong = _collect(data, i, e, t, word, keys)
            if wrong != DONE:
                return begin, wrong
            q = _look_up(memo, keys[0], keys[1], keys[2], keys[3], ids, p) if 0 < n <= _HASHED else -2
            if n and q == -2:
                q = _new_word(word, n, chars, keys, t, memo, used, ids, p)
        if n:
            unknown += q < 0
            p = max(p, q)
        if alone >= 0 and p - begin + unknown < max_tokens:
            a, z = t.runs[alone, 0], t.runs[alone, 0] + t.runs[alone, 1]
            q = _cut(t.run_bytes[a:z], z - a, t.cells, ids, p)
            unknown += q < 0
            p = max(p, q)
    return min(p, begin + max_tokens - unknown), DONE
