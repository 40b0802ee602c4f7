"""Unigram: the most probable tokens of a piece, found along a trie of the vocabulary."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit

__all__ = ["best_path", "token_trie"]


@njit(nogil=True, cache=True, inner=True)
def _step(node: Any, byte: Any, edges: Any) -> Any:
    """The child of a node of the trie, or -1."""
    key = (node << 8) | np.int64(byte)
    mask = edges.shape[0] - 1
    slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while edges[slot, 1] != 0:
        if edges[slot, 0] == key:
            return edges[slot, 1]
        slot = (slot + 1) & mask
    return np.int64(-1)


@njit(nogil=True, cache=True, allocates=True)
def token_trie(
    data: NDArray[np.uint8], ends: NDArray[np.int64], ids: NDArray[np.int64], n_slots: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """A trie of tokens whose edges are in a hash table: soon built, soon walked.

    Args:
        data: the tokens' UTF-8, one behind the other.
        ends: `(n,)` where each ends.
        ids: `(n,)` their ids.
        n_slots: a power of two above the number of bytes.

    Returns:
        `(n_slots, 2)` int64 edges: 256 times a node plus a byte, and the node they lead to, 0 in a free slot;
        and `(n_nodes,)` int32 the token that ends at each node, or -1. Node 0 is the root.
    """
    edges = np.zeros((n_slots, 2), np.int64)
    tokens = np.full(data.shape[0] + 1, -1, np.int32)
    n_nodes, i = 1, 0
    for k in range(ends.shape[0]):
        node = np.int64(0)
        while i < ends[k]:
            child = _step(node, data[i], edges)
            if child < 0:
                child = np.int64(n_nodes)
                n_nodes += 1
                key = (node << 8) | np.int64(data[i])
                mask = n_slots - 1
                slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
                while edges[slot, 1] != 0:
                    slot = (slot + 1) & mask
                edges[slot, 0], edges[slot, 1] = key, child
            node = child
            i += 1
        tokens[node] = ids[k]
    return edges, tokens[:n_nodes].copy()


@njit(nogil=True, cache=True)
def best_path(
    text: Any,
    n: int,
    edges: Any,
    tokens: Any,
    scores: Any,
    unknown: float,
    margin: float,
    paths: Any,
    sums: Any,
    ids: Any,
    p: int,
) -> Any:
    """The most probable tokens of a piece by a unigram model (Kudo 2018), found by Viterbi's algorithm.

    Sums are made in the order, and ties are broken, as `tokenizers` does it.

    Args:
        text: uint8, the piece's normalised UTF-8 in its first n bytes.
        n: how many bytes.
        edges: of `token_trie`.
        tokens: of `token_trie`.
        scores: `(n_tokens,)` float64, logarithms of the tokens' probabilities.
        unknown: the score of a character that the vocabulary lacks.
        margin: how near another way to a place on the path may come in score. The piece may be a part of what
            `tokenizers` takes as one, whose sums began before it and are rounded otherwise.
        paths: `(n + 1, 3)` int32 or more, room.
        sums: `(n + 1,)` float64 or more, room.
        ids: int32, receives the ids.
        p: where in `ids` to begin.

    Returns:
        The new end of `ids`, or -1 where the best path meets a character that the vocabulary lacks, -2 where
        another one comes too near.
    """
    for k in range(n + 1):
        paths[k, 0] = -2
    sums[0] = 0.0
    i = 0
    while i < n:
        size = 1
        while i + size < n and (text[i + size] & 0xC0) == 0x80:
            size += 1
        single, j, node = False, i, np.int64(0)
        while j < n:
            node = _step(node, text[j], edges)
            if node < 0:
                break
            j += 1
            token = tokens[node]
            if token >= 0:
                score = scores[token] + sums[i]
                near = paths[j, 0] != -2 and abs(score - sums[j]) < margin
                if paths[j, 0] == -2 or score > sums[j]:
                    sums[j] = score
                    paths[j, 0], paths[j, 1], paths[j, 2] = token, i, near
                elif near:
                    paths[j, 2] = 1
                single |= j == i + size
        if not single:
            j = i + size
            score = unknown + sums[i]
            near = paths[j, 0] != -2 and abs(score - sums[j]) < margin
            if paths[j, 0] == -2 or score > sums[j]:
                sums[j] = score
                paths[j, 0], paths[j, 1], paths[j, 2] = -1, i, near
            elif near:
                paths[j, 2] = 1
        i += size
    count, j = 0, n
    while j > 0:
        if paths[j, 0] < 0:
            return -1
        if paths[j, 2]:
            return -2
        count += 1
        j = paths[j, 1]
    j, k = n, p + count
    while j > 0:
        k -= 1
        ids[k] = paths[j, 0]
        j = paths[j, 1]
    return p + count
