"""Compile WordPiece's vocabulary: a trie of its tokens and hash tables of whole words."""

import string
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.wordpiece.trie import place_trie
from encoder.kernels.wordpiece.words import ADDED, LONG_BYTES, SHORT_SLOT, Words, find, remember_tokens
from encoder.tokenizer.spec import added_fit
from encoder.tokenizer.word_cache import new_words

__all__ = ["compile_vocabulary", "is_wordpiece"]

_WORD_CHARS = 128  # of up to 4 bytes each, which the kernel has room for
_PUNCTUATION = frozenset(string.punctuation)


def is_wordpiece(spec: dict[str, Any]) -> bool:
    """Whether the kernel supports a parsed `tokenizer.json` exactly.

    It supports BERT's normaliser and pre-tokeniser with WordPiece if

    - control characters are removed, so that no word contains a NUL;
    - the prefix of continuing pieces and the unknown token start with ASCII punctuation, at which BERT
      splits, so that no word of a text equals them;
    - every added token is matched in the original text and starts with ASCII punctuation;
    - the longest word and the added tokens fit into the kernel's buffers.
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
        and added_fit(spec)
        and all(
            not token["normalized"] and token["content"].isascii() and _is_split_at(token["content"])
            for token in spec.get("added_tokens", [])
        )
    )


def _is_split_at(text: str) -> bool:
    """Whether the text starts with ASCII punctuation."""
    return text[:1] in _PUNCTUATION


def compile_vocabulary(spec: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays of `WordPieceTables` that depend on the vocabulary alone, by name; the slow part."""
    model = spec["model"]
    vocabulary, prefix = model["vocab"], model["continuing_subword_prefix"]
    added_first = {token["content"][:1].encode() for token in spec.get("added_tokens", [])}
    lower = spec["normalizer"]["lowercase"]
    words = _words(vocabulary, prefix, model["max_input_chars_per_word"], added_first, lower=lower)
    return {"cells": _trie(vocabulary, prefix), **words._asdict()}


def _words(
    vocabulary: dict[str, int], prefix: str, max_chars: int, added_first: set[bytes], *, lower: bool
) -> Words:
    """Hash tables of ASCII words that are one token, and of punctuation, with room for as many again."""
    ids = {
        token.encode(): i
        for token, i in vocabulary.items()
        if token.isascii() and (token.isalnum() or token in _PUNCTUATION)
        if not token.startswith(prefix) and 0 < len(token) <= min(LONG_BYTES, max_chars)
        if not (lower and token != token.lower())  # no word has capitals, and "A" would be found for "A\0"
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
    """A double-array trie with root 0 for the starts of words and root 1 for their continuations."""
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
    """Number a trie's nodes breadth first: the first edge of each node, the edges' bytes, the nodes' tokens.

    All keys descend one level at a time; those that take the same edge meet in the same node.

    Args:
        node: `(n_keys,)` each key's root, 0 or 1; overwritten.
        keys: the tokens' bytes, without the prefix of continuing pieces.
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
