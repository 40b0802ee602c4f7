"""What names the folders of a partitioned output, and that readers find the values."""

from datetime import UTC, date, datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from encoder.errors import ConfigurationError
from pipelines.sinks.hive_folders import check_folders, split_into_folders
from pipelines.sinks.tables.partitioning import PartitionField, parse_partition_by

AT = pa.array([datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC), None], pa.timestamp("us", "UTC"))


def folders(values, by):
    rows = pa.table({"v": values, "n": range(len(values))})
    return [folder for folder, _, _ in split_into_folders(rows, parse_partition_by(by))]


def test_columns_and_periods_are_parsed():
    found = parse_partition_by(" day(at), country,hour(user.at)")
    assert found == (
        PartitionField("at", "day"),
        PartitionField("country"),
        PartitionField("user.at", "hour"),
    )
    assert list(map(str, found)) == ["day(at)", "country", "hour(user.at)"]
    assert [field.name for field in found] == ["at_day", "country", "user.at_hour"]
    assert parse_partition_by(None) == ()
    for text in ("week(at)", "day(at", "a,a", "day(a),day(a)", "()"):
        with pytest.raises(ConfigurationError, match="--partition-by"):
            parse_partition_by(text)


@pytest.mark.parametrize(
    ("period", "name"),
    [("year", "2026"), ("month", "2026-01"), ("day", "2026-01-01"), ("hour", "2026-01-01-23")],
)
def test_periods_are_those_of_iceberg_in_utc(period, name):
    assert f"v_{period}={name}" in folders(AT, f"{period}(v)")
    zoned = AT.cast(pa.timestamp("us", "Asia/Tokyo"))
    assert f"v_{period}={name}" in folders(zoned, f"{period}(v)")
    assert f"v_{period}=__HIVE_DEFAULT_PARTITION__" in folders(AT, f"{period}(v)")


def test_text_that_is_a_time_has_a_period_and_other_text_has_none():
    texts = ["2026-01-01T23:00:00+02:00", "31 Jan 2026 10:00:00 +0000", "soon"]
    assert sorted(folders(texts, "day(v)")) == [
        "v_day=2026-01-01",
        "v_day=2026-01-31",
        "v_day=__HIVE_DEFAULT_PARTITION__",
    ]
    assert (
        folders([1_767_225_600], "day(v)") == folders([1_767_225_600_000], "day(v)") == ["v_day=2026-01-01"]
    )


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["a b", "x/y", "ü=%", ""], ["v=", "v=%C3%BC%3D%25", "v=a b", "v=x%2Fy"]),
        (["a", None], ["v=__HIVE_DEFAULT_PARTITION__", "v=a"]),
        ([1, -2], ["v=-2", "v=1"]),
        ([True, False], ["v=false", "v=true"]),
        (pa.array([date(2026, 1, 2)]), ["v=2026-01-02"]),
        (pa.array([0, 32767], pa.timestamp("s")), None),
    ],
)  # fmt: skip
def test_values_name_folders(values, names):
    if names is None:
        with pytest.raises(ConfigurationError, match=r"as in day\(v\)"):
            check_folders(parse_partition_by("v"), pa.schema({"v": values.type, "n": pa.int64()}))
        return
    assert sorted(folders(values, "v")) == names
    check_folders(parse_partition_by("v"), pa.schema({"v": pa.array(values).type, "n": pa.int64()}))


BY_NAME = pa.schema({"v": pa.string(), "n": pa.int64(), "b": pa.bool_()})


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        ("x", "names 'x', and the rows have only v, n, b"),
        ("day(b)", "which is bool: name a column of timestamps"),
    ],
)
def test_columns_that_name_no_folders_are_refused(by, reason):
    with pytest.raises(ConfigurationError, match=reason):
        check_folders(parse_partition_by(by), BY_NAME)


def test_rows_keep_their_order_and_say_where_they_were():
    rows = pa.table({"v": ["a", "b", "a", None, "b"], "n": range(5)})
    found = {
        folder: (part["n"].to_pylist(), places.tolist())
        for folder, part, places in split_into_folders(rows, parse_partition_by("v"))
    }
    assert found == {
        "v=a": ([0, 2], [0, 2]),
        "v=b": ([1, 4], [1, 4]),
        "v=__HIVE_DEFAULT_PARTITION__": ([3], [3]),
    }


def test_duckdb_and_pyarrow_find_the_values(tmp_path):
    rng = np.random.default_rng(1)
    rows = pa.table({"kind": [f"k {i}/%" for i in rng.integers(0, 3, 50)], "n": range(50)})
    for folder, part, _ in split_into_folders(rows, parse_partition_by("kind")):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(part, tmp_path / folder / "a.parquet")
    wanted = sorted(zip(rows["n"].to_pylist(), rows["kind"].to_pylist(), strict=True))
    found = ds.dataset(tmp_path, partitioning="hive").to_table()
    assert sorted(zip(found["n"].to_pylist(), found["kind"].to_pylist(), strict=True)) == wanted
    query = (
        f"SELECT n, kind FROM read_parquet('{tmp_path}/**/*.parquet', hive_partitioning = true) ORDER BY n"
    )
    assert duckdb.sql(query).fetchall() == wanted
