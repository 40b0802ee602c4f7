"""The tables of the WordPiece kernel, asked of the tokenizer itself.

Which characters are removed, split at, lowered or stripped of accents is BERT's business (Devlin et al. 2019)
and changes with Unicode's version, so it is not written down here: each character is shown once to the
tokenizer's own normaliser and pre-tokeniser, 256 code points at a time, when a text first needs them.
"""

import json
import string
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from encoder.errors import ModelFormatError
from encoder.kernels.trie import place_trie
from encoder.kernels.wordpiece import (
    ISOLATED,
    MULTIBYTE,
    REMOVED,
    SPACE,
    UNSURE,
    WordPieceTables,
)
from encoder.kernels.words import ADDED, LONG_BYTES, SHORT_SLOT, Words, find, remember_tokens
from encoder.tokenizer.bert_characters import classify
from encoder.tokenizer.tables import TokenizerTables
from encoder.tokenizer.word_cache import new_words

__all__ = ["WordPieceCompiler", "compile_vocabulary", "is_wordpiece"]

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


def compile_vocabulary(spec: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays of `WordPieceTables` that the vocabulary decides, by name; they take longest to make."""
    model = spec["model"]
    vocabulary, prefix = model["vocab"], model["continuing_subword_prefix"]
    added_first = {token["content"][:1].encode() for token in spec.get("added_tokens", [])}
    lower = spec["normalizer"]["lowercase"]
    words = _words(vocabulary, prefix, model["max_input_chars_per_word"], added_first, lower=lower)
    return {"cells": _trie(vocabulary, prefix), **words._asdict()}


def _without_vocabulary(spec: dict[str, Any]) -> Tokenizer:
    """The tokenizer's normaliser and pre-tokeniser; to read its vocabulary would take a tenth of a second."""
    model = {**spec["model"], "vocab": {}}
    return Tokenizer.from_str(
        json.dumps({**spec, "model": model, "added_tokens": [], "post_processor": None})
    )


class WordPieceCompiler:
    """Builds `WordPieceTables` and extends them by the pages that texts need.

    `tables` is replaced, never changed, so a thread that holds it can go on with it.
    """

    def __init__(self, spec: dict[str, Any], tables: TokenizerTables) -> None:
        """Begin with a parsed `tokenizer.json` and what was compiled of it."""
        tokenizer = _without_vocabulary(spec)
        self._normalizer = tokenizer.normalizer
        self._splitter = tokenizer.pre_tokenizer
        self._vocabulary: dict[str, int] = spec["model"]["vocab"]
        vocabulary = self._vocabulary
        max_word_chars: int = spec["model"]["max_input_chars_per_word"]
        if max(vocabulary.values(), default=-1) >= tables.n_tokens:
            raise ModelFormatError("the compiled tokenizer is not that of tokenizer.json: remove its file")
        for array in tables.arrays.values():
            array.flags.writeable = False  # as a memory map is: Numba compiles anew for arrays to write to
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
        """Ask for the code points of these pages (a page is 256 code points).

        There is no lock, which a fork could leave locked: of two threads that learn at once one may undo
        what the other did, and the other asks again.
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
        for char, (kind, text) in zip(chars, self._classify(chars), strict=True):
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

    def _classify(self, chars: list[str]) -> list[tuple[int, str]]:
        return classify(chars, self._normalizer, self._splitter)

    def _ascii(self, vocabulary: dict[str, int]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        table = np.full(256, MULTIBYTE, np.uint8)
        isolated = np.full(_ASCII, -1, np.int32)
        for code in range(_ASCII):
            [(kind, text)] = self._classify([chr(code)])  # one by one: a mark of punctuation is the border
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
    keys = np.array(list(ids), f"S{LONG_BYTES}").view(np.uint64).reshape(-1, LONG_BYTES // 8)
    lengths = np.array([len(word) for word in ids], np.int64)
    remember_tokens(words, keys, lengths, np.array(list(ids.values()), np.int32))
    for char in added_first & ids.keys():
        key = np.array([char], f"S{LONG_BYTES}").view(np.uint64)
        words.short[find(words.short, SHORT_SLOT, *key) + np.uint64(2)] = ADDED | ids[char] << 4
    return words


def _trie(vocabulary: dict[str, int], prefix: str) -> NDArray[np.int32]:
    """Double-array trie with root 0 for the beginnings of words and root 1 for what continues them."""
    inside = [token.startswith(prefix) and len(token) > len(prefix) for token in vocabulary]
    keys = [token[len(prefix) * more :].encode() for token, more in zip(vocabulary, inside, strict=True)]
    first, byte, token = _nodes(
        np.array(inside, np.int64), keys, np.array(list(vocabulary.values()), np.int64)
    )
    order, size = np.arange(len(token)), 4 * len(token) + 1024
    while not len(cells := place_trie(order, first, byte, order[2:], token, size)):
        size *= 2
    return cells


def _nodes(
    node: NDArray[np.int64], keys: list[bytes], tokens: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """A trie's nodes, numbered breadth first: where the edges of each begin, the edges' bytes, the tokens.

    All keys go one step down together; those that take the same edge meet in the same node.

    Args:
        node: `(n_keys,)` each key's root, 0 or 1; overwritten.
        keys: what leads to the tokens.
        tokens: `(n_keys,)` the token ids.
    """
    data = np.frombuffer(b"".join(keys) or b"\0", np.uint8)
    lengths = np.array([len(key) for key in keys], np.int64)
    starts = np.cumsum(lengths) - lengths
    edges: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    n_nodes, depth, left = 2, 0, np.flatnonzero(lengths)
    while len(left):
        new, edge = np.unique(node[left] * 256 + data[starts[left] + depth], return_inverse=True)
        node[left] = n_nodes + edge
        n_nodes += len(new)
        edges.append(new)
        depth += 1
        left = left[lengths[left] > depth]
    token = np.full(n_nodes, -1, np.int64)
    token[node] = tokens
    parent, byte = np.divmod(np.concatenate(edges), 256)
    return np.searchsorted(parent, np.arange(n_nodes + 1)), byte, token
