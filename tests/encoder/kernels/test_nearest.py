"""The nearest rows are those of an exact search, the first of equals, in any batch, on any processor."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.heads.scoring import unit_vectors
from encoder.heads.vector_index import SHARE, Cells, Index


def unit(n, dim, seed, levels=None):
    """Vectors of length 1; with few levels many of them are equal, and so are products."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(n, dim)) if levels is None else random.integers(-levels, levels, (n, dim))
    numbers[~numbers.any(axis=1)] = 1
    return unit_vectors(numbers)


def search(index, vectors, count):
    found = np.empty((len(vectors), count), np.int32), np.empty((len(vectors), count), np.float32)
    index.search(vectors, *found)
    return found


def exact(vectors, rows, count):
    products = (vectors.astype(np.float64) @ rows.astype(np.float64).T).astype(np.float32)
    order = np.argsort(-products, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(products, order, axis=1)


def in_cells(rows, sizes):
    """Rows in the order of made-up cells of these sizes, with the first of each as its centroid."""
    ends = np.cumsum([0, *sizes])
    return Cells(rows[ends[:-1]], ends)


@given(
    n=st.integers(1, 9),
    n_rows=st.integers(1, 200),
    dim=st.integers(1, 70),
    count=st.integers(1, 100),
    levels=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 1 << 20),
)
def test_the_rows_and_products_are_those_of_float64(n, n_rows, dim, count, levels, seed):
    rows = unit(n_rows, dim, seed, levels).astype(np.float16)
    vectors, count = unit(n, dim, seed + 1, levels), min(count, n_rows)
    found, products = search(Index(rows), vectors, count)
    expected, highest = exact(vectors, rows, count)
    np.testing.assert_allclose(products, highest, rtol=2e-7, atol=1e-9)
    if levels is None:  # equal products of other rows may differ in the last bit of float64
        np.testing.assert_array_equal(found, expected)


def test_of_equal_rows_the_lowest_is_the_nearest():
    rows = np.repeat(unit(3, 20, 0).astype(np.float16), 100, axis=0)
    found, _ = search(Index(rows), rows[100:101].astype(np.float32), 7)
    assert found.tolist() == [list(range(100, 107))]


def test_rows_that_differ_in_the_last_bit_are_told_apart():
    rows = np.repeat(unit(1, 64, 1).astype(np.float16), 500, axis=0)
    vector = rows[:1].astype(np.float32)
    largest = int(np.abs(vector[0]).argmax())
    rows[321, largest] = np.nextafter(rows[321, largest], np.float16(np.sign(vector[0, largest]) * 2))
    assert search(Index(rows), vector, 1)[0].tolist() == [[321]]


@pytest.mark.parametrize("numbers", [0, 1e-30])
def test_vectors_without_length_find_no_row_that_is_not_there(numbers):
    vectors = np.full((5, 12), numbers, np.float32)
    found, _ = search(Index(unit(67, 12, 0).astype(np.float16)), vectors, 3)
    assert found.max() < 67


@given(
    sizes=st.lists(st.integers(1, 150), min_size=1, max_size=90),
    seed=st.integers(0, 1 << 20),
    count=st.integers(1, 3),
)
def test_cells_are_searched_until_they_hold_enough_rows(sizes, seed, count):
    rows = unit(sum(sizes), 24, seed).astype(np.float16)
    vectors, cells, count = unit(6, 24, seed + 1), in_cells(rows, sizes), min(count, len(rows))
    found, products = search(Index(rows, cells), vectors, count)
    np.testing.assert_allclose(products, np.einsum("nd,nkd->nk", vectors, rows[found]), atol=1e-6)
    near = vectors.astype(np.float64) @ cells.centroids.astype(np.float64).T
    cell = np.repeat(np.arange(len(sizes)), sizes)
    for one in range(len(vectors)):
        order = np.argsort(-near[one])
        last = order[int(np.argmax(np.cumsum(np.array(sizes)[order]) >= SHARE * len(rows)))]
        certain = rows[near[one, cell] >= near[one, last] + 0.03]  # centroids are compared by their codes
        _, wanted = exact(vectors[one : one + 1], certain, count)
        assert (products[one, : wanted.shape[1]] >= wanted[0] - 1e-6).all()


def test_a_vector_finds_the_same_bits_in_any_batch():
    rows, vectors = unit(900, 37, 0).astype(np.float16), unit(133, 37, 1)
    for index in (Index(rows), Index(rows, in_cells(rows, [9] * 100))):
        whole = search(index, vectors, 5)
        for first, stop in ((0, 1), (1, 3), (60, 133), (132, 133)):
            for all_, some in zip(whole, search(index, vectors[first:stop], 5), strict=True):
                np.testing.assert_array_equal(all_[first:stop], some)


def test_codes_of_other_rows_are_refused():
    rows = unit(300, 9, 0).astype(np.float16)
    cells = in_cells(rows, [100, 200])
    codes = Index(rows, cells).codes
    Index(rows, Cells(cells.centroids, cells.ends, codes))
    changed = codes.copy()
    changed[-1, 0, 7, 1] ^= 1
    for given_codes in (changed, codes[1:]):
        with pytest.raises(ValueError, match="its index"):
            Index(rows, Cells(cells.centroids, cells.ends, given_codes))


@pytest.mark.slow  # compiles
def test_other_processors_find_the_same_bits():
    program = """
import numpy as np
from encoder.heads.vector_index import Cells, Index
random, found = np.random.default_rng(0), (np.empty((50, 9), np.int32), np.empty((50, 9), np.float32))
rows = random.normal(size=(3000, 53))
rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
vectors = random.normal(size=(50, 53))
vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
for cells in (None, Cells(rows[::30], np.arange(0, 3001, 30))):
    index = Index(rows, cells)
    index.search(vectors, *found)
    print(index.codes.tobytes().hex(), *(array.tobytes().hex() for array in found))
"""
    old = {**os.environ, "NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}
    found = {
        subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True).stdout
        for env in (old, os.environ)
    }
    assert len(found) == 1
