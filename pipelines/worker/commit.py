"""Commits: the messages that were sent and the positions of the input become valid together.

Each of librdkafka's errors says what may follow: retry the call, abort the transaction and read its input
again, or end the process so that another one takes over.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from encoder.errors import ConfigurationError, TransientError
from pipelines.kafka.retries import retried

__all__ = ["Aborted", "AtLeastOnce", "Commits", "ExactlyOnce", "stop_error"]

_log = logging.getLogger(__name__)
_TRY_SECONDS = 1.0
_PAUSE_SECONDS = 0.05
_LATE_SECONDS = 4.0  # how long a worker that is stopping tries to commit
# Another worker owns the partition now, or will soon; the rebalance that follows sorts it out.
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
    """What was sent since the last commit is void; the input must be read again from there.

    Attributes:
        code: of librdkafka's error.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Commits(Protocol):
    """Commits sent messages together with the positions of the input."""

    def begin(self) -> None:
        """Announce that messages will be sent; repeated calls change nothing."""

    def commit(self, offsets: list[TopicPartition]) -> bool:
        """Commit offsets.

        Returns:
            False if another worker owns the partitions; then nothing was committed.

        Raises:
            Aborted: restart from the last commit.
            TransientError: this process cannot continue; a new one can.
            ConfigurationError: the cluster refuses.
        """

    def deliver(self) -> None:
        """Wait until the brokers have everything that was sent, and refuse none of it.

        Raises:
            Aborted: restart from the last commit.
            TransientError: this process cannot continue; a new one can.
            ConfigurationError: the cluster refuses.
        """

    def abort(self) -> None:
        """Void what was sent since the last commit, as far as possible."""

    def on_delivery(self, error: KafkaError | None, message: Any) -> None:
        """A message was delivered, or not."""


class _Delivery:
    """Waits for the brokers, and keeps the first message that they refuse."""

    def __init__(self, producer: Any, idle: Callable[[], None], stopping: Callable[[], bool]) -> None:
        self.producer = producer
        self._idle = idle
        self._stopping = stopping
        self._failed: KafkaError | None = None

    def on_delivery(self, error: KafkaError | None, _message: Any) -> None:
        """The producer's callback for failed deliveries."""
        self._failed = self._failed or error

    def deliver(self) -> None:
        if self.producer is None:
            return
        is_late = _deadline(self._stopping)
        while self.producer.flush(_TRY_SECONDS) and self._failed is None:
            if is_late():
                raise TransientError(
                    "stopped before the cluster acknowledged every message: the next worker sends them again"
                )
            self._idle()
        if self._failed is not None:
            failed = self._failed
            self.abort()
            if failed.fatal() or failed.code() in _REFUSED:
                raise stop_error(KafkaException(failed))
            _log.warning("delivery failed: %s; sending again from the last commit", failed.str())
            raise Aborted(failed.code())

    def abort(self) -> None:
        raise NotImplementedError


