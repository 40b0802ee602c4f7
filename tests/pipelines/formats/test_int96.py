"""Parquet's old type of timestamps keeps its values, or the row is bad."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.reader import read_split
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.splits import split_file

US, NS = pa.timestamp("us"), pa.timestamp("ns")
FAR = [-62_135_596_800_000_000, 253_402_300_799_999_999, None, -1]


def read(folder, values, **options):
    """The values that are read, and the reasons for the other rows."""
    rows = pa.table({"at": values, "n": pa.array(range(len(values)), pa.int64())})
    pq.write_table(rows, folder / "a.parquet", use_deprecated_int96_timestamps=True, **options)
    files = find_inputs(str(folder))
    schema = infer_schema(files, ["n"], ["at"])
    chunks = [chunk for split in split_file(files[0]) for chunk in read_split(split, schema, 3)]
    kept = {
        n: at
        for chunk in chunks
        for n, at in zip(chunk.batch["n"].to_pylist(), chunk.batch["at"], strict=True)
    }
    bad = {row.row - 1: row for chunk in chunks for row in chunk.bad}
    assert sorted([*kept, *bad]) == list(range(len(values)))
    assert [row for chunk in chunks for row in chunk.rows.tolist()] == [n + 1 for n in kept]
    return schema.field("at").type, {n: at.as_py() for n, at in kept.items()}, bad


def test_far_times_are_kept(tmp_path):
    values = pa.array(FAR * 3, US)
    kind, kept, bad = read(tmp_path, values, row_group_size=5)
    assert kind == US
    assert list(kept.values()) == values.to_pylist()
    assert not bad


@pytest.mark.parametrize(
    ("kind", "wrap"),
    [
        (US, lambda at: at),
        (pa.list_(pa.field("element", US)), lambda at: [None, at]),
        (pa.struct([("x", US)]), lambda at: {"x": at}),
        (pa.map_(pa.string(), US), lambda at: [("k", at)]),
    ],
)
def test_times_with_nanoseconds_are_bad_rows(tmp_path, kind, wrap):
    times = [0, 1_000, 1_767_225_600_123_456_789, -1, -2_000, 10**18 + 1, 7_000_000]
    finer = as_nanos(kind)
    values = pa.array([wrap(at) for at in times] + [None], finer)
    found, kept, bad = read(tmp_path, values, row_group_size=4)
    assert found == kind
    assert list(bad) == [2, 3, 5]
    assert all("INT96 has nanoseconds" in row.reason for row in bad.values())
    micros = pa.array([wrap(at // 1000) for at in times] + [None], kind).to_pylist()
    assert kept == {n: at for n, at in enumerate(micros) if n not in bad}


def as_nanos(kind):
    """The type with nanoseconds."""
    if pa.types.is_struct(kind):
        return pa.struct([("x", NS)])
    if pa.types.is_map(kind):
        return pa.map_(pa.string(), NS)
    return pa.list_(pa.field("element", NS)) if pa.types.is_list(kind) else NS
