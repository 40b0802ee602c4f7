"""Calls to the brokers that are repeated."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from pipelines.kafka.retries import retried


def failing(codes):
    """A call that fails with each code in turn, then answers."""
    left = list(codes)

    def call():
        if left:
            raise KafkaException(KafkaError(left.pop(0)))
        return "answer"

    return call


def test_a_coordinator_that_still_loads_is_waited_for():
    call = failing([KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR])
    assert retried(call) == "answer"


def test_other_errors_are_not_waited_for():
    with pytest.raises(KafkaException, match="GROUP_AUTHORIZATION_FAILED"):
        retried(failing([KafkaError.GROUP_AUTHORIZATION_FAILED]))


def test_the_last_error_is_raised_in_the_end():
    with pytest.raises(KafkaException, match="COORDINATOR"):
        retried(failing([KafkaError.COORDINATOR_NOT_AVAILABLE] * 9), seconds=0.0)


def test_a_caller_says_which_errors_pass_and_what_is_done_between():
    seen = []
    call = failing([KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED])
    assert retried(call, passes=lambda _: True, between=seen.append) == "answer"
    assert [error.code() for error in seen] == [
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    ]
