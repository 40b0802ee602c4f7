"""Where a partition is read from when its log does not have the position."""

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, Message

from encoder.errors import ConfigurationError
from pipelines.worker.offsets import PartitionName
from pipelines.worker.source import Source
from pipelines.worker.start_offsets import Starts, end_after_cut

NAME = PartitionName("in", 0)
# As librdkafka says it where a broker became leader without all records.
CUT = (
    "Partition log truncation detected at offset 150 (leader epoch 0): broker end offset is 100 (offset "
    "leader epoch 0). Reset to INVALID.: Local: Partition log truncation detected (broker 1)"
)


def starts(low, high, reset="earliest"):
    return Starts(SimpleNamespace(get_watermark_offsets=lambda *_, **__: (low, high)), None, reset)


def test_the_error_of_a_log_that_was_cut_says_where():
    assert end_after_cut(CUT) == 100
    assert end_after_cut("fetch failed due to requested offset not available on the broker") is None


@pytest.mark.parametrize("reset", ["earliest", "latest"])
@pytest.mark.parametrize(
    ("low", "high", "end", "offset", "is_cut"),
    [
        (0, 300, 100, 100, True),  # it has grown past the position, 150
        (120, 300, 100, 120, True),  # and its beginning is gone
        (0, 300, 200, 150, False),  # it was cut behind the position
        (0, 300, None, 150, False),
    ],
)
def test_a_log_that_was_cut_is_read_from_there(low, high, end, offset, is_cut, reset):
    start = starts(low, high, reset).after_reset(NAME, 150, end)
    assert (start.offset, start.is_cut, start.skipped) == (offset, is_cut, {})


def test_a_log_that_was_cut_is_an_error_if_it_is_to_be():
    with pytest.raises(ConfigurationError, match="in/p0 holds offsets 0 to 99, and 150 is to be read next"):
        starts(0, 300, "error").after_reset(NAME, 150, 100)


class Client:
    """A consumer whose partition has lost its position while it was read."""

    def __init__(self, error):
        self._found = [Message(topic="in", partition=0, error=error)]
        self.assigned = []

    def subscribe(self, *_, **__):
        pass

    def get_watermark_offsets(self, _part, timeout):
        assert timeout
        return 0, 300

    def consume(self, *_):
        found, self._found = self._found, []
        return found

    def incremental_unassign(self, parts):
        assert [part.partition for part in parts] == [0]

    def incremental_assign(self, parts):
        self.assigned += [part.offset for part in parts]


@pytest.mark.parametrize(("says", "cuts", "offset"), [(CUT, [100], 100), ("Offset out of range", [], 150)])
def test_a_source_goes_on_where_the_log_was_cut(says, cuts, offset):
    client, found = Client(KafkaError(KafkaError._AUTO_OFFSET_RESET, says)), []
    source = Source(client, ["in"], reset="earliest")
    source.subscribe(SimpleNamespace(cut=lambda _, at: found.append(at) or at))
    source.positions.begin(source.partitions.number("in", 0), 150)
    assert [len(source.consume(10, 0.0)) for _ in range(2)] == [0, 0]
    assert (found, client.assigned, source.positions.next(0)) == (cuts, [offset], offset)
