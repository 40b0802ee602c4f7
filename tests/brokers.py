"""A real Apache Kafka: `with kafka() as broker: …`, or `python tests/brokers.py TOPIC …` for a person.

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
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from broker_nodes import VERSION, Node
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from servers import free_ports

__all__ = ["KafkaBroker", "kafka"]

START_SECONDS = 90.0


class KafkaBroker:
    """A broker, or several as a cluster, that keep their data when they are stopped and started again.

    Args:
        folder: where the data and the logs go; empty at first.
        nodes: how many brokers; of three, every partition is on all, and two must have what is written.
        more: see `Node`, and so is `options`.

    Attributes:
        address: of all nodes.
        gates: for each node, where it listens for a proxy, and where it says that the proxy listens.
        proxied: the address through the proxies.
    """

    def __init__(self, folder: Path, nodes: int = 1, *, more: str = "", options: Sequence[str] = ()) -> None:
        ports = free_ports(4 * nodes)
        own, controllers, behind, proxies = (ports[i * nodes : (i + 1) * nodes] for i in range(4))
        self.address, self.proxied = (
            ",".join(f"127.0.0.1:{port}" for port in several) for several in (own, proxies)
        )
        self.gates = list(zip(behind, proxies, strict=True))
        self._replicas = nodes
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

    def start(self) -> None:
        """Start the nodes that do not run, and wait until all have what they missed."""
        for node in self._nodes:
            if not node.running:
                node.start()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and all(node.running for node in self._nodes):
            if self._is_whole():
                return
            time.sleep(0.05)
        logs = "\n".join(node.log()[-3000:] for node in self._nodes)
        raise RuntimeError(f"Kafka did not start:\n{logs}")

    def _is_whole(self) -> bool:
        return all(self._is_in_sync(address) for address in self.address.split(","))

    def _is_in_sync(self, address: str) -> bool:
        """Whether a node answers, and knows of every replica that it has all of its partition."""
        try:
            known = AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=2)
        except KafkaException:
            return False
        parts = [part for topic in known.topics.values() for part in topic.partitions.values()]
        whole = all(len(part.isrs) == self._replicas and part.leader >= 0 for part in parts)
        return whole and len(known.brokers) == self._replicas

    def stop(self, node: int = 0) -> None:
        """Stop a broker in order."""
        self._nodes[node].end(signal.SIGTERM)

    def kill(self, node: int = 0) -> None:
        """Stop a broker as a loss of power does."""
        self._nodes[node].end(signal.SIGKILL)

    def close(self) -> None:
        """End all of it."""
        for node in self._nodes:
            node.end(signal.SIGKILL)

    def admin(self) -> AdminClient:
        """A client for topics and groups."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Create a topic; its name."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        admin = self.admin()  # its futures end with it
        admin.create_topics([NewTopic(name, partitions, self._replicas, config=settings)])[name].result(30)
        deadline = time.monotonic() + START_SECONDS
        while name not in admin.list_topics(timeout=10).topics and time.monotonic() < deadline:
            time.sleep(0.02)  # the broker learns of it a little later than the controller
        return name


@contextmanager
def kafka(nodes: int = 1, *, more: str = "", options: Sequence[str] = ()) -> Iterator[KafkaBroker]:
    """Start brokers on free ports of 127.0.0.1, and stop them and remove their data at the end."""
    folder = Path(tempfile.mkdtemp(prefix="millstream-kafka-"))
    broker = None
    try:
        broker = KafkaBroker(folder, nodes, more=more, options=options)
        broker.start()
        yield broker
    finally:
        if broker is not None:
            broker.close()
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
