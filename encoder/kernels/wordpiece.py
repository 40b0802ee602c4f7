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
        runs: `(n_runs, 4)` int32: first byte in `run_bytes`, bytes, characters; 0 for a part of a word, 1 for
            a character that stands alone and is unknown, or 2 + the token id of one that stands alone.
        run_bytes: `(n,)` uint8: the normalised characters, UTF-8.
        cells: `(n_cells, 3)` int32: the trie's base, check and token id; roots are 0 (word) and 1 (inside).
        words: the words that are one token, and ASCII punctuation.
        added: `(n_added, n)` uint8: added tokens as they stand in a text, padded with zeros.
        added_first: `(256,)` bool: bytes that an added token begins with.
        added_second: `(256,)` bool: bytes that may follow there for an added token to stand there.
        max_word_chars: words with more characters than this are unknown.
        plain_ascii: whether ASCII is what `intrinsics.classes` takes it for.
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


@njit(nogil=True, cache=True, inner=True)
def _starts_added(data: Any, i: int, e: int, added: Any) -> bool:
    """Whether an added token stands at byte i."""
    for row in range(added.shape[0]):
        k = 0
        while k < added.shape[1] and added[row, k] != 0 and i + k < e and data[i + k] == added[row, k]:
            k += 1
        if k == added.shape[1] or added[row, k] == 0:
            return True
    return False


@njit(nogil=True, cache=True, inner=True)
def _any_words(
    data: Any, i: int, stop: int, e: int, t: Any, word: Any, ids: Any, p: int, room: int
) -> tuple[int, int, int]:
    """Token ids of the bytes from i to `stop` in a text that ends at e, character by character.

    Returns:
        The new end of `ids`, the last word whole even if it is more than `room`; how many words are unknown;
        what is wrong.
    """
    begin, unknown, n, chars = p, 0, 0, 0
    while p - begin + unknown < room:
        kind: Any = SPACE
        alone: Any = -1
        after: Any = i + 1
        if i < stop:
            kind = np.int64(t.ascii[data[i]])
            if kind == MULTIBYTE:
                code, after = decode(data, i, stop)
                if after < 0:
                    return begin, 0, FALLBACK
                page = t.page_of[code >> 8]
                if page < 0:
                    return begin, 0, NEEDS_PAGE + 8 * (code >> 8)
                kind = np.int64(t.pages[page, code & 255])
                if kind == UNSURE:
                    return begin, 0, FALLBACK
                if kind > UNSURE:
                    run = kind - 8
                    if t.runs[run, 3] == 0:
                        for k in range(t.runs[run, 0], t.runs[run, 0] + t.runs[run, 1]):
                            if n < _WORD_BYTES:
                                word[n] = t.run_bytes[k]
                            n += 1
                        chars += t.runs[run, 2]
                    else:
                        kind, alone = ISOLATED, t.runs[run, 3] - 2
            elif kind == ISOLATED:
                if t.added_first[data[i]] and _starts_added(data, i, e, t.added):
                    return begin, 0, FALLBACK
                alone = t.isolated[data[i]]
            elif kind > UNSURE:
                if n < _WORD_BYTES:
                    word[n] = kind
                n += 1
                chars += 1
            if kind > UNSURE or kind == REMOVED:
                i = after
                continue
        if n:
            q = -1 if chars > t.max_word_chars or n > _WORD_BYTES else cut_word(word, n, t.cells, ids, p)
            unknown += q < 0
            p = max(p, q)
            n, chars = 0, 0
            continue  # the character behind the word has its turn if there is room for it
        if i >= stop:
            break
        if kind == ISOLATED:
            if alone >= 0:
                ids[p] = alone
                p += 1
            else:
                unknown += 1
        i = after
    return p, unknown, DONE


@njit(nogil=True, cache=True, allocates=True)
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
    c = START
    while True:
        c = known_pieces(data, offsets, valid, c, t, memo, word, max_tokens, max_chars, ids, ends)
        if c.row == ends.shape[0]:
            return pending
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
            remember(memo, keys[0], keys[1], keys[2], keys[3], c.piece, ids, c.p, p - unknown)
        p = min(p, c.begin + max(max_tokens - c.unknown - unknown, 0))
        c = Cursor(c.row, after, c.end, c.begin, p, c.unknown + unknown, 0)
