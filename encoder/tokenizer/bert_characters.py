"""What BERT's normaliser and pre-tokeniser make of characters, asked of the tokenizer itself."""

import unicodedata
from collections.abc import Sequence
from typing import Any

from encoder.kernels.wordpiece import ISOLATED, MULTIBYTE, REMOVED, SPACE, UNSURE

__all__ = ["classify"]

_BORDER = "|"  # no normaliser changes it, or marks behind it


def classify(chars: Sequence[str], normalizer: Any, splitter: Any) -> list[tuple[int, str]]:
    """The kind of each character and, for a part of a word or one that stands alone, its normalised form.

    All are shown at once, with characters between them that keep them apart, which is sooner done than
    showing each by itself.

    Args:
        chars: characters, not the border itself among several.
        normalizer: of `tokenizers`.
        splitter: the pre-tokeniser, likewise.
    """
    forms = normalizer.normalize_str(_BORDER.join(chars)).split(_BORDER) if len(chars) > 1 else []
    if len(forms) != len(chars):  # a character became the border, or is it
        forms = [normalizer.normalize_str(char) for char in chars]
    groups: list[list[str]] = []
    for piece, _ in splitter.pre_tokenize_str(" ".join(f"{_BORDER}a{form}a" for form in forms)):
        if piece == _BORDER:
            groups.append([])
        else:
            groups[-1].append(piece)
    if len(groups) != len(forms):
        groups = [[piece for piece, _ in splitter.pre_tokenize_str(f"a{form}a")] for form in forms]
    return [_kind(form, pieces) for form, pieces in zip(forms, groups, strict=True)]


def _kind(form: str, pieces: list[str]) -> tuple[int, str]:
    if not form:
        return REMOVED, ""
    # Marks are put into canonical order when accents are stripped, so these depend on their neighbours.
    if any(unicodedata.combining(c) or unicodedata.category(c) == "Cn" for c in form):
        return UNSURE, ""
    text = form.strip()
    if pieces == [f"a{form}a"]:
        return MULTIBYTE, form
    if pieces == ["a", "a"]:
        return SPACE, ""
    if pieces == ["a", text, "a"] and len(text) == 1:
        return ISOLATED, text
    return UNSURE, ""
