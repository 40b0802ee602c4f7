"""The tables of the WordPiece kernel, asked of the tokenizer itself.

Which characters are removed, split at, lowered or stripped of accents is BERT's business (Devlin et al. 2019)
and changes with Unicode's version, so it is not written down here: each character is shown once to the
tokenizer's own normaliser and pre-tokeniser, 256 code points at a time, when a text first needs them.
"""

import string
import threading
import unicodedata
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from encoder.kernels.trie import place_trie
from encoder.kernels.wordpiece import (
    ISOLATED,
    MULTIBYTE,
    REMOVED,
    SPACE,
    UNSURE,
    WordPieceTables,
)
from encoder.kernels.words import ADDED, LONG_BYTES, SHORT_SLOT, Words, find, remember
from encoder.tokenizer.memo import new_words

__all__ = ["WordPieceCompiler", "is_wordpiece"]

_ASCII = 128
_PAGE = 256
_LAST_CODE_POINT = 0x110000
_SURROGATES = range(0xD800, 0xE000)
_WORD_CHARS = 128  # of up to 4 bytes each
_PUNCTUATION = frozenset(string.punctuation)


def is_wordpiece(spec: dict[str, Any]) -> bool:
    """Whether a parsed `tokenizer.json` is one that the kernel does exactly.

    That is BERT's normaliser, pre-tokeniser and WordPiece, where

    - control characters are removed, so that no word holds a NUL;
    - the prefix of continuing pieces and the unknown token begin with an ASCII character that BERT splits at,
      so that no word of a text is taken for them;
    - every added token is matched in the text as it stands (not normalised) and begins with such a character;
    - a word of the longest length fits into the kernel's room for one.
    """
    model, normalizer, splitter = (spec.get(part) or {} for part in ("model", "normalizer", "pre_tokenizer"))
    prefix, unknown = model.get("continuing_subword_prefix", ""), model.get("unk_token", "")
    return bool(
        model.get("type") == "WordPiece"
        and normalizer.get("type") == "BertNormalizer"
        and normalizer.get("clean_text")
        and splitter.get("type") == "BertPreTokenizer"
        and 1 <= model.get("max_input_chars_per_word", 0) <= _WORD_CHARS
        and _is_split_at(prefix)
        and _is_split_at(unknown)
        and len(unknown) > 1
        and not unknown.startswith(prefix)
        and all(
            not token["normalized"] and token["content"].isascii() and _is_split_at(token["content"])
            for token in spec.get("added_tokens", [])
        )
    )


def _is_split_at(text: str) -> bool:
    """Whether the text begins with ASCII punctuation."""
    return text[:1] in _PUNCTUATION


