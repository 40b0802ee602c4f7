"""The worker writes tables: rows and offsets in one commit, beside topics and dead letters."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from patience import wait_for
from plans import plan_of

from encoder.errors import ConfigurationError, OutputConflict
from pipelines.worker.prepare import check

pytestmark = pytest.mark.server
BEGIN = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
FIELDS = "id:int64,text:string,at:timestamp[us, tz=UTC]"


def events(n, first=0):
    return [
        (str(i), json.dumps({"id": i, "text": f"disk full {i}", "at": at_of(i).isoformat()}), None)
        for i in range(first, first + n)
    ]


def at_of(i):
    return BEGIN + timedelta(seconds=i)


def n_rows(lake, form):
    return len(lake.rows(form)) if lake.properties(form) else 0


def test_a_worker_goes_on_where_the_table_ends(form, lake, topics, worker, encoder):
    messages = events(400)
    messages[7] = ("7", b"oops", None)
    topics.write(messages)
    outputs = [lake.target(form), f"topic:{topics.output}"]
    options = {"fields": FIELDS, "partition_by": "day(at)", "seconds_per_file": 0.5, "dtype": "float16"}
    with worker(outputs, **options):
        wait_for(lambda: n_rows(lake, form), "the first rows", lambda n: n == 399)
    topics.write(events(100, first=400))
    topics.group += "-new"  # which has no offsets: only the table knows
    with worker([lake.target(form)], **options):
        wait_for(lambda: n_rows(lake, form), "the other rows", lambda n: n == 499)
    table = lake.rows(form).sort_by("id")
    ids = [i for i in range(500) if i != 7]
    assert table["id"].to_pylist() == ids
    assert table["at"].to_pylist() == [at_of(i) for i in ids]
    vectors = encoder.encode([f"disk full {i}" for i in ids], dtype="float16")
    assert table["embedding"].to_pylist() == vectors.tolist()
    assert sorted(value["id"] for value in topics.read_values()) == ids[:399]
    assert {message.value() for message in topics.read_dead()} == {b"oops"}  # the new group's, too
    assert lake.claim(form)["inputs"] == [topics.input]
    assert f"millstream.input.{topics.input}" in lake.properties(form)
    assert days(lake, form) == ["2026-01-31", "2026-02-01"]


def days(lake, form):
    """The days by which the files of the table are apart."""
    if form == "delta":
        return sorted({one["at_day"] for one in lake.delta().partitions()})
    return sorted(
        {str(one["at_day"]) for one in lake.iceberg().inspect.partitions()["partition"].to_pylist()}
    )


def test_a_table_belongs_to_one_way_of_embedding(form, lake, topics, worker):
    topics.write(events(10))
    with worker([lake.target(form)], fields=FIELDS):
        pass
    with (
        pytest.raises(OutputConflict, match=r"template: .*: name another table"),
        worker([lake.target(form)], fields=FIELDS, text="{id}"),
    ):
        pass


def test_a_column_of_another_type_is_refused_before_a_record_is_read(form, lake, topics, worker):
    topics.write(events(10))
    with worker([lake.target(form)], fields="id:int64,text:string", seconds_per_file=0.2):
        wait_for(lambda: n_rows(lake, form), "the rows", lambda n: n == 10)
    claimed = lake.claim(form)
    topics.group += "-new"
    with (
        pytest.raises(OutputConflict, match=r"type of 'id': int64, not string"),
        worker([lake.target(form)], fields="id:string,text:string"),
    ):
        pass
    assert lake.claim(form) == claimed


def test_a_check_writes_nothing(form, lake, topics, model):
    topics.write(events(10))
    about = {"brokers": topics.broker.address, "group": topics.group, "inputs": [topics.input]}
    options = {**about, "model": str(model), "dead_letters": f"topic:{topics.dead}", "fields": FIELDS}
    found = check(plan_of(lake.target(form), partition_by="day(at)", **options))
    assert ("output", f"{lake.target(form)}, to be created") in found
    with pytest.raises(ConfigurationError, match="asks for the day of 'text', which is string"):
        check(plan_of(lake.target(form), partition_by="day(text)", **options))
    with pytest.raises(ConfigurationError, match=r"no (Iceberg|Delta) table keeps"):
        check(plan_of(lake.target(form), **options | {"fields": "text:string,at:timestamp[ns]"}))
    assert lake.catalog().list_tables("fraud") == []
    assert not (lake.folder / "delta").exists()
