"""WordPiece over UTF-8 buffers: token ids of many texts, without the interpreter and without its lock.

One pass over the bytes normalises, splits and looks up. What a character becomes is read from tables that
were asked of the tokenizer itself (`encoder.tokenizer.wordpiece`), so this module knows nothing of Unicode.

A text falls into pieces at ASCII white space and punctuation. A piece of up to 32 bytes is looked up whole in
a hash table (`encoder.kernels.pieces`). One that is not there is normalised and split character by
character, its words are cut by WordPiece's greedy longest match (Wu et al. 2016) along a double-array trie
(Aoe 1989), and then the piece is remembered with its ids.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit
from encoder.kernels.pieces import START, Cursor, known_pieces, piece_key
from encoder.kernels.trie import cut_word
from encoder.kernels.utf8 import decode
from encoder.kernels.words import LONG_BYTES, Words, remember

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
        words: the words that are one token, and ASCII punctuation.
        added: `(n_added, n)` uint8: added tokens as they stand in a text, padded with zeros.
        added_first: `(256,)` bool: bytes that an added token begins with.
        added_second: `(256,)` bool: bytes that may follow there for an added token to stand there.
        max_word_chars: words with more characters than this are unknown.
        plain_ascii: whether ASCII is what `scan.classes` takes it for.
        lower: whether its letters are folded to lower case.
    """

    ascii: NDArray[np.uint8]
    isolated: NDArray[np.int32]
    page_of: NDArray[np.int32]
    pages: NDArray[np.int32]
    runs: NDArray[np.int32]
    run_bytes: NDArray[np.uint8]
    cells: NDArray[np.int32]
    words: Words
    added: NDArray[np.uint8]
    added_first: NDArray[np.bool_]
    added_second: NDArray[np.bool_]
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
def _add_byte(word: Any, n: int, byte: Any) -> int:
    """Append a byte to the word; its new length."""
    if n < _WORD_BYTES:
        word[n] = byte
    return n + 1


@njit(nogil=True, cache=True)
def _collect(data: Any, i: int, e: int, t: Any, word: Any) -> tuple[int, int, int, int, int]:
    """Normalise one word of any characters, byte by byte.

    Returns:
        Where it ends; its bytes; its characters; the run that ends it and stands alone, or -1; what is wrong.
    """
    n, chars = 0, 0
    while i < e:
        c = t.ascii[data[i]]
        if c > UNSURE:
            n = _add_byte(word, n, c)
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
                    n = _add_byte(word, n, t.run_bytes[k])
        elif c == REMOVED:
            i += 1
        else:
            break
    return i, n, chars, -1, DONE


@njit(nogil=True, cache=True)
def _any_words(
    data: Any, i: int, stop: int, e: int, t: Any, word: Any, ids: Any, p: int, room: int
) -> tuple[int, int, int]:
    """Token ids of the bytes from i to `stop` in a text that ends at e, character by character.

    Returns:
        The new end of `ids`, the last word whole even if it is more than `room`; how many words are unknown;
        what is wrong.
    """
    begin, unknown = p, 0
    while i < stop and p - begin + unknown < room:
        b = data[i]
        c = t.ascii[b]
        if c == SPACE:
            i += 1
        elif c == ISOLATED:
            if t.added_first[b] and _starts_added(data, i, e, t.added):
                return begin, 0, FALLBACK
            if t.isolated[b] >= 0:
                ids[p] = t.isolated[b]
                p += 1
            else:
                unknown += 1
            i += 1
        else:
            i, n, chars, alone, wrong = _collect(data, i, stop, t, word)
            if wrong != DONE:
                return begin, 0, wrong
            if n:
                q = -1 if chars > t.max_word_chars or n > _WORD_BYTES else cut_word(word, n, t.cells, ids, p)
                unknown += q < 0
                p = max(p, q)
            if alone >= 0 and p - begin + unknown < room:
                a, z = t.runs[alone, 0], t.runs[alone, 0] + t.runs[alone, 1]
                q = cut_word(t.run_bytes[a:z], z - a, t.cells, ids, p)
                unknown += q < 0
                p = max(p, q)
    return p, unknown, DONE


@njit(nogil=True, cache=True)
def tokenise(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    t: WordPieceTables,
    memo: Words,
    max_tokens: int,
    max_chars: int,
    ids: NDArray[np.int32],
    ends: NDArray[np.int64],
    status: NDArray[np.int32],
) -> int:
    """Token ids of texts, unknown words left out.

    Args:
        data: UTF-8 bytes of all texts, and `pieces.ROOM` more bytes behind them.
        offsets: `(n_texts + 1,)` text r is bytes `offsets[r]` to `offsets[r + 1]`.
        valid: `(n_texts,)` which texts are not null, or empty when none is.
        t: the tokenizer's tables.
        memo: a copy of `t.words` that this thread alone fills with the pieces it meets.
        max_tokens: tokens of a text that count (unknown ones included).
        max_chars: characters of a text that count.
        ids: receives the ids; must have room for 16 more than the texts have bytes.
        ends: `(n_texts,)` receives where each text's ids end.
        status: `(n_texts,)` receives what became of each text: DONE or FALLBACK, or NEEDS_PAGE + 8 * page
            when a page of code points has to be asked for first. Unless DONE, the text has no ids.

    Returns:
        How many texts are not done.
    """
    word, keys, pending = np.empty(_WORD_BYTES, np.uint8), np.empty(4, np.uint64), 0
    status[:] = DONE
    c = known_pieces(data, offsets, valid, START, t, memo.short, memo.long, max_tokens, max_chars, ids, ends)
    while c.row < ends.shape[0]:
        room = max_tokens - (c.p - c.begin) - c.unknown
        after = c.at + c.piece if c.piece else c.end
        while c.piece > LONG_BYTES and after < c.end and t.ascii[data[after]] not in (SPACE, ISOLATED):
            after += 1
        p, unknown, wrong = _any_words(data, c.at, after, c.end, t, word, ids, c.p, room)
        if wrong != DONE:
            status[c.row] = wrong
            pending += 1
            p, after = c.begin, c.end
        elif (
            0 < c.piece <= LONG_BYTES
            and not t.added_first[data[c.at]]
            and p - c.p + unknown < room
            and unknown <= (p == c.p)
        ):
            piece_key(data, c.at, c.piece, t.lower, keys)
            remember(memo, keys, c.piece, ids, c.p, p - unknown)
        if after == c.end:
            p = min(p, c.begin + max(max_tokens - c.unknown - unknown, 0))
        c = known_pieces(
            data,
            offsets,
            valid,
            Cursor(c.row, after, c.end, c.begin, p, c.unknown + unknown, 0),
            t,
            memo.short,
            memo.long,
            max_tokens,
            max_chars,
            ids,
            ends,
        )
    return pending
