"""Records in no group are counted, and the log names one of them at most once a minute."""

import logging
from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from encoder import Encoder
from pipelines.enrich.enrichment import EnrichedBatch
from pipelines.worker.message_batch import MessageBatch
from pipelines.worker.telemetry.new_kinds import NewKinds


class Message(NamedTuple):
    """What a message of confluent-kafka says of its place."""

    number: int

    def topic(self):
        return "logs"

    def partition(self):
        return 3

    def offset(self):
        return 100 + self.number


def enriched(groups, rows):
    batch = pa.record_batch({"event_group": pa.array(groups, pa.string())})
    return EnrichedBatch(np.array(rows), None, batch, "m@1", [])


@pytest.fixture
def heads(headed):
    return Encoder.load(headed("event", "odd")).heads


def test_records_in_no_group_are_counted_and_one_is_named(heads, caplog):
    now, counted = [0.0], Counter()
    kinds = NewKinds(lambda head, n: counted.update({head: n}), clock=lambda: now[0])
    messages = MessageBatch([Message(k) for k in range(9)], np.zeros(9, np.int32), np.arange(9))
    caplog.set_level(logging.INFO)
    kinds.look(heads, messages, 0, enriched(["g", "g"], [0, 1]))
    assert counted == {"event": 0}
    kinds.look(heads, messages, 2, enriched(["g", None, None], [1, 3, 4]))
    kinds.look(heads, messages, 0, enriched([None], [0]))
    now[0] = 60.0
    kinds.look(heads, messages, 0, enriched([None], [8]))
    assert counted == {"event": 4}
    assert [record.getMessage() for record in caplog.records] == [
        "2 records in no group of 'event', such as logs/3/105",
        "2 records in no group of 'event', such as logs/3/108",
    ]
