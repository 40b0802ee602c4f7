"""A message as confluent_kafka gives it, and a source of such messages."""

import time
from dataclasses import dataclass

import numpy as np

from pipelines.worker.offsets import PartitionIndex, Positions
from pipelines.worker.source import MessageBatch

__all__ = ["FakeMessage", "FakeSource", "batch_of"]


@dataclass
class FakeMessage:
    """What the worker asks of a message; the methods are confluent_kafka's."""

    value_: bytes | None
    key_: bytes | None = None
    headers_: list[tuple[str, bytes | None]] | Exception | None = None  # an error is raised
    partition_: int = 0
    offset_: int = 0
    topic_: str = "in"
    milliseconds: int = 1_700_000_000_000

    def __len__(self):
        return len(self.value_ or b"")

    def value(self):
        return self.value_

    def key(self):
        return self.key_

    def headers(self):
        if isinstance(self.headers_, Exception):
            raise self.headers_
        return self.headers_

    def set_headers(self, headers):
        self.headers_ = headers

    def partition(self):
        return self.partition_

    def offset(self):
        return self.offset_

    def topic(self):
        return self.topic_

    def timestamp(self):
        return (1, self.milliseconds)

    def error(self):
        return None


def batch_of(messages):
    """Messages as the worker handles them."""
    return MessageBatch(
        list(messages),
        np.array([message.partition() for message in messages], np.int32),
        np.array([message.offset() for message in messages], np.int64),
    )


class FakeSource:
    """One partition of messages, read from its position in batches of `size`; at the end the worker stops."""

    def __init__(self, messages, size, stopping, start=(0, "")):
        self.partitions, self.positions = PartitionIndex(), Positions()
        self.rebalances = 0
        self._messages, self._size, self._start, self._stopping = messages, size, start, stopping
        self._held = False

    def subscribe(self, listener):
        self.partitions.number("in", 0)
        self.positions.begin(0, listener.assigned(0, *self._start))

    def consume(self, *_):
        position = self.positions.next(0)
        if position >= len(self._messages):
            self._stopping.set()
        if self._held or position >= len(self._messages):
            time.sleep(0.01)
            return batch_of([])
        batch = batch_of(self._messages[position : position + self._size])
        return batch.select(self.positions.take(batch.partitions, batch.offsets))

    def idle(self):
        pass

    def if_cut(self, *_):
        return None

    def give_back(self, messages):
        self.positions.give_back(messages.partitions, messages.offsets)

    def rewind(self):
        self.positions.rewind()

    def hold(self, partitions):
        self._held = bool(set(partitions))
