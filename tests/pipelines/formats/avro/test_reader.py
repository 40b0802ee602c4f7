"""Avro records become dictionaries, bytes that do not match are told, and slices are the bytes of fields."""

import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.formats.avro.reader import AvroReader, AvroSlices, holds_itself, is_unbounded
from pipelines.formats.schema_registry import FramedDecoder, Schema, SchemaError, header

USER = {"type": "record", "name": "User", "fields": [{"name": "name", "type": "string"}]}
PERSON = pa.struct([("name", pa.string())])
FIELDS = {
    "flag": ("boolean", True, pa.bool_()),
    "small": ("int", -5, pa.int32()),
    "large": ("long", 2**60, pa.int64()),
    "half": ("float", 0.5, pa.float32()),
    "double": ("double", 0.1, pa.float64()),
    "raw": ("bytes", b"\0\xff", pa.binary()),
    "text": ("string", "ü", pa.string()),
    "nothing": ("null", None, pa.string()),
    "maybe": (["null", "string"], None, pa.string()),
    "number": (["null", "int", "long"], 7, pa.int64()),
    "measure": (["long", "double"], 0.5, pa.float64()),
    "kind": ({"type": "enum", "name": "Kind", "symbols": ["A", "B"]}, "B", pa.string()),
    "four": ({"type": "fixed", "name": "Four", "size": 4}, b"abcd", pa.binary(4)),
    "day": ({"type": "int", "logicalType": "date"}, date(2026, 2, 3), pa.date32()),
    "clock": ({"type": "int", "logicalType": "time-millis"}, time(1, 2, 3, 4000), pa.time32("ms")),
    "clock_us": ({"type": "long", "logicalType": "time-micros"}, time(1, 2, 3, 4), pa.time64("us")),
    "at": (
        {"type": "long", "logicalType": "timestamp-millis"},
        datetime(2026, 1, 2, 3, 4, 5, 6000, UTC),
        pa.timestamp("ms", "UTC"),
    ),
    "at_us": (
        {"type": "long", "logicalType": "timestamp-micros"},
        datetime(1901, 1, 2, 3, 4, 5, 6, UTC),
        pa.timestamp("us", "UTC"),
    ),
    "local": (
        {"type": "long", "logicalType": "local-timestamp-micros"},
        datetime(2026, 1, 2, 3, 4, 5, 6),
        pa.timestamp("us"),
    ),
    "amount": (
        {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
        Decimal("-1234.50"),
        pa.decimal128(12, 2),
    ),
    "wide": (
        {"type": "fixed", "name": "Wide", "size": 20, "logicalType": "decimal", "precision": 40, "scale": 0},
        Decimal(12),
        pa.decimal256(40, 0),
    ),
    "uuid": (
        {"type": "string", "logicalType": "uuid"},
        "00000000-0000-0000-0000-000000000001",
        pa.string(),
    ),
    "user": (USER, {"name": "x"}, pa.struct([("name", pa.string())])),
    "other": ("User", {"name": "y"}, pa.struct([("name", pa.string())])),
    "tags": ({"type": "map", "values": "int"}, {"a": 1}, pa.map_(pa.string(), pa.int32())),
    "users": ({"type": "array", "items": "User"}, [{"name": "z"}], pa.list_(PERSON)),
    "nanos": ({"type": "long", "logicalType": "timestamp-nanos"}, 5, pa.int64()),
}  # fmt: skip
ALL = {
    "type": "record",
    "name": "All",
    "namespace": "a.b",
    "fields": [{"name": name, "type": kind} for name, (kind, _, _) in FIELDS.items()],
}


def schema_of(schema, **parts):
    return Schema("AVRO", json.dumps(schema), (), {name: json.dumps(part) for name, part in parts.items()})


def encoded(schema, record, number=1):
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), record)
    return header(number) + stream.getvalue()


def values():
    return {name: value for name, (_, value, _) in FIELDS.items()}


def test_values_of_every_type():
    reader = AvroReader(schema_of(ALL))
    assert reader.read(encoded(ALL, values())) == values()
    assert reader.fields(None) == {name: kind for name, (_, _, kind) in FIELDS.items()}


