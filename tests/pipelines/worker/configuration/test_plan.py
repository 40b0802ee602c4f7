"""Settings become a plan, or one line that says what is wrong with them."""

import pyarrow as pa
import pytest
from plans import plan_of

from encoder.errors import ConfigurationError
from pipelines.worker.configuration.plan import Output, parse_budget, parse_fields


def test_outputs():
    both = plan_of("topic:a", "topic:b", "parquet:s3://bucket/x", dead_letters="parquet:dead")
    assert (both.topics, both.written_topics, both.dead_letter_topic) == (("a", "b"), ("a", "b"), None)
    assert both.rows_output == Output("parquet", "s3://bucket/x")
    assert (both.needs_objects, both.needs_columns) == (True, True)
    arrow = plan_of("topic:a", format="arrow")
    assert (arrow.needs_objects, arrow.needs_columns) == (False, True)
    plain = plan_of("topic:a")
    assert (plain.needs_objects, plain.needs_columns) == (True, False)
    assert plain.written_topics == ("a", "dead")


def test_an_output_may_get_some_records_alone():
    plan = plan_of("topic:a", "topic:alerts where fraud_score >= 0.9 and x == ' where '")
    assert plan.topics == ("a", "alerts")
    assert {topic: one.source for topic, one in plan.conditions.items()} == {
        "alerts": "fraud_score >= 0.9 and x == ' where '"
    }
    assert plan.passes_deletes
    assert not plan_of("topic:alerts where fraud_score >= 0.9").passes_deletes
    assert plan_of("parquet:a where b").rows_output == Output("parquet", "a where b")


def test_a_regular_expression_must_not_match_an_output():
    assert plan_of("topic:out", inputs=["^in-", "other"]).input_names == "^in-, other"
    with pytest.raises(ConfigurationError, match="'out' is both input and output"):
        plan_of("topic:out", inputs=["in", "^o"])
    with pytest.raises(ConfigurationError, match=r"invalid regular expression '\^\('"):
        plan_of("topic:out", inputs=["^("])
    with pytest.raises(ConfigurationError, match="no input"):
        plan_of("topic:out", inputs=[])


@pytest.mark.parametrize("text", ["out", "topic:", "kafka:x", "", ":x", "ceberg:x", "iceberg:"])
def test_outputs_that_cannot_be_read(text):
    tables = "iceberg:CATALOG/NAMESPACE.TABLE or delta:URI"
    for flag, says, settings in (
        ("--output", f"topic:NAME, parquet:URI, {tables}", ([text], {})),
        ("--dead-letters", "topic:NAME or parquet:URI", (["topic:a"], {"dead_letters": text})),
    ):
        outputs, options = settings
        with pytest.raises(ConfigurationError, match=f"{flag} '{text}': write {says}"):
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
        (["topic:out where a > 1", "topic:out where a < 1"], "topic:dead", "the same topic"),
        (["topic:in where a > 1"], "topic:dead", "both input and output"),
        (["topic:out"], "topic:dead where a > 1", "takes all dead letters"),
        (["topic:out where"], "topic:dead", "cannot read the condition ''"),
        (["topic:out if a > 1"], "topic:dead", "write topic:NAME where CONDITION"),
        (["topic:out where a >"], "topic:dead", "cannot read the condition 'a >'"),
    ],
)
def test_outputs_that_contradict_each_other(outputs, dead_letters, says):
    with pytest.raises(ConfigurationError, match=says):
        plan_of(*outputs, dead_letters=dead_letters)


def test_arrow_messages_cannot_be_chosen_by_record():
    with pytest.raises(ConfigurationError, match="--output-format arrow writes many in each"):
        plan_of("topic:out where a > 1", format="arrow")


def test_fields():
    assert parse_fields(None) == (None, {})
    assert parse_fields("id:int64, merchant,") == (("id", "merchant"), {"id": pa.int64()})
    names, types = parse_fields("a:decimal(12,2),b:timestamp[us, tz=UTC] , c:date,d")
    assert names == ("a", "b", "c", "d")
    assert types == {"a": pa.decimal128(12, 2), "b": pa.timestamp("us", "UTC"), "c": pa.date32()}
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


