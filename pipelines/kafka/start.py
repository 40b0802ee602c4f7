"""Putting a worker together from its settings."""

import gc
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from encoder.errors import ConfigurationError
from encoder.heads import Heads
from encoder.store.objects import open_objects
from encoder.store.publish import prove_create_only
from pipelines.follow import ModelFollower
from pipelines.kafka.access import check_group, check_transactions, connect
from pipelines.kafka.budget import ErrorBudget
from pipelines.kafka.claims import claim, claimed_schema
from pipelines.kafka.cluster import check_topics, max_message_bytes, sample_values
from pipelines.kafka.framed_making import FramedRecordMaker
from pipelines.kafka.inputs import Inputs
from pipelines.kafka.making import RecordMaker, fields_seen, output_schema
from pipelines.kafka.metrics import WorkerMetrics
from pipelines.kafka.outputs import Encode, Outputs
from pipelines.kafka.places import Places
from pipelines.kafka.properties import consumer_properties, producer_properties, shown
from pipelines.kafka.schemas import Schemas
from pipelines.kafka.settings import WorkerSettings
from pipelines.kafka.tracing import OFF, Spans, open_spans
from pipelines.kafka.transaction import AtLeastOnce, Commits, ExactlyOnce
from pipelines.kafka.worker import Worker
from pipelines.records.template import TextTemplate
from pipelines.scores import score_fields
from pipelines.sinks.ranges import RangeFiles
from pipelines.sinks.topic import TopicSink, record_encoder

__all__ = ["Started", "check", "collect_rarely", "start"]

_log = logging.getLogger(__name__)
_OBJECTS = 200_000


class Started:
    """A worker that is ready to run, and what people look at.

    Attributes:
        worker: to run.
        metrics: of it.
        inputs: its partitions.
        follower: of its model.
    """

    def __init__(
        self, worker: Worker, metrics: WorkerMetrics, inputs: Inputs, follower: ModelFollower
    ) -> None:
        self.worker = worker
        self.metrics = metrics
        self.inputs = inputs
        self.follower = follower


class _Plan:
    """What is known after a look at the model, the cluster and the outputs."""

    def __init__(self, settings: WorkerSettings, heads: Heads) -> None:
        TextTemplate.parse(settings.text)
        self.settings = settings
        self.consumer_properties = consumer_properties(
            settings.properties, brokers=settings.brokers, group=settings.group, instance=settings.instance
        )
        self.topics = [output.target for output in settings.topic_outputs]
        letters = settings.dead_letters
        self.letters_topic = letters.target if letters.kind == "topic" else None
        self.written = [*self.topics, *([self.letters_topic] if self.letters_topic else [])]
        admin = connect(settings.brokers, settings.properties)
        described = not settings.embedded
        if described:
            check_group(admin, settings.group)
        self.reads, self.writes = check_topics(admin, settings.inputs, self.written, described=described)
        self.max_bytes = max_message_bytes(admin, self.written, described=described)
        self.folders = {
            output.target: open_objects(output.target)
            for output in (*settings.parquet_outputs, letters)
            if output.kind == "parquet"
        }
        for objects in self.folders.values():
            prove_create_only(objects)
        self.schemas = Schemas(settings) if settings.framed or settings.avro_messages else None
        self.known = self.schemas.known(list(self.reads)) if self.schemas else []
        self.schema = self._schema() if settings.needs_columns else None
        self.messages = (
            self.schemas.messages(self.schema, score_fields(heads))
            if self.schemas and settings.avro_messages
            else None
        )
        if self.schemas and self.messages and settings.framed and not self.known:
            self.known = self.schemas.of_sample(self._sample())

    def _sample(self) -> list[bytes | None]:
        return sample_values(self.consumer_properties, self.reads)

    def _schema(self) -> pa.Schema:
        """The columns: those that the output has already, or those of a sample."""
        claims = [self.folders[output.target] for output in self.settings.parquet_outputs]
        claimed = claimed_schema(claims[0], self.settings) if claims else None
        if claimed is not None:
            return claimed
        sample = self._sample()
        if self.schemas and self.settings.framed:
            seen = self.schemas.fields(sample, list(self.reads))
        else:
            seen = fields_seen(self.settings, sample)
        schema = output_schema(self.settings, seen)
        if not schema.names:
            raise ConfigurationError(
                f"{self.settings.input_names}: no records, so their fields are not known: name them with "
                "their types, as in --fields id:int64,message:string"
            )
        return claim(claims[0], self.settings, schema) if claims else schema

    def maker(self, spans: Spans) -> RecordMaker | FramedRecordMaker:
        """What makes records of values."""
        if self.schemas and self.settings.framed:
            return FramedRecordMaker(self.settings, self.schema, self.schemas.decoder(self.schema), spans)
        return RecordMaker(self.settings, self.schema, spans)

    def encode(self) -> Encode | None:
        """What makes records into messages, its schemas registered; None for Arrow batches."""
        settings = self.settings
        if self.messages is not None:
            self.messages.prepare(one.schema for one in self.known)
            return self.messages
        if settings.format in ("json", "msgpack"):
            made = record_encoder(settings.format, settings.fields)
            return lambda batch: made(
                batch.records or (), batch.batch.column("embedding"), batch.label, batch.scores
            )
        return None


