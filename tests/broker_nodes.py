"""One node of an Apache Kafka cluster in KRaft mode, from Maven Central's jars."""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from downloads import kafka_jars
from engines.processes import JAVA_SHORT_LIVED
from patience import PATIENCE

__all__ = ["Node"]

_PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{behind},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{proxied}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.enable=false
"""


class Node:
    """A process that is broker and controller, and keeps its data when it is stopped and started again.

    Args:
        folder: where its data and its log go; empty at first.
        properties: what is filled into its configuration.
        cluster: the cluster's identifier.
        more: properties that go before these; `{port}` and the like are filled in as well.
        options: of the Java process.

    Attributes:
        log: the file that it logs to.
    """

    def __init__(
        self,
        folder: Path,
        properties: dict[str, object],
        cluster: str,
        *,
        more: str = "",
        options: Sequence[str] = (),
    ) -> None:
        folder.mkdir()
        self._folder = folder
        self.log = folder / "broker.log"
        self._jars = kafka_jars()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "server.properties").write_text((_PROPERTIES + more).format(folder=folder, **properties))
        storage = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", "server.properties"]
        subprocess.run([*self._command(), *storage], cwd=folder, check=True, capture_output=True)

    def start(self) -> None:
        """Start it, without waiting for anything."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command(), "kafka.Kafka", "server.properties"],
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a person's Ctrl-C ends it in order, through `end`
            )

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def end(self, number: signal.Signals) -> None:
        """Send a signal to it and wait until it has ended."""
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _command(self) -> list[str]:
        flags = ["-Xms256m", "-Xmx768m", *JAVA_SHORT_LIVED]
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return ["java", *flags, quiet, *self._options, "-cp", f"{self._jars}/*"]
