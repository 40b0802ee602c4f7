"""How a file is parted."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.splits import Split, split_file


def spans(file, target_bytes):
    return [(split.start, split.end, split.first_row) for split in split_file(file, target_bytes)]


def test_lines_are_split_behind_the_first_line_break_that_reaches_the_target(tmp_path):
    (tmp_path / "a.log").write_bytes(b"123\n\n67\r\n012345")
    [file] = find_inputs(str(tmp_path))
    assert spans(file, 4) == [(0, 4, 1), (4, 9, 2), (9, 15, 4)]
    assert spans(file, 15) == [(0, 15, 1)]
    assert spans(file, 1) == [(0, 4, 1), (4, 5, 2), (5, 9, 3), (9, 15, 4)]


def test_csv_is_split_between_records_and_the_header_is_no_row(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'a,b\n"1\n\n",2\nx"\n,3\n')
    [file] = find_inputs(str(tmp_path))
    assert spans(file, 1) == [(0, 12, 1), (12, 15, 2), (15, 18, 3)]


@pytest.mark.parametrize("read_bytes", [1, 7, 1 << 20])
def test_splits_are_the_same_however_the_file_is_read(tmp_path, monkeypatch, read_bytes):
    monkeypatch.setattr("pipelines.sources.files.byte_stream.READ_BYTES", read_bytes)
    (tmp_path / "a.log").write_bytes(b"".join(b"x" * (i % 9) + b"\n" for i in range(200)))
    [file] = find_inputs(str(tmp_path))
    expected, start, first, end = [], 0, 1, 0
    for row in range(200):
        end += row % 9 + 1
        if end >= start + 50 or row == 199:
            expected.append((start, end, first))
            start, first = end, row + 2
    assert spans(file, 50) == expected


def test_row_groups_are_grouped_and_never_parted(tmp_path):
    texts = [str(number) for number in np.random.default_rng(0).integers(0, 10**18, 1000)]
    pq.write_table(pa.table({"a": texts}), tmp_path / "a.parquet", row_group_size=100)
    [file] = find_inputs(str(tmp_path))
    assert spans(file, 1) == [(i, i + 1, i * 100 + 1) for i in range(10)]
    assert spans(file, file.size) == [(0, 10, 1)]
    assert spans(file, file.size // 2 - 500) == [(0, 5, 1), (5, 10, 501)]


def test_a_compressed_file_is_one_split_and_an_empty_one_none(tmp_path):
    (tmp_path / "a.log.gz").write_bytes(b"x" * 100)
    (tmp_path / "b.log").touch()
    first, second = find_inputs(str(tmp_path))
    assert list(split_file(first, 1)) == [Split(first, 0, 100, 1)]
    assert list(split_file(second, 1)) == []
    assert pickle.loads(pickle.dumps(Split(first, 0, 100, 1))) == Split(first, 0, 100, 1)
