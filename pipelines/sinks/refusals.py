"""Messages that the brokers refuse: which ones they are, and why.

The brokers refuse batches of messages, and one refused message voids its transaction. So after a refusal what
is read again is sent carefully: few messages at once, and fewer after each further refusal, until the message
at fault is alone. Its record is then a dead letter. Sending is as fast as ever until a message is refused.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from encoder.errors import ConfigurationError
from pipelines.sinks.kafka import Outgoing, TopicSink

__all__ = ["REFUSED", "Refusals"]

_log = logging.getLogger(__name__)
_SIZES = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
REFUSED = _SIZES | {KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP}
"""The codes of errors that a message causes, such as one without a key for a compacted topic."""

_CAREFUL_SECONDS = 60.0
_FLUSH_SECONDS = 1.0
_LOOKS, _LOOK_SECONDS, _PAUSE_SECONDS = 4, 5.0, 1.0  # at a topic that seems to be gone


class _Sent(NamedTuple):
    topic: str
    identity: int
    size: int
    has_key: bool


class Refusals:
    """Sends carefully after a refusal, in place of the producer.

    Args:
        producer: confluent_kafka's.
        sinks: the topics that are written, by name.
        report: told of every message that fails, as the producer's own callback.
        idle: called repeatedly while the brokers are waited for.

    Attributes:
        has_learnt: whether more is known than the topics' settings said at the start: another process would
            not know it.
    """

    def __init__(
        self,
        producer: Any,
        sinks: Mapping[str, TopicSink],
        report: Callable[[KafkaError | None, Any], None],
        idle: Callable[[], None],
    ) -> None:
        self._producer = producer
        self._sinks = sinks
        self._report = report
        self._idle = idle
        self._reasons: dict[int, str] = {}
        self._most = self._at_once = min(sink.max_bytes for sink in sinks.values())  # bytes
        self._keyed = {topic for topic, sink in sinks.items() if sink.needs_keys}
        self.has_learnt = False
        self._until = 0.0
        self._aborts = 0  # since the last commit
        self._n = self._n_bytes = 0  # sent since the last flush
        self._failed: list[tuple[_Sent, KafkaError]] = []

    def of(self, topic: str, message: Outgoing) -> str | None:
        """Why a topic refuses a message, as far as is known; None if nothing is known."""
        if message.key is None and topic in self._keyed:
            return f"topic {topic!r} refuses messages without a key"
        return self._reasons.get(_identity(topic, message))

    def may_be_of(self, keys: Sequence[bytes | None]) -> bool:
        """Whether anything is known about messages with these keys."""
        return bool(self._reasons) or (bool(self._keyed) and None in keys)

    def aborted(self, code: int | None) -> None:
        """What was sent is void, by an error with this code; it will be sent again.

        Raises:
            ConfigurationError: a topic does not exist any more.
        """
        self._producer.poll(0)  # for the reports of what failed
        self._judge()
        if code not in REFUSED:
            self._check_topics()
        self._aborts += 1
        if code in REFUSED or self._aborts > 1:  # a broken transaction does not always say why
            self._until = time.monotonic() + _CAREFUL_SECONDS
            for sink in self._sinks.values():
                sink.producer = self

    def _check_topics(self) -> None:
        """End where a topic is gone: sending again would not bring it back."""
        with suppress(KafkaException):  # brokers that do not answer, for which the next attempt waits
            for topic in self._sinks:
                for _ in range(_LOOKS):  # a broker that starts may know too little for a moment
                    found = self._producer.list_topics(topic, _LOOK_SECONDS).topics[topic].error
                    if found is None or found.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                        break
                    time.sleep(_PAUSE_SECONDS)
                else:
                    raise ConfigurationError(
                        f"the topic {topic!r} is gone, to which this worker writes: create it again, and "
                        "start the worker, which goes on behind its last commit"
                    )

    def committed(self) -> None:
        """What was sent is valid."""
        self._aborts = self._n = self._n_bytes = 0
        self._reasons.clear()
        if self._until and self._at_once == self._most and time.monotonic() > self._until:
            self._until = 0.0
            for sink in self._sinks.values():
                sink.producer = self._producer

    def produce_batch(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> int:
        """Send messages, as the producer does."""
        for message in messages:
            self.produce(topic, message["value"], message["key"])
        return len(messages)

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        _callback: None = None,
        _on_delivery: None = None,
        timestamp: int = 0,
        headers: Any = None,
    ) -> None:
        """Send a message, as the producer does.

        Raises:
            KafkaException: a message was refused: abort, and read again what was sent since the last commit.
        """
        message = Outgoing(value, key, headers)
        sent = _Sent(topic, _identity(topic, message), message.n_bytes, key is not None)
        if self._n and self._n_bytes + sent.size > self._at_once:
            self._flush()
        self._n, self._n_bytes = self._n + 1, self._n_bytes + sent.size
        told = partial(self._delivered, sent)
        try:
            self._producer.produce(
                topic, value, key, partition, on_delivery=told, timestamp=timestamp, headers=headers
            )
        except KafkaException as error:
            if error.args[0].code() in REFUSED:
                self._name(sent, error.args[0])
            raise

    def _delivered(self, sent: _Sent, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._report(error, message)
            if error.code() in REFUSED:
                self._failed.append((sent, error))

    def _flush(self) -> None:
        while self._producer.flush(_FLUSH_SECONDS) and not self._failed:
            self._idle()
        if self._failed:
            error = self._failed[0][1]
            self._judge()
            raise KafkaException(error)
        self._n = self._n_bytes = 0

    def _judge(self) -> None:
        """Name the message that was refused; of several together, send fewer at once."""
        failed, n_bytes = self._failed, self._n_bytes
        self._failed, self._n, self._n_bytes = [], 0, 0
        if len(failed) == 1:
            self._name(*failed[0])
        elif failed:
            sent, error = failed[0]
            self._at_once = min(n_bytes, self._at_once) // 2
            _log.warning(
                "topic %r refuses %d messages together (%s): sending at most %d bytes at once",
                *(sent.topic, len(failed), error.str(), self._at_once),
            )

    def _name(self, sent: _Sent, error: KafkaError) -> None:
        why = f"topic {sent.topic!r} refuses the message of {sent.size:,} bytes: {error.str()}"
        if sent.identity in self._reasons:
            raise ConfigurationError(f"{why}: check the settings of the topic")
        self._reasons[sent.identity] = why
        self.has_learnt = True
        if error.code() in _SIZES:  # of batches as well: go on to send few at once
            sink = self._sinks[sent.topic]
            sink.max_bytes = min(sink.max_bytes, sent.size - 1)
            return
        self._at_once = self._most
        if error.code() == KafkaError.INVALID_RECORD and not sent.has_key:
            self._keyed.add(sent.topic)


def _identity(topic: str, message: Outgoing) -> int:
    return hash((topic, message.key, message.value))
