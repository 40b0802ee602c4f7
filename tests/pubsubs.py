"""Pub/Sub servers for the tests: Google's emulator where it is installed, and a small one of our own.

Ours speaks the wire protocol (gRPC, Google's own message classes) for what Beam's source and sink and the
tests call: topics, Avro schemas, subscriptions, publish, pull, acknowledge. It forgets nothing that is not
acknowledged, and delivers it again when its time is over. It refuses what Pub/Sub's documentation says that
Pub/Sub refuses: a whole request because of one message.
"""

import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import fastavro
import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1 import types
from patience import wait_for

__all__ = ["emulator", "emulator_jar", "own_server"]

ACK_SECONDS = 10.0
_MAX_REQUEST, _MAX_NAME, _MAX_VALUE, _MAX_ATTRIBUTES = 10_000_000, 256, 1024, 100


def emulator_jar() -> Path | None:
    """Google's emulator, which is a part of its command line tools; None if it is not installed."""
    gcloud = shutil.which("gcloud")
    folders = [Path("/usr/lib/google-cloud-sdk"), *([Path(gcloud).resolve().parents[1]] if gcloud else [])]
    found = [jar for folder in folders for jar in folder.glob("platform/pubsub-emulator/lib/*-all.jar")]
    return found[0] if found and shutil.which("java") else None


@contextmanager
def emulator(jar: Path) -> Iterator[str]:
    """Start Google's emulator and stop it at the end; its address."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        port, iam_port = one.getsockname()[1], two.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="millstream-pubsub-"))
    command = [
        "java",
        "-Xmx256m",
        "-jar",
        jar,
        "--host=127.0.0.1",
        f"--port={port}",
        f"--iam_port={iam_port}",
    ]
    with (folder / "emulator.log").open("wb") as log:
        process = subprocess.Popen(list(map(str, command)), cwd=folder, stdout=log, stderr=log)
    try:
        wait_for(lambda: _listens(port), "Google's emulator", process=process)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class _Subscription:
    """Messages that wait, and those that are out, by their ack id with the time at which they come back."""

    def __init__(self, about: types.Subscription) -> None:
        self.about = about
        self.waiting: list[types.PubsubMessage] = []
        self.out: dict[str, tuple[float, types.PubsubMessage]] = {}


class _Server:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._topics: dict[str, types.Topic] = {}
        self._subscriptions: dict[str, _Subscription] = {}
        self._schemas: dict[str, types.Schema] = {}
        self._n = 0

    def create_schema(
        self, request: types.CreateSchemaRequest, _context: grpc.ServicerContext
    ) -> types.Schema:
        request.schema.name = f"{request.parent}/schemas/{request.schema_id}"
        self._schemas[request.schema.name] = request.schema
        return request.schema

    def _refusal(self, topic: types.Topic, message: types.PubsubMessage) -> str | None:
        """What is wrong with a message; None if nothing is."""
        if not message.data and not message.attributes:
            return "a message must have data or an attribute"
        if len(message.attributes) > _MAX_ATTRIBUTES:
            return "a message has too many attributes"
        for name, value in message.attributes.items():
            if not 0 < len(name.encode()) <= _MAX_NAME or name.startswith("goog"):
                return f"the attribute name {name[:20]!r} is not valid"
            if len(value.encode()) > _MAX_VALUE:
                return f"the value of the attribute {name!r} is too long"
        schema = self._schemas.get(topic.schema_settings.schema)
        if schema is not None and not fastavro.validation.validate(
            json.loads(message.data), json.loads(schema.definition), raise_errors=False
        ):
            return "the message does not match the schema of the topic"
        return None

    def create_topic(self, topic: types.Topic, _context: grpc.ServicerContext) -> types.Topic:
        self._topics[topic.name] = topic
        return topic

    def publish(self, request: types.PublishRequest, context: grpc.ServicerContext) -> types.PublishResponse:
        if request.topic not in self._topics:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no topic {request.topic}")
        if type(request).pb(request).ByteSize() > _MAX_REQUEST:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is too large")
        for message in request.messages:
            if reason := self._refusal(self._topics[request.topic], message):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, reason)
        ids = []
        with self._changed:
            for message in request.messages:
                self._n += 1
                message.message_id, message.publish_time = str(self._n), datetime.now(UTC)
                ids.append(message.message_id)
                for one in self._subscriptions.values():
                    if one.about.topic == request.topic:
                        one.waiting.append(message)
            self._changed.notify_all()
        return types.PublishResponse(message_ids=ids)

    def create_subscription(
        self, about: types.Subscription, context: grpc.ServicerContext
    ) -> types.Subscription:
        if about.topic not in self._topics:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no topic {about.topic}")
        with self._changed:
            self._subscriptions[about.name] = _Subscription(about)
        return about

    def delete_subscription(
        self, request: types.DeleteSubscriptionRequest, _context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        with self._changed:
            self._subscriptions.pop(request.subscription, None)
        return empty_pb2.Empty()

    def pull(self, request: types.PullRequest, context: grpc.ServicerContext) -> types.PullResponse:
        if request.subscription not in self._subscriptions:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no subscription {request.subscription}")
        one = self._subscriptions[request.subscription]
        with self._changed:
            self._changed.wait_for(lambda: self._back(one) or one.waiting, timeout=1)
            taken = one.waiting[: request.max_messages]
            del one.waiting[: len(taken)]
            answer = []
            for message in taken:
                self._n += 1
                one.out[f"ack-{self._n}"] = (time.monotonic() + ACK_SECONDS, message)
                answer.append(types.ReceivedMessage(ack_id=f"ack-{self._n}", message=message))
        return types.PullResponse(received_messages=answer)

    @staticmethod
    def _back(one: _Subscription) -> bool:
        """Put back what was not acknowledged in time."""
        late = [ack for ack, (until, _) in one.out.items() if until < time.monotonic()]
        one.waiting += [one.out.pop(ack)[1] for ack in late]
        return bool(late)

    def acknowledge(
        self, request: types.AcknowledgeRequest, _context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        with self._changed:
            for ack in request.ack_ids:
                self._subscriptions[request.subscription].out.pop(ack, None)
        return empty_pb2.Empty()


def _handler(call, request, response):
    encode = response.SerializeToString if response is empty_pb2.Empty else response.serialize
    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=request.deserialize, response_serializer=encode
    )


@contextmanager
def own_server() -> Iterator[str]:
    """Start our own server in this process and stop it at the end; its address."""
    service = _Server()
    empty = empty_pb2.Empty
    publisher = {
        "CreateTopic": _handler(service.create_topic, types.Topic, types.Topic),
        "Publish": _handler(service.publish, types.PublishRequest, types.PublishResponse),
    }
    subscriber = {
        "CreateSubscription": _handler(service.create_subscription, types.Subscription, types.Subscription),
        "DeleteSubscription": _handler(service.delete_subscription, types.DeleteSubscriptionRequest, empty),
        "Pull": _handler(service.pull, types.PullRequest, types.PullResponse),
        "Acknowledge": _handler(service.acknowledge, types.AcknowledgeRequest, empty),
    }
    schemas = {"CreateSchema": _handler(service.create_schema, types.CreateSchemaRequest, types.Schema)}
    any_size = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(16), options=any_size)
    services = ("Publisher", publisher), ("Subscriber", subscriber), ("SchemaService", schemas)
    for name, calls in services:
        handler = grpc.method_handlers_generic_handler(f"google.pubsub.v1.{name}", calls)
        server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)
