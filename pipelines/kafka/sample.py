"""A sample of the last messages of topics, to see which fields their records have."""

import time
from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from encoder.errors import TransientError

__all__ = ["sample_values"]

_ASK_SECONDS = 20.0
_SAMPLE_MESSAGES, _SAMPLE_SECONDS = 2000, 1.0
_SAMPLE_BYTES = 8 << 20
_AT_ONCE = 8  # messages: few enough to keep to the bytes


def sample_values(properties: Mapping[str, str], topics: Mapping[str, int]) -> list[bytes | None]:
    """The values of the last messages of each partition; no offsets are committed.

    Args:
        properties: of the consumer.
        topics: names, and their numbers of partitions.

    Raises:
        TransientError: the cluster does not answer.
    """
    ours = {"group.id": f"{properties['group.id']}-sample", "enable.partition.eof": True}
    consumer = Consumer({**properties, **ours})
    try:
        return _last_values(consumer, [(name, number) for name, n in topics.items() for number in range(n)])
    except KafkaException as error:
        raise TransientError(f"cannot read a sample of {', '.join(topics)}: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _last_values(consumer: Consumer, partitions: Sequence[tuple[str, int]]) -> list[bytes | None]:
    share = 1 + _SAMPLE_MESSAGES // len(partitions)
    parts, ends = [], {}
    for partition in partitions:
        part = TopicPartition(*partition)
        low, high = consumer.get_watermark_offsets(part, timeout=_ASK_SECONDS)
        part.offset = max(low, high - share)
        if high > low:
            parts.append(part)
            ends[partition] = high
    consumer.assign(parts)
    values: list[bytes | None] = []
    deadline = time.monotonic() + _ASK_SECONDS
    while ends and time.monotonic() < deadline:
        messages = consumer.consume(_AT_ONCE, _SAMPLE_SECONDS)
        if values and (not messages or sum(map(len, filter(None, values))) > _SAMPLE_BYTES):
            break  # some are enough for a sample
        for message in messages:
            partition = message.topic() or "", message.partition() or 0
            if (error := message.error()) is None:
                values.append(message.value())
                if (message.offset() or 0) + 1 >= ends.get(partition, 0):
                    ends.pop(partition, None)
            elif error.code() == KafkaError._PARTITION_EOF:
                ends.pop(partition, None)  # the last offset may be a transaction's marker
    if ends and not values:
        raise TransientError(f"no message of topic {next(iter(ends))[0]!r} arrived in {_ASK_SECONDS:g} s")
    return values
