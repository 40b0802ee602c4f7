"""Classify characters by asking the tokenizer itself, 256 code points (a page) at a time."""

import unicodedata

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, pre_tokenizers

from encoder.kernels.subwords.boundaries import DOUBT, LETTER, MARK, NUMBER, OTHER, SPACE
from encoder.tokenizer.recipes import META, Recipe

__all__ = ["page_of_characters"]

_PAGE = 256
_CLASSES = {
    kind: pre_tokenizers.Split(Regex(pattern), "removed")
    for kind, pattern in ((LETTER, r"\p{L}"), (NUMBER, r"\p{N}"), (SPACE, r"\s"))
}
_JAMO = (range(0x1100, 0x1200), range(0xA960, 0xA980), range(0xD7B0, 0xD800))
# Letters that form grapheme clusters with their neighbours (UAX 29): Extend, SpacingMark and Prepend outside
# the categories M and C, emoji modifiers and regional indicators.
_CLUSTERS = (
    *(range(0x0E33, 0x0E34), range(0x0EB3, 0x0EB4), range(0x0D4E, 0x0D4F), range(0xFF9E, 0xFFA0)),
    *(range(0x111C2, 0x111C4), range(0x1193F, 0x11942), range(0x11A00, 0x11B00), range(0x11D00, 0x11E00)),
    *(range(0x11F00, 0x12000), range(0x1F1E6, 0x1F200), range(0x1F3FB, 0x1F400)),
)
_LONG_S = 0x17F  # matches "s" in a pattern that ignores case


def page_of_characters(recipe: Recipe, tokenizer: Tokenizer, replaced: str, number: int) -> NDArray[np.uint8]:
    """The classes of one page's code points, as `encoder.kernels.subwords.boundaries` defines them.

    Args:
        recipe: how the tokenizer is done piece by piece.
        tokenizer: the tokenizer for single pieces.
        replaced: characters that the normaliser may replace together with others.
        number: the page's number: its first code point is `256 * number`.

    Returns:
        `(256,)` uint8.
    """
    codes = range(number * _PAGE, (number + 1) * _PAGE)
    page = np.full(_PAGE, SPACE | DOUBT if recipe.regex else SPACE, np.uint8)
    normalise = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
    for low, code in enumerate(codes):
        char = chr(code)
        if unicodedata.category(char) != "Cs":  # surrogates: no text holds one
            of = _of_regex if recipe.regex else _of_spaces
            page[low] = of(char, normalise(char), replaced, contextual=recipe.contextual)
    return page


def _of_regex(char: str, normalised: str, _replaced: str, *, contextual: bool) -> int:
    kind = next((kind for kind, split in _CLASSES.items() if not split.pre_tokenize_str(char)), OTHER)
    changes = contextual and (normalised != char or _joins(char))
    return kind | DOUBT if changes or ord(char) == _LONG_S else kind


def _of_spaces(char: str, normalised: str, replaced: str, *, contextual: bool) -> int:
    if not normalised or any(c.isspace() or c == META for c in char + normalised):
        return SPACE
    if contextual and not char.isascii():
        if unicodedata.category(char) in ("Mn", "Mc"):
            return MARK
        if _joins(char) or any(ord(char) in cluster for cluster in _CLUSTERS):
            return SPACE
    if contextual and unicodedata.category(char) in ("Cc", "Cf"):
        return SPACE
    return LETTER if normalised == char and char not in replaced else NUMBER


def _joins(char: str) -> bool:
    """Whether normalisation may join the character with others, now or in a later Unicode version."""
    category = unicodedata.category(char)
    return category[0] == "M" or category in ("Cn", "Cf", "Co") or any(ord(char) in jamo for jamo in _JAMO)
