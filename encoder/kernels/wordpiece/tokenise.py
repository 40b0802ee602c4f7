"""Tokenise texts with BERT's normaliser and WordPiece in one pass over their UTF-8 bytes.

Tables say what each character becomes (`encoder.tokenizer.wordpiece`), so this module knows nothing of
Unicode.

A text is split into pieces at ASCII white space and punctuation. A piece of up to 32 bytes is looked up in a
hash table (`pieces`). If it is not there, it is normalised and split character by character. WordPiece's
greedy longest match then tokenises its words, and the table remembers the piece and its ids.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit
from encoder.kernels.utf8 import decode
from encoder.kernels.wordpiece.pieces import START, Cursor, known_pieces, piece_key
from encoder.kernels.wordpiece.trie import cut_word
from encoder.kernels.wordpiece.words import LONG_BYTES, Words, remember

__all__ = ["DONE", "FALLBACK", "NEEDS_PAGE", "WordPieceTables", "tokenise"]

# What a byte or a character becomes; anything above is a byte of a word, or 8 + a row of `runs`.
SPACE, REMOVED, ISOLATED, MULTIBYTE, UNSURE = 0, 1, 2, 3, 4

# The status of a text.
DONE, NEEDS_PAGE, FALLBACK = 0, 1, 2

_WORD_BYTES = 512  # of a normalised word; longer ones are unknown to every vocabulary


class WordPieceTables(NamedTuple):
    """A tokenizer as the kernel needs it.

    Attributes:
        ascii: `(256,)` uint8: SPACE, REMOVED, ISOLATED, MULTIBYTE, or the normalised byte of a word.
        isolated: `(128,)` int32: the token id of an isolated ASCII character, or -1 if unknown.
        page_of: `(4352,)` int32: the row of `pages` for each 256 code points, or -1 if not yet known.
        pages: `(n_pages, 256)` int32: SPACE, REMOVED, UNSURE, or 8 + a row of `runs`.
        runs: `(n_runs, 4)` int32: first byte in `run_bytes`, number of bytes, number of characters; and 0 for
            a part of a word, 1 for an unknown isolated character, or 2 + the id of an isolated character.
        run_bytes: `(n,)` uint8: the normalised characters, UTF-8.
        cells: `(n_cells, 3)` int32: the trie's base, check and token id; root 0 is for the start of a word,
            root 1 for its continuation.
        words: the words that are one token, and ASCII punctuation.
        added: `(n_added, n)` uint8: added tokens, padded with zeros.
        added_first: `(256,)` bool: the first bytes of added tokens.
        added_second: `(256,)` bool: the second bytes of added tokens.
        max_word_chars: the most characters of a word; longer words are unknown.
        plain_ascii: whether ASCII characters have the classes of `intrinsics.classes`.
        lower: whether letters are lowercased.
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
    """Whether an added token starts at byte i."""
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
    """Tokenise the bytes from i to `stop` of a text that ends at e, character by character.

    Returns:
        The new end of `ids`, which may exceed `room` by the rest of the last word; the number of unknown
        words; the status.
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
            continue  # the character after the word is next if there is room for it
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
    cache: Words,
    max_tokens: int,
    max_chars: int,
    ids: NDArray[np.int32],
    ends: NDArray[np.int64],
    status: NDArray[np.int32],
) -> int:
    """Tokenise texts, without unknown words.

    Args:
        data: the UTF-8 bytes of all texts, followed by at least `pieces.ROOM` more bytes.
        offsets: `(n_texts + 1,)` text r is bytes `offsets[r]` to `offsets[r + 1]`.
        valid: `(n_texts,)` which texts are not null; empty if none is null.
        t: the tokenizer's tables.
        cache: a copy of `t.words` to which this thread alone adds the pieces that it meets.
        max_tokens: how many tokens of a text to use, unknown ones included.
        max_chars: how many characters of a text to use.
        ids: receives the ids; has at least 16 more elements than the texts have bytes.
        ends: `(n_texts,)` receives the end of each text's ids.
        status: `(n_texts,)` receives DONE, FALLBACK (for the library), or NEEDS_PAGE + 8 * page (repeat with
            that page). A text that is not DONE has no ids.

    Returns:
        The number of texts that are not done.
    """
    word, keys, pending = np.empty(_WORD_BYTES, np.uint8), np.empty(4, np.uint64), 0
    status[:] = DONE
    c = START
    while True:
        c = known_pieces(data, offsets, valid, c, t, cache, word, max_tokens, max_chars, ids, ends)
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
            remember(cache, keys[0], keys[1], keys[2], keys[3], c.piece, ids, c.p, p - unknown)
        p = min(p, c.begin + max(max_tokens - c.unknown - unknown, 0))
        c = Cursor(c.row, after, c.end, c.begin, p, c.unknown + unknown, 0)
