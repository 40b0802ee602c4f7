import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sinks.memory import FileMemory


def writes(table):
    return lambda sink: pq.write_table(table, sink)


def of_random_bytes(n_rows):
    data = random.Random(n_rows).randbytes(1000 * n_rows)
    return pa.table({"data": [data[1000 * row : 1000 * (row + 1)] for row in range(n_rows)]})


@given(st.lists(st.tuples(st.integers(0, 300), st.booleans()), min_size=1, max_size=5))
def test_files_are_whole_one_after_another(files):
    memory = FileMemory()
    for n_rows, too_small in files:
        table = of_random_bytes(n_rows)
        with memory.file(0 if too_small else table.nbytes, writes(table)) as file:
            assert pq.read_table(pa.BufferReader(bytes(file))).equals(table)


def test_a_file_larger_than_it_was_said_to_be_is_whole():
    table = of_random_bytes(3000)  # 3 MB
    with FileMemory().file(10, writes(table)) as file:
        assert pq.read_table(pa.BufferReader(bytes(file))).equals(table)


def test_memory_is_used_again():
    memory = FileMemory()
    places = []
    for n_rows in (3000, 2000, 3000):
        table = of_random_bytes(n_rows)
        with memory.file(table.nbytes, writes(table)) as file:
            places.append(pa.py_buffer(file).address)
    assert len(set(places)) == 1


def test_files_at_the_same_time_do_not_share_memory():
    memory, tables = FileMemory(), [of_random_bytes(n) for n in (100, 200)]
    with (
        memory.file(tables[0].nbytes, writes(tables[0])) as one,
        memory.file(tables[1].nbytes, writes(tables[1])) as other,
    ):
        assert [pq.read_table(pa.BufferReader(bytes(file))) for file in (one, other)] == tables


def test_memory_comes_back_after_an_error():
    memory, places = FileMemory(), []

    def failing():
        with memory.file(10, lambda sink: sink.write(b"abc")) as file:
            places.append(pa.py_buffer(file).address)
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            failing()
    assert places[0] == places[1]
