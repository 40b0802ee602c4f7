"""What the brokers keep of which topics the output topics of a group were made of."""

import pytest
from faults.inputs import create_again
from secure_brokers import PASSWORD
from topics import unique

from encoder.errors import OtherInput
from pipelines.kafka.topic_ids import TopicId
from pipelines.worker.topic_claims import TopicClaims

pytestmark = pytest.mark.server
ONE, TWO = TopicId("cluster", "one"), TopicId("cluster", "two")


@pytest.fixture
def outputs(kafka):
    return {kafka.create_topic(unique(name), n): n for name, n in (("vectors", 1), ("alerts", 3))}


@pytest.fixture
def claims(kafka, outputs):
    """Makes the claims of a group, as each worker of it has them."""
    group = unique("group")

    def make(*, accept=False, outputs=outputs, group=group):
        return TopicClaims(group, outputs, {"bootstrap.servers": kafka.address}, accept=accept)

    return make


def take(claims, **topics):
    claims.look_at(topics)
    claims.take(topics)


def test_another_topic_of_the_name_is_refused_until_it_is_accepted(claims, outputs):
    take(claims(), a=ONE, b=ONE)
    take(claims(), a=ONE)
    says = rf"topic 'b' is not the one that topic '{next(iter(outputs))}' was made of .*created again"
    with pytest.raises(OtherInput, match=says):
        claims().look_at({"a": ONE, "b": TWO})
    take(claims(accept=True), a=ONE, b=TWO)
    take(claims(), a=ONE, b=TWO)
    claims(group=unique("another")).look_at({"a": TWO, "b": ONE})


def test_a_look_writes_nothing(claims):
    claims().look_at({"a": ONE})
    claims().look_at({"a": TWO})


def test_a_renewal_keeps_what_is_known(claims):
    made = claims()
    take(made, a=ONE)
    made.renew()
    with pytest.raises(OtherInput):
        claims().look_at({"a": TWO})


def test_an_output_that_was_created_again_was_made_of_nothing(claims, outputs, kafka):
    take(claims(), a=ONE)
    for topic, n in outputs.items():
        create_again(kafka, topic, n)
    take(claims(), a=TWO)


def test_of_too_many_topics_the_last_ones_are_known(claims, outputs, caplog):
    one = dict([next(iter(outputs.items()))])
    named = {f"payments-{i:04}": TopicId("c" * 22, f"{i:022}") for i in range(100)}
    made = claims(outputs=one)
    made.look_at(named)
    made.take(named)
    assert "which topic payments-0000 stands for: too many are read" in caplog.text
    other = dict.fromkeys(named, ONE)
    known = []
    for name in ("payments-0000", "payments-0099"):
        try:
            claims(outputs=one).look_at({name: other[name]})
        except OtherInput:
            known.append(name)
    assert known == ["payments-0099"]


def test_a_user_who_may_not_keep_it_is_warned(secure, caplog):
    group, target = unique("group"), secure.broker.create_topic(unique("vectors"), 1)
    login = {"sasl.mechanism": "PLAIN", "sasl.username": "alice", "sasl.password": PASSWORD}
    tls = {"security.protocol": "SASL_SSL", "ssl.ca.location": str(secure.folder / "ca.pem")}
    own = {"bootstrap.servers": secure.addresses["SASL"], **login, **tls}

    def warned():
        caplog.clear()
        take(TopicClaims(group, {target: 1}, own, accept=False), a=ONE)
        return f"allow READ on group {group}.inputs and on topics {target}" in caplog.text

    secure.allow("topic", target, "write")
    assert warned()
    secure.allow("group", group, "read", prefix=True)
    assert warned()
    secure.allow("topic", target, "read")
    assert not warned()
    with pytest.raises(OtherInput):
        TopicClaims(group, {target: 1}, own, accept=False).look_at({"a": TWO})
