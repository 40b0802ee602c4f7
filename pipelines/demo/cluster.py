"""The Kafka cluster inside librdkafka: one broker in this process, for demonstrations.

It has groups and committed offsets, but no transactions or permissions, and keeps 5 MB of a partition.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaException, Producer

from encoder.errors import TransientError

__all__ = ["embedded_cluster"]

_log = logging.getLogger(__name__)
_ASK_SECONDS = 10.0


@contextmanager
def embedded_cluster(topics: Iterable[str]) -> Iterator[str]:
    """Run the cluster during the block.

    Args:
        topics: topics to create, with four partitions each.

    Yields:
        HOST:PORT of its broker, reachable from this machine only.

    Raises:
        TransientError: it does not start.
    """
    owner = Producer(
        {"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 3}, logger=_log
    )
    try:
        [broker] = owner.list_topics(timeout=_ASK_SECONDS).brokers.values()
        for topic in topics:
            owner.list_topics(topic, timeout=_ASK_SECONDS)  # a request for a topic creates it
    except KafkaException as error:
        raise TransientError(f"cannot start librdkafka's cluster: {error.args[0].str()}") from error
    yield f"{broker.host}:{broker.port}"
    del owner  # the cluster ends with it
