"""Fields that no column holds are counted, whatever they are and however many."""

import json
import logging

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.formats import json_left_out
from pipelines.formats.json import JsonDecoder
from pipelines.formats.json_left_out import OTHERS, LeftOut, merged
from pipelines.formats.row_boundaries import Lines, blocks

INNER = pa.struct([("a", pa.int64())])
SCHEMA = pa.schema([("id", pa.int64()), ("user", INNER), ("items", pa.list_(INNER))])


def left_out(records, **options):
    """What a decoder counts; checks that the columns are those of a decoder that does not count."""
    data = b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in records)
    decoder = JsonDecoder("in/a.jsonl", SCHEMA, all_fields=True, **options)
    for block in blocks(iter([data]), Lines(), "a"):
        batch, rows, bad = decoder(block)
        expected, expected_rows, expected_bad = JsonDecoder("a", SCHEMA)(block)
        assert batch.equals(expected)
        assert (rows.tolist(), bad) == (expected_rows.tolist(), expected_bad)
    return decoder.left_out.take()


def test_values_are_counted_by_dotted_names_and_nulls_are_none():
    records = [
        {"id": 1, "x": 5},
        {"id": 2, "x": None, "y": {"z": 1}},
        {"user": {"a": 1, "b": 2}, "items": [{"a": 1, "b": 2}, {"b": 3}, None], "id": 3},
        {"id": 4, "y": {}},
    ]
    assert left_out(records) == {"x": 1, "y": 2, "user.b": 1, "items.b": 2}
    assert left_out([{"id": 1, "x": 5}, {"id": 2, "x": "a"}, {"user": {"b": 1}}]) == {"x": 2, "user.b": 1}
    assert left_out([{"id": 1, "x": 1}, b'{"id":"bad","x":1}\n', b"oops\n"]) == {"x": 1}
    assert left_out([{"id": 1}]) == {}


@pytest.mark.parametrize("share", [1, 3, 20])
def test_ever_new_names_are_counted_under_a_bound(share):
    found = left_out([{"id": i, **({f"k{i}": i} if i % share == 0 else {})} for i in range(3000)])
    assert len(found) == min(101, 3000 // share)
    assert sum(found.values()) == 3000 // share
    assert found[OTHERS] == 3000 // share - 100
    assert merged(found, {"k0": 1, "new": 2}) == {**found, "k0": 2, OTHERS: found[OTHERS] + 2}


VALUES = st.recursive(
    st.none() | st.integers(-5, 5) | st.sampled_from(["a", "1"]) | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(st.sampled_from(["u", "v", "w"]), VALUES), max_size=5))
def test_any_values_are_counted_once(records):
    expected = {}
    for name in (name for one in records for name, value in one.items() if value is not None):
        expected[name] = expected.get(name, 0) + 1
    assert left_out([{"id": 1, **one} for one in records]) == expected


def test_names_are_logged_once_for_an_input(caplog, monkeypatch):
    monkeypatch.setattr(json_left_out, "_known", {})
    with caplog.at_level(logging.WARNING, "pipelines.formats.json_left_out"):
        for _ in range(3):
            left_out([{"id": 1, "x": 5, "y": 6}])
    assert caplog.messages == ["in: fields without a column are left out: x, y"]


def test_records_of_other_formats_are_counted_at_their_top_level():
    found = LeftOut(SCHEMA, "topic a")
    assert found.of_records([{"id": 1, "x": 1, "y": None}, {"x": 2}]) == 2
    assert found.of_records([{"id": 1}]) == found.of_records([]) == 0
    assert found.take() == {"x": 2}
