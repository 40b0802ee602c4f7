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

from encoder.kernels.memory import load8
from encoder.kernels.trie import cut_word
from encoder.kernels.utf8 import clip, decode
from encoder.kernels.words import KEY_BYTES, ascii_word, first_bytes, look_up, remember_word

__all__ = ["DONE", "FALLBACK", "NEEDS_PAGE", "WordPieceTables", "tokenise"]

# What a byte or a character becomes. Anything above is a byte of a word, or the number of a run.
SPACE, REMOVED, ISOLATED, MULTIBYTE, UNSURE = 0, 1, 2, 3, 4

# What became of a text.
DONE, NEEDS_PAGE, FALLBACK = 0, 1, 2

_WORD_BYTES = 512  # longest normalised word that is kept; longer ones are unknown to every vocabulary


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
def _add_byte(word: Any, n: int, keys: Any, byte: Any) -> int:
    """Append a byte to the word and to its keys; its new length."""
    if n < KEY_BYTES:
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
            code, after = decode(data, i, e)
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
    """Cut a word that the hash table does not know, and remember it; as `cut_word`."""
    q = -1 if chars > t.max_word_chars or n > _WORD_BYTES else cut_word(word, n, t.cells, ids, p)
    if n <= KEY_BYTES and used[0] < (memo.shape[0] >> 2) * 3 and remember_word(memo, keys, ids, p, q):
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
            i += ascii_[data[i]] == SPACE  # most often there is one: no branch to guess wrong
        else:
            k1, k2, k3 = np.uint64(0), np.uint64(0), np.uint64(0)
            n, k0 = ascii_word(load8(data, i), lower)
            if n == 8:
                m, k1 = ascii_word(load8(data, i + 8), lower)
                n += m
                if m == 8:
                    m, k2 = ascii_word(load8(data, i + 16), lower)
                    n += m
                    if m == 8:
                        m, k3 = ascii_word(load8(data, i + 24), lower)
                        n += m
            if n == 0:
                break
            if i + n < e:
                c = ascii_[data[i + n]]
                if c not in (SPACE, ISOLATED):
                    break
            elif i + n > e:  # the next text follows without a gap
                n = e - i
                k0, k1 = first_bytes(k0, n), first_bytes(k1, n - 8)
                k2, k3 = first_bytes(k2, n - 16), first_bytes(k3, n - 24)
            q = look_up(memo, k0, k1, k2, k3, ids, p)
            if q == -2:
                break
            if q < 0:
                unknown += 1
            else:
                p = q
            i += n
            i += ascii_[data[i]] == SPACE
    return i, p, unknown


@njit(nogil=True, cache=True, inline="always")
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
        e = clip(data, i, e, max_chars)
    easy = min(e, data.shape[0] - KEY_BYTES) if t.plain_ascii else i
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
            q = look_up(memo, keys[0], keys[1], keys[2], keys[3], ids, p) if 0 < n <= KEY_BYTES else -2
            if n and q == -2:
                q = _new_word(word, n, chars, keys, t, memo, used, ids, p)
        if n:
            unknown += q < 0
            p = max(p, q)
        if alone >= 0 and p - begin + unknown < max_tokens:
            a, z = t.runs[alone, 0], t.runs[alone, 0] + t.runs[alone, 1]
            q = cut_word(t.run_bytes[a:z], z - a, t.cells, ids, p)
            unknown += q < 0
            p = max(p, q)
    return min(p, begin + max_tokens - unknown), DONE