@contextmanager
def start(settings: WorkerSettings, stopping: threading.Event) -> Iterator[Started]:
    """Put a worker together; at the end of the block its clients are closed.

    Args:
        settings: of the worker.
        stopping: to be set when it is to stop.

    Raises:
        MillstreamError: a model, a topic or an output is not as it must be; nothing was read.
    """
    with ExitStack() as stack:
        follower = ModelFollower.start(
            settings.model, pin=settings.pin, every=settings.model_seconds, threads=1
        )
        stack.callback(follower.close)
        plan = _Plan(settings, _heads(settings, follower))
        _log.info(
            "model %s, topics and their partitions %s, properties %s",
            follower.current().label,
            plan.reads,
            shown(settings.properties),
        )
        spans = open_spans(settings.group)
        stack.callback(spans.close)
        metrics = WorkerMetrics()
        metrics.follow(follower)
        callbacks = {"stats_cb": metrics.on_statistics, "error_cb": _on_error}
        consumer = Consumer({**plan.consumer_properties, **callbacks}, logger=_log)
        latest = plan.consumer_properties["auto.offset.reset"] in ("latest", "largest", "end")
        inputs = Inputs(consumer, settings.inputs, latest=latest)
        closing = stack.enter_context(_closing(consumer, inputs))

        def idle() -> None:
            metrics.alive()
            inputs.idle()

        producer, commits = _commits(plan, consumer, idle, stopping.is_set)
        maker = plan.maker(spans)
        follower.only_if(maker.accept)
        outputs = _outputs(plan, producer, inputs.places)
        for files in outputs.files:
            stack.callback(files.close)
        worker = Worker(
            inputs=inputs,
            maker=maker,
            follower=follower,
            outputs=outputs,
            commits=commits,
            budget=ErrorBudget(settings.max_dead_letters),
            metrics=metrics,
            stopping=stopping,
            commit_seconds=settings.commit_seconds,
            transaction_records=settings.transaction_records,
            spans=spans,
        )
        yield Started(worker, metrics, inputs, follower)
        closing()


@contextmanager
def _closing(consumer: Any, inputs: Inputs) -> Iterator[Callable[[], None]]:
    """Leave the group at the end; after an error, without committing anything more."""
    done = False

    def finish() -> None:
        nonlocal done
        done = True

    try:
        yield finish
    finally:
        if not done:
            inputs.give_up()
        consumer.close()


def _on_error(error: KafkaError) -> None:
    """Librdkafka goes on by itself after most errors; the fatal ones come back from its calls."""
    _log.warning("%s", error.str())