class WordPieceCompiler:
    """Builds `WordPieceTables` and extends them by the pages that texts need.

    `tables` is replaced, never changed, so a thread that holds it can go on with it.
    """

    def __init__(self, tokenizer: Tokenizer, spec: dict[str, Any]) -> None:
        self._normalizer = tokenizer.normalizer
        self._splitter = tokenizer.pre_tokenizer
        self._lock = threading.Lock()
        vocabulary: dict[str, int] = spec["model"]["vocab"]
        prefix: str = spec["model"]["continuing_subword_prefix"]
        max_word_chars: int = spec["model"]["max_input_chars_per_word"]
        cells = _trie(vocabulary, prefix)
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
            cells=cells,
            words=_words(
                vocabulary, prefix, max_word_chars, {token[:1].encode() for token in added}, lower=lower
            ),
            added=_padded([token.encode() for token in added]),
            added_first=np.isin(np.arange(256), [ord(token[0]) for token in added]),
            added_second=_second_bytes(added),
            max_word_chars=max_word_chars,
            plain_ascii=_is_plain(ascii_table),
            lower=lower,
        )

    def add_pages(self, numbers: set[int]) -> None:
        """Ask for the code points of these pages (a page is 256 code points)."""
        with self._lock:
            for number in sorted(numbers):
                if self.tables.page_of[number] < 0:
                    self.tables = self._with_page(self.tables, number)

    def _with_page(self, old: WordPieceTables, number: int) -> WordPieceTables:
        page = np.full(_PAGE, UNSURE, np.int32)
        runs: list[tuple[int, int, int, int]] = []
        run_bytes = bytearray()
        for low in range(_PAGE):
            code = number * _PAGE + low
            if code < _ASCII or code in _SURROGATES:
                continue
            kind, text = self._ask(chr(code))
            if kind in (SPACE, REMOVED):
                page[low] = kind
            elif kind != UNSURE:
                encoded = text.encode()
                page[low] = 8 + len(old.runs) + len(runs)
                first = len(old.run_bytes) + len(run_bytes)
                runs.append((first, len(encoded), len(text), int(kind == ISOLATED)))
                run_bytes += encoded
        page_of = old.page_of.copy()
        page_of[number] = len(old.pages)
        return old._replace(
            page_of=page_of,
            pages=np.vstack([old.pages, page]),
            runs=np.vstack([old.runs, np.array(runs, np.int32).reshape(-1, 4)]),
            run_bytes=np.concatenate([old.run_bytes, np.frombuffer(run_bytes, np.uint8)]),
        )

    def _ask(self, char: str) -> tuple[int, str]:
        """What the tokenizer makes of one character: its kind and, for words, its normalised form."""
        normalised = self._normalizer.normalize_str(char)
        if not normalised:
            return REMOVED, ""
        # Marks are put into canonical order when accents are stripped, so these depend on their neighbours.
        if any(unicodedata.combining(c) or unicodedata.category(c) == "Cn" for c in normalised):
            return UNSURE, ""
        pieces = [piece for piece, _ in self._splitter.pre_tokenize_str(f"a{normalised}a")]
        text = normalised.strip()
        if pieces == [f"a{normalised}a"]:
            return MULTIBYTE, normalised
        if pieces == ["a", "a"]:
            return SPACE, ""
        if pieces == ["a", text, "a"] and len(text) == 1:
            return ISOLATED, text
        return UNSURE, ""

    def _ascii(self, vocabulary: dict[str, int]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        table = np.full(256, MULTIBYTE, np.uint8)
        isolated = np.full(_ASCII, -1, np.int32)
        for code in range(_ASCII):
            kind, text = self._ask(chr(code))
            table[code] = ord(text) if kind == MULTIBYTE else kind
            if kind == ISOLATED:
                isolated[code] = vocabulary.get(text, -1)
        return table, isolated


def _is_plain(table: NDArray[np.uint8]) -> bool:
    """Whether ASCII is what `encoder.kernels.scan` takes it for."""
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
    """Which bytes stand second in an added token; all, if one is a single byte."""
    seconds = [ord(token[1]) for token in added if len(token) > 1]
    return np.isin(np.arange(256), seconds) | any(len(token) == 1 for token in added)


def _padded(texts: list[bytes]) -> NDArray[np.uint8]:
    """One row a text, padded with zeros."""
    width = max((len(text) for text in texts), default=1)
    return np.array([list(text.ljust(width, b"\0")) for text in texts], np.uint8).reshape(-1, width)


def _words(
    vocabulary: dict[str, int], prefix: str, max_chars: int, added_first: set[bytes], *, lower: bool
) -> Words:
    """Hash tables of the ASCII words that are one token and of punctuation, with room for as many again."""
    ids = {
        token.encode(): i
        for token, i in vocabulary.items()
        if token.isascii() and (token.isalnum() or token in _PUNCTUATION)
        if not token.startswith(prefix) and 0 < len(token) <= min(LONG_BYTES, max_chars)
        if not (lower and token != token.lower())  # no word is, and "A" would be found for "A\0"
    }
    n_slots = 1 << max(12, (3 * len(ids)).bit_length())
    words = new_words(n_slots, n_slots // 4)
    for word, i in ids.items():
        remember(words, _key(word), len(word), np.array([i]), 0, 1)
    for char in added_first & ids.keys():
        slot = find(words.short, SHORT_SLOT, _key(char))
        words.short[slot + np.uint64(2)] = ADDED | ids[char] << 4
    return words


def _key(word: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(word.ljust(LONG_BYTES, b"\0"), "<u8").astype(np.uint64)


def _trie(vocabulary: dict[str, int], prefix: str) -> NDArray[np.int32]:
    """Double-array trie with root 0 for the beginnings of words and root 1 for what continues them."""
    children: list[dict[int, int]] = [{}, {}]
    tokens = [-1, -1]
    for token, i in vocabulary.items():
        inside = token.startswith(prefix) and len(token) > len(prefix)
        node = int(inside)
        for byte in (token[len(prefix) :] if inside else token).encode():
            if byte not in children[node]:
                children[node][byte] = len(children)
                children.append({})
                tokens.append(-1)
            node = children[node][byte]
        tokens[node] = i
    order = [0, 1]
    for node in order:  # breadth first; the list grows while it is read
        order.extend(children[node][byte] for byte in sorted(children[node]))
    edges = [(byte, node[byte]) for node in children for byte in sorted(node)]
    first = np.cumsum([0] + [len(node) for node in children])
    nodes = (
        np.array(order),
        first,
        np.array([byte for byte, _ in edges]),
        np.array([child for _, child in edges]),
        np.array(tokens),
    )
    size = 4 * len(children) + 1024
    while not len(cells := place_trie(*nodes, size)):
        size *= 2
    return cells
