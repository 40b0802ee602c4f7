"""Print the tables of `millstream.js` that say what BERT's tokenizer does with each character.

The tables come from `tokenizers` itself, since its Unicode data is of several versions and no JavaScript
engine has the same. Run it after an upgrade of `tokenizers`, and put the output at the end of the module:

    python deploy/browser/unicode_tables.py
"""

import unicodedata
from collections.abc import Container, Iterable, Iterator
from itertools import groupby, pairwise

from tokenizers import normalizers, pre_tokenizers

_SURROGATES = range(0xD800, 0xE000)
_DIGITS = "abcdefghijklmnopqrstuvwxyz"
_MARKS = "\u0334\u0316\u0301\u0345"  # of the combining classes 1, 220, 230 and 240
_WIDTH = 116


def _letters(number: int) -> str:
    """A number of base 26, whose last digit is a capital, so that numbers need nothing between them."""
    sign, number, digits = "-" * (number < 0), abs(number), ""
    while number or not digits:
        number, digit = divmod(number, len(_DIGITS))
        digits = (_DIGITS[digit] if digits else _DIGITS[digit].upper()) + digits
    return sign + digits


def _ranges(codes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The first and the last code point of each run."""
    first = last = -2
    for code in sorted(codes):
        if code != last + 1:
            if last >= 0:
                yield first, last
            first = code
        last = code
    yield first, last


def _is_known(code: int) -> bool:
    """Whether Unicode 14 had the character, the oldest version that an engine may have.

    Decomposition and lower case never change, and no character that newer Pythons know besides matters here.
    """
    return unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")


def _with_stable(codes: list[int], others: Container[int] = ()) -> list[int]:
    """The code points, and the gaps between them with known characters or `others`, for a shorter table."""
    runs = list(_ranges(codes))
    gaps = [range(last + 1, first) for (_, last), (first, _) in pairwise(runs)]
    stable = [gap for gap in gaps if all(_is_known(code) or code in others for code in gap)]
    return [*codes, *(code for gap in stable for code in gap)]


def _packed(codes: Iterable[int]) -> list[str]:
    """For each run, the distance from the end of the run before, and its length less one."""
    before, words = 0, []
    for first, last in _ranges(codes):
        words += [_letters(first - before), _letters(last - first)]
        before = last
    return words


def _packed_lower(lower: dict[int, int]) -> list[str]:
    """For each run: distance from the start of the run before, length, distance of the lower case."""
    before, words = 0, []
    for distance, run in groupby(sorted(lower), key=lambda code: lower[code] - code):
        for first, last in _ranges(run):
            words += [_letters(number) for number in (first - before, last - first + 1, distance)]
            before = first
    return words


def _literal(name: str, words: list[str], function: str = "characters") -> str:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > _WIDTH:
            lines.append("")
        lines[-1] += word
    return f"const {name} = {function}(`\n" + "\n".join(lines) + "`);"


def tables() -> str:
    """The tables as JavaScript."""
    clean, _, accents, lowercase = (
        normalizers.BertNormalizer(*(k == on for k in range(4))) for on in range(4)
    )
    nfd, splitter = normalizers.NFD(), pre_tokenizers.BertPreTokenizer()
    removed, marks, moving, capitals, punctuation, lower = [], set(), [], [], [], {}
    for code in range(0x110000):
        if code in _SURROGATES:
            continue
        char = chr(code)
        form, small = nfd.normalize_str(char), lowercase.normalize_str(char)
        if not clean.normalize_str(char):
            removed.append(code)
        if not accents.normalize_str(char):
            marks.add(code)
        moves = (nfd.normalize_str(a) for mark in _MARKS for a in (mark + char, char + mark))
        kept = (a for mark in _MARKS for a in (mark + form, form + mark))
        if code not in marks and (form != char or any(a != b for a, b in zip(moves, kept, strict=True))):
            moving.append(code)
        if [piece for piece, _ in splitter.pre_tokenize_str(f"a{char}a")] == ["a", char, "a"]:
            punctuation.append(code)
        if small != char and _is_known(code):
            capitals.append(code)
        elif small != char:
            lower[code] = ord(small)
    sets = {
        "CONTROL": removed,
        "ACCENT": marks,
        "MOVING": _with_stable(moving, marks),  # besides the accents
        "CAPITAL": _with_stable(capitals),
        "PUNCTUATION": punctuation,
    }
    literals = [_literal(name, _packed(codes)) for name, codes in sets.items()]
    return "\n".join([*literals, _literal("LOWER", _packed_lower(lower), "lowerCase")])


if __name__ == "__main__":
    print(tables())
