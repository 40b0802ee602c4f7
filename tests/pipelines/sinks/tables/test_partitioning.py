"""Partitions: what `--partition-by` names, and which rows go together."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from encoder.errors import ConfigurationError
from pipelines.sinks.tables.columns import as_stored
from pipelines.sinks.tables.partitioning import check_partitions, parse_partition_by, split_rows

AT = [datetime(2026, 1, 31, 23, 59, tzinfo=UTC), datetime(1969, 12, 31, 1, tzinfo=UTC), None]
ROWS = pa.table(
    {
        "at": pa.array([AT[0], AT[1], AT[0], AT[2]], pa.timestamp("us", "UTC")),
        "city": pa.array(["Oslo", "Oslo", None, "Oslo"]),
        "n": pa.array([0, 1, 2, 3]),
    }
)


def split(text):
    return [(values, rows["n"].to_pylist()) for values, rows in split_rows(ROWS, parse_partition_by(text))]


def test_rows_of_a_partition_keep_their_order():
    assert split("") == [({}, [0, 1, 2, 3])]
    assert sorted(n for _, n in split("city")) == [[0, 1, 3], [2]]
    by_day = {values["at_day"]: n for values, n in split("day(at)")}
    assert by_day == {date(2026, 1, 31): [0, 2], date(1969, 12, 31): [1], None: [3]}
    by_month = {values["at_month"]: n for values, n in split(" month(at) ")}
    assert by_month == {date(2026, 1, 1): [0, 2], date(1969, 12, 1): [1], None: [3]}
    assert len(split("hour(at),city")) == 4


@pytest.mark.parametrize("text", ["week(at)", "day(at", "day()", "bucket(3,at)"])
def test_what_cannot_be_read_is_named(text):
    with pytest.raises(
        ConfigurationError, match=r"cannot read '.*' in --partition-by: write a column, or year"
    ):
        parse_partition_by(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("town", "names 'town', and the records have only at, city, n"),
        ("day(city)", "asks for the day of 'city', which is string"),
    ],
)
def test_columns_that_do_not_fit_are_named(text, says):
    with pytest.raises(ConfigurationError, match=says):
        check_partitions(parse_partition_by(text), ROWS.schema)


@pytest.mark.parametrize("text", ["day(at)", "hour(at),city", "year(at)", "month(at)", "city", "n"])
def test_a_table_with_partitions_holds_the_same_rows(text, open_events, lake, form):
    table = open_events(text)
    table.create(table.stored(ROWS.schema))
    state = open_events().look()  # the table knows its partitions
    state.append(state.write(as_stored(ROWS, state.schema), 1 << 20), {})
    found = lake.rows(form).sort_by("n")
    assert {name: found[name].to_pylist() for name in ROWS.column_names} == ROWS.to_pydict()


def test_a_table_with_partitions_that_no_statistics_tell_is_refused(open_events, lake, form):
    if form == "iceberg":
        table = open_events()
        table.create(table.stored(ROWS.schema))
        with lake.iceberg().update_spec() as update:
            update.add_field("n", "bucket[4]")
        state = table.look()
        with pytest.raises(ConfigurationError, match=r"is partitioned by bucket\[4\] of 'n'"):
            state.write(as_stored(ROWS, state.schema), 1 << 20)
