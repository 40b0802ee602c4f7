"""Split a text into pieces whose token ids do not depend on their surroundings.

A plain piece is exactly one pre-token of characters that the normaliser does not change. An opaque piece may
be anything that ends where a pre-token ends, before a space; `tokenizers` has to tokenise it. The classes of
characters come from pages of 256 code points (`encoder.tokenizer.characters`).

Arguments that the functions share: `data`, UTF-8 bytes; `i`, the start of the piece; `e`, the end of the
text; `digits`, how many digits stay together; `page_of`, `(4352,)` int32, the row of `pages` for each page,
or -1 if it is not yet known; `pages`, `(n_pages, 256)` uint8, the class of each character.
"""

from typing import Any

from encoder.kernels.compiled import njit
from encoder.kernels.utf8 import decode

__all__ = [
    "BROKEN",
    "DOUBT",
    "LETTER",
    "MARK",
    "NEED",
    "NUMBER",
    "OTHER",
    "SPACE",
    "after_ascii",
    "after_regex",
    "after_spaces",
]

# The classes of characters; DOUBT is added if a character may change with its neighbours.
OTHER, LETTER, NUMBER, SPACE, MARK, DOUBT = 0, 1, 2, 3, 4, 8
BROKEN, NEED = 16, 32  # not UTF-8; an unknown page: NEED + page
_APOSTROPHE, _BLANK = 0x27, 0x20


@njit(nogil=True, cache=True, inner=True)
def _kind(data: Any, i: int, e: int, page_of: Any, pages: Any) -> tuple[Any, Any]:
    """The class of the character at byte i, and the start of the next one."""
    b = data[i]
    if b < 0x80:
        return int(pages[0, b]), i + 1
    code, after = decode(data, i, e)
    if after < 0:
        return BROKEN, i + 1
    page = page_of[code >> 8]
    if page < 0:
        return NEED + (code >> 8), i + 1
    return int(pages[page, code & 255]), after


@njit(nogil=True, cache=True, inner=True)
def _run(data: Any, i: int, e: int, kind: int, most: int, page_of: Any, pages: Any) -> tuple[Any, Any]:
    """The end of a run of at most `most` characters of one kind; the reason if it ends in doubt, or 0."""
    count, c = 0, 0
    while i < e and count < most:
        c, after = _kind(data, i, e, page_of, pages)
        if c != kind:
            return i, c if c >= DOUBT else 0
        i = after
        count += 1
    return i, 0


@njit(nogil=True, cache=True, inner=True)
def _contraction(data: Any, i: int, e: int, any_case: bool) -> Any:
    """The number of bytes of 's 't 'm 'd 're 've 'll at an apostrophe, or 0."""
    if i + 1 >= e:
        return 0
    fold = 0x20 if any_case else 0
    a = data[i + 1] | fold
    if a in (0x73, 0x74, 0x6D, 0x64):
        return 2
    if i + 2 < e:
        b = data[i + 2] | fold
        if (a == 0x72 and b == 0x65) or (a == 0x76 and b == 0x65) or (a == 0x6C and b == 0x6C):
            return 3
    return 0


@njit(nogil=True, cache=True, inner=True)
def _after_opaque(data: Any, i: int, e: int, page_of: Any, pages: Any) -> tuple[Any, Any]:
    """The next certain boundary: before a space that does not follow white space."""
    solid = False
    while i < e:
        if solid and data[i] == _BLANK:
            return i, DOUBT
        c, i = _kind(data, i, e, page_of, pages)
        if c >= BROKEN:
            return i, c
        solid = (c & 7) != SPACE
    return e, DOUBT


@njit(nogil=True, cache=True, inner=True)
def _after_white(data: Any, i: int, e: int, newlines: bool, page_of: Any, pages: Any) -> tuple[Any, Any]:
    r"""The end of white space: `\s*[\r\n]+` if `newlines`, then `\s+(?!\S)`, then `\s+`."""
    j, last, newline, count = i, i, -1, 0
    while j < e:
        c, after = _kind(data, j, e, page_of, pages)
        if c != SPACE:
            if c >= DOUBT:
                return j, c
            break
        if data[j] == 0x0A or data[j] == 0x0D:
            newline = after
        last = j
        j = after
        count += 1
    if newlines and newline >= 0:
        return newline, 0
    if j < e and count > 1:
        return last, 0
    return j, 0