def test_what_no_column_holds_is_said_of_the_field():
    schema = {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "mixed", "type": ["int", "string"]},
            {"name": "self", "type": ["null", "R"]},
            {"name": "empty", "type": {"type": "record", "name": "E", "fields": []}},
            {"name": "fine", "type": "int"},
        ],
    }
    fields = AvroReader(schema_of(schema)).fields(None)
    assert fields["mixed"] == "a union of int32 and string"
    assert fields["self"] == "a R inside itself"
    assert "no fields" in fields["empty"]
    assert fields["fine"] == pa.int32()


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ('"string"', "not records"),
        ("{", "cannot be read"),
        ('{"type":"record","name":"R","fields":[{"name":"x","type":"Gone"}]}', "Gone"),
    ],
)
def test_schemas_that_cannot_be_read(schema, says):
    with pytest.raises(SchemaError, match=says):
        AvroReader(Schema("AVRO", schema))


def decoder(schema, columns=None, **parts):
    found = {1: schema_of(schema, **parts), 2: Schema("JSON", "{}"), 3: Schema("AVRO", "{")}
    return FramedDecoder("AVRO", found.get, AvroReader, columns)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "null"),
        (b"", "does not begin with a schema id"),
        (b'{"id":1}', "does not begin with a schema id"),
        (header(9) + b"x", "the registry has no schema 9"),
        (header(2) + b"x", "schema 2: it is JSON, not AVRO"),
        (header(3) + b"x", "schema 3: it cannot be read"),
        (header(1), "not of schema 1: it ends too early"),
        (encoded(ALL, values())[:-1], "not of schema 1: it ends too early"),
        (encoded(ALL, values()) + b"!", "not of schema 1: 1 bytes are left over"),
    ],
)
def test_bad_values_are_named_and_spoil_no_other(value, says):
    good = encoded(ALL, values())
    records, rows, bad = decoder(ALL)([good, value, good])
    assert (len(records), rows, list(bad)) == (2, [0, 2], [1])
    assert says in bad[1]


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        ("string", b"\x04\xff\xff", "utf-8"),
        ("string", b"\x03", "ends too early"),
        ("bytes", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "ends too early"),
        (["null", "int"], b"\x08", "no such branch"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x08", "no such"),
        ({"type": "int", "logicalType": "date"}, b"\xfe\xff\xff\xff\x0f", ""),
        (
            {"type": "long", "logicalType": "timestamp-millis"},
            b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "",
        ),
    ],
)
def test_bytes_that_do_not_match(kind, data, says):
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]}
    found = decoder(schema)([header(1) + data])
    assert found.records == []
    assert "not of schema 1" in found.bad[0]
    assert says in found.bad[0]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_reason(data):
    found = decoder(ALL)([header(1) + data, data])
    assert sorted([*found.rows, *found.bad]) == [0, 1]


@pytest.mark.parametrize("depth", [10, 100_000])
def test_records_inside_records_end_somewhere(depth):
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    found = decoder(node)([header(1) + b"\x02" * depth + b"\0"])
    assert (found.rows, list(found.bad)) == (([0], []) if depth == 10 else ([], [0]))


def test_schemas_that_refer_to_others():
    schema = {"type": "record", "name": "R", "fields": [{"name": "user", "type": "User"}]}
    whole = {**schema, "fields": [{"name": "user", "type": USER}]}
    found = decoder(schema, User=USER)([encoded(whole, {"user": {"name": "x"}})])
    assert found.records == [{"user": {"name": "x"}}]


def test_a_schema_is_asked_for_once_and_an_unknown_one_again():
    asked = []

    def fetch(number):
        asked.append(number)
        return schema_of(ALL) if number == 1 else None

    decode = FramedDecoder("AVRO", fetch, AvroReader)
    good = encoded(ALL, values())
    for _ in range(3):
        decode([good, good, header(5)])
    assert asked == [1, 5, 5, 5]


LOSSY = [
    ("double", pa.int64(), "double, and int64"),
    ("double", pa.float32(), "double, and float"),
    ({"type": "long", "logicalType": "timestamp-micros"}, pa.timestamp("ms", "UTC"), "timestamp"),
    ({"type": "array", "items": "double"}, pa.list_(pa.int64()), "double, and int64"),
    ({"type": "map", "values": "double"}, pa.map_(pa.string(), pa.int64()), "double, and int64"),
    (USER | {"fields": [{"name": "n", "type": "float"}]}, pa.struct([("n", pa.int32())]), "float, and int32"),
]


