"""Settings become a plan, or one line that says what is wrong with them."""

import pytest
from plans import plan_of

from encoder.errors import ConfigurationError
from pipelines.worker.plan import Output, parse_budget, parse_fields


def test_outputs():
    both = plan_of("topic:a", "topic:b", "parquet:s3://bucket/x", dead_letters="parquet:dead")
    assert (both.topics, both.written_topics, both.dead_letter_topic) == (("a", "b"), ("a", "b"), None)
    assert both.parquet_output == Output("parquet", "s3://bucket/x")
    assert (both.needs_objects, both.needs_columns) == (True, True)
    arrow = plan_of("topic:a", format="arrow")
    assert (arrow.needs_objects, arrow.needs_columns) == (False, True)
    plain = plan_of("topic:a")
    assert (plain.needs_objects, plain.needs_columns) == (True, False)
    assert plain.written_topics == ("a", "dead")


def test_a_regular_expression_must_not_match_an_output():
    assert plan_of("topic:out", inputs=["^in-", "other"]).input_names == "^in-, other"
    with pytest.raises(ConfigurationError, match="'out' is both input and output"):
        plan_of("topic:out", inputs=["in", "^o"])
    with pytest.raises(ConfigurationError, match=r"invalid regular expression '\^\('"):
        plan_of("topic:out", inputs=["^("])
    with pytest.raises(ConfigurationError, match="no input"):
        plan_of("topic:out", inputs=[])


@pytest.mark.parametrize("text", ["out", "topic:", "kafka:x", "", ":x"])
def test_outputs_that_cannot_be_read(text):
    for flag, settings in (
        ("--output", ([text], {})),
        ("--dead-letters", (["topic:a"], {"dead_letters": text})),
    ):
        outputs, options = settings
        with pytest.raises(ConfigurationError, match=f"{flag} '{text}': write topic:NAME or parquet:URI"):
            plan_of(*outputs, **options)


@pytest.mark.parametrize(
    ("outputs", "dead_letters", "says"),
    [
        (["topic:in"], "topic:dead", "both input and output"),
        (["topic:out"], "topic:in", "both input and output"),
        (["topic:out"], "topic:out", "the same topic"),
        (["topic:out", "topic:out"], "topic:dead", "the same topic"),
        ([], "topic:dead", "no output"),
        (["parquet:a", "parquet:b"], "topic:dead", "only one"),
        (["parquet:a"], "parquet:a", "the same folder"),
    ],
)
def test_outputs_that_contradict_each_other(outputs, dead_letters, says):
    with pytest.raises(ConfigurationError, match=says):
        plan_of(*outputs, dead_letters=dead_letters)


def test_fields():
    assert parse_fields(None) == (None, {})
    assert parse_fields("id:int64, merchant,") == (("id", "merchant"), {"id": "int64"})
    assert parse_fields("") == ((), {})
    for text in (":int64", "id:"):
        with pytest.raises(ConfigurationError, match=r"in --fields: .* id:int64"):
            parse_fields(text)


def test_budgets():
    assert [parse_budget(text) for text in ("1%", "0.01", "100%", "0")] == [0.01, 0.01, 1.0, 0.0]
    for text in ("one", "200%", "-1", "nan"):
        with pytest.raises(ConfigurationError, match=r"--max-dead-letters .* 1% or 0\.01"):
            parse_budget(text)


def test_formats_with_schemas_need_a_registry():
    for options in ({"input_format": "avro"}, {"input_format": "protobuf"}, {"format": "avro"}):
        with pytest.raises(ConfigurationError, match="--schema-registry URL"):
            plan_of("topic:a", **options)
    assert not plan_of("parquet:x", format="avro").avro_messages  # no topic has messages


def test_the_embedded_cluster_needs_at_least_once():
    with pytest.raises(ConfigurationError, match="--delivery at-least-once"):
        plan_of("topic:a", embedded=True)
    assert plan_of("topic:a", embedded=True, delivery="at-least-once").embedded


def test_avro_messages_from_avro_need_no_columns():
    url = {"schema_registry": "http://x"}
    passed_on = plan_of("topic:a", input_format="avro", format="avro", **url)
    assert (passed_on.uses_registry, passed_on.avro_messages) == (True, True)
    assert (passed_on.needs_objects, passed_on.needs_columns) == (False, False)
    for kind in ("json", "text", "protobuf"):
        made_anew = plan_of("topic:a", input_format=kind, format="avro", **url)
        assert (made_anew.needs_objects, made_anew.needs_columns) == (False, True)


def test_a_plan_shows_no_secret():
    plan = plan_of("topic:a", properties=["sasl.password=hunter2"])
    assert plan.properties == {"sasl.password": "hunter2"}
    assert "hunter2" not in repr(plan)
