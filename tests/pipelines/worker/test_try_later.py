"""A schema that cannot be had for a while: the worker reads its messages again, and sends nothing twice."""

import numpy as np
import pyarrow as pa
import pytest
from faults.messages import FakeMessage, read_all

from encoder.errors import RegistryUnavailable
from pipelines.enrich.enrichment import EnrichedBatch
from pipelines.worker.sinks import Encoded


class FakeFiles:
    """Files that have all up to an offset."""

    uri, n_bytes, full, needs_confirm = "memory://files", 0, (), False

    def __init__(self, begin):
        self._begin = begin

    def begin(self, _partition, _known, _epoch):
        return self._begin

    def epoch(self, _partition):
        return 0

    def durable(self, _partition, position):
        return position

    def flush(self, *_):
        return True

    def tick(self, *_):
        pass


class FakeOutputs:
    """Takes what is fresh; some calls find the registry away."""

    has_topics, tombstones, unforeseen = True, "pass", ()

    def __init__(self, files, away):
        self.files = files
        self.sent = []
        self._away = list(away)

    def encode(self, messages, made, fresh):
        if self._away and self._away.pop(0):
            raise RegistryUnavailable("the schema registry is away")
        wanted = np.ones(len(made.rows), bool) if fresh is None else fresh
        return Encoded(messages, made, made.rows, made.batch, messages.offsets[wanted].tolist())

    def masked(self, letters):
        return letters

    def send(self, parts):
        for part in parts:
            self.sent += part.values

    def committed(self):
        pass

    confirm = committed


class FakeCommits:
    """Takes commits, after it has refused some as brokers do while partitions move."""

    def __init__(self, refused):
        self.offsets = []
        self.refused = refused

    def begin(self):
        pass

    def commit(self, parts):
        if self.refused:
            self.refused -= 1
            return False
        self.offsets += [part.offset for part in parts]
        return True


def decode(values, _model, _deletes=()):
    batch = pa.record_batch({"embedding": pa.array([b"v"] * len(values), pa.binary(1))})
    return EnrichedBatch(np.arange(len(values)), None, batch, "tiny@7", [])


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr("pipelines.worker.loop._REGISTRY_SECONDS", 0.02)

    def work(away, start=(0, ""), files=(), refused=0):
        outputs, commits = FakeOutputs([FakeFiles(begin) for begin in files], away), FakeCommits(refused)
        messages = [FakeMessage(b"v", offset_=i) for i in range(60)]
        read_all(messages, 10, decode, outputs, commits, start=start, budget=0.5)
        return outputs.sent, commits.offsets

    return work


@pytest.mark.parametrize("away", [[], [True] * 3, [False, False, True, True], [False, True, False, True]])
def test_every_record_is_sent_once(away, run):
    sent, committed = run(away)
    assert sent == list(range(60))
    assert committed[-1] == 60


def test_what_came_before_is_committed_at_once(run):
    _, committed = run([False, False, True, True])
    assert committed == [20, 60]


@pytest.mark.parametrize("away", [[], [True], [False, True], [False, False, True, True]])
def test_what_topics_had_before_files_is_not_sent_to_them_again(away, run):
    """The topics have the offsets up to 35, the files those up to 5."""
    sent, committed = run(away, start=(35, "files=5"), files=[5])
    assert sent == list(range(35, 60))
    assert committed[-1] == 60


def test_a_stop_waits_for_partitions_that_move_and_commits_what_it_sent(run):
    sent, committed = run([], refused=3)
    assert sent == list(range(60))
    assert committed == [60]
