"""The output `pubsub:…` of streaming jobs: records are embedded and published as they come, at least once.

Beam's own sink publishes; it runs on every runner. A bundle ends when Pub/Sub has taken all of its messages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage, WriteToPubSub

from pipelines.beam.streaming.batch import Arrival
from pipelines.beam.streaming.event_time import NO_TIME
from pipelines.beam.streaming.interfaces import Output
from pipelines.beam.streaming.sinks.messages import Messages
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.records.bad_rows import ID, BadRow
from pipelines.sinks.dead_letter_messages import dead_letter_headers
from pipelines.sinks.dead_letters import write_dead_letters

__all__ = ["TIME", "PubSubOutput"]

TIME = "millstream_time"
"""The attribute with the time of a record, RFC 3339."""

_MAX_BYTES = 9_900_000  # Pub/Sub takes 10 MB with the attributes
_MAX_ATTRIBUTE = 1024
_LETTERS = "letters"


@dataclass(frozen=True)
class PubSubOutput(Output):
    """A topic.

    Attributes:
        topic: `projects/PROJECT/topics/NAME`.
        letters: where bad rows go: another topic, or the URI of a folder.
        messages: how they are made.
    """

    topic: str
    letters: str
    messages: Messages

    @property
    def place(self) -> str:
        """See `Output`."""
        return f"pubsub:{self.topic}"

    def write(self, arrivals: Any) -> Any:
        """Gives nothing."""
        made = beam.ParDo(_Publish(self.messages)).with_output_types(PubsubMessage)
        both = arrivals | "Embed" >> made.with_outputs(_LETTERS, main="made")
        letters = both[_LETTERS]
        if "://" in self.letters:
            _ = letters | "Write letters" >> beam.Map(_write, self.letters)
        else:
            each = beam.FlatMap(lambda rows: map(_letter, rows)).with_output_types(PubsubMessage)
            publish = WriteToPubSub(self.letters, with_attributes=True)
            _ = letters | "Letters" >> each | "Publish letters" >> publish
        return both["made"] | "Publish" >> WriteToPubSub(self.topic, with_attributes=True)


class _Publish(beam.DoFn):
    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._metrics = BatchMetrics()

    def process(self, arrival: Arrival) -> Iterator[Any]:
        made, bad = self._messages.make(arrival, _MAX_BYTES, self._metrics)
        for one in made:
            attributes = {ID: one.id}
            if one.time != NO_TIME:
                attributes[TIME] = datetime.fromtimestamp(one.time / 1e6, UTC).isoformat()
            yield PubsubMessage(one.value, attributes)
        if bad:
            yield beam.pvalue.TaggedOutput(_LETTERS, bad)


def _write(rows: Sequence[BadRow], uri: str) -> None:
    write_dead_letters(uri, rows)


def _letter(bad: BadRow) -> PubsubMessage:
    """The original bytes, with attributes that say where they stood and what is wrong."""
    attributes = {name: (value or b"").decode()[:_MAX_ATTRIBUTE] for name, value in dead_letter_headers(bad)}
    return PubsubMessage(bad.record[:_MAX_BYTES], attributes)
