"""Values become records with vectors: good and bad ones keep their places."""

from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from plans import plan_of

from encoder.errors import ConfigurationError
from pipelines.enrich.model_follower import FollowedModel
from pipelines.sinks.kafka import record_encoder
from pipelines.worker.configuration.columns import fields_seen, output_schema
from pipelines.worker.decode import PlainValues, RecordDecoder
from pipelines.worker.telemetry.metrics import WorkerMetrics

VALUES = [
    b'{"id":0,"text":"paid","embedding":"old","model_version":"tiny@3"}',
    b"oops",
    b'{"id":1,"text":null}',
    b'{"id":2,"text":"used"}',
    None,
]
BAD = {1: "VALUE_CONVERTER", 2: "TRANSFORMATION", 4: "VALUE_CONVERTER"}


def decoder_of(plan, schema):
    return RecordDecoder(plan, schema, PlainValues(plan, schema))


def schema_of(chosen):
    return output_schema(chosen, fields_seen(chosen, VALUES))


@pytest.fixture
def followed(encoder):
    return FollowedModel(encoder, "tiny@7", 7, 0.0)


@pytest.mark.parametrize("outputs", [["topic:a"], ["parquet:x"], ["topic:a", "parquet:x"]])
def test_bad_values_leave_and_the_others_keep_their_vectors(outputs, followed, encoder):
    chosen = plan_of(*outputs)
    schema = schema_of(chosen) if chosen.needs_columns else None
    made = decoder_of(chosen, schema)(VALUES, followed)
    assert made.rows.tolist() == [0, 3]
    assert {letter.row: letter.stage for letter in made.letters} == BAD
    vectors = made.batch["embedding"].flatten().to_numpy().reshape(2, -1)
    assert np.array_equal(vectors, encoder.encode(["paid", "used"]))
    assert made.label == "tiny@7"
    if chosen.needs_objects:
        assert [record["id"] for record in made.records] == [0, 2]
    if chosen.needs_columns:
        assert made.batch.schema.names == ["id", "text", "embedding", "model_version"]
        assert made.batch["id"].to_pylist() == [0, 2]


@pytest.mark.parametrize("kind", ["json", "msgpack"])
def test_a_field_with_the_name_of_an_added_column_is_not_replaced(kind, followed):
    def made(**options):
        return decoder_of(plan_of("topic:a", format=kind, **options), None)(values, followed)

    ours = {"embedding": [1.0], "model_version": "minilm@sha256:0123456789ab"}
    records = [
        {"model_version": "fraud-v3"},
        {"embedding": [1, 2]},
        ours,
        {"id": 1},
        {**ours, "model_version": "fraud-v3@beta"},
    ]
    values = [msgspec.json.encode({"text": "paid", **record}) for record in records]
    found = made()
    assert found.rows.tolist() == [2, 3]  # what Millstream has embedded already is embedded again
    assert len(found.batch) == len(found.records) == 2
    assert {letter.row: letter.reason for letter in found.letters} == {
        row: f"the record has a field {name!r}, and Millstream adds one of this name: leave it out with "
        "--fields"
        for row, name in ((0, "model_version"), (1, "embedding"), (4, "embedding"))
    }
    assert made(fields="id,text").rows.tolist() == [0, 1, 2, 3, 4]


def test_a_field_with_the_name_of_an_added_column_is_counted_where_columns_are_written(followed):
    values = [b'{"text":"paid","model_version":"fraud-v3"}']
    chosen = plan_of("parquet:x")
    decoder = decoder_of(chosen, output_schema(chosen, fields_seen(chosen, values)))
    assert decoder(values, followed).rows.tolist() == [0]
    assert decoder.n_left_out == 1


def test_what_does_not_fit_a_column_leaves_all_outputs(followed):
    chosen = plan_of("topic:a", "parquet:x", fields="id:int64,text")
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    made = decoder_of(chosen, schema)([b'{"id":"x","text":"paid"}', b'{"id":1,"text":"used"}'], followed)
    assert [record["id"] for record in made.records] == made.batch["id"].to_pylist() == [1]
    assert "expected a whole number" in made.letters[0].reason


