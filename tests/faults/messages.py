"""A message as confluent_kafka gives it, a source of such messages, and a worker that reads them."""

import threading
import time
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from encoder.heads.scoring import Heads
from pipelines.worker.error_budget import ErrorBudget
from pipelines.worker.loop import Worker
from pipelines.worker.message_batch import MessageBatch
from pipelines.worker.offsets import PartitionIndex, Positions
from pipelines.worker.telemetry.metrics import WorkerMetrics
from pipelines.worker.unpack import OneEach

__all__ = ["FakeMessage", "batch_of", "read_all"]

_ONE_EACH = OneEach()
_NO_HEADS = SimpleNamespace(encoder=SimpleNamespace(heads=Heads()))


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

    def leader_epoch(self):
        return None

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

    def to_commit(self, *about):
        return self.partitions.part(*about)

    def give_back(self, messages):
        self.positions.give_back(messages.partitions, messages.offsets)

    def rewind(self):
        self.positions.rewind()

    def hold(self, partitions):
        self._held = bool(set(partitions))


def read_all(
    messages,
    size,
    decoder,
    outputs,
    commits,
    *,
    model=_NO_HEADS,
    start=(0, ""),
    budget=1.0,
    records=1000,
    unpack=_ONE_EACH,
):
    """Run a worker that commits after so many records and at the end, until it has read all messages."""
    stopping = threading.Event()
    Worker(
        source=FakeSource(messages, size, stopping, start),
        decoder=decoder,
        follower=SimpleNamespace(current=lambda: model),
        outputs=outputs,
        commits=commits,
        budget=ErrorBudget(budget),
        metrics=WorkerMetrics(),
        stopping=stopping,
        commit_seconds=1000.0,
        backlog_commit_seconds=1000.0,
        transaction_records=records,
        unpack=unpack,
    ).run()
