"""What messages have beside their values: timestamps that topics accept, and deletes."""

import pytest
from faults.messages import FakeMessage
from hypothesis import given
from hypothesis import strategies as st

from pipelines.kafka.messages import (
    ANY_TIME,
    KAFKA_LIMITS,
    NO_TIMESTAMP,
    NOW,
    TimeLimits,
    deletes_among,
    envelope_of,
)
from pipelines.records.bad_rows import Envelope

CLOCK = 1_700_000_000_000
HOUR = 3_600_000
LONG = 2**63 - 1
INT64 = st.integers(-(2**63), LONG)


@pytest.mark.parametrize(
    ("config", "limits"),
    [
        ({}, ANY_TIME),  # before Kafka 3.6 a topic may have none
        ({"message.timestamp.after.max.ms": "3600000"}, KAFKA_LIMITS),
        ({"message.timestamp.before.max.ms": "7", "message.timestamp.after.max.ms": "9"}, TimeLimits(7, 9)),
        ({"message.timestamp.difference.max.ms": "5"}, TimeLimits(5, 5)),
        ({"retention.ms": "7", "cleanup.policy": "compact,delete"}, ANY_TIME._replace(kept=7)),
        ({"retention.ms": "7", "cleanup.policy": "compact"}, ANY_TIME),
        ({"retention.ms": "-1"}, ANY_TIME),
        ({"message.timestamp.type": "LogAppendTime", "message.timestamp.after.max.ms": "0"}, ANY_TIME),
    ],
)
def test_limits_are_those_of_the_topic(config, limits):
    assert TimeLimits.of_topic(config) == limits


@given(st.lists(INT64), st.integers(0, LONG), st.integers(0, LONG))
def test_what_is_sent_is_accepted_and_nothing_else_is_changed(times, before, after):
    limits = TimeLimits(before, after)
    sent = limits.accepted(times, CLOCK)
    for time, given_ in zip(sent, times, strict=True):
        assert time in (NOW, given_)
        assert time == NOW or CLOCK - before <= time <= CLOCK + after
        if time == NOW and given_ not in (NOW, NO_TIMESTAMP):  # near a limit: clocks differ
            assert given_ - CLOCK > after // 2 or CLOCK - given_ > before // 2
    if times and limits.accepts(min(times), max(times), CLOCK):
        assert sent == times


def test_messages_of_now_are_accepted_by_every_topic():
    for limits in (ANY_TIME, KAFKA_LIMITS, TimeLimits(0, 0), TimeLimits(1000, 1000)):
        assert limits.accepts(CLOCK, CLOCK, CLOCK)


def test_a_delete_has_a_key_and_no_value():
    messages = [FakeMessage(b"v", b"k"), FakeMessage(None, b"k"), FakeMessage(b"", b"k"), FakeMessage(None)]
    assert deletes_among(messages) == [1]
    assert deletes_among([FakeMessage(None, b"")]) == [0]
    assert deletes_among(messages[:1]) == deletes_among([]) == []


def test_an_envelope_holds_all_but_the_value():
    message = FakeMessage(None, b"k", [("h", None)])
    assert envelope_of(message) == Envelope(b"k", (("h", None),), 1_700_000_000_000)
