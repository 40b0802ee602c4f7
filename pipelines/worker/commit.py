"""Commits: what was sent and how far the input was read become valid together.

Librdkafka says with each error what may follow: the call is repeated, the transaction is given up and its
input read again, or the process ends and another one takes over. Nothing else happens here.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from encoder.errors import ConfigurationError, TransientError

__all__ = ["Aborted", "AtLeastOnce", "Commits", "ExactlyOnce", "stop_error"]

_log = logging.getLogger(__name__)
_TRY_SECONDS = 1.0
_LATE_SECONDS = 4.0  # of trying to commit when the worker is told to stop
# Somebody else owns the partition now, or will soon; the rebalance says what follows.
_NOT_OURS = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,
    }
)
_REFUSED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
    }
)


class Aborted(Exception):
    """What was sent since the last commit is void: the input must be read again from there."""


class Commits(Protocol):
    """Makes sent messages and the positions of the input valid together."""

    def begin(self) -> None:
        """Say that messages are going to be sent; may be called again."""

    def commit(self, offsets: list[TopicPartition]) -> bool:
        """Commit; False if these partitions are no longer this worker's, and nothing was committed.

        Raises:
            Aborted: start again from what was committed before.
            TransientError: this process cannot go on; another one may.
            ConfigurationError: the cluster refuses.
        """

    def abort(self) -> None:
        """Make what was sent since the last commit void, as far as that can be done."""


class ExactlyOnce:
    """Transactions.

    Args:
        producer: confluent_kafka's, with a transactional id.
        consumer: confluent_kafka's.
        idle: called again and again while the cluster keeps us waiting.
        stopping: whether the worker was told to stop: then waiting has an end.
    """

    def __init__(
        self, producer: Any, consumer: Any, idle: Callable[[], None], stopping: Callable[[], bool]
    ) -> None:
        self._producer = producer
        self._consumer = consumer
        self._idle = idle
        self._stopping = stopping
        self._open = False
        self._patiently(producer.init_transactions)

    def begin(self) -> None:
        """See `Commits`."""
        if not self._open:
            self._producer.begin_transaction()
            self._open = True

    def commit(self, offsets: list[TopicPartition]) -> bool:
        """See `Commits`."""
        self.begin()
        try:
            metadata = self._consumer.consumer_group_metadata()
            self._patiently(self._producer.send_offsets_to_transaction, offsets, metadata)
            self._patiently(self._producer.commit_transaction)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise stop_error(error) from error
            _log.warning("the transaction is given up: %s", error.args[0].str())
            self.abort()
            raise Aborted from error
        self._open = False
        return True

    def abort(self) -> None:
        """See `Commits`."""
        if not self._open:
            return
        try:
            self._patiently(self._producer.abort_transaction)
        except KafkaException as error:
            raise stop_error(error) from error
        self._open = False

    def _patiently(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Repeat a call while its error says that this may help."""
        begin = time.monotonic()
        while True:
            try:
                call(*arguments, _TRY_SECONDS)
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                late = self._stopping() and time.monotonic() - begin > _LATE_SECONDS
                if reason.fatal() or reason.txn_requires_abort() or not reason.retriable() or late:
                    raise
                _log.warning("waiting for the cluster: %s", reason.str())
                self._producer.poll(0)
                self._idle()
            else:
                return


class AtLeastOnce:
    """First everything that was sent is acknowledged, then the offsets are committed.

    Args:
        consumer: as for `ExactlyOnce`, and so are the others.
        idle: see there.
        stopping: see there.

    Attributes:
        producer: confluent_kafka's, made with `on_delivery`; None where nothing is sent.
    """

    def __init__(self, consumer: Any, idle: Callable[[], None], stopping: Callable[[], bool]) -> None:
        self.producer: Any = None
        self._consumer = consumer
        self._idle = idle
        self._stopping = stopping
        self._failed: KafkaError | None = None

    def on_delivery(self, error: KafkaError | None, _message: Any) -> None:
        """The producer's callback for messages that could not be delivered."""
        self._failed = error or self._failed

    def begin(self) -> None:
        """See `Commits`: there is nothing to begin."""

    def commit(self, offsets: list[TopicPartition]) -> bool:
        """See `Commits`."""
        self._flush()
        begin = time.monotonic()
        while offsets:
            try:
                done = self._consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as error:
                reason = error.args[0]
            else:
                reason = next((part.error for part in done if part.error), None)
            if reason is None:
                return True
            if reason.code() in _NOT_OURS:
                _log.warning("not committed, since the partitions are moving: %s", reason.str())
                return False
            late = self._stopping() and time.monotonic() - begin > _LATE_SECONDS
            if reason.fatal() or reason.code() in _REFUSED or late:
                raise stop_error(KafkaException(reason))
            _log.warning("trying again to commit: %s", reason.str())
            time.sleep(0.1)
            self._idle()
        return True

    def _flush(self) -> None:
        if self.producer is None:
            return
        begin = time.monotonic()
        while self.producer.flush(_TRY_SECONDS) and self._failed is None:
            if self._stopping() and time.monotonic() - begin > _LATE_SECONDS:
                raise TransientError("what was sent is not acknowledged in time: it will be sent again")
            self._idle()
        if self._failed is not None:
            failed = self._failed
            self.abort()
            if failed.fatal() or failed.code() in _REFUSED:
                raise stop_error(KafkaException(failed))
            _log.warning("a message was not delivered, sending again: %s", failed.str())
            raise Aborted

    def abort(self) -> None:
        """See `Commits`: what is still waiting is dropped, what has left may appear twice."""
        if self.producer is not None:
            self.producer.purge()
            self.producer.flush(_TRY_SECONDS)
        self._failed = None


def stop_error(error: KafkaException) -> TransientError | ConfigurationError:
    """Librdkafka's error as ours, where this process cannot go on."""
    reason: KafkaError = error.args[0]
    if reason.code() in _REFUSED:
        return ConfigurationError(f"the cluster refuses: {reason.str()}")
    if reason.code() in (KafkaError._FENCED, KafkaError.FENCED_INSTANCE_ID):
        return TransientError(
            f"fenced: another worker goes by the same --instance, or this one was away for too long "
            f"({reason.str()}); start it again"
        )
    return TransientError(f"the cluster does not let this worker go on ({reason.str()}): start it again")
