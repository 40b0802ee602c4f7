"""The double-array trie: every entry is found, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.kernels.wordpiece.trie import place_trie


def _place(words, inside, size=None):
    """Lay out a trie of two sets of words (bytes), numbered in order; run by Python, which checks bounds."""
    children, tokens = [{}, {}], [-1, -1]
    for number, (root, word) in enumerate([*((0, word) for word in words), *((1, word) for word in inside)]):
        node = root
        for byte in word:
            if byte not in children[node]:
                children[node][byte] = len(children)
                children.append({})
                tokens.append(-1)
            node = children[node][byte]
        tokens[node] = number
    order = [0, 1]
    for node in order:
        order.extend(children[node][byte] for byte in sorted(children[node]))
    edges = [(byte, node[byte]) for node in children for byte in sorted(node)]
    return place_trie.py_func(
        np.array(order),
        np.cumsum([0] + [len(node) for node in children]),
        np.array([byte for byte, _ in edges], np.int64),
        np.array([child for _, child in edges], np.int64),
        np.array(tokens),
        4 * len(children) + 1024 if size is None else size,
    )


@pytest.mark.parametrize("size", [2, 257, 300, 600])
def test_too_little_room_is_said(size):
    words = [bytes([a, b]) for a in range(1, 256, 5) for b in range(1, 256, 5)]
    assert _place(words, [], size).shape == (0, 3)


def _find(cells, word, root):
    state = root
    for byte in word:
        step = cells[state, 0] + byte
        if cells[step, 1] != state:  # numpy checks that the step is inside the array
            return -1
        state = step
    return int(cells[state, 2])


byte_words = st.sets(st.binary(min_size=1, max_size=6), max_size=80)


@given(words=byte_words, inside=byte_words, others=byte_words)
def test_every_word_is_found_from_its_root_and_no_other(words, inside, others):
    words, inside = sorted(words), sorted(inside)
    cells = _place(words, inside)
    for root, members, first in ((0, words, 0), (1, inside, len(words))):
        expected = {word: first + k for k, word in enumerate(members)}
        probes = {*words, *inside, *others, *(w[:-1] for w in words), *(w + b"\0" for w in words)}
        for word in probes - {b""}:
            assert _find(cells, word, root) == expected.get(word, -1)


@pytest.mark.parametrize("shape", ["every byte below every byte", "random", "Chinese", "long words"])
def test_room_for_the_trie_is_enough(shape):
    random = np.random.default_rng(3)
    words = {
        "every byte below every byte": [bytes([a, b]) for a in range(1, 256) for b in range(1, 256, 3)],
        "random": {random.bytes(int(n)) for n in random.integers(1, 5, 8000)},
        "Chinese": [chr(code).encode() for code in range(0x4E00, 0x8000)],
        "long words": {random.bytes(50) for _ in range(300)},
    }[shape]
    words = sorted(words)
    cells = _place(words, words)
    assert [_find(cells, word, 0) for word in words] == list(range(len(words)))
    assert [_find(cells, word, 1) for word in words] == list(range(len(words), 2 * len(words)))