class ExactlyOnce(_Delivery):
    """Transactions.

    Args:
        producer: confluent_kafka's, with a transactional id, created with `on_delivery`.
        consumer: confluent_kafka's.
        idle: called repeatedly while a call waits for the cluster.
        stopping: whether the worker is stopping, which limits the wait.
    """

    def __init__(
        self, producer: Any, consumer: Any, idle: Callable[[], None], stopping: Callable[[], bool]
    ) -> None:
        super().__init__(producer, idle, stopping)
        self._consumer = consumer
        self._open = False
        self._patiently(producer.init_transactions)

    def begin(self) -> None:
        if not self._open:
            self._failed = None
            self.producer.begin_transaction()
            self._open = True

    def commit(self, offsets: list[TopicPartition]) -> bool:
        self.begin()
        try:
            metadata = self._consumer.consumer_group_metadata()
            self._patiently(self.producer.send_offsets_to_transaction, offsets, metadata)
            self._patiently(self.producer.commit_transaction)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise stop_error(error) from error
            reason = self._failed or error.args[0]
            _log.warning("transaction aborted: %s; reading its input again", reason.str())
            self.abort()
            if reason.code() in _REFUSED:
                raise stop_error(KafkaException(reason)) from error
            raise Aborted(reason.code()) from error
        self._open = False
        return True

    def abort(self) -> None:
        if not self._open:
            return
        # A broker that has not heard of the transaction yet answers an abort with a fatal error.
        self.producer.flush(_TRY_SECONDS)
        try:
            self._patiently(self.producer.abort_transaction)
        except KafkaException as error:
            raise stop_error(error) from error
        self._open = False
        self._failed = None

    def _patiently(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Retry a call while its error is retriable."""
        is_late = _deadline(self._stopping)

        def passes(error: KafkaError) -> bool:
            ends = error.fatal() or error.txn_requires_abort()
            return error.retriable() and not ends and not is_late()

        def between(error: KafkaError) -> None:
            _log.warning("the cluster is not ready: %s; retrying", error.str())
            self.producer.poll(_PAUSE_SECONDS)  # some errors come at once
            self._idle()

        retried(lambda: call(*arguments, _TRY_SECONDS), passes=passes, between=between, seconds=math.inf)


class AtLeastOnce(_Delivery):
    """Waits until every message is acknowledged, then commits the offsets.

    Args:
        consumer: confluent_kafka's.
        idle: called repeatedly while a call waits for the cluster.
        stopping: whether the worker is stopping, which limits the wait.
        producer: confluent_kafka's, created with `on_delivery`; None if nothing is sent.
    """

    def __init__(
        self, consumer: Any, idle: Callable[[], None], stopping: Callable[[], bool], producer: Any = None
    ) -> None:
        super().__init__(producer, idle, stopping)
        self._consumer = consumer

    def begin(self) -> None:
        """Nothing: there is no transaction."""

    def commit(self, offsets: list[TopicPartition]) -> bool:
        self.deliver()
        is_late = _deadline(self._stopping)

        def passes(error: KafkaError) -> bool:
            ends = error.fatal() or error.code() in _NOT_OURS or error.code() in _REFUSED
            return not ends and not is_late()

        def between(error: KafkaError) -> None:
            _log.warning("commit failed: %s; retrying", error.str())
            time.sleep(0.1)
            self._idle()

        try:
            if offsets:
                retried(lambda: self._commit(offsets), passes=passes, between=between, seconds=math.inf)
        except KafkaException as error:
            if error.args[0].code() not in _NOT_OURS:
                raise stop_error(error) from error
            _log.warning("offsets not committed, the partitions are moving: %s", error.args[0].str())
            return False
        return True

    def _commit(self, offsets: list[TopicPartition]) -> None:
        done = self._consumer.commit(offsets=offsets, asynchronous=False)
        if refused := next((part.error for part in done if part.error), None):
            raise KafkaException(refused)

    def abort(self) -> None:
        """Drop messages that still wait; those already sent may appear twice."""
        if self.producer is not None:
            self.producer.purge()
            self.producer.flush(_TRY_SECONDS)
        self._failed = None


def _deadline(stopping: Callable[[], bool]) -> Callable[[], bool]:
    """Tells from now on whether a worker that is stopping has tried for long enough."""
    begin = time.monotonic()
    return lambda: stopping() and time.monotonic() - begin > _LATE_SECONDS


def stop_error(error: KafkaException) -> TransientError | ConfigurationError:
    """The error to end this process with, for one of librdkafka's."""
    reason: KafkaError = error.args[0]
    if reason.code() in _REFUSED:
        return ConfigurationError(f"the cluster refuses: {reason.str()}: check this user's permissions")
    if reason.code() in (KafkaError._FENCED, KafkaError.FENCED_INSTANCE_ID):
        return TransientError(
            f"fenced ({reason.str()}): another worker has the same --instance, or this one paused too long; "
            "restart it"
        )
    return TransientError(f"this worker cannot continue ({reason.str()}): restart it")
