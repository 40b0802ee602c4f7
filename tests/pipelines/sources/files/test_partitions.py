import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from encoder.errors import InputError
from pipelines.sources.files.discovery import InputFile, find_inputs
from pipelines.sources.files.partitions import partitions_of
from pipelines.sources.files.reader import read_split
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.splits import split_file


def write(folder, *values):
    for number, value in enumerate(values):
        path = folder / f"k={value}" / f"{number}.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"a": [number]}), path)


def table(folder, keep=None):
    files = find_inputs(str(folder))
    schema = infer_schema(files, [], keep)
    chunks = [chunk for file in files for split in split_file(file) for chunk in read_split(split, schema)]
    return pa.Table.from_batches([chunk.batch for chunk in chunks]).sort_by("a")


@pytest.mark.parametrize(
    "values",
    [["07", "11"], ["-5", "3"], ["2147483647"], ["99999999999", "1"], ["1.5"], ["+5"], ["true"], ["", "3"],
     ["__HIVE_DEFAULT_PARTITION__", "3"], ["x%2Fy", "a b"], ["2026-01-01", "2026-01-02"]],
)  # fmt: skip
def test_columns_of_paths_are_those_that_pyarrow_reads(tmp_path, values):
    write(tmp_path, *values)
    expected = ds.dataset(tmp_path, partitioning="hive").to_table().sort_by("a")
    assert table(tmp_path).to_pylist() == expected.to_pylist()
    assert table(tmp_path).schema.field("k").type == expected.schema.field("k").type


def test_a_column_of_nulls_alone_is_text(tmp_path):
    write(tmp_path, "__HIVE_DEFAULT_PARTITION__")
    assert table(tmp_path).to_pylist() == [{"a": 0, "k": None}]


def test_files_beside_the_folders_have_nulls(tmp_path):
    write(tmp_path, "x")
    pq.write_table(pa.table({"a": [7]}), tmp_path / "b.parquet")
    assert table(tmp_path).to_pylist() == [{"a": 0, "k": "x"}, {"a": 7, "k": None}]


def test_paths_of_object_stores_are_decoded_once_and_hive_values_once_more():
    file = InputFile("s3://bucket/logs/dt%3D2026-01-01/name%3Da%252Fb%20c/x.parquet", 1, "parquet", None)
    assert partitions_of(file) == {"dt": "2026-01-01", "name": "a/b c"}
    assert partitions_of(InputFile("/x=1.jsonl", 1, "jsonl", None)) == {}
    assert partitions_of(InputFile("/=1/y=/x.jsonl", 1, "jsonl", None)) == {"y": ""}


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_a_column_that_is_in_the_path_too_is_refused(tmp_path, name):
    path = tmp_path / "dt=2026" / name
    path.parent.mkdir()
    if name == "a.parquet":
        pq.write_table(pa.table({"a": [1], "dt": [1]}), path)
    else:
        path.write_text("a,dt\n1,1\n" if name == "a.csv" else '{"a": 1, "dt": 1}\n')
    with pytest.raises(InputError, match=rf"'dt' is both a column in .*{name} and a folder .*\(dt=2026\)"):
        table(tmp_path)
    assert table(tmp_path, keep=["a"]).num_rows == 1


def test_a_later_value_that_does_not_fit_ends_its_file(tmp_path):
    write(tmp_path, "1")
    schema = infer_schema(find_inputs(str(tmp_path)), [], None)
    write(tmp_path / "later", "x")
    [file] = find_inputs(str(tmp_path / "later"))
    [split] = split_file(file)
    [chunk] = read_split(split, schema)
    assert chunk.batch.num_rows == 0
    assert [bad.rest for bad in chunk.bad] == [True]
    assert "k=x in the path does not fit int32" in chunk.bad[0].reason


def test_a_template_may_use_the_path_alone(tmp_path):
    write(tmp_path, "x")
    assert infer_schema(find_inputs(str(tmp_path)), ["k"], []) == pa.schema([("k", pa.string())])
