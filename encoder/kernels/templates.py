"""Words of texts, and the templates that they match.

A text is cut at white space and at the signs `=,;:()[]{}"'|<>`, and at two dots or more. A word is a variable
if it holds a digit or a mask's token such as `<ip>`, has two dots or more inside (a host, a package), is the
value behind `=`, is quoted (`"`), or is long. Variables that follow each other are one. So a text is a
sequence of hashes, `VARIABLE` among them, and a template is such a sequence too: its variables match any
word.

A sequence has a key, the sum of its hashes mixed with their places: a word can be exchanged for a variable
without looking at the others. Templates are found by their keys.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit
from encoder.kernels.masks.characters import begins_token

__all__ = ["MOST_WORDS", "VARIABLE", "fill_slots", "hash_rows", "match", "sequences"]

MOST_WORDS = 64
"""The words of a text that are looked at, from its beginning."""

_LONGEST = 64  # bytes of a word
_ODD = 0x9E3779B97F4A7C15
VARIABLE = np.uint64(0x2A)
"""The hash of a variable; those of words are odd."""

_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
_PLACES = np.array([(k + 1) * _ODD % 2**64 for k in range(MOST_WORDS + 1)], np.uint64)
_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a
_ONE, _SHIFT = np.uint64(1), np.uint64(32)
_SPACE, _SIGN, _DIGIT, _INSIDE = 1, 2, 4, 8
_EQUALS, _QUOTE, _DOT, _LESS, _GREATER = b'=".<>'


def _classes() -> Any:
    found = np.zeros(256, np.uint8)
    for code in range(256):
        char = chr(code)
        found[code] |= _SPACE * (code <= 0x20)
        found[code] |= _SIGN * (char in "=,;:()[]{}\"'|<>")
        found[code] |= _DIGIT * ("0" <= char <= "9")
        found[code] |= _INSIDE * (code >= 0x80 or char == "_" or char.isalnum())
    found.flags.writeable = False
    return found


_classes_of = _classes()


@njit(nogil=True, cache=True, inner=True)
def _placed(word: Any, place: Any) -> Any:
    mixed = (word ^ _PLACES[place]) * _MULTIPLIER
    return mixed ^ (mixed >> _SHIFT)


@njit(nogil=True, cache=True, inner=True)
def _hash_of(hashed: Any) -> Any:
    """The hash of a word from that of its bytes."""
    return (hashed ^ (hashed >> _SHIFT)) | _ONE


@njit(nogil=True, cache=True, inner=True)
def _quote_end(data: Any, i: int, e: int) -> int:
    """The end of what is quoted from byte i on, or -1."""
    for k in range(i + 1, e):
        if data[k] == _QUOTE:
            return k + 1
    return -1


@njit(nogil=True, cache=True, inner=True)
def _word(data: Any, i: int, e: int) -> tuple[Any, int]:
    """The hash of the word at byte i, and its end."""
    hashed, dots, variable = _BASIS, 0, False
    k = i
    while k < e:
        found = _classes_of[data[k]]
        if found & (_SPACE | _SIGN):
            if not begins_token(data, k, e):
                break
            variable = True
            while data[k] != _GREATER:
                k += 1
        elif data[k] == _DOT and k + 1 < e:
            if data[k + 1] == _DOT:
                break
            inside = k > i and _classes_of[data[k - 1]] & _INSIDE and _classes_of[data[k + 1]] & _INSIDE
            dots += 1 if inside else 0
        elif found & _DIGIT:
            variable = True
        hashed = (hashed ^ np.uint64(data[k])) * _PRIME
        k += 1
    if variable or dots > 1 or k - i > _LONGEST:
        return VARIABLE, k
    return _hash_of(hashed), k


@njit(nogil=True, cache=True, inner=True)
def _words(data: Any, s: int, e: int, words: Any, first: Any, last: Any) -> int:
    """The number of words of a text, up to `MOST_WORDS`; their hashes, first bytes and ends."""
    n, i = 0, s
    equals, quoted = -1, True
    while i < e:
        found = _classes_of[data[i]]
        if found & _SPACE:
            i += 1
            continue
        word, stop = VARIABLE, -1
        if data[i] == _QUOTE and quoted:
            stop = _quote_end(data, i, e)
            quoted = stop > 0
        dots = data[i] == _DOT and i + 1 < e and data[i + 1] == _DOT
        if stop < 0 and (dots or (found & _SIGN and not begins_token(data, i, e))):
            equals = i + 1 if data[i] == _EQUALS else -1
            i += 1
            while dots and i < e and data[i] == _DOT:
                i += 1
            continue
        if stop < 0:
            word, stop = _word(data, i, e)
        if equals == i or (equals > 0 and (stop == e or data[stop] != _EQUALS)):  # not `a= b=1`
            word = VARIABLE
        equals = -1
        if n and word == VARIABLE and words[n - 1] == VARIABLE:
            last[n - 1] = stop
        elif n == MOST_WORDS:
            break
        else:
            words[n], first[n], last[n] = word, i, stop
            n += 1
        i = stop
    return n


@njit(nogil=True, cache=True, inner=True)
def _key(words: Any, n: Any) -> Any:
    key = _PLACES[n]
    for k in range(n):
        key += _placed(words[k], k)
    return key


@njit(nogil=True, cache=True)
def sequences(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    words: NDArray[np.uint64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    keys: NDArray[np.uint64],
    counts: NDArray[np.int64],
) -> None:
    """Cut texts into words.

    Args:
        data: the UTF-8 of all texts.
        offsets: `(n_texts + 1,)`: text r is the bytes `offsets[r]` to `offsets[r + 1]`.
        words: `(n_texts, MOST_WORDS)`, gets the hashes of each text's words.
        first: `(n_texts, MOST_WORDS)`, gets the first byte of each word.
        last: `(n_texts, MOST_WORDS)`, gets the end of each word.
        keys: `(n_texts,)`, gets the key of each text.
        counts: `(n_texts,)`, gets the number of each text's words.
    """
    for row in range(len(offsets) - 1):
        n = _words(data, offsets[row], offsets[row + 1], words[row], first[row], last[row])
        counts[row], keys[row] = n, _key(words[row], n)


@njit(nogil=True, cache=True)
def hash_rows(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], words: NDArray[np.uint64], ends: NDArray[np.int64]
) -> int:
    """Hash the words of sequences that are written with one space between words and `<*>` for variables.

    Args:
        data: the UTF-8 of all sequences.
        offsets: `(n + 1,)`: sequence r is the bytes `offsets[r]` to `offsets[r + 1]`.
        words: gets the hashes of all words, with room for one a byte.
        ends: `(n + 1,)`, gets where the hashes of each sequence begin, and where the last one ends.

    Returns:
        The number of words.
    """
    total = 0
    ends[0] = 0
    for row in range(len(offsets) - 1):
        i, e = offsets[row], offsets[row + 1]
        while i < e:
            stop, hashed = i, _BASIS
            while stop < e and data[stop] != 0x20:
                hashed = (hashed ^ np.uint64(data[stop])) * _PRIME
                stop += 1
            variable = stop == i + 3 and data[i] == _LESS and data[i + 1] == 0x2A and data[i + 2] == _GREATER
            words[total] = VARIABLE if variable else _hash_of(hashed)
            total += 1
            i = stop + 1
        ends[row + 1] = total
    return total


@njit(nogil=True, cache=True, inner=True)
def _slot_of(key: Any, slot_keys: Any, slots: Any) -> Any:
    """The slot of a key, or the free one where it belongs."""
    mask = len(slots) - 1
    slot = np.int64(key >> _SHIFT) & mask
    while slots[slot] >= 0 and slot_keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(nogil=True, cache=True)
def fill_slots(
    words: NDArray[np.uint64],
    ends: NDArray[np.int64],
    slot_keys: NDArray[np.uint64],
    slots: NDArray[np.int32],
    keys: NDArray[np.uint64],
) -> None:
    """Make the table that finds templates by their keys.

    Args:
        words: the hashes of all templates' words.
        ends: `(n_rows + 1,)`: template r has the words `ends[r]` to `ends[r + 1]`.
        slot_keys: a power of two, at least twice as many as templates; gets their keys.
        slots: of the same size, minus ones; gets the templates. Of equal ones the first is found.
        keys: `(n_rows,)`, gets the key of each template.
    """
    for row in range(len(ends) - 1):
        key = _key(words[ends[row] : ends[row + 1]], ends[row + 1] - ends[row])
        keys[row] = key
        slot = _slot_of(key, slot_keys, slots)
        if slots[slot] < 0:
            slots[slot], slot_keys[slot] = row, key


@njit(nogil=True, cache=True, inner=True)
def _exactly(words: Any, n: Any, slot_keys: Any, slots: Any, patterns: Any, begin: Any) -> Any:
    """The template that a text matches in each word, or -1."""
    key, variables = _PLACES[n], np.uint64(0)
    for k in range(n):
        key += _placed(words[k], k)
        if words[k] == VARIABLE:
            variables |= _ONE << np.uint64(k)
    row = slots[_slot_of(key, slot_keys, slots)]  # free ones hold -1
    for one in range(begin[n], begin[n + 1]):
        if row >= 0:
            break
        pattern = patterns[one]
        if pattern & ~variables:
            other = key
            for k in range(n):
                if pattern >> np.uint64(k) & _ONE:
                    other += _placed(VARIABLE, k) - _placed(words[k], k)
            row = slots[_slot_of(other, slot_keys, slots)]
    return row


@njit(nogil=True, cache=True, inner=True)
def _nearly(words: Any, n: Any, templates: Any, ends: Any, begin: Any) -> tuple[Any, Any]:
    """The template of as many words that shares most of its fixed words with a text, and their share."""
    best, row = np.float32(0), np.int32(-1)
    for one in range(begin[n], begin[n + 1]):
        fixed, equal = 0, 0
        for k in range(n):
            word = templates[ends[one] + k]
            if word != VARIABLE:
                fixed += 1
                equal += word == words[k]
        if equal > best * fixed:
            best, row = np.float32(equal / fixed), np.int32(one)
    return row, best


@njit(nogil=True, cache=True)
def match(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    slot_keys: NDArray[np.uint64],
    slots: NDArray[np.int32],
    patterns: NDArray[np.uint64],
    pattern_begins: NDArray[np.int64],
    templates: NDArray[np.uint64],
    ends: NDArray[np.int64],
    begins: NDArray[np.int64],
    scratch: tuple[Any, Any, Any],
    rows: NDArray[np.int32],
    similarity: NDArray[np.float32],
) -> None:
    """Find the template of each text.

    Args:
        data: the UTF-8 of all texts.
        offsets: `(n_texts + 1,)`: text r is the bytes `offsets[r]` to `offsets[r + 1]`.
        slot_keys: from `fill_slots`.
        slots: from `fill_slots`.
        patterns: the places of variables as bits, of all templates that have words besides them.
        pattern_begins: `(MOST_WORDS + 2,)`: templates of n words have the patterns from `pattern_begins[n]`
            to `pattern_begins[n + 1]`, which are tried in this order.
        templates: the hashes of all templates' words, ascending by their number.
        ends: `(n_rows + 1,)`: template r has the words `ends[r]` to `ends[r + 1]`.
        begins: `(MOST_WORDS + 2,)`: templates `begins[n]` to `begins[n + 1]` have n words.
        scratch: three arrays of `(MOST_WORDS,)`: uint64, int64, int64.
        rows: `(n_texts,)`, gets the template, or -1 if none shares a word.
        similarity: `(n_texts,)`, gets 1 if all words match, else the share of the template's words besides
            variables that stand in the text at the same place; 0 without a template.
    """
    words, first, last = scratch
    for text in range(len(offsets) - 1):
        n = _words(data, offsets[text], offsets[text + 1], words, first, last)
        row, found = np.int32(-1), np.float32(0)
        if n:
            row = _exactly(words, n, slot_keys, slots, patterns, pattern_begins)
            found = np.float32(1)
        if row < 0:
            row, found = _nearly(words, n, templates, ends, begins)
        rows[text], similarity[text] = row, found
