"""A real Apache Kafka broker: `with kafka() as broker: …`, or `python tests/brokers.py` for a person.

One node in KRaft mode from Maven Central's jars, which are fetched once into the user's cache folder.
"""

import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from filelock import FileLock
from platformdirs import user_cache_path

__all__ = ["KafkaBroker", "kafka"]

VERSION = "4.3.0"
POM = Path(__file__).parents[1] / "deploy/kafka/pom.xml"
START_SECONDS = 60.0
FETCH_SECONDS = 600.0
_NEEDS = "an Apache Kafka broker needs Java 17 and Maven: apt-get install openjdk-17-jre-headless maven"
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.enable=false
"""


class KafkaBroker:
    """A broker that keeps its data when it is stopped and started again.

    Args:
        folder: where its data and its log go; empty at first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jars = _jars()
        self._process: subprocess.Popen[bytes] | None = None
        port, controller = _free_ports(2)
        self.address = f"127.0.0.1:{port}"
        (folder / "server.properties").write_text(
            _PROPERTIES.format(port=port, controller=controller, folder=folder)
        )
        cluster = base64.urlsafe_b64encode(b"m" + os.urandom(15)).decode().rstrip("=")  # begins with no dash
        self._java(
            "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", "server.properties"
        ).check_returncode()

    def start(self) -> None:
        """Start the broker and wait until it answers."""
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command(), "kafka.Kafka", "server.properties"],
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a person's Ctrl-C ends it in order, through `stop`
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(KafkaException):
                self.admin().list_topics(timeout=1)
                return
        raise RuntimeError(f"Kafka did not start:\n{self._log()[-3000:]}")

    def stop(self) -> None:
        """Stop the broker in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop the broker as a loss of power does."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def admin(self) -> AdminClient:
        """A client for topics and groups."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Create a topic; its name."""
        topic = NewTopic(
            name, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()}
        )
        admin = self.admin()  # its futures end with it
        admin.create_topics([topic])[name].result(30)
        deadline = time.monotonic() + START_SECONDS
        while name not in admin.list_topics(timeout=10).topics and time.monotonic() < deadline:
            time.sleep(0.02)  # the broker learns of it a little later than the controller
        return name

    def _log(self) -> str:
        return (self._folder / "broker.log").read_text(errors="replace")

    def _command(self) -> list[str]:
        memory = ["-Xms256m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4"]
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return ["java", *memory, quiet, "-cp", f"{self._jars}/*"]

    def _java(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [*self._command(), *arguments], cwd=self._folder, check=False, capture_output=True
        )


def _jars() -> Path:
    """The folder of the broker's jars, fetched by Maven if it is not there yet."""
    folder = user_cache_path("millstream", appauthor=False) / f"kafka-{VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    if shutil.which("java") is None:
        raise RuntimeError(_NEEDS)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():
            return folder
        if shutil.which("mvn") is None:
            raise RuntimeError(_NEEDS)
        with tempfile.TemporaryDirectory(dir=folder.parent) as staging:
            where = f"-DoutputDirectory={staging}/lib"
            copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", where]
            done = subprocess.run(
                ["mvn", "--quiet", "--batch-mode", "--file", POM, *copy],
                capture_output=True,
                text=True,
                timeout=FETCH_SECONDS,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"Maven cannot fetch Kafka's jars:\n{done.stdout[-2000:]}")
            (Path(staging) / "lib").rename(folder)
    return folder


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def kafka() -> Iterator[KafkaBroker]:
    """Start a broker on free ports of 127.0.0.1, and stop it and remove its data at the end."""
    folder = Path(tempfile.mkdtemp(prefix="millstream-kafka-"))
    broker = None
    try:
        with FileLock(Path(tempfile.gettempdir()) / "millstream-kafka.lock"):  # or two take the same ports
            broker = KafkaBroker(folder)
            broker.start()
        yield broker
    finally:
        if broker is not None:
            broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run a broker with the topics that are named on the command line, until Ctrl-C."""
    with kafka() as broker:
        for name in sys.argv[1:]:
            broker.create_topic(name, partitions=4)
        sys.stdout.write(f"Apache Kafka {VERSION} listens on {broker.address}; Ctrl-C ends it\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
