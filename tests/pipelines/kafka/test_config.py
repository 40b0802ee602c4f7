import pytest

from encoder.errors import ConfigurationError
from pipelines.kafka.config import (
    client_properties,
    consumer_properties,
    parse_properties,
    producer_properties,
    shown,
    transactional_id,
)


def test_the_command_line_goes_before_the_environment_and_that_before_files(tmp_path):
    file = tmp_path / "kafka.properties"
    file.write_text("# of operations\na=file\nb=file\nc = file=x\n\n")
    environment = {"MILLSTREAM_KAFKA_B": "environment", "MILLSTREAM_KAFKA_SASL_PASSWORD": "pw", "OTHER": "x"}
    found = parse_properties(["a=line"], [file], environment)
    assert found == {"a": "line", "b": "environment", "c": "file=x", "sasl.password": "pw"}


def test_a_secret_comes_from_a_file_and_is_not_shown(tmp_path):
    (tmp_path / "password").write_text("hunter2\n")
    found = parse_properties([f"sasl.password=@{tmp_path}/password", "client.id=x"], [], {})
    assert found["sasl.password"] == "hunter2"
    assert shown(found) == {"sasl.password": "(hidden)", "client.id": "x"}


@pytest.mark.parametrize(
    "key", ["ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret", "sasl.password"]
)
def test_secrets_are_hidden(key):
    assert shown({key: "hunter2"}) == {key: "(hidden)"}


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (["hunter2"], "is not KEY=VALUE"),
        (["enable.auto.commit=true"], "enable.auto.commit cannot be set: offsets are committed"),
        (["group.id=x"], "--group"),
        (["ssl.key.pem=@/no/such/file"], "ssl.key.pem: cannot read /no/such/file"),
        (["partition.assignment.strategy=range"], "strategy=range is not supported: leave it out"),
    ],
)
def test_what_cannot_be_set(pairs, says):
    with pytest.raises(ConfigurationError, match=says) as caught:
        parse_properties(pairs, [], {})
    assert "hunter2" not in str(caught.value)


def test_delivery_does_not_depend_on_the_user():
    users = {"fetch.min.bytes": "7", "linger.ms": "1", "sasl.username": "me", "message.timeout.ms": "9000"}
    consumer = consumer_properties(users, brokers="b:1", group="g", instance=None)
    assert consumer["isolation.level"] == "read_committed"
    assert consumer["enable.auto.commit"] == "false"
    assert consumer["partition.assignment.strategy"] == "cooperative-sticky"
    assert (consumer["fetch.min.bytes"], consumer["sasl.username"]) == ("7", "me")
    assert "linger.ms" not in consumer
    assert "group.instance.id" not in consumer
    producer = producer_properties(
        users, brokers="b:1", transactional_id="g-1", least_bytes=500, most_bytes=1000
    )
    assert (producer["transactional.id"], producer["message.max.bytes"]) == ("g-1", "1000")
    assert producer["batch.size"] == "500"
    assert (producer["linger.ms"], producer["sasl.username"]) == ("1", "me")
    assert "fetch.min.bytes" not in producer


def test_a_message_fails_before_its_transaction_times_out():
    made = producer_properties({}, brokers="b:1", transactional_id="g-1", least_bytes=500, most_bytes=1000)
    assert int(made["message.timeout.ms"]) < int(made["transaction.timeout.ms"])
    short = producer_properties(
        {"transaction.timeout.ms": "5000"},
        brokers="b:1",
        transactional_id="g-1",
        least_bytes=500,
        most_bytes=1000,
    )
    assert int(short["message.timeout.ms"]) < 5000


def test_without_transactions():
    made = producer_properties({}, brokers="b:1", transactional_id=None, least_bytes=500, most_bytes=1000)
    assert made["enable.idempotence"] == "true"
    assert not [key for key in made if key.startswith("transaction")]


def test_kafkas_own_topics_are_never_read():
    def left_out(**users):
        made = consumer_properties(users, brokers="b:1", group="g", instance=None)
        return made["topic.blacklist"].split(",")

    own = ["^__consumer_offsets$", "^__transaction_state$", "^__share_group_state$"]
    assert left_out() == own
    assert left_out(**{"topic.blacklist": "^tmp-,^x$"}) == ["^tmp-", "^x$", *own]


def test_the_new_protocol_and_static_membership():
    made = consumer_properties({"group.protocol": "consumer"}, brokers="b:1", group="g", instance="w-0")
    assert "partition.assignment.strategy" not in made
    assert made["group.instance.id"] == "w-0"


def test_properties_of_the_schema_registry_are_for_its_client_alone():
    environment = {"MILLSTREAM_KAFKA_SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO": "me:hunter2"}
    users = parse_properties(["schema.registry.bearer.auth.token=hunter2"], [], environment)
    assert set(shown(users).values()) == {"(hidden)"}
    assert "schema.registry.basic.auth.user.info" in users
    consumer = consumer_properties(users, brokers="b:1", group="g", instance=None)
    producer = producer_properties(
        users, brokers="b:1", transactional_id=None, least_bytes=500, most_bytes=1000
    )
    assert not [key for key in (*consumer, *producer) if key.startswith("schema.registry.")]
    with pytest.raises(ConfigurationError, match="cannot be set: use --schema-registry"):
        parse_properties(["schema.registry.url=http://x"], [], {})


def test_every_client_logs_in_the_same_way():
    users = {
        "security.protocol": "SASL_SSL",
        "sasl.username": "me",
        "enable.ssl.certificate.verification": "false",
        "enable.sasl.oauthbearer.unsecure.jwt": "true",
        "fetch.min.bytes": "7",
        "linger.ms": "1",
        "schema.registry.basic.auth.user.info": "me:x",
    }
    client = client_properties(users, "b:1")
    assert client == {"bootstrap.servers": "b:1"} | dict(list(users.items())[:4])
    consumer = consumer_properties(users, brokers="b:1", group="g", instance=None)
    producer = producer_properties(
        users, brokers="b:1", transactional_id=None, least_bytes=500, most_bytes=1000
    )
    assert client.items() <= consumer.items() & producer.items()


def test_two_groups_never_share_a_transactional_id():
    pairs = [("g", "x-0"), ("g-x", "0"), ("g", "x"), ("g-x-0", "1"), ("g-x", "0-1")]
    ids = [transactional_id(group, instance) for group, instance in pairs]
    assert len(set(ids)) == len(ids)
    assert all(one.startswith(f"{group}-") for one, (group, _) in zip(ids, pairs, strict=True))
    assert ids[0] == transactional_id("g", "x-0"), "a restart finds the transaction of the process before it"
    assert transactional_id("g", None) != transactional_id("g", None)


@pytest.mark.parametrize(("max_mib", "ahead_kib"), [(64, 1024), (1024, 16384), (65536, 16384)])
def test_what_is_fetched_ahead_follows_the_memory(max_mib, ahead_kib):
    made = consumer_properties({}, brokers="b:1", group="g", instance=None, max_bytes=max_mib << 20)
    assert made["queued.max.messages.kbytes"] == str(ahead_kib)
    assert made["fetch.max.bytes"] == str(ahead_kib << 10)
    assert made["max.partition.fetch.bytes"] == str(ahead_kib << 5)
