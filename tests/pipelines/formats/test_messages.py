"""Message values: every bad one is named, and none of them changes what becomes of the others."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.formats.json import JsonDecoder
from pipelines.formats.messages import columns_seen, decode_columns, decode_objects, text_columns
from pipelines.records.template import TextTemplate

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])
BAD = [
    None,
    b"",
    b"  ",
    b"{",
    b"[1]",
    b"7",
    b'{"id":1}{"id":2}',
    b'{"text":"\xff"}',
    b"null",
    b'{"id":1',
    b"}",
]


def columns(values, schema=SCHEMA):
    return decode_columns(values, "json", schema, JsonDecoder("topic", schema))


def test_records_keep_all_their_fields_and_their_order():
    values = [b'{"b": 1, "a": {"c": [1, null]}}', b'{"a": "\\u00e9"}', b' {"x": 1.5}\n']
    records, rows, bad = decode_objects(values, "json")
    assert records == [json.loads(value) for value in values]
    assert list(records[0]) == ["b", "a"]
    assert (list(rows), bad) == ([0, 1, 2], {})


@given(
    st.lists(st.sampled_from([*BAD, b'{"id":5,"text":"x"}', b'{\n"id": 6,\n"text": "y\\n"}\n']), max_size=12)
)
def test_bad_values_are_named_and_change_nothing_else(values):
    good = [row for row, value in enumerate(values) if value not in BAD]
    for decoded, taken in (
        (decode_objects(values, "json"), lambda d: [(r["id"], r["text"]) for r in d.records]),
        (columns(values), lambda d: [tuple(r.values()) for r in d.batch.to_pylist()]),
    ):
        assert list(decoded.rows) == good
        assert sorted(decoded.bad) == [row for row in range(len(values)) if row not in good]
        expected = [json.loads(values[row]) for row in good]
        assert taken(decoded) == [(r["id"], r["text"]) for r in expected]
        assert all("\n" not in reason and reason for reason in decoded.bad.values())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the value is null"),
        (b"[1]", "not an object"),
        (b"{", "not JSON"),
        (b'{"text":"\xff"}', "not UTF-8: byte 0xff"),
    ],
)
def test_reasons(value, reason):
    assert reason in decode_objects([value], "json").bad[0]
    assert reason in columns([value]).bad[0]


def test_columns_take_what_fits_their_schema():
    values = [b'{"id":1,"more":2}', b'{"id":"one"}', b'{"text":"a"}']
    decoded = columns(values)
    assert decoded.batch.to_pylist() == [{"id": 1, "text": None}, {"id": None, "text": "a"}]
    assert decoded.rows == [0, 2]
    assert "field 'id': expected a whole number, found \"one\"" in decoded.bad[1]


def test_plain_text():
    values = [b"caf\xc3\xa9", b"\xff", None, b""]
    records, rows, bad = decode_objects(values, "text")
    assert (records, rows) == ([{"text": "café"}, {"text": ""}], [0, 3])
    assert bad == {1: "not UTF-8: byte 0xff", 2: "the value is null"}
    schema = columns_seen(values, "text")
    assert decode_columns(values, "text", schema, None).batch.to_pylist() == records


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_values_in_utf16_and_utf32_are_bad_and_say_so(encoding):
    name = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(encoding, encoding)
    values = [b"a\0b", "Grüße, du".encode(encoding), b"c"]
    records, rows, bad = decode_objects(values, "text")
    assert (records, rows) == ([{"text": "a\0b"}, {"text": "c"}], [0, 2])
    assert bad == {1: f"not UTF-8: it is {name}"}
    schema = columns_seen(values, "text")
    assert decode_columns(values, "text", schema, None).batch.to_pylist() == records
    value = '{"id":1,"text":"paid"}'.encode(encoding)
    assert decode_objects([value], "json").bad == columns([value]).bad == {0: f"not UTF-8: it is {name}"}


def test_columns_are_those_of_the_sample():
    seen = columns_seen([b'{"id":1,"user":{"name":"a"}}', b"oops", b'{"id":2,"tags":["x"]}'], "json")
    expected = [
        ("id", pa.int64()),
        ("user", pa.struct([("name", pa.string())])),
        ("tags", pa.list_(pa.string())),
    ]
    assert seen == pa.schema(expected)


def test_texts_of_records_equal_those_of_columns():
    values = [
        b'{"a":"x","n":1.0,"u":{"name":"b"},"l":[1,"y"],"ok":true}',
        b'{"a":null,"n":2.5,"u":{},"l":[],"ok":false}',
        b"{}",
    ]
    records = decode_objects(values, "json").records
    schema = pa.schema(
        [
            ("a", pa.string()),
            ("n", pa.float64()),
            ("u", pa.struct([("name", pa.string())])),
            ("ok", pa.bool_()),
        ]
    )
    template = TextTemplate.parse("{a}|{n}|{u.name}|{ok}|{missing}")
    by_objects = template.apply(text_columns(records, template.fields)).to_pylist()
    assert by_objects == template.apply(columns(values, schema).batch).to_pylist()
    assert by_objects == ["x|1|b|true|", "|2.5||false|", None]


def test_a_field_with_dots_in_its_name_wins():
    records = [{"u.name": "whole", "u": {"name": "inner"}}, {"u": {"name": "inner"}}, {"u": "no object"}]
    assert text_columns(records, ["u.name"]).to_pydict() == {"u.name": ["whole", "inner", None]}
