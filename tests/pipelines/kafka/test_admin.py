"""Calls that are repeated; the checks themselves are tested with real brokers (`worker/test_security.py`)."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from pipelines.kafka import admin


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
    assert admin.retried(call) == "answer"


def test_other_errors_are_not_waited_for():
    with pytest.raises(KafkaException, match="GROUP_AUTHORIZATION_FAILED"):
        admin.retried(failing([KafkaError.GROUP_AUTHORIZATION_FAILED]))


def test_the_last_error_is_raised_in_the_end(monkeypatch):
    monkeypatch.setattr(admin, "_ASK_SECONDS", 0.0)
    with pytest.raises(KafkaException, match="COORDINATOR"):
        admin.retried(failing([KafkaError.COORDINATOR_NOT_AVAILABLE] * 9))
