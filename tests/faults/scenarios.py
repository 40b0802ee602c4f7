"""What may happen to workers while records go through: the faults of the tests, and of `make soak`.

stage = Stage(broker=…, cluster=…, s3=…, model=folder)
with stage.set(SCENARIOS["kill -9"], folder) as (rig, fault):
    rig.start(2)
    with rig.writing():
        rig.wait_for_progress()
        fault()
    print(rig.verdict())
"""

import itertools
import random
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amounts import amount
from faults.network import network
from faults.s3 import lossy_proxy
from faults.workers import STRANGE, TRANSACTION_SECONDS, Rig
from lakes import FORMATS, Lake
from patience import wait_for

from encoder.store.store import ModelStore

__all__ = ["PATIENT", "SCENARIOS", "Scenario", "Stage"]

CUT_SECONDS = amount(10.0, 20.0)  # longer than sessions and transactions last
REFUSALS = amount(3, 20)
LATE = ("--model-seconds", "0.2")
BUDGET = ("--max-dead-letters", "5%")
PARTITIONS = ("--partition-by", "hour(seq)")  # an hour has 3,600 numbers
SLOW = ("--commit-seconds", str(0.8 * TRANSACTION_SECONDS))  # the longest that is accepted


@dataclass(frozen=True)
class Scenario:
    """A fault, and the workers that it happens to.

    Attributes:
        fault: one of `Stage`'s.
        times: how often in CI, and how often in a soak; 0 for one that needs three brokers, or that differs
            little from another.
        options: of the `Rig`.
    """

    fault: str
    times: tuple[int, int]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def n_faults(self) -> int:
        """How often it happens in this run."""
        return amount(*self.times)


LEAST = {"delivery": "at-least-once"}
PARQUET = {"output": "parquet"}
BOTH = {"output": "both"}
ICEBERG = {"output": "iceberg"}
DELTA = {"output": "delta"}
DELETES = {"deletes": True}
NEW = {"protocol": "consumer"}
# No fault, but a busy machine: a worker that is told to end is to find the time to commit.
PATIENT = {"session": 15.0, "poll": 20.0}
SCENARIOS = {
    "kill -9": Scenario("kill", (1, 20)),
    "kill -9, named workers": Scenario("kill", (1, 20), {"named": True}),
    "kill -9, new group protocol": Scenario("kill", (0, 20), NEW),
    "kill -9, at least once": Scenario("kill", (1, 20), LEAST),
    "kill -9, Parquet": Scenario("kill", (0, 20), PARQUET),
    "kill -9, Parquet, new group protocol, at least once": Scenario("kill", (1, 20), PARQUET | NEW | LEAST),
    "kill -9, two topics, topic and Parquet at once": Scenario(
        "kill", (1, 20), {"output": "both", "topics": 2}
    ),
    "kill -9, deletes": Scenario("kill", (1, 20), DELETES),
    "kill -9, deletes, at least once": Scenario("kill", (0, 20), DELETES | LEAST),
    "1 to 3 workers, deletes, topic and Parquet at once": Scenario("churn", (2, 10), DELETES | BOTH),
    "SIGTERM": Scenario("terminate", (1, 10), PATIENT),
    "SIGTERM, at least once": Scenario("terminate", (0, 10), PATIENT | LEAST),
    "SIGTERM, Parquet, at least once": Scenario("terminate", (1, 10), PATIENT | PARQUET | LEAST),
    "SIGSTOP past the session": Scenario("freeze", (1, 5)),
    "SIGSTOP past the session, at least once": Scenario("freeze", (0, 5), LEAST),
    "SIGSTOP past the session, Parquet": Scenario("freeze", (1, 5), PARQUET),
    "1 to 3 workers": Scenario("churn", (2, 10)),
    "1 to 3 workers, at least once": Scenario("churn", (0, 10), LEAST),
    "1 to 3 workers, Parquet, new group protocol": Scenario("churn", (2, 10), PARQUET | NEW),
    "brokers restart in order": Scenario("restart", (1, 3)),
    "brokers restart after kill -9": Scenario("crash", (0, 3)),
    "brokers restart after kill -9, at least once": Scenario("crash", (1, 3), LEAST),
    "network cut": Scenario("cut", (1, 3)),
    "network cut, at least once": Scenario("cut", (0, 3), LEAST),
    "model store answers 503": Scenario("away", (1, 3), {"model": "s3", "options": LATE}),
    "Parquet store answers 503": Scenario("closed", (1, 3), {"output": "s3"}),
    "kill -9, Iceberg": Scenario("kill", (1, 20), ICEBERG),
    "kill -9, topic and Delta at once": Scenario("kill", (1, 20), {"output": "topic+delta"}),
    "kill -9, topic and Iceberg at once": Scenario("kill", (0, 20), {"output": "topic+iceberg"}),
    "kill -9, Delta, deletes": Scenario("kill", (0, 20), DELTA | DELETES),
    "SIGSTOP past the session, Iceberg": Scenario("freeze", (1, 5), ICEBERG),
    "SIGSTOP past the session, Delta": Scenario("freeze", (0, 5), DELTA),
    "1 to 3 workers, Delta": Scenario("churn", (2, 10), DELTA),
    "1 to 3 workers, Iceberg": Scenario("churn", (0, 10), ICEBERG),
    "Iceberg's store answers 503": Scenario("closed", (0, 3), ICEBERG | {"in_bucket": True}),
    "Delta's store answers 503": Scenario("closed", (1, 3), DELTA | {"in_bucket": True}),
    "files of Iceberg rewritten beside": Scenario("rewritten", (0, 10), ICEBERG),
    "files of Delta rewritten beside": Scenario("rewritten", (0, 10), DELTA),
    "topics made again, Delta": Scenario("again", (0, 3), DELTA | {"topics": 2}),
    "logs cut below the positions, Iceberg": Scenario("cut logs", (0, 3), ICEBERG),
    "topics made again": Scenario("again", (1, 3), {"output": "both", "topics": 2}),
    "logs cut below the positions": Scenario("cut logs", (1, 3), {"output": "both"}),
    "retention overtakes the group": Scenario("overtaken", (1, 3), {"output": "both"}),
    "the output's limit is lowered": Scenario("limit", (1, 3)),
    "kill -9, then bad records within the error budget": Scenario(
        "bad in a row", (1, 10), {"options": BUDGET}
    ),
    "kill -9, commits shortly before brokers abort": Scenario("kill", (0, 20), {"options": SLOW}),
    "SIGSTOP, commits shortly before brokers abort": Scenario("freeze", (1, 5), {"options": SLOW}),
    "kill -9, strange records": Scenario("kill", (1, 20), {"bad": STRANGE}),
    "kill -9, Parquet in partitions": Scenario("kill", (1, 20), PARQUET | {"options": PARTITIONS}),
    "SIGSTOP past the session, Parquet in partitions": Scenario(
        "freeze", (0, 5), PARQUET | {"options": PARTITIONS}
    ),
    "kill -9, Arrow messages, topic and Parquet at once": Scenario(
        "kill", (1, 20), {"rows": 30, "output": "both"}
    ),
    "damaged new model": Scenario("damage", (1, 3), {"model": "file", "options": LATE}),
}
"""By name; exactly once into a topic where nothing else is said. 1 % of the records is poison."""


