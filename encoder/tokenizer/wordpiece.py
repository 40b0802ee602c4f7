"""The tables of the WordPiece kernel, extended as texts need new characters.

BERT (Devlin et al. 2019) decides which characters are removed, split at, lowercased or stripped of accents,
and that changes with Unicode's version. So this module asks the tokenizer's own normaliser and pre-tokeniser
about each character, 256 code points (a page) at a time, when a text first needs them.
"""

import json
import string
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from encoder.kernels.wordpiece.tokenise import (
    ISOLATED,
    MULTIBYTE,
    REMOVED,
    SPACE,
    UNSURE,
    WordPieceTables,
)
from encoder.kernels.wordpiece.words import Words
from encoder.tokenizer.tables import TokenizerTables

__all__ = ["WordPieceCompiler"]

_ASCII = 128
_PAGE = 256
_LAST_CODE_POINT = 0x110000
_SURROGATES = range(0xD800, 0xE000)
_SEPARATOR = "|"  # normalisers change neither it nor marks after it


def _without_vocabulary(spec: dict[str, Any]) -> Tokenizer:
    """The tokenizer without its vocabulary, whose loading takes a tenth of a second."""
    model = {**spec["model"], "vocab": {}}
    return Tokenizer.from_str(
        json.dumps({**spec, "model": model, "added_tokens": [], "post_processor": None})
    )