def test_every_value_may_be_bad(followed):
    for output in ("topic:a", "parquet:x"):
        chosen = plan_of(output)
        schema = schema_of(chosen) if chosen.needs_columns else None
        made = decoder_of(chosen, schema)([b"oops", None], followed)
        assert (len(made.rows), made.batch.num_rows) == (0, 0)
        assert [letter.row for letter in made.letters] == [0, 1]


def test_vectors_have_the_format_that_was_asked_for(followed):
    chosen = plan_of("topic:a", vectors="binary", dtype="float16")
    made = decoder_of(chosen, None)(VALUES, followed)
    assert made.batch["embedding"].type == pa.binary(2 * followed.encoder.dim)


def test_columns_are_those_of_the_sample_with_the_types_that_were_set():
    seen = schema_of(plan_of("parquet:x", fields="id:float64,text,rare:string"))
    assert seen == pa.schema([("id", pa.float64()), ("text", pa.string()), ("rare", pa.string())])
    chosen = schema_of(plan_of("parquet:x", fields="id"))
    assert chosen.names == ["id", "text"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ("rare", "--fields rare:string"),
        ("rare:no", "unknown type 'no' .*: use int64"),
        ("rare:decimal(99,2)", r"unknown type 'decimal\(99,2\)' in --fields \(decimal256 has 1 to 76 digits"),
        ("rare:time64[us]", "cannot be time64.*, as JSON has no such values: use string"),
        ("rare:duration[s]", "cannot be duration"),
    ],
)
def test_fields_that_cannot_be_columns(fields, says):
    with pytest.raises(ConfigurationError, match=says):
        schema_of(plan_of("parquet:x", fields=fields))


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        ("decimal(4,2)", "99.99", Decimal("99.99")),
        ("decimal(4,2)", "-9.990", Decimal("-9.99")),
        ("decimal(4,2)", "1e1", Decimal("10.00")),
        ("decimal(4,2)", "0.001", "requires scale 3"),
        ("decimal(4,2)", "100", "does not fit in precision"),
        ("decimal(4,2)", '"1.00"', "expected a number"),
        ("decimal(4,2)", "100.00", "requires precision 5"),
        ("decimal(40,1)", f"{10**38}.5", Decimal(f"{10**38}.5")),
        ("decimal(40,1)", f"{10**39}.5", "requires precision 41"),
        ("date", '"2024-02-29"', date(2024, 2, 29)),
        ("date", '"0001-01-01"', date(1, 1, 1)),
        ("date", '"2026-02-29"', "2026-02-29"),
        ("date", '"2026-01-02T00:00:00Z"', "2026-01-02T00:00:00Z"),
        ("date", "20455", "expected a string"),
        (
            "timestamp[us, tz=UTC]",
            '"2026-01-02T03:04:05.000006+01:00"',
            datetime(2026, 1, 2, 2, 4, 5, 6, UTC),
        ),
        ("timestamp[us, tz=Europe/Berlin]", '"2026-01-02T03:04:05Z"', datetime(2026, 1, 2, 3, 4, 5, 0, UTC)),
        ("timestamp[s, tz=UTC]", '"2026-01-02T03:04:05.5Z"', "couldn't parse"),
        ("timestamp[us]", '"2026-01-02T03:04:05.1234567"', "couldn't parse"),
        ("timestamp[ns]", '"2263-01-01T00:00:00"', "couldn't parse"),
        ("timestamp[us]", "1767323045", "number"),
        ("uint64", "18446744073709551615", 2**64 - 1),
        ("uint64", "18446744073709551616", "expected a whole number"),
        ("uint8", "-1", "expected a whole number"),
        ("float32", "3.4028234663852886e38", 3.4028234663852886e38),
        ("float32", "-3.5e38", "-3.5E+38 is beyond float32"),
        ("binary", '"\\u00e9"', "é".encode()),
    ],
)
def test_values_at_the_bounds_of_types_that_are_set(kind, written, value, followed):
    chosen = plan_of("parquet:x", fields=f"x:{kind}")
    values = [b'{"text":"a","x":null}', b'{"text":"b","x":%s}' % written.encode(), b'{"text":"c"}']
    made = decoder_of(chosen, output_schema(chosen, {"text": pa.string()}))(values, followed)
    if isinstance(value, str):
        assert made.rows.tolist() == [0, 2]
        [letter] = made.letters
        assert value in letter.reason
    else:
        assert made.batch["x"].to_pylist() == [None, value, None]


