"""A message as confluent_kafka gives it."""

from dataclasses import dataclass

__all__ = ["FakeMessage", "batch_of"]

import numpy as np

from pipelines.worker.source import MessageBatch


@dataclass
class FakeMessage:
    """What the worker asks of a message; the methods are confluent_kafka's."""

    value_: bytes | None
    key_: bytes | None = None
    headers_: list[tuple[str, bytes | None]] | None = None
    partition_: int = 0
    offset_: int = 0
    topic_: str = "in"

    def value(self):
        return self.value_

    def key(self):
        return self.key_

    def headers(self):
        return self.headers_

    def partition(self):
        return self.partition_

    def offset(self):
        return self.offset_

    def topic(self):
        return self.topic_

    def timestamp(self):
        return (1, 1_700_000_000_000)

    def error(self):
        return None


def batch_of(messages):
    """Messages as the worker handles them."""
    return MessageBatch(
        list(messages),
        np.array([message.partition() for message in messages], np.int32),
        np.array([message.offset() for message in messages], np.int64),
    )
