"""Protobuf messages become dictionaries, from text and from serialized schemas alike."""

import base64
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from pipelines.formats.protobuf.reader import ProtobufReader
from pipelines.formats.protobuf.schema import message_type, schema_file
from pipelines.formats.schema_registry import FramedDecoder, Schema, SchemaError, header, varint

TEXT = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
import "google/type/money.proto";
import "shop/user.proto";
message Paid {
  int64 id = 1;
  uint64 big = 2;
  bool flag = 3;
  bytes raw = 4;
  float half = 5;
  optional string maybe = 6;
  google.protobuf.Timestamp at = 7;
  google.protobuf.Duration took = 8;
  google.protobuf.Struct any = 9;
  google.protobuf.Int64Value wrapped = 10;
  google.type.Money price = 11;
  User user = 12;
  enum Kind { CARD = 0; CASH = 1; }
  repeated Kind kinds = 13;
  map<int32, User> friends = 14;
  map<bool, int32> counts = 15;
  oneof how { string card = 16; int32 cash = 17; }
  message Line { string text = 1; Line next = 2; }
  Line line = 18;
}
message Empty {}
message Other { message Deep { double x = 1; } Deep deep = 1; }
"""
USER = 'syntax = "proto3"; package shop; message User { string name = 1; }'
PARTS = {"shop/user.proto": USER}
SOURCE = Schema("PROTOBUF", TEXT, (), PARTS)


def serialized(text, parts=None, name="default"):
    file, _ = schema_file(Schema("PROTOBUF", text, (), parts or {}))
    file.name = name
    return base64.b64encode(file.SerializeToString()).decode()


@pytest.fixture(scope="module")
def schema():
    parts = {"shop/user.proto": serialized(USER)}
    return Schema("PROTOBUF", serialized(TEXT, PARTS), (), parts)


def message(schema, indexes=(0,), **fields):
    file, pool = schema_file(schema)
    return GetMessageClass(message_type(file, pool, indexes))(**fields)


def framed(made, indexes=b"\0"):
    return header(1) + indexes + made.SerializeToString()


EMPTY = {
    "id": 0, "big": 0, "flag": False, "raw": b"", "half": 0.0, "maybe": None, "at": None, "took": None,
    "any": None, "wrapped": None, "price": None, "user": None, "kinds": [], "friends": {}, "counts": {},
    "card": None, "cash": None, "line": None,
}  # fmt: skip


@pytest.mark.parametrize("form", ["text", "serialized"])
def test_values_of_every_kind(form, schema):
    made = message(schema, id=-(2**60), big=2**64 - 1, flag=True, raw=b"\0\xff", half=0.5, maybe="", cash=0)
    made.at.FromJsonString("2026-01-02T03:04:05.000006Z")
    made.took.FromJsonString("1.500s")
    made.any.update({"a": 1.5, "b": [None, True]})
    made.wrapped.value = 0
    made.price.units = 7
    made.user.name = "ü"
    made.kinds.extend([1, 0, 9])
    made.friends[-1].name = "x"
    made.counts[True] = 3
    made.line.text = "one"
    made.line.next.text = "two"
    reader = ProtobufReader(schema if form == "serialized" else SOURCE)
    assert reader.read(framed(made)) == {
        "id": -(2**60),
        "big": 2**64 - 1,
        "flag": True,
        "raw": b"\0\xff",
        "half": 0.5,
        "maybe": "",
        "at": datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
        "took": "1.500s",
        "any": {"a": 1.5, "b": [None, True]},
        "wrapped": 0,
        "price": {"currency_code": "", "units": 7, "nanos": 0},
        "user": {"name": "ü"},
        "kinds": ["CASH", "CARD", "9"],
        "friends": {"-1": {"name": "x"}},
        "counts": {"true": 3},
        "card": None,
        "cash": 0,
        "line": {"text": "one", "next": {"text": "two", "next": None}},
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456789Z"),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
        ("1969-12-31T23:59:59.000000001Z", "1969-12-31T23:59:59.000000001Z"),
    ],
)
def test_a_time_with_nanoseconds_is_text(schema, text, value):
    made = message(schema)
    made.at.FromJsonString(text)
    assert ProtobufReader(schema).read(framed(made))["at"] == value


def test_of_a_key_that_appears_twice_in_a_map_the_last_value_counts(schema):
    """As Protobuf's specification says; other readers give the same."""
    first, second = message(schema, counts={True: 3}), message(schema, counts={True: 4, False: 0})
    value = framed(first) + second.SerializeToString()
    assert ProtobufReader(schema).read(value)["counts"] == {"true": 4, "false": 0}


def test_what_is_not_set(schema):
    assert ProtobufReader(schema).read(framed(message(schema))) == EMPTY