@pytest.mark.parametrize(("kind", "column", "says"), LOSSY)
def test_a_schema_whose_values_would_be_cut_is_refused(kind, column, says):
    schema = schema_of({"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]})
    with pytest.raises(SchemaError, match=says):
        AvroReader(schema, pa.schema([("x", column)]))
    AvroReader(schema, pa.schema([("y", column)]))  # nobody wants the field


NAMES = list(FIELDS)


@given(st.sets(st.sampled_from(NAMES)))
def test_slices_are_the_bytes_of_the_kept_fields(keep):
    fields, defined = [], False
    for name in NAMES:
        if name in keep:
            kind = FIELDS[name][0]
            if name in ("user", "other"):
                kind, defined = (kind, True) if name == "user" or defined else (USER, True)
            if name == "users" and not defined:
                kind = {"type": "array", "items": USER}
            fields.append({"name": name, "type": kind})
    expected = encoded({"type": "record", "name": "Some", "fields": fields}, values())[5:]
    assert AvroSlices(schema_of(ALL), keep)(encoded(ALL, values())) == expected


def test_slices_of_records_inside_records():
    node = {
        "type": "record",
        "name": "Node",
        "fields": [{"name": "id", "type": "int"}, {"name": "next", "type": ["null", "Node"]}],
    }
    value = encoded(node, {"id": 1, "next": {"id": 2, "next": None}})
    assert AvroSlices(schema_of(node), ["id"])(value) == b"\x02"
    assert AvroSlices(schema_of(node), ["next"])(value) == b"\x02\x04\x00"


NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
EMPTY = {"type": "record", "name": "Empty", "fields": []}
TWO = {
    "type": "record",
    "name": "Two",
    "fields": [{"name": "a", "type": EMPTY}, {"name": "b", "type": "Empty"}],
}


def shapes(kind):
    names = {}
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]}
    parsed = fastavro.parse_schema(schema, names)
    return holds_itself(parsed, names), is_unbounded(parsed, names)


@pytest.mark.parametrize(
    "kind",
    [
        "R",
        ["null", "R"],
        {"type": "array", "items": "R"},
        {"type": "map", "values": ["null", "R"]},
        NODE,
        {"type": "array", "items": {"type": "map", "values": NODE}},
    ],
)
def test_records_in_themselves(kind):
    assert shapes(kind)[0]


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "array", "items": "null"},
        {"type": "array", "items": {"type": "null"}},
        {"type": "array", "items": EMPTY},
        {"type": "array", "items": TWO},
        {"type": "map", "values": ["int", {"type": "array", "items": TWO}]},
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}},
    ],
)
def test_arrays_of_nothing(kind):
    assert shapes(kind) == (False, True)


@pytest.mark.parametrize(
    "kind",
    [
        "null",
        EMPTY,
        TWO,
        {"type": "map", "values": "null"},  # a key is some bytes
        {"type": "array", "items": ["null", "string"]},
        {"type": "array", "items": {"type": "array", "items": "int"}},
        {"type": "array", "items": {"type": "enum", "name": "E", "symbols": ["A"]}},
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 1}},
        {"type": "array", "items": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
)
def test_other_types(kind):
    assert shapes(kind) == (False, False)


def test_a_record_in_itself_is_bounded():
    assert shapes({"type": "array", "items": ["null", "R"]}) == (True, False)


def test_such_a_schema_is_not_read():
    text = '{"type":"record","name":"R","fields":[{"name":"x","type":{"type":"array","items":"null"}}]}'
    with pytest.raises(SchemaError, match="arrays of items without bytes"):
        AvroReader(Schema("AVRO", text))


