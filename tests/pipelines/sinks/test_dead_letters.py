import json
import math
import uuid
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from encoder.store.objects import open_objects
from pipelines.records.bad_rows import BadRow, record_of
from pipelines.sinks.dead_letters import FOLDER, DeadLetters


@pytest.fixture(params=["file", "memory"])
def uri(request, tmp_path):
    return (tmp_path / "out").as_uri() if request.param == "file" else f"memory://letters/{uuid.uuid4().hex}"


def names(uri):
    return [info.key for info in open_objects(uri).scan(FOLDER)]


def test_bad_rows_are_one_json_line_each_in_the_order_of_the_file(uri):
    rows = [BadRow("a.csv", 7, "second", b"x,\xff\n\xc3\xa9"), BadRow("a.csv", 2, "first", b'{"a": "\\n"}')]
    DeadLetters(uri).write("part-1.parquet", rows)
    assert names(uri) == ["dead_letters/_part-1.jsonl"]
    data = open_objects(uri).read("dead_letters/_part-1.jsonl")
    assert data.endswith(b"\n")
    assert [json.loads(line) for line in data.splitlines()] == [
        {"file": "a.csv", "row": 2, "reason": "first", "record": '{"a": "\\n"}'},
        {"file": "a.csv", "row": 7, "reason": "second", "record": "x,\\xff\né"},
    ]


def test_nothing_is_written_for_no_rows_and_a_repetition_replaces(uri):
    letters = DeadLetters(uri)
    letters.write("part-1.parquet", [])
    assert names(uri) == []
    for _ in range(2):
        letters.write("part-1.parquet", iter([BadRow("f", 1, "r", b"x")]))
    assert names(uri) == ["dead_letters/_part-1.jsonl"]
    assert open_objects(uri).read(names(uri)[0]).count(b"\n") == 1


def test_a_record_of_any_type_is_json():
    batch = pa.record_batch(
        {
            "n": pa.array([1, 2]),
            "x": [0.5, math.nan],
            "when": pa.array([datetime(2026, 1, 2, 3, tzinfo=UTC)] * 2),
            "price": pa.array([Decimal("1.50")] * 2),
            "user": [{"name": "a", "tags": ["x"]}, {"name": None, "tags": None}],
            "raw": [b"ab", b"cd"],
            "nothing": pa.array([None, None], pa.string()),
        }
    )
    first, second = (json.loads(record_of(batch, row)) for row in range(2))
    assert (first["n"], first["x"], first["price"], first["nothing"]) == (1, 0.5, "1.50", None)
    assert first["when"].startswith("2026-01-02T03:00:00")
    assert first["user"] == {"name": "a", "tags": ["x"]}
    assert (second["n"], second["x"], second["user"]) == (2, None, {"name": None, "tags": None})


def test_a_record_may_hold_text_that_is_not_utf8():
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 3], np.int32)), pa.py_buffer(b"a\xffb"))
    nested = pa.StructArray.from_arrays([broken], ["in"])
    batch = pa.record_batch(
        {"text": broken, "deep": nested, "large": broken.cast(pa.binary()).cast(pa.large_binary())}
    )
    assert json.loads(record_of(batch, 0)) == {"text": "a\\xffb", "deep": "not UTF-8", "large": "Yf9i"}