@njit(nogil=True, cache=True, inner=True)
def _plain_regex(
    data: Any, i: int, e: int, lead: bool, newer: bool, digits: int, page_of: Any, pages: Any
) -> tuple[Any, Any]:
    c, after = _kind(data, i, e, page_of, pages)
    if c >= DOUBT:
        return i, c
    if data[i] == _APOSTROPHE and not lead:
        n = _contraction(data, i, e, newer)
        if n:
            return i + n, 0
    following = OTHER
    if (newer and c == OTHER) or c == SPACE:  # may precede letters, or anything if it is a blank
        if after < e:
            following, _ = _kind(data, after, e, page_of, pages)
            if following >= DOUBT:
                return i, following
        else:
            following = SPACE
    if newer and following == LETTER and c in (OTHER, SPACE) and data[i] != 0x0A and data[i] != 0x0D:
        return _run(data, after, e, LETTER, e, page_of, pages)
    if c == SPACE:
        if data[i] != _BLANK or following == SPACE or (newer and following == NUMBER):
            return _after_white(data, i, e, newer, page_of, pages)
        i, c = after, following
    if c == NUMBER:
        return _run(data, i, e, NUMBER, digits, page_of, pages)
    i, wrong = _run(data, i, e, c, e, page_of, pages)
    if newer and c == OTHER and wrong == 0:
        while i < e and (data[i] == 0x0A or data[i] == 0x0D):
            i += 1
    return i, wrong


@njit(nogil=True, cache=True, inline="always", inner=True)
def after_ascii(data: Any, i: int, e: int, ascii_: Any, regex: int, digits: int) -> Any:
    """The end of a plain piece if it is simple to find, as for most ASCII; otherwise i.

    `ascii_`, `(256,)` uint8, is the class of each byte, DOUBT if it is not ASCII. `regex` is 0 to split as
    `after_spaces`, 1 (GPT-2) or 2 (newer) as `after_regex`.
    """
    j = i
    if regex == 0:
        j += data[j] == _BLANK
        first = j
        while j < e and ascii_[data[j]] == LETTER:
            j += 1
        if j == first or (j < e and (data[j] != _BLANK or (j + 1 < e and data[j + 1] >= 0x80))):
            return i
        return j
    c = ascii_[data[j]]
    if data[j] == _APOSTROPHE or c >= DOUBT:
        return i
    if c == SPACE or (regex == 2 and c == OTHER):
        following = ascii_[data[j + 1]] if j + 1 < e else SPACE
        blank = data[j] == _BLANK
        if following >= DOUBT:
            return i
        if following == LETTER and (blank or (regex == 2 and data[j] != 0x0A and data[j] != 0x0D)):
            j, c = j + 1, following
        elif blank and regex == 2 and following == NUMBER:
            return j + 1
        elif blank and following != SPACE:
            j, c = j + 1, following
        elif c == SPACE:
            return i
    stop = min(e, j + digits) if c == NUMBER else e
    while j < stop and ascii_[data[j]] == c:
        j += 1
    if j < e and (data[j] >= 0x80 or (regex == 2 and c == OTHER and (data[j] == 0x0A or data[j] == 0x0D))):
        return i
    return j


@njit(nogil=True, cache=True, inner=True)
def after_regex(
    data: Any, i: int, e: int, lead: bool, newer: bool, digits: int, page_of: Any, pages: Any
) -> tuple[Any, Any]:
    r"""The end of the pre-token at byte i by the pattern of GPT-2 or its successors.

    GPT-2 (`newer` False): `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
    Newer: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|`
    `\s*[\r\n]+|\s+(?!\S)|\s+`.

    `lead` says whether to assume a space before the pre-token, which is then not white space (GPT-2 only).

    Returns:
        The end, and 0 for a plain piece, DOUBT for an opaque one, BROKEN, or NEED + page.
    """
    j, wrong = _plain_regex(data, i, e, lead, newer, digits, page_of, pages)
    if wrong == 0 and j < e and data[j] >= 0x80:  # the next character may change the piece
        c, _ = _kind(data, j, e, page_of, pages)
        wrong = c if c >= DOUBT else 0
    if wrong == 0 or wrong >= BROKEN:
        return j, wrong
    return _after_opaque(data, i, e, page_of, pages)


@njit(nogil=True, cache=True, inner=True)
def after_spaces(data: Any, i: int, e: int, blanks: int, page_of: Any, pages: Any) -> tuple[Any, Any]:
    """The end of the piece at byte i: before the next blank after a character that certainly stays visible.

    Here LETTER is a character that does not change, NUMBER becomes something without white space, MARK
    belongs to the character before it, and SPACE is anything else, such as a blank. `blanks` is 0 if several
    blanks before a plain piece make it opaque.

    Returns:
        The same as `after_regex`. A plain piece is blanks, at most one unless `blanks`, and then letters.
    """
    plain = True
    if data[i] == _BLANK:
        i += 1
    while blanks and i < e and data[i] == _BLANK:
        i += 1
    solid = False
    while i < e:
        b = data[i]
        if b == _BLANK:
            if solid:
                if i + 1 == e or data[i + 1] < 0x80:
                    break
                c, _ = _kind(data, i + 1, e, page_of, pages)  # a mark may combine with the blank
                if c in (LETTER, NUMBER):
                    break
                if c >= BROKEN:
                    return i, c
            plain = False
            i += 1
            solid = False
            continue
        c, i = _kind(data, i, e, page_of, pages)
        if c >= BROKEN:
            return i, c
        if c == LETTER:
            solid = True
        else:
            plain = False
            if c != MARK:
                solid = c == NUMBER
    return i, 0 if plain and solid else DOUBT
