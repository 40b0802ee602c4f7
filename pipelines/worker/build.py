"""Building a worker from a plan that has been prepared."""

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from encoder import Encoder
from encoder.errors import ConfigurationError
from pipelines.enrich.model_follower import ModelFollower
from pipelines.kafka.config import producer_properties, shown, transactional_id
from pipelines.kafka.offset_reset import offset_reset
from pipelines.kafka.topic_patterns import subscription
from pipelines.sinks.kafka import TopicSink
from pipelines.sinks.offset_files import OffsetFiles
from pipelines.sinks.open_files import Rotation
from pipelines.sinks.refusals import Refusals
from pipelines.sinks.tables.offset_table import OffsetTable
from pipelines.worker.commit import AtLeastOnce, Commits, ExactlyOnce
from pipelines.worker.configuration.plan import Output, Plan
from pipelines.worker.decode import RecordDecoder
from pipelines.worker.drift import DriftOutput, DriftWatch, JsonLines
from pipelines.worker.error_budget import ErrorBudget
from pipelines.worker.loop import Worker
from pipelines.worker.offsets import PartitionIndex
from pipelines.worker.prepare import Prepared, prepare
from pipelines.worker.sinks import Outputs, RowSink
from pipelines.worker.source import Source
from pipelines.worker.telemetry.metrics import WorkerMetrics
from pipelines.worker.telemetry.tracing import open_spans

__all__ = ["Started", "collect_rarely", "start"]

_log = logging.getLogger(__name__)
_OBJECTS = 200_000
_MIB = 1 << 20


@dataclass(frozen=True)
class Started:
    """A worker that is ready to run, and the parts that others watch.

    Attributes:
        worker: to run.
        metrics: its metrics.
        source: its partitions.
        follower: gives its model.
    """

    worker: Worker
    metrics: WorkerMetrics
    source: Source
    follower: ModelFollower


@contextmanager
def start(plan: Plan, stopping: threading.Event) -> Iterator[Started]:
    """Build a worker; its clients are closed at the end of the block.

    Args:
        plan: what the worker will do.
        stopping: to be set when the worker is to stop.

    Raises:
        MillstreamError: a model, a topic or an output is not as it must be; no record was read.
    """
    with ExitStack() as stack:
        settings, prepared = plan.settings, prepare(plan)
        follower, cluster = prepared.follower, prepared.cluster
        stack.callback(follower.close)
        _log.info(
            "starting with model %s, input topics and their partitions %s, properties %s",
            follower.current().label,
            cluster.reads,
            shown(plan.properties),
        )
        spans = open_spans(settings.group, exceptions=prepared.masked is None)
        stack.callback(spans.close)
        metrics = WorkerMetrics()
        metrics.follow(follower)
        callbacks = {"stats_cb": metrics.on_statistics, "error_cb": _on_error}
        own = {"auto.offset.reset": "error"}  # the source sees that a position is lost, and where it goes on
        try:
            consumer = Consumer({**cluster.consumer, **own, **callbacks}, logger=_log)
        except KafkaException as error:
            raise _not_taken("consumer", error) from error
        reset = offset_reset(cluster.consumer)
        source = Source(consumer, list(map(subscription, plan.inputs)), reset=reset, inputs=prepared.inputs)
        stack.enter_context(_closing(consumer, source))

        def idle() -> None:
            metrics.alive()
            source.idle()

        producer, commits = _commits(prepared, consumer, idle, stopping.is_set)
        decoder = prepared.decoder(spans)
        follower.only_if(_accepts(decoder, prepared))
        metrics.count_left_out(lambda: decoder.n_left_out)
        outputs = _outputs(prepared, producer, commits, source.partitions, idle)
        for files in outputs.files:
            stack.callback(files.close)
        worker = Worker(
            source=source,
            decoder=decoder,
            unpack=prepared.unpack(),
            follower=follower,
            outputs=outputs,
            commits=commits,
            budget=ErrorBudget(plan.max_dead_letters),
            metrics=metrics,
            stopping=stopping,
            commit_seconds=settings.commit_seconds,
            backlog_commit_seconds=plan.backlog_commit_seconds,
            transaction_records=settings.transaction_records,
            inputs=prepared.inputs,
            spans=spans,
            drift=_drift(prepared, producer, metrics, source.partitions),
        )
        yield Started(worker, metrics, source, follower)


def _accepts(decoder: RecordDecoder, prepared: Prepared) -> Callable[[Encoder], None]:
    """What a newer model must pass."""

    def accept(encoder: Encoder) -> None:
        decoder.accept(encoder)
        prepared.accept(encoder)

    return accept


@contextmanager
def _closing(consumer: Any, source: Source) -> Iterator[None]:
    """Close the consumer at the end; after an error, without another commit."""
    try:
        yield
    except BaseException:
        source.give_up()
        raise
    finally:
        consumer.close()


def _on_error(error: KafkaError) -> None:
    """Librdkafka recovers from most errors by itself; its calls raise the fatal ones."""
    _log.warning("Kafka client: %s", error.str())


