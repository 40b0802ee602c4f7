"""A model's vocabulary and merges as the arrays that kernels read."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.subwords.new_piece import pair_table
from encoder.kernels.subwords.piece_table import remember_pieces
from encoder.kernels.subwords.unigram import token_trie

__all__ = ["subword_tables"]

_UNKNOWN_PENALTY = 10.0  # how far an unknown character scores below the worst token, as in SentencePiece
_LIBRARY, _BYTES, _CHARACTERS, _UNIGRAM = 0, 1, 2, 3
_ASCII = 128


def subword_tables(model: dict[str, Any], kind: int) -> dict[str, Any]:
    """The fields of `PieceTables` that hold the model; arrays are empty if its kind does not need them.

    Args:
        model: the model of a parsed `tokenizer.json`.
        kind: 0 the library, 1 BPE of bytes, 2 BPE of characters, 3 Unigram. BPE whose vocabulary lacks a
            byte becomes 0.
    """
    byte_ids, words, scores = np.full(256, -1, np.int32), {}, np.zeros(0)
    edges, tokens = np.zeros((1, 2), np.int64), np.zeros(1, np.int32)
    if kind == _BYTES:
        letters = _byte_letters()
        byte_ids = np.array([model["vocab"].get(letter, -1) for letter in letters], np.int32)
        kind = _BYTES if (byte_ids >= 0).all() else _LIBRARY
        if model.get("ignore_merges"):
            words = _spelled(model["vocab"], letters)
    elif kind == _CHARACTERS:
        words = {token.encode(): i for token, i in model["vocab"].items() if len(token) == 1}
        for code in range(_ASCII):
            byte_ids[code] = model["vocab"].get(chr(code), -1)
    elif kind == _UNIGRAM:
        scores = np.array([score for _, score in model["vocab"]], np.float64)
        edges, tokens = _trie({token: i for i, (token, _) in enumerate(model["vocab"])})
    slots, arena = _word_table(words)
    return {
        "model": kind,
        "byte_ids": byte_ids,
        "pairs": _pairs(model) if kind in (_BYTES, _CHARACTERS) else np.full((1, 4), -1, np.int32),
        "slots": slots,
        "arena": arena,
        "edges": edges,
        "tokens": tokens,
        "scores": scores,
        "unknown_score": float(scores.min(initial=0.0)) - _UNKNOWN_PENALTY,
    }


def _byte_letters() -> list[str]:
    """The letter by which GPT-2 writes each byte: itself if printable, otherwise one from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + k) for k, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def _spelled(vocabulary: Mapping[str, int], letters: list[str]) -> dict[bytes, int]:
    """The ids of byte-level tokens by their bytes."""
    byte_of = {letter: byte for byte, letter in enumerate(letters)}
    return {
        bytes(byte_of[letter] for letter in token): i
        for token, i in vocabulary.items()
        if token and all(letter in byte_of for letter in token)
    }


def _pairs(model: dict[str, Any]) -> NDArray[np.int32]:
    vocabulary = model["vocab"]
    merges = [tuple(pair.split(" ", 1)) if isinstance(pair, str) else pair for pair in model["merges"]]
    ids = [(vocabulary[left], vocabulary[right], vocabulary[left + right]) for left, right in merges]
    n_slots = 1 << max(4, (2 * len(ids)).bit_length())
    table: NDArray[np.int32] = pair_table(np.array(ids, np.int32).reshape(-1, 3), n_slots)
    return table


def _trie(vocabulary: Mapping[str, int]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    words = {token.encode(): i for token, i in vocabulary.items() if token}
    data, ends, ids = _joined(words)
    edges, tokens = token_trie(data, ends, ids.astype(np.int64), 1 << max(4, (2 * len(data)).bit_length()))
    return edges, tokens


def _word_table(words: Mapping[bytes, int]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    data, ends, ids = _joined(words)
    slots = np.zeros((1 << max(4, (2 * len(words)).bit_length()), 2), np.uint64)
    arena = np.zeros(len(data) // 8 + 3 * len(words) + 1, np.uint64)
    none, used = np.zeros(len(words), np.bool_), np.zeros(2, np.int64)
    remember_pieces(data, ends, none, ids, np.arange(1, len(words) + 1), slots, arena, used)
    return slots, arena


def _joined(words: Mapping[bytes, int]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    data = np.frombuffer(b"".join(words), np.uint8)
    ends = np.cumsum([len(word) for word in words], dtype=np.int64)
    return data, ends, np.fromiter(words.values(), np.int32, len(words))