def within(seconds, *properties, **settings):
    return plan_of("topic:out", commit_seconds=seconds, properties=list(properties), **settings)


@pytest.mark.parametrize(
    ("seconds", "properties", "longest"),
    [
        (30, [], "24"),  # librdkafka's own default is 60 s, ours 30
        (3600, [], "24"),
        (24.1, [], "24"),
        (9, ["transaction.timeout.ms=10000"], "8"),
    ],
)
def test_a_commit_must_come_before_brokers_abort_its_transaction(seconds, properties, longest):
    with pytest.raises(ConfigurationError, match=f"at most {longest} works, or raise it"):
        within(seconds, *properties)


def test_commits_that_come_in_time():
    assert within(24).transaction_seconds == 30
    assert within(40, "transaction.timeout.ms=60000").transaction_seconds == 60
    assert within(3600, delivery="at-least-once")
    assert plan_of("parquet:out", dead_letters="parquet:dead", commit_seconds=3600)


def test_a_backlog_never_holds_a_transaction_open_until_brokers_abort_it():
    assert within(0.05).backlog_commit_seconds == 1.0
    assert within(2).backlog_commit_seconds == 15.0  # half of 30 s, not 40 s
    assert within(20).backlog_commit_seconds == 20.0
    assert within(2, delivery="at-least-once").backlog_commit_seconds == 40.0


@pytest.mark.parametrize(
    ("told", "flag"),
    [
        ({"group": "g\u00fc"}, "--group 'g\u00fc'"),
        ({"group": "a\tb"}, "--group"),
        ({"instance": "\u00fc"}, "--instance"),
        ({"properties": ["client.id=\u00fc"]}, "--property client.id"),
    ],
)
def test_names_that_transactions_do_not_take(told, flag):
    with pytest.raises(ConfigurationError, match=f"{flag}.* does not take for transactions"):
        plan_of("topic:a", **told)
    assert plan_of("topic:a", delivery="at-least-once", **told)
    assert plan_of("parquet:out", dead_letters="parquet:dead", **told)


def test_a_transaction_timeout_that_is_no_number():
    with pytest.raises(ConfigurationError, match="=soon is not a number of milliseconds"):
        within(1, "transaction.timeout.ms=soon")


@pytest.mark.parametrize(
    ("outputs", "told", "passes"),
    [
        (["topic:out"], {}, True),
        (["topic:out", "parquet:/out"], {}, True),
        (["topic:out"], {"tombstones": "drop"}, False),
        (["parquet:/out"], {}, False),
        (["parquet:/out"], {"delete_columns": True}, True),
        (["topic:out"], {"format": "arrow"}, False),
        (["topic:out"], {"format": "arrow", "delete_columns": True}, True),
    ],
)
def test_deletes_are_passed_to_outputs_that_can_hold_them(outputs, told, passes):
    assert plan_of(*outputs, **told).passes_deletes == passes


@pytest.mark.parametrize(
    ("outputs", "told", "says"),
    [
        (["topic:out"], {}, "--delete-columns is for Parquet, tables and Arrow outputs: leave it out"),
        (["parquet:/out"], {"tombstones": "drop"}, "not for --tombstones drop: use one of them"),
    ],
)
def test_columns_of_deletes_need_an_output_and_deletes(outputs, told, says):
    with pytest.raises(ConfigurationError, match=says):
        plan_of(*outputs, delete_columns=True, **told)


def test_a_table_is_an_output_like_a_folder():
    plan = plan_of("topic:a", "iceberg:lake/fraud.events", partition_by="day(at), city")
    assert plan.rows_output == Output("iceberg", "lake/fraud.events")
    assert plan.needs_columns
    assert list(map(str, plan.partitions)) == ["day(at)", "city"]
    with pytest.raises(ConfigurationError, match="only one --output can be a Parquet folder or a table"):
        plan_of("parquet:a", "delta:b")
    with pytest.raises(ConfigurationError, match="--dead-letters 'delta:b': write topic:NAME or parquet:URI"):
        plan_of("topic:a", dead_letters="delta:b")
    with pytest.raises(ConfigurationError, match="--partition-by is for Parquet and tables"):
        plan_of("topic:a", partition_by="city")
