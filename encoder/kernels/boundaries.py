"""Where a tokenizer is certain to cut a text: pieces whose ids do not depend on what stands around.

A piece is plain, and then it is exactly one pre-token of characters that the normaliser leaves alone; or it
is opaque, and then it ends where a pre-token ends, before a space, and `tokenizers` has to say what is in it.
What a character is, is read from tables of 256 code points (`encoder.tokenizer.characters`).
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

# What a character is; DOUBT is added to one that may change with its neighbours.
OTHER, LETTER, NUMBER, SPACE, MARK, DOUBT = 0, 1, 2, 3, 4, 8
BROKEN, NEED = 16, 32  # no UTF-8; the page (a page is 256 code points) has to be asked for: NEED + page
_APOSTROPHE, _BLANK = 0x27, 0x20


@njit(nogil=True, cache=True, inner=True)
def _kind(data: Any, i: int, e: int, page_of: Any, pages: Any) -> tuple[Any, Any]:
    """What the character at byte i is, and where the next one begins."""
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
    """Where a run of characters of one kind ends, at most so many of them; and what is wrong there, or 0."""
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
    """Bytes of 's 't 'm 'd 're 've 'll at an apostrophe, or 0."""
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
    """The next certain border: before a space that does not follow white space."""
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
    r"""White space: `\s*[\r\n]+` (where it counts), then `\s+(?!\S)`, then `\s+`."""
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
def _plain_regex(  # noqa: PLR0911 - one for each way a pre-token can be
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
    if (
        newer and c == OTHER
    ) or c == SPACE:  # what may stand before letters, or before anything if it is a blank
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
def after_ascii(data: Any, i: int, e: int, ascii_: Any, regex: int, digits: int) -> Any:  # noqa: PLR0911 - as above
    """The end of a plain piece where that is simple to say, as for most of ASCII; otherwise i.

    Args:
        data: UTF-8 bytes.
        i: where the piece begins.
        e: where the text ends.
        ascii_: `(256,)` uint8, what each byte is; DOUBT for what is not ASCII.
        regex: 0 as `after_spaces`, 1 and 2 as `after_regex`.
        digits: how many digits stay together.
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
    r"""The end of the pre-token at byte i, by the pattern of GPT-2 or by its successors'.

    GPT-2 (`newer` False): `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
    Newer: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|`
    `\s*[\r\n]+|\s+(?!\S)|\s+`.

    Args:
        data: UTF-8 bytes.
        i: where the pre-token begins.
        e: where the text ends.
        lead: whether a space is to be thought before it, which only GPT-2's may have; what begins with white
            space is no business of this function then.
        newer: which of the two.
        digits: how many digits stay together.
        page_of: `(4352,)` int32, row of `pages` for each 256 code points, or -1.
        pages: `(n_pages, 256)` uint8, what each character is.

    Returns:
        Behind its last byte, and 0 for a plain one, DOUBT for an opaque one, or BROKEN or NEED + page.
    """
    j, wrong = _plain_regex(data, i, e, lead, newer, digits, page_of, pages)
    if wrong == 0 and j < e and data[j] >= 0x80:  # what comes may change what is before it
        c, _ = _kind(data, j, e, page_of, pages)
        wrong = c if c >= DOUBT else 0
    if wrong == 0 or wrong >= BROKEN:
        return j, wrong
    return _after_opaque(data, i, e, page_of, pages)


@njit(nogil=True, cache=True, inner=True)
def after_spaces(data: Any, i: int, e: int, blanks: int, page_of: Any, pages: Any) -> tuple[Any, Any]:
    """The end of the piece at byte i: before the next blank behind what is surely there and no white space.

    Args:
        data: UTF-8 bytes.
        i: where the piece begins.
        e: where the text ends.
        blanks: 0 where several blanks before a plain piece make it opaque.
        page_of: as in `after_regex`.
        pages: what each character is: LETTER is one that stays as it is, NUMBER becomes something else that
            holds no white space, MARK goes with what is before it, SPACE is anything else. A blank is SPACE.

    Returns:
        As `after_regex`; plain is at most one blank, or some, and then only letters, at least one.
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
                c, _ = _kind(data, i + 1, e, page_of, pages)  # a mark may make one character with the blank
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
