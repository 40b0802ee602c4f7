import pytest

from encoder.errors import ConfigurationError
from pipelines.worker.settings import Output, WorkerSettings, parse_budget, parse_fields


def settings(outputs=("topic:out",), dead_letters="topic:dead", **options):
    return WorkerSettings(
        **{"brokers": "b:1", "group": "g", "inputs": ("in",), "text": "text", "model": "m", **options},
        outputs=tuple(Output.parse(output) for output in outputs),
        dead_letters=Output.parse(dead_letters),
    )


def test_outputs():
    both = settings(["topic:a", "topic:b", "parquet:s3://bucket/x"], "parquet:dead")
    assert [output.target for output in both.topic_outputs] == ["a", "b"]
    assert both.parquet_outputs == (Output("parquet", "s3://bucket/x"),)
    assert (both.needs_objects, both.needs_columns) == (True, True)
    arrow = settings(["topic:a"], format="arrow")
    assert (arrow.needs_objects, arrow.needs_columns) == (False, True)
    plain = settings()
    assert (plain.needs_objects, plain.needs_columns) == (True, False)


def test_a_regular_expression_must_not_match_an_output():
    assert settings(inputs=("^in-", "other")).input_names == "^in-, other"
    with pytest.raises(ConfigurationError, match="'out' is input and output"):
        settings(inputs=("in", "^o"))
    with pytest.raises(ConfigurationError, match=r"invalid regular expression '\^\('"):
        settings(inputs=("^(",))
    with pytest.raises(ConfigurationError, match="no input"):
        settings(inputs=())


@pytest.mark.parametrize("text", ["out", "topic:", "kafka:x", "", ":x"])
def test_outputs_that_cannot_be_read(text):
    with pytest.raises(ConfigurationError, match="write topic:NAME or parquet:URI"):
        Output.parse(text)


@pytest.mark.parametrize(
    ("outputs", "dead_letters", "says"),
    [
        (["topic:in"], "topic:dead", "in circles"),
        (["topic:out"], "topic:in", "in circles"),
        (["topic:out"], "topic:out", "dead letters"),
        (["topic:out", "topic:out"], "topic:dead", "named twice"),
        ([], "topic:dead", "no output"),
        (["parquet:a", "parquet:b"], "topic:dead", "only one"),
        (["parquet:a"], "parquet:a", "share a folder"),
    ],
)
def test_outputs_that_contradict_each_other(outputs, dead_letters, says):
    with pytest.raises(ConfigurationError, match=says):
        settings(outputs, dead_letters)


def test_fields():
    assert parse_fields(None) == (None, {})
    assert parse_fields("id:int64, merchant,") == (("id", "merchant"), {"id": "int64"})
    assert parse_fields("") == ((), {})
    for text in (":int64", "id:"):
        with pytest.raises(ConfigurationError, match="id:int64"):
            parse_fields(text)


def test_budgets():
    assert [parse_budget(text) for text in ("1%", "0.01", "100%", "0")] == [0.01, 0.01, 1.0, 0.0]
    for text in ("one", "200%", "-1", "nan"):
        with pytest.raises(ConfigurationError, match=r"1% or 0\.01"):
            parse_budget(text)


def test_formats_with_schemas_need_a_registry():
    for options in ({"input_format": "avro"}, {"input_format": "protobuf"}, {"format": "avro"}):
        with pytest.raises(ConfigurationError, match="--schema-registry URL"):
            settings(**options)
    assert not settings(["parquet:x"], format="avro").avro_messages  # no topic has messages


def test_what_avro_is_made_of():
    url = {"schema_registry": "http://x"}
    passed_on = settings(input_format="avro", format="avro", **url)
    assert (passed_on.framed, passed_on.avro_messages) == (True, True)
    assert (passed_on.needs_objects, passed_on.needs_columns) == (False, False)
    for kind in ("json", "text", "protobuf"):
        made_anew = settings(input_format=kind, format="avro", **url)
        assert (made_anew.needs_objects, made_anew.needs_columns) == (False, True)
