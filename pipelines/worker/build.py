"""Putting a worker together from what `pipelines.worker.plan` has found."""

import gc
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from encoder.errors import ConfigurationError
from pipelines.enrich.model_follower import ModelFollower
from pipelines.kafka.config import producer_properties, shown
from pipelines.sinks.kafka import TopicSink
from pipelines.sinks.offset_files import OffsetFiles
from pipelines.worker.commit import AtLeastOnce, Commits, ExactlyOnce
from pipelines.worker.error_budget import ErrorBudget
from pipelines.worker.loop import Worker
from pipelines.worker.offsets import Places
from pipelines.worker.plan import Plan, wanted_heads
from pipelines.worker.settings import WorkerSettings
from pipelines.worker.sinks import Outputs
from pipelines.worker.source import Inputs
from pipelines.worker.telemetry.metrics import WorkerMetrics
from pipelines.worker.telemetry.tracing import open_spans

__all__ = ["Started", "collect_rarely", "start"]

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
        plan = Plan(settings, wanted_heads(settings, follower))
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
    plan: Plan, consumer: Any, idle: Callable[[], None], stopping: Callable[[], bool]
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


def _outputs(plan: Plan, producer: Any, places: Places) -> Outputs:
    settings = plan.settings
    metadata = {"millstream.text": settings.text}
    share = settings.max_memory // 2 // max(1, len(plan.folders))

    def files(uri: str) -> OffsetFiles:
        return OffsetFiles(
            plan.folders[uri], settings.rotation, metadata, places.__getitem__, max_bytes=share
        )

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


def collect_rarely() -> None:
    """Let Python look for garbage rarely; for a process that does nothing but run a worker.

    A batch makes thousands of objects that live until its end and form no cycles. Looking at them every 700
    takes a quarter of the time.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS)