class Stage:
    """What faults need.

    Args:
        broker: gives a KafkaBroker.
        cluster: gives a KafkaCluster whose nodes may be stopped.
        s3: gives an S3Server.
        model: a model's folder.
    """

    def __init__(
        self, *, broker: Callable[[], Any], cluster: Callable[[], Any], s3: Callable[[], Any], model: Path
    ) -> None:
        self._broker, self._cluster, self._s3, self._model = broker, cluster, s3, model
        self._refusals: list[str] = []
        self._rig: Rig | None = None

    def last_words(self) -> str:
        """What the servers of the last scenario logged last, for a test that has failed."""
        return self._rig.last_words() if self._rig else ""

    @contextmanager
    def set(self, scenario: Scenario, folder: Path) -> Iterator[tuple[Rig, Callable[[], None]]]:
        """Workers that are ready to start, and the fault to call."""
        with ExitStack() as stack:
            options = dict(scenario.options)
            refused: list[str] = []  # the methods that S3 refuses
            if "s3" in options.values():
                options["environment"] = stack.enter_context(self._bucket(refused))
            if options.get("output", "").removeprefix("topic+") in FORMATS:
                options |= self._lake(stack, folder, refused, in_bucket=options.pop("in_bucket", False))
            if options.get("output") == "s3":
                options["output"] = f"s3://{self._s3().bucket}/{uuid.uuid4().hex}"
            models = None
            if (kind := options.pop("model", "")) == "s3":
                models = Models(f"s3://{self._s3().bucket}/{uuid.uuid4().hex}/minilm", self._model, folder)
            elif kind == "file":
                models = Models((folder / "store/minilm").as_uri(), self._model, folder)
            cluster = self._cluster() if scenario.fault in ("restart", "crash") else None
            broker = cluster.broker if cluster else self._broker()
            net = None
            if scenario.fault == "cut":
                net = stack.enter_context(network(broker.gates))
                options["address"] = broker.proxied
            rig = Rig(broker, models.uri if models else self._model, folder, **options)
            self._rig = stack.enter_context(rig)
            yield rig, self._fault(scenario.fault, rig, cluster, net, models, refused)

    def _lake(self, stack: ExitStack, folder: Path, refused: list[str], *, in_bucket: bool) -> dict[str, Any]:
        """A place for a table, and the environment in which workers find it."""
        if not in_bucket:
            lake = stack.enter_context(Lake.in_folder(folder / "lake").known())
            return {"lake": lake, "environment": lake.environment}
        proxied = stack.enter_context(self._bucket(refused))
        lake = Lake.in_bucket(folder / "lake", self._s3(), uuid.uuid4().hex)
        stack.enter_context(lake.known())
        return {"lake": lake, "environment": lake.through(proxied["AWS_ENDPOINT_URL"])}

    def _fault(
        self, name: str, rig: Rig, cluster: Any, net: Any, models: Any, refused: list[str]
    ) -> Callable[[], None]:
        nodes = itertools.cycle(range(cluster.n_nodes if cluster else 1))

        def restart(stop: Callable[[int], None]) -> None:
            stop(next(nodes))
            cluster.start()

        def away() -> None:
            said = "from the local cache"
            times = rig.log().count(said)
            refused[:] = ["GET", "HEAD", "PUT"]
            rig.kill()
            rig.wait_for(said, times + 1)  # its successor began with what was there
            refused.clear()
            models.publish()

        def closed() -> None:
            before = len(self._refusals)
            refused[:] = ["PUT"]
            rig.kill()
            wait_for(lambda: len(self._refusals) - before, "refused uploads", lambda n: n >= REFUSALS)
            refused.clear()

        def damage() -> None:
            times = rig.log().count("is refused, keeping")
            models.damage()
            rig.wait_for("is refused, keeping", times + 1)
            models.publish()

        return {
            "kill": rig.kill,
            "terminate": rig.terminate,
            "freeze": rig.freeze,
            "churn": rig.churn,
            "restart": lambda: restart(cluster.stop),
            "crash": lambda: restart(cluster.kill),
            "cut": lambda: net.cut(CUT_SECONDS),
            "again": rig.topics_made_again,
            "cut logs": rig.logs_cut,
            "overtaken": rig.retention_overtakes,
            "limit": rig.limit_lowered,
            "bad in a row": rig.bad_in_a_row,
            "rewritten": rig.rewritten_beside,
            "away": away,
            "closed": closed,
            "damage": damage,
        }[name]

    @contextmanager
    def _bucket(self, refused: list[str]) -> Iterator[dict[str, str]]:
        """The environment of workers whose S3 refuses some methods, and now and then loses a reply."""
        chance = random.Random(1)

        def hide(method: str, path: str, _status: int) -> str:
            if method in refused:
                self._refusals.append(path)
                return "503"
            lost = method == "PUT" and path.endswith((".parquet", ".json"))
            return chance.choice(["", "", "503", "drop"]) if lost else ""

        server = self._s3()
        with lossy_proxy(server.port, hide) as port:
            yield {**server.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}


class Models:
    """A store with a model, whose next versions are good or damaged."""

    def __init__(self, uri: str, model: Path, folder: Path) -> None:
        self.uri = uri
        self._model = model
        self._folder = folder
        self._numbers = itertools.count(2)
        self._store = ModelStore.open(uri)
        self._store.publish(model)

    def _next(self) -> Path:
        """A copy of the model with another card, so that it is another version."""
        copy = self._folder / f"model-{next(self._numbers)}"
        shutil.copytree(self._model, copy)
        (copy / "README.md").write_text(f"{copy.name}\n")
        return copy

    def publish(self) -> None:
        """Publish a good version."""
        self._store.publish(self._next())

    def damage(self) -> None:
        """Publish a version whose card is not what its manifest says."""
        store, staging = self._folder / "store/minilm", self._folder / f"staging-{next(self._numbers)}/minilm"
        shutil.copytree(store, staging)
        known = {path.name for path in (store / "blobs").iterdir()}
        ModelStore.open(staging.as_uri()).publish(self._next())
        for blob in (staging / "blobs").iterdir():
            if blob.name not in known:
                (store / "blobs" / blob.name).write_bytes(b"\0" * 100)
        newest = max((staging / "v").iterdir())
        shutil.copy(newest, store / "v")
