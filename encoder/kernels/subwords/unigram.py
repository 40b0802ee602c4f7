"""Unigram: find the most probable tokens of a piece with a trie of the vocabulary."""

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
    """Build a trie of tokens whose edges are in a hash table, which is fast to build and to walk.

    Args:
        data: the tokens' UTF-8, concatenated.
        ends: `(n,)` the end of each token in it.
        ids: `(n,)` their ids.
        n_slots: a power of two above the number of bytes.

    Returns:
        `(n_slots, 2)` int64 edges: 256 times a node plus a byte, and the node that it leads to, 0 in a free
        slot; and `(n_nodes,)` int32, the token that ends at each node, or -1. Node 0 is the root.
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
    """Find the most probable tokens of a piece by a unigram model (Kudo 2018) and Viterbi's algorithm.

    The order of additions and the choice between ties are those of `tokenizers`.

    Args:
        text: uint8, the piece's normalised UTF-8 in its first n bytes.
        n: the number of bytes.
        edges: the trie's edges, from `token_trie`.
        tokens: the trie's tokens, from `token_trie`.
        scores: `(n_tokens,)` float64, the logarithms of the tokens' probabilities.
        unknown: the score of a character that the vocabulary lacks.
        margin: the least difference between the scores of two ways to a place on the path. `tokenizers` may
            start its sums before the piece, so that they are rounded differently.
        paths: int32 buffer, at least `(n + 1, 3)`.
        sums: float64 buffer, at least `(n + 1,)`.
        ids: int32, receives the ids.
        p: the index of the first id.

    Returns:
        The new end of `ids`; -1 if the best path has a character that the vocabulary lacks; -2 if another
        path comes too close.
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