def _commits(
    prepared: Prepared, consumer: Any, idle: Callable[[], None], stopping: Callable[[], bool]
) -> tuple[Any, Commits]:
    """The producer, if anything is written to topics, and what commits."""
    plan, settings, max_bytes = prepared.plan, prepared.plan.settings, prepared.cluster.max_bytes
    if not plan.written_topics:
        return None, AtLeastOnce(consumer, idle, stopping)
    exact = settings.delivery == "exactly-once"
    properties: dict[str, Any] = producer_properties(
        plan.properties,
        brokers=settings.brokers,
        transactional_id=transactional_id(settings.group, settings.instance) if exact else None,
        least_bytes=min(max_bytes.values()),
        most_bytes=max(max_bytes.values()),
    )
    commits: ExactlyOnce | AtLeastOnce

    def on_delivery(error: KafkaError | None, message: Any) -> None:
        commits.on_delivery(error, message)

    properties |= {
        "error_cb": _on_error,
        "on_delivery": on_delivery,
        "delivery.report.only.error": True,
    }
    try:
        producer = Producer(properties, logger=_log)
        if exact:
            commits = ExactlyOnce(producer, consumer, idle, stopping)
        else:
            commits = AtLeastOnce(consumer, idle, stopping, producer)
    except KafkaException as error:
        raise _not_taken("producer", error) from error
    return producer, commits


def _not_taken(client: str, error: KafkaException) -> ConfigurationError:
    reason = error.args[0].str()
    return ConfigurationError(f"librdkafka refuses the {client}'s properties: {reason}: check --property")


def _outputs(
    prepared: Prepared,
    producer: Any,
    commits: Commits,
    partitions: PartitionIndex,
    idle: Callable[[], None],
) -> Outputs:
    plan, settings, cluster = prepared.plan, prepared.plan.settings, prepared.cluster
    rotation = Rotation(settings.rows_per_file, settings.mib_per_file * _MIB, settings.seconds_per_file)
    n_sinks = len(prepared.folders) + (prepared.table is not None)
    share = settings.max_memory * _MIB // 2 // max(1, n_sinks)

    def known(uri: str) -> dict[str, Any]:
        if (inputs := prepared.inputs) is None:
            return {}
        return {"claim": partial(inputs.claim, uri), "check": inputs.check_now}

    def files(output: Output | None) -> RowSink | None:
        if output is None or output.kind == "topic":
            return None
        if (table := prepared.table) is not None and output.kind != "parquet":
            return OffsetTable(
                table,
                seconds=settings.seconds_per_file,
                name_of=partitions.__getitem__,
                file_bytes=rotation.n_bytes,
                max_bytes=share,
                waits=bool(plan.written_topics),
                **known(table.uri),
            )
        folder, metadata = prepared.folders[output.target], {"millstream.text": plan.text}
        own = {**known(folder.uri), "max_bytes": share, "waits": bool(plan.written_topics)}
        apart = plan.partitions if output == plan.rows_output else ()
        return OffsetFiles(folder, rotation, metadata, partitions.__getitem__, partitions=apart, **own)

    sinks = {
        topic: TopicSink(
            producer,
            topic,
            cluster.max_bytes[topic],
            cluster.limits[topic],
            needs_keys=topic in cluster.compacted,
        )
        for topic in plan.written_topics
    }
    return Outputs(
        topics=[sinks[topic] for topic in plan.topics],
        conditions=plan.conditions,
        encode=prepared.encode(),
        files=files(plan.rows_output),
        letters_topic=None if plan.dead_letter_topic is None else sinks[plan.dead_letter_topic],
        letters_files=files(plan.dead_letters),
        tombstones=settings.tombstones,
        delete_columns=plan.delete_columns,
        masked=prepared.masked,
        values_are_text=plan.values_are_text,
        many_rows=plan.reads_arrow,
        refusals=Refusals(producer, sinks, commits.on_delivery, idle) if sinks else None,
    )


def _drift(
    prepared: Prepared, producer: Any, metrics: WorkerMetrics, partitions: PartitionIndex
) -> DriftWatch | None:
    plan = prepared.plan
    output: DriftOutput | None = None
    if not plan.drift_seconds:
        return None
    if (topic := plan.drift_topic) is not None:
        sink = TopicSink(producer, topic, prepared.cluster.max_bytes[topic], prepared.cluster.limits[topic])
        output = partial(_send_one, sink)
    elif plan.drift_file is not None:
        output = JsonLines(plan.drift_file)
    return DriftWatch(
        plan.template,
        seconds=plan.drift_seconds,
        least_records=plan.settings.drift_records,
        metrics=metrics,
        partitions=partitions,
        output=output,
    )


def _send_one(sink: TopicSink, value: bytes) -> None:
    sink.send([value], [None])


def collect_rarely() -> None:
    """Make Python's garbage collection rare, for a process that only runs a worker.

    A batch creates thousands of objects that form no cycles; a collection after every 700 of them takes a
    quarter of the time.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS)