def test_columns(schema):
    fields = ProtobufReader(schema).fields(None)
    user = pa.struct([("name", pa.string())])
    assert fields.pop("any") == "values of any kind"
    assert fields.pop("line") == "a shop.Paid.Line inside itself"
    assert fields == {
        "id": pa.int64(),
        "big": pa.uint64(),
        "flag": pa.bool_(),
        "raw": pa.binary(),
        "half": pa.float32(),
        "maybe": pa.string(),
        "at": pa.timestamp("us", "UTC"),
        "took": pa.string(),
        "wrapped": pa.int64(),
        "price": pa.struct([("currency_code", pa.string()), ("units", pa.int64()), ("nanos", pa.int32())]),
        "user": user,
        "kinds": pa.list_(pa.string()),
        "friends": pa.map_(pa.string(), user),
        "counts": pa.map_(pa.string(), pa.int32()),
        "card": pa.string(),
        "cash": pa.int32(),
    }


@pytest.mark.parametrize(
    ("indexes", "record"),
    [((1,), {}), ((2,), {"deep": {"x": 1.5}}), ((2, 0), {"x": 1.5}), ((0, 3), {"text": "t", "next": None})],
)
def test_other_messages_of_the_schema(indexes, record, schema):
    file, pool = schema_file(schema)
    if indexes == (0, 3):  # in front of it are the entries of maps
        names = [one.name for one in file.message_type[0].nested_type]
        indexes = (0, names.index("Line"))
    made = GetMessageClass(message_type(file, pool, indexes))()
    for name, value in record.items():
        if name == "deep":
            made.deep.x = value["x"]
        elif value is not None:
            setattr(made, name, value)
    numbers = varint(len(indexes)) + b"".join(map(varint, indexes))
    value = framed(made, numbers)
    reader = ProtobufReader(schema)
    assert reader.read(value) == record
    assert set(reader.fields(value)) == set(record)


def decoder(schema, columns=None):
    return FramedDecoder("PROTOBUF", {1: schema, 2: Schema("AVRO", "")}.get, ProtobufReader, columns)


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        (b"\0\xff\xff", "not of schema 1"),
        (b"\x02\x12", "schema 1: it has no message [9]"),
        (b"", "do not end"),
        (b"\0\x62\x03\x0a\x01\xff", "not of schema 1"),  # the user's name is no UTF-8
    ],
)
def test_bad_messages_are_named_and_spoil_no_other(rest, says, schema):
    good = framed(message(schema))
    found = decoder(schema)([good, header(1) + rest, good, header(2) + b"\0"])
    assert found.records == [EMPTY, EMPTY]
    assert says in found.bad[1]
    assert found.bad[3] == "schema 2: it is AVRO, not PROTOBUF"


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_a_reason(data):
    found = DECODE([header(1) + data, data])
    assert sorted([*found.rows, *found.bad]) == [0, 1]


DECODE = decoder(Schema("PROTOBUF", 'syntax = "proto3"; message M { string a = 1; map<string, M> m = 2; }'))


def test_a_message_whose_values_would_be_cut_is_refused(schema):
    made = message(schema, (2,))
    made.deep.x = 1.5
    column = pa.schema([("deep", pa.struct([("x", pa.int64())]))])
    found = decoder(schema, column)([framed(made, b"\x02\x04")])
    assert "double, and int64 in the column" in found.bad[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no proto", "protoc does not compile it"),
        ('syntax = "proto3"; import "gone.proto";', "gone.proto"),
        (base64.b64encode(b"\xff").decode(), "protoc does not compile it"),
    ],
)
def test_schemas_that_cannot_be_read(text, says):
    with pytest.raises(SchemaError, match=says):
        ProtobufReader(Schema("PROTOBUF", text))


def test_a_serialized_schema_without_what_it_imports():
    with pytest.raises(SchemaError, match=r"imports 'shop/user.proto', which is not among its references"):
        ProtobufReader(Schema("PROTOBUF", serialized(TEXT, PARTS)))


@pytest.mark.parametrize("name", ["../out.proto", "/tmp/out.proto"])
def test_references_stay_in_their_folder(name):
    with pytest.raises(SchemaError, match="not a file name"):
        ProtobufReader(Schema("PROTOBUF", 'syntax = "proto3";', (), {name: "x"}))


def test_fields_that_the_schema_does_not_have_are_left_out_counted_and_logged(schema, caplog):
    newer = b"\xf8\x07\x05"  # field 127: 5
    values = [
        framed(message(schema, id=1)) + newer,
        framed(message(schema, id=2)),
        framed(message(schema)) + b"\x62\x06\x0a\x01x" + newer,  # inside field 12, the user
        framed(message(schema, id=3)) + 2 * newer,
    ]
    decode = FramedDecoder("PROTOBUF", lambda _: schema, ProtobufReader)
    found = decode(values)
    assert [(one["id"], one["user"]) for one in found.records] == [
        (1, None),
        (2, None),
        (0, {"name": "x"}),
        (3, None),
    ]
    assert decode.n_unknown == 4
    assert caplog.messages == [
        "the schema of shop.Paid has no field 127: its values are left out",
        "the schema of shop.User has no field 127: its values are left out",
    ]
