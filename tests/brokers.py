"""A real Apache Kafka: `with kafka() as cluster: …`, or `python tests/brokers.py TOPIC …` for a person.

One node as a rule. Three nodes where brokers are killed: a single broker that is killed gives up the markers
of transactions that were open (its log says "Couldn't find leader endpoint for partitions …, these partitions
are likely deleted already and hence can be skipped"), and readers of committed records then wait for ever.
"""

import base64
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from broker_nodes import Node
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from downloads import KAFKA_VERSION
from logs import tails
from patience import PATIENCE, wait_for
from servers import free_ports

__all__ = ["KafkaBroker", "KafkaCluster", "kafka"]


@dataclass(frozen=True)
class KafkaBroker:
    """A running broker, or several as a cluster, as its clients know it; any process may have it.

    Attributes:
        address: of all nodes.
        proxied: the address through the proxies.
        gates: for each node, where it listens for a proxy, and where it says that the proxy listens.
        replicas: of every partition.
        logs: the files that the nodes log to.
    """

    address: str
    proxied: str
    gates: list[tuple[int, int]]
    replicas: int
    logs: list[str]

    def admin(self) -> AdminClient:
        """A client for topics and groups."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Create a topic; its name."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        admin = self.admin()  # its futures end with it
        topic = NewTopic(name, partitions, self.replicas, config=settings)
        admin.create_topics([topic])[name].result(PATIENCE)
        # The broker learns of it a little later than the controller.
        wait_for(lambda: name in admin.list_topics(timeout=PATIENCE).topics, f"topic {name}", pause=0.02)
        return name

    def last_words(self) -> str:
        """The ends of the logs, for a test that has failed."""
        return tails(self.logs)


class KafkaCluster:
    """The nodes of a broker, which keep their data when they are stopped and started again.

    Args:
        folder: where the data and the logs go; empty at first.
        nodes: how many; of three, every partition is on all, and two must have what is written.
        more: see `Node`, and so is `options`.

    Attributes:
        broker: as its clients know it.
    """

    def __init__(self, folder: Path, nodes: int = 1, *, more: str = "", options: Sequence[str] = ()) -> None:
        ports = free_ports(4 * nodes)
        own, controllers, behind, proxies = (ports[i * nodes : (i + 1) * nodes] for i in range(4))
        address, proxied = (",".join(f"127.0.0.1:{port}" for port in several) for several in (own, proxies))
        cluster = base64.urlsafe_b64encode(b"m" + os.urandom(15)).decode().rstrip("=")  # begins with no dash
        everywhere = {
            "voters": ",".join(f"{i + 1}@127.0.0.1:{port}" for i, port in enumerate(controllers)),
            "replicas": nodes,
            "in_sync": max(1, nodes - 1),
        }
        self._nodes = [
            Node(
                folder / f"node-{i + 1}",
                {
                    "node": i + 1,
                    "port": own[i],
                    "controller": controllers[i],
                    "behind": behind[i],
                    "proxied": proxies[i],
                    **everywhere,
                },
                cluster,
                more=more,
                options=options,
            )
            for i in range(nodes)
        ]
        gates = list(zip(behind, proxies, strict=True))
        self.broker = KafkaBroker(address, proxied, gates, nodes, [str(node.log) for node in self._nodes])

    def start(self) -> None:
        """Start the nodes that do not run, and wait until all have what they missed."""
        for node in self._nodes:
            if not node.running:
                node.start()

        def ended_or_whole() -> bool:
            return not all(node.running for node in self._nodes) or self._is_whole()

        wait_for(ended_or_whole, "Kafka's nodes to be in sync")
        if not all(node.running for node in self._nodes):
            raise RuntimeError(f"Kafka did not start:\n{self.broker.last_words()}")

    def _is_whole(self) -> bool:
        return all(self._is_in_sync(address) for address in self.broker.address.split(","))

    def _is_in_sync(self, address: str) -> bool:
        """Whether a node answers, and knows of every replica that it has all of its partition."""
        try:
            known = AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=2)
        except KafkaException:
            return False
        parts = [part for topic in known.topics.values() for part in topic.partitions.values()]
        whole = all(len(part.isrs) == len(self._nodes) and part.leader >= 0 for part in parts)
        return whole and len(known.brokers) == len(self._nodes)

    @property
    def n_nodes(self) -> int:
        """How many nodes there are."""
        return len(self._nodes)

    def stop(self, node: int = 0) -> None:
        """Stop a node in order."""
        self._nodes[node].end(signal.SIGTERM)

    def kill(self, node: int = 0) -> None:
        """Stop a node as a loss of power does."""
        self._nodes[node].end(signal.SIGKILL)

    def close(self) -> None:
        """End all of it."""
        for node in self._nodes:
            node.end(signal.SIGKILL)


@contextmanager
def kafka(nodes: int = 1, *, more: str = "", options: Sequence[str] = ()) -> Iterator[KafkaCluster]:
    """Start brokers on free ports of 127.0.0.1, and stop them and remove their data at the end."""
    folder = Path(tempfile.mkdtemp(prefix="millstream-kafka-"))
    cluster = None
    try:
        cluster = KafkaCluster(folder, nodes, more=more, options=options)
        cluster.start()
        yield cluster
    finally:
        if cluster is not None:
            cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run a broker with the topics that are named on the command line, until Ctrl-C."""
    with kafka() as cluster:
        for name in sys.argv[1:]:
            cluster.broker.create_topic(name, partitions=4)
        sys.stdout.write(
            f"Apache Kafka {KAFKA_VERSION} listens on {cluster.broker.address}; Ctrl-C ends it\n"
        )
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
