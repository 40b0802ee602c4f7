"""Whether a stream's topic is still the one that it was planned for, and where a lost position goes on."""

import logging
import time
from collections.abc import Mapping
from functools import cache

from apache_beam.metrics.metric import Metrics
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from encoder.errors import TransientError
from pipelines.beam.streaming.sources.topic_claim import TopicClaim
from pipelines.kafka.config import client_properties
from pipelines.kafka.offset_reset import is_lost, offset_reset
from pipelines.kafka.topic_ids import TopicId, other_input, topic_ids

__all__ = ["TopicGuard", "topic_guard"]

_log = logging.getLogger(__name__)
_ASK_SECONDS = 10.0
_CHECK_SECONDS = 5.0
_RENEW_SECONDS = 3600.0


class TopicGuard:
    """Watches one topic for the readers of a process.

    Args:
        topic: its name.
        known: what the name stood for when the stream was planned; None if the brokers could not tell.
        properties: librdkafka's properties of a consumer.
        output: the topic that keeps what it was made of, or None.
    """

    def __init__(
        self, topic: str, known: TopicId | None, properties: Mapping[str, str], output: str | None = None
    ) -> None:
        self._topic = topic
        self._known = known
        self._reset = offset_reset(properties)
        client = client_properties(properties, properties["bootstrap.servers"])
        self._admin = None if known is None else AdminClient({**client, "log_level": "0"})
        self._skipped = Metrics.counter("millstream", "skipped_offsets")
        self._claim = None if output is None else TopicClaim(topic, output, properties)
        self._next = 0.0
        self._renew_at = time.monotonic() + _RENEW_SECONDS

    def check(self, *, now: bool = False) -> None:
        """Check every few seconds that the topic is the same; it is no error here if nobody answers.

        Raises:
            OtherInput: it is not.
        """
        if self._admin is None or self._known is None or (not now and time.monotonic() < self._next):
            return
        try:
            found = topic_ids(self._admin, self._known.cluster, [self._topic], _ASK_SECONDS)
        except TransientError as error:
            _log.warning("cannot check that topic %s is the same: %s", self._topic, error)
            found = {}
        self._next = time.monotonic() + _CHECK_SECONDS
        if found.get(self._topic, self._known) != self._known:
            raise other_input(self._topic, found[self._topic], self._known, "this stream has read")
        if self._claim is not None and time.monotonic() > self._renew_at:
            self._claim.renew()
            self._renew_at = time.monotonic() + _RENEW_SECONDS

    def after_reset(self, consumer: Consumer, number: int, at: int) -> tuple[int, bool]:
        """Where to read a partition whose log does not have the position `at`.

        Returns:
            The offset, and whether the log ended before the position, so that offsets come again.

        Raises:
            OtherInput: the topic is another one.
            ConfigurationError: `auto.offset.reset` is `error`.
            TransientError: the cluster does not answer.
        """
        self.check(now=True)
        name = f"{self._topic}/{number}"
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, number), _ASK_SECONDS)
        except KafkaException as error:
            raise TransientError(f"cannot continue to read {name}: {error.args[0].str()}") from error
        if at < 0 or not is_lost(name, at, low, high, self._reset):
            return at, False
        start = high if self._reset == "latest" else low
        if at > high:
            _log.warning(
                "%s ends at offset %d, and %d was to be read: reading from %d", name, high, at, start
            )
            return start, True
        _log.warning("%s: offsets %d to %d are not read", name, at, start - 1)
        self._skipped.inc(start - at)
        return start, False


@cache
def topic_guard(
    topic: str, known: TopicId | None, properties: tuple[tuple[str, str], ...], output: str | None = None
) -> TopicGuard:
    """The guard of a topic, which all its readers in this process share."""
    return TopicGuard(topic, known, dict(properties), output)