def test_a_field_for_the_text_alone_is_not_kept(followed):
    chosen = plan_of("parquet:x", fields="id")
    made = decoder_of(chosen, schema_of(chosen))(VALUES, followed)
    assert made.batch.schema.names == ["id", "embedding", "model_version"]


def test_a_field_that_no_column_holds():
    seen = {"id": pa.int64(), "mixed": "a union of int32 and string"}
    with pytest.raises(ConfigurationError, match="'mixed' is a union of int32 and string, which no column"):
        output_schema(plan_of("parquet:x"), seen)
    assert output_schema(plan_of("parquet:x", fields="id"), seen).names == ["id"]


@pytest.mark.parametrize("outputs", [["parquet:x"], ["topic:a", "parquet:x"]])
@pytest.mark.parametrize(
    ("text", "values", "texts"),
    [
        ("text", [b'{"id":1,"text":"paid"}', b'{"id":2}', b'{"id":3,"text":7}'], ["paid", "7"]),
        ("{text} {user.name}", [b'{"id":1,"user":{"name":"bo"}}', b'{"text":"x"}'], [" bo", "x "]),
    ],
)
def test_a_text_field_that_no_column_has_is_read_all_the_same(
    outputs, text, values, texts, followed, encoder
):
    chosen = plan_of(*outputs, fields="id:int64", text=text)
    made = decoder_of(chosen, output_schema(chosen, {}))(values, followed)
    vectors = made.batch["embedding"].flatten().to_numpy().reshape(len(texts), -1)
    assert np.array_equal(vectors, encoder.encode(texts))
    assert made.batch.schema.names == ["id", "embedding", "model_version"]
    assert len(made.letters) == len(values) - len(texts)


def test_a_struct_of_the_sample_that_lacks_a_field_of_the_text_does_not_hide_it(followed, encoder):
    chosen = plan_of("parquet:x", text="{user.name} {user.city}")
    schema = output_schema(chosen, fields_seen(chosen, [b'{"user":{"name":"al"}}']))
    made = decoder_of(chosen, schema)([b'{"user":{"name":"bo","city":"rome"}}'], followed)
    assert np.array_equal(made.batch["embedding"].flatten().to_numpy(), encoder.encode(["bo rome"])[0])


@pytest.mark.parametrize("kind", ["json", "msgpack"])
def test_json_numbers_stay_as_written_or_are_letters(kind, followed):
    values = [b'{"text":"paid","x":0.12345678901234567890}', b'{"text":"paid","x":0.5}']
    made = decoder_of(plan_of("topic:a", format=kind), None)(values, followed)
    messages = record_encoder(kind, ["x"])(made.records, made.batch["embedding"], made.label)
    if kind == "json":
        assert messages[0].startswith(b'{"x":0.12345678901234567890,')
    else:
        assert [one.row for one in made.letters] == [0]
        assert msgspec.msgpack.decode(messages[0])["x"] == 0.5


@pytest.mark.parametrize(("fields", "n_values"), [(None, 4), ("id,text", 0)])
def test_values_of_fields_that_no_column_holds_are_counted(fields, n_values, followed):
    chosen = plan_of("parquet:x", fields=fields)
    decode = decoder_of(chosen, pa.schema([("id", pa.int64()), ("text", pa.string())]))
    values = [b'{"id":1,"text":"paid","x":1,"y":{"z":2}}', b'{"id":2,"text":"used","x":3,"embedding":4}']
    assert decode(values, followed).batch["id"].to_pylist() == [1, 2]
    metrics = WorkerMetrics()
    metrics.count_left_out(lambda: decode.n_left_out)
    assert metrics.registry.get_sample_value("millstream_left_out_values") == n_values
