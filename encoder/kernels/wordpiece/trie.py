"""WordPiece's greedy longest match (Wu et al. 2016) in a double-array trie (Aoe 1989)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit

__all__ = ["cut_word", "place_trie"]


@njit(nogil=True, cache=True, allocates=True)
def place_trie(
    order: NDArray[np.int64],
    first: NDArray[np.int64],
    byte: NDArray[np.int64],
    child: NDArray[np.int64],
    token: NDArray[np.int64],
    size: int,
) -> NDArray[np.int32]:
    """Lay a trie out as a double array.

    Args:
        order: `(n_nodes,)` the nodes, parents before children; nodes 0 and 1 are the roots.
        first: `(n_nodes + 1,)` the index of each node's first edge in `byte` and `child`.
        byte: `(n_edges,)` the edges' bytes, ascending within a node.
        child: `(n_edges,)` the nodes they lead to.
        token: `(n_nodes,)` the token id of each node, or -1.
        size: the number of cells for all nodes and the gaps between them.

    Returns:
        `(n_cells, 3)` int32: base, check (the parent's cell) and token id; every base has 256 cells after it.
        No cells if `size` is too small.
    """
    cell_of = np.zeros(order.shape[0], np.int64)
    cells = np.full((size, 3), -1, np.int32)
    used = np.zeros(size, np.bool_)
    cell_of[1] = 1
    used[:2] = True
    free, dense, top = 257, 257, 2  # where to search a cell for one edge, and for several; any byte fits
    for node in order:
        a, z = first[node], first[node + 1]
        cells[cell_of[node], 2] = token[node]
        if a == z:
            continue
        while free < size and used[free]:
            free += 1
        base = (free if z - a == 1 else max(free, dense)) - byte[a]
        tries, fits = 0, False
        while not fits:
            if base + 256 > size:
                return np.zeros((0, 3), np.int32)
            fits = True
            for k in range(a, z):
                if used[base + byte[k]]:
                    fits = False
                    base += 1
                    tries += 1
                    break
        if tries > 64:  # crowded: start later next time; single edges will fill the gaps
            dense = base + byte[a]
        cells[cell_of[node], 0] = base
        for k in range(a, z):
            cell = base + byte[k]
            used[cell] = True
            cells[cell, 1] = cell_of[node]
            cell_of[child[k]] = cell
            top = max(top, cell)
    cells = cells[: top + 257].copy()
    for cell in range(cells.shape[0]):
        if cells[cell, 0] < 0:
            cells[cell, 0] = top + 1  # unowned cells, where every step from a leaf fails
    return cells


@njit(nogil=True, cache=True, inner=True)
def cut_word(word: Any, n: int, cells: Any, ids: Any, p: int) -> int:
    """Tokenise one word by greedy longest match; the new end of `ids`, or -1 if the word is unknown."""
    j, root = 0, 0
    while j < n:
        state, last, last_end, k = root, -1, j, j
        while k < n:
            step = cells[state, 0] + word[k]
            if cells[step, 1] != state:
                break
            state = step
            k += 1
            if cells[state, 2] >= 0:
                last, last_end = cells[state, 2], k
        if last < 0:
            return -1
        ids[p] = last
        p += 1
        j, root = last_end, 1
    return p
