"""Topics of a real broker, and workers on them: in this process, or in processes of their own."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from patience import PATIENCE
from plans import plan_of
from secure_brokers import secure_kafka
from topics import read_topic, unique, values_of, write_topic

from encoder.errors import MillstreamError
from pipelines.worker.build import start

SHORT = {  # times that a test can wait for
    "session.timeout.ms": "6000",
    "heartbeat.interval.ms": "500",
    "transaction.timeout.ms": "8000",
    "topic.metadata.refresh.interval.ms": "2000",
}
CLASSIC = ("session.timeout.ms", "heartbeat.interval.ms")


@dataclass
class Topics:
    """An input, an output and dead letters on one broker."""

    broker: object
    input: str
    output: str
    dead: str
    group: str

    def write(self, messages):
        write_topic(self.broker.address, self.input, messages)

    def read(self, **options):
        return read_topic(self.broker.address, self.output, **options)

    def read_values(self, **options):
        return values_of(self.read(**options))

    def read_dead(self, **options):
        return read_topic(self.broker.address, self.dead, **options)


@pytest.fixture
def topics(kafka):
    made = Topics(kafka, *(unique(name) for name in ("in", "out", "dead", "group")))
    kafka.create_topic(made.input, 4)
    kafka.create_topic(made.output, 2)
    kafka.create_topic(made.dead, 1)
    return made


@pytest.fixture(scope="session")
def secure(tmp_path_factory):
    with secure_kafka(tmp_path_factory.mktemp("certificates")) as broker:
        yield broker


@pytest.fixture
def run_worker(model):
    """Run a worker in a thread of this process; at the end of the block it stops in order.

    With `ends_itself` the end of the block is where the worker ends by itself.
    """

    @contextmanager
    def run(outputs, dead_letters, properties, ends_itself=False, **options):
        new_protocol = properties.get("group.protocol") == "consumer"  # then the broker says some of it
        short = {key: value for key, value in SHORT.items() if not new_protocol or key not in CLASSIC}
        pairs = [f"{key}={value}" for key, value in {**short, **properties}.items()]
        told = {"model": str(model), **options, "properties": pairs}
        plan = plan_of(*outputs, dead_letters=dead_letters, **told)
        stopping, errors = threading.Event(), []

        def work(started):
            try:
                started.worker.run()
            except MillstreamError as error:
                errors.append(error)

        with start(plan, stopping) as started:
            thread = threading.Thread(target=work, args=(started,))
            thread.start()
            try:
                yield started
            finally:
                if not ends_itself:
                    stopping.set()
                thread.join(PATIENCE)
                assert not thread.is_alive(), "the worker does not end"
        if errors:
            raise errors[0]

    return run


@pytest.fixture
def worker(topics, run_worker):
    """Run a worker on the topics."""

    def run(outputs=(), dead_letters=None, **options):
        about = {"brokers": topics.broker.address, "group": topics.group, "inputs": [topics.input]}
        return run_worker(
            outputs or [f"topic:{topics.output}"],
            dead_letters or f"topic:{topics.dead}",
            **{**about, "properties": {}, **options},
        )

    return run
