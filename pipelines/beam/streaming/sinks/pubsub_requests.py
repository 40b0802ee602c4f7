"""Requests that publish messages to Pub/Sub.

Pub/Sub refuses a request as a whole for one of its messages: it is halved until that message is found. Beam's
sink would repeat the request for ever. The `publish` of Google's client may add the next message to the batch
that was refused, and fails with an `AssertionError`.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from google.api_core.exceptions import GoogleAPIError, InvalidArgument, NotFound, PermissionDenied
from google.cloud import pubsub
from google.pubsub_v1 import PublisherClient

from encoder.errors import ConfigurationError, TransientError
from pipelines.kafka.messages import byte_parts
from pipelines.records.bad_rows import one_line
from pipelines.records.isolation import isolate

__all__ = ["AT_ONCE", "PubSubMessage", "Publisher", "request_parts"]

AT_ONCE = 8
"""Requests at a time."""

_MESSAGES, _BYTES = 1000, 4 << 20  # in a request; Pub/Sub takes 10 MB, and one message may have them alone


class PubSubMessage(NamedTuple):
    """A message.

    Attributes:
        data: its value.
        attributes: names and values.
    """

    data: bytes
    attributes: Mapping[str, str]


class Publisher:
    """Publishes messages in the background."""

    def __init__(self) -> None:
        transport = pubsub.PublisherClient().transport  # perhaps that of an emulator
        self._client: Any = PublisherClient(transport=transport)
        self._pool = ThreadPoolExecutor(AT_ONCE)

    def publish(self, topic: str, messages: Sequence[PubSubMessage]) -> Future[dict[int, str]]:
        """Publish messages in one request, or in more where some are refused.

        Args:
            topic: `projects/PROJECT/topics/NAME`.
            messages: as many as `request_parts` says.

        Returns:
            The messages that Pub/Sub refuses by their positions, and why; or else a `ConfigurationError` if
            there is no such topic, or a `TransientError` if Pub/Sub does not answer.
        """
        return self._pool.submit(self._publish, topic, messages)

    def close(self) -> None:
        """Wait for what is being published, and disconnect."""
        self._pool.shutdown()
        self._client.transport.close()

    def _publish(self, topic: str, messages: Sequence[PubSubMessage]) -> dict[int, str]:
        def send(first: int, stop: int) -> None:
            try:
                self._client.publish(topic=topic, messages=[one._asdict() for one in messages[first:stop]])
            except InvalidArgument:
                raise
            except (NotFound, PermissionDenied) as error:
                raise ConfigurationError(f"cannot publish to pubsub:{topic}: {one_line(error)}") from error
            except GoogleAPIError as error:
                raise TransientError(f"cannot publish to pubsub:{topic}: {one_line(error)}") from error

        _, failed = isolate(len(messages), send)
        return {row: one_line(error) for row, error in failed.items()}


def request_parts(messages: Sequence[PubSubMessage]) -> list[tuple[int, int]]:
    """Divide messages into requests: the first message of each, and the one after its last."""
    return [
        (k, min(k + _MESSAGES, stop))
        for first, stop in byte_parts([len(one.data) for one in messages], _BYTES)
        for k in range(first, stop, _MESSAGES)
    ]