def long(number):
    """A number as Avro writes it."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, "long", number)
    return stream.getvalue()


EVE = datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)
SIX = long(3) + (123_456).to_bytes(3)
DECIMAL = {"logicalType": "decimal", "precision": 4, "scale": 2}


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ({"type": "bytes", **DECIMAL}, long(2) + (9999).to_bytes(2), Decimal("99.99")),
        ({"type": "bytes", **DECIMAL}, long(2) + (-9999).to_bytes(2, signed=True), Decimal("-99.99")),
        ({"type": "bytes", **DECIMAL}, long(2) + (10_000).to_bytes(2), "a decimal of 5 digits"),
        ({"type": "bytes", **DECIMAL}, long(0), Decimal("0.00")),
        ({"type": "fixed", "name": "F", "size": 3, **DECIMAL}, (123_456).to_bytes(3), "its precision is 4"),
        ({"type": "int", "logicalType": "time-millis"}, long(86_399_999), time(23, 59, 59, 999_000)),
        ({"type": "int", "logicalType": "time-millis"}, long(-1), "-0.001 s is not a time of day"),
        ({"type": "long", "logicalType": "time-micros"}, long(86_400_000_000), "not a time of day"),
        ({"type": "int", "logicalType": "date"}, long(-719_162), date(1, 1, 1)),
        ({"type": "int", "logicalType": "date"}, long(2_932_897), "year 10000"),
        ({"type": "long", "logicalType": "timestamp-millis"}, long(253_402_300_800_000), "out of range"),
        ({"type": "long", "logicalType": "timestamp-micros"}, long(-1), EVE),
        ({"type": "long", "logicalType": "timestamp-nanos"}, long(2**63 - 1), 2**63 - 1),
        ({"type": "array", "items": {"type": "bytes", **DECIMAL}}, long(1) + SIX + long(0), "6 digits"),
        (["null", {"type": "bytes", **DECIMAL}], long(1) + SIX, "6 digits"),
    ],
)  # fmt: skip
def test_values_at_the_bounds_of_logical_types(kind, data, value):
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]}
    reader = FramedDecoder("AVRO", lambda _: Schema("AVRO", json.dumps(schema)), AvroReader)
    records, _, bad = reader([header(1) + data])
    if isinstance(value, str):
        assert value in bad[0]
    else:
        assert records == [{"x": value}]
        assert str(records[0]["x"]) == str(value)


TAGS = {"type": "map", "values": "int"}
ONCE, TWICE = {"a": 1, "b": 2}, long(3) + b"\x02a\x02\x02b\x04\x02a\x06" + long(0)


@pytest.mark.parametrize(
    "kind",
    [
        TAGS,
        {**TAGS, "default": {}},
        ["null", TAGS],
        {"type": "map", "values": TAGS},
        [TAGS, {"type": "array", "items": TAGS}],
    ],
)
def test_a_key_that_appears_twice_in_a_map_is_refused(kind):
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": kind, "default": {}}]}
    nested = isinstance(kind, dict) and kind["values"] is TAGS
    branch = b"" if isinstance(kind, dict) else long(kind.index(TAGS))
    around = (long(1) + b"\x02k", long(0)) if nested else (branch, b"")
    found = decoder(schema)(
        [encoded(schema, {"x": {"k": ONCE} if nested else ONCE}), header(1) + TWICE.join(around)]
    )
    assert found.records == [{"x": {"k": ONCE} if nested else ONCE}]
    assert "the key 'a' appears twice in a map" in found.bad[1]


def test_maps_in_blocks_and_in_parts_of_a_schema():
    pair = [{"name": "x", "type": TAGS}, {"name": "y", "type": TAGS}]
    part = {"type": "record", "name": "P", "fields": pair}
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "p", "type": "P"}, {"name": "z", "type": TAGS}],
    }
    blocks = long(1) + b"\x02a\x02" + long(-1) + long(3) + b"\x02b\x04" + long(0)
    found = decoder(schema, P=part)([header(1) + blocks + long(0) + blocks])
    assert found.records == [{"p": {"x": ONCE, "y": {}}, "z": ONCE}]
    assert AvroSlices(schema_of(schema, P=part), ["z"])(header(1) + blocks + long(0) + blocks) == blocks


def test_other_users_of_fastavro_keep_its_readers():
    schema = fastavro.parse_schema({"type": "bytes", **DECIMAL})
    data = io.BytesIO(long(3) + (123_456).to_bytes(3))
    assert fastavro.schemaless_reader(data, schema, None) == Decimal(1235)