def _commits(
    plan: _Plan, consumer: Any, idle: Callable[[], None], stopping: Callable[[], bool]
) -> tuple[Any, Commits]:
    settings = plan.settings
    if not plan.written:
        return None, AtLeastOnce(consumer, idle, stopping)
    exact = settings.delivery == "exactly-once"
    replica = settings.instance or uuid.uuid4().hex
    properties: dict[str, Any] = producer_properties(
        settings.properties,
        brokers=settings.brokers,
        transactional_id=f"{settings.group}-{replica}" if exact else None,
        least_bytes=min(plan.max_bytes.values()),
        most_bytes=max(plan.max_bytes.values()),
    )
    properties |= {"error_cb": _on_error}
    try:
        if exact:
            producer = Producer(properties, logger=_log)
            return producer, ExactlyOnce(producer, consumer, idle, stopping)
        commits = AtLeastOnce(consumer, idle, stopping)
        properties |= {"on_delivery": commits.on_delivery, "delivery.report.only.error": True}
        commits.producer = Producer(properties, logger=_log)
    except KafkaException as error:
        raise ConfigurationError(f"the producer cannot be made: {error.args[0].str()}") from error
    return commits.producer, commits


def _outputs(plan: _Plan, producer: Any, places: Places) -> Outputs:
    settings = plan.settings
    metadata = {"millstream.text": settings.text}
    share = settings.max_memory // 2 // max(1, len(plan.folders))

    def files(uri: str) -> RangeFiles:
        return RangeFiles(plan.folders[uri], settings.rotation, metadata, places.__getitem__, max_bytes=share)

    letters = settings.dead_letters
    return Outputs(
        topics=[TopicSink(producer, topic, plan.max_bytes[topic]) for topic in plan.topics],
        encode=plan.encode(),
        files=files(settings.parquet_outputs[0].target) if settings.parquet_outputs else None,
        letters_topic=None
        if plan.letters_topic is None
        else TopicSink(producer, plan.letters_topic, plan.max_bytes[plan.letters_topic]),
        letters_files=files(letters.target) if letters.kind == "parquet" else None,
    )


def _heads(settings: WorkerSettings, follower: ModelFollower) -> Heads:
    """The heads of the model whose scores are added."""
    heads = follower.current().encoder.heads
    return heads if settings.heads is None else heads.only(settings.heads)


def collect_rarely() -> None:
    """Let Python look for garbage rarely; for a process that does nothing but run a worker.

    A batch makes thousands of objects that live until its end and form no cycles. Looking at them every 700
    takes a quarter of the time.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS)


def check(settings: WorkerSettings) -> list[tuple[str, str]]:
    """Look at everything that a worker needs, without joining the group.

    Returns:
        What was found, name and value.

    Raises:
        MillstreamError: the first thing that is not as it must be.
    """
    follower = ModelFollower.start(settings.model, pin=True)
    follower.close()
    plan = _Plan(settings, _heads(settings, follower))
    follower.only_if(plan.maker(OFF).accept)
    if plan.written and settings.delivery == "exactly-once" and settings.instance is None:
        check_transactions(settings.brokers, settings.properties, f"{settings.group}-")
    heads = _heads(settings, follower).names
    found = [
        ("model", follower.current().label + (" (from the cache)" if follower.from_cache else "")),
        ("heads", ", ".join(heads) or "none"),
        *(("input", f"topic {topic}, {n} partitions") for topic, n in plan.reads.items()),
    ]
    found += [
        (
            "output",
            f"topic {topic}, {plan.writes[topic]} partitions, {plan.max_bytes[topic]:,} bytes a message",
        )
        for topic in plan.topics
    ]
    found += [("output", output.target) for output in settings.parquet_outputs]
    if plan.schemas is not None:
        found.append(("schema registry", plan.schemas.registry.url))
        found += [("input schema", one.about) for one in plan.known]
    if plan.messages is not None:
        looks = plan.messages.look(one.schema for one in plan.known)
        found += [("output schema", f"subject {subject}, {what}") for subject, what in looks]
    if plan.schema is not None:
        found.append(("columns", ", ".join(f"{field.name}: {field.type}" for field in plan.schema)))
    letters = settings.dead_letters
    found.append(("dead letters", f"{letters.kind} {letters.target}"))
    found.append(("delivery", settings.delivery))
    found += [(f"property {key}", value) for key, value in sorted(shown(settings.properties).items())]
    return found