class WordPieceCompiler:
    """Builds `WordPieceTables` and adds the pages that texts need.

    `tables` is replaced and never changed, so a thread may keep using the object that it holds.
    """

    def __init__(self, spec: dict[str, Any], tables: TokenizerTables) -> None:
        """Start with a parsed `tokenizer.json` and its compiled tables."""
        tokenizer = _without_vocabulary(spec)
        self._normalizer = tokenizer.normalizer
        self._splitter = tokenizer.pre_tokenizer
        self._vocabulary: dict[str, int] = spec["model"]["vocab"]
        vocabulary = self._vocabulary
        max_word_chars: int = spec["model"]["max_input_chars_per_word"]
        for array in tables.arrays.values():
            array.flags.writeable = False  # as a memory map is: Numba compiles another variant for others
        added = sorted(token["content"] for token in spec.get("added_tokens", []))
        ascii_table, isolated = self._ascii(vocabulary)
        lower = bool(ascii_table[ord("A")] == ord("a"))
        self.tables = WordPieceTables(
            ascii=ascii_table,
            isolated=isolated,
            page_of=np.full(_LAST_CODE_POINT // _PAGE, -1, np.int32),
            pages=np.zeros((0, _PAGE), np.int32),
            runs=np.zeros((0, 4), np.int32),
            run_bytes=np.zeros(0, np.uint8),
            cells=tables.arrays["cells"],
            words=Words(tables.arrays["short"], tables.arrays["long"], tables.arrays["used"]),
            added=_padded([token.encode() for token in added]),
            added_first=np.isin(np.arange(256), [ord(token[0]) for token in added]),
            added_second=_second_bytes(added),
            max_word_chars=max_word_chars,
            plain_ascii=_is_plain(ascii_table),
            lower=lower,
        )

    def add_pages(self, numbers: set[int]) -> None:
        """Add the code points of these pages.

        There is no lock, because a fork could leave it locked: if two threads add pages at once, one may
        undo the other's work, and the kernel asks again.
        """
        for number in sorted(numbers):
            if self.tables.page_of[number] < 0:
                self.tables = self._with_page(self.tables, number)

    def _with_page(self, old: WordPieceTables, number: int) -> WordPieceTables:
        page = np.full(_PAGE, UNSURE, np.int32)
        runs: list[tuple[int, int, int, int]] = []
        run_bytes = bytearray()
        codes = range(max(number * _PAGE, _ASCII), (number + 1) * _PAGE)
        chars = [chr(code) for code in codes if code not in _SURROGATES]
        for char, (kind, text) in zip(chars, _classify(chars, self._normalizer, self._splitter), strict=True):
            low = ord(char) % _PAGE
            if kind in (SPACE, REMOVED):
                page[low] = kind
            elif kind != UNSURE:
                encoded = text.encode()
                page[low] = 8 + len(old.runs) + len(runs)
                first = len(old.run_bytes) + len(run_bytes)
                alone = 2 + self._vocabulary.get(text, -1) if kind == ISOLATED else 0
                runs.append((first, len(encoded), len(text), alone))
                run_bytes += encoded
        page_of = old.page_of.copy()
        page_of[number] = len(old.pages)
        return old._replace(
            page_of=page_of,
            pages=np.vstack([old.pages, page]),
            runs=np.vstack([old.runs, np.array(runs, np.int32).reshape(-1, 4)]),
            run_bytes=np.concatenate([old.run_bytes, np.frombuffer(run_bytes, np.uint8)]),
        )

    def _ascii(self, vocabulary: dict[str, int]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        table = np.full(256, MULTIBYTE, np.uint8)
        isolated = np.full(_ASCII, -1, np.int32)
        for code in range(_ASCII):
            # One by one, because the separator is among them.
            [(kind, text)] = _classify([chr(code)], self._normalizer, self._splitter)
            table[code] = ord(text) if kind == MULTIBYTE else kind
            if kind == ISOLATED:
                isolated[code] = vocabulary.get(text, -1)
        return table, isolated


def _is_plain(table: NDArray[np.uint8]) -> bool:
    """Whether ASCII characters have the classes that `encoder.kernels.intrinsics.classes` assumes."""
    kinds = dict(enumerate(table[:_ASCII].tolist()))
    expected = {
        **dict.fromkeys(range(_ASCII), REMOVED),
        **dict.fromkeys(b"\t\n\r ", SPACE),
        **dict.fromkeys(string.punctuation.encode(), ISOLATED),
    }
    alphanumeric = (string.ascii_letters + string.digits).encode()
    folded = dict(zip(alphanumeric, alphanumeric.lower(), strict=True))
    return kinds in (expected | dict(zip(alphanumeric, alphanumeric, strict=True)), expected | folded)


def _second_bytes(added: list[str]) -> NDArray[np.bool_]:
    """The second bytes of added tokens; all bytes, if a token is a single byte."""
    seconds = [ord(token[1]) for token in added if len(token) > 1]
    return np.isin(np.arange(256), seconds) | any(len(token) == 1 for token in added)


def _padded(texts: list[bytes]) -> NDArray[np.uint8]:
    """One row per text, padded with zeros."""
    width = max((len(text) for text in texts), default=1)
    return np.array([list(text.ljust(width, b"\0")) for text in texts], np.uint8).reshape(-1, width)


def _classify(chars: Sequence[str], normalizer: Any, splitter: Any) -> list[tuple[int, str]]:
    """The kind of each character and, for parts of words and isolated characters, its normalised form.

    All characters are classified in one call, separated by `|`, which is faster than one by one.

    Args:
        chars: one character, or several without the separator.
        normalizer: the normaliser, of `tokenizers`.
        splitter: the pre-tokeniser, of `tokenizers`.
    """
    forms = normalizer.normalize_str(_SEPARATOR.join(chars)).split(_SEPARATOR) if len(chars) > 1 else []
    if len(forms) != len(chars):  # a character became the separator, or is it
        forms = [normalizer.normalize_str(char) for char in chars]
    groups: list[list[str]] = []
    for piece, _ in splitter.pre_tokenize_str(" ".join(f"{_SEPARATOR}a{form}a" for form in forms)):
        if piece == _SEPARATOR:
            groups.append([])
        else:
            groups[-1].append(piece)
    if len(groups) != len(forms):
        groups = [[piece for piece, _ in splitter.pre_tokenize_str(f"a{form}a")] for form in forms]
    return [_kind(form, pieces) for form, pieces in zip(forms, groups, strict=True)]


def _kind(form: str, pieces: list[str]) -> tuple[int, str]:
    if not form:
        return REMOVED, ""
    # Stripping accents sorts marks into canonical order, so they depend on their neighbours.
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
