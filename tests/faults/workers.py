"""Workers under faults: numbered records go in, processes are killed, and what came out is counted.

    with Rig(broker, model, folder, output="topic", delivery="exactly-once") as rig:
        rig.start(2)
        with rig.writing(40_000):
            rig.kill()
        print(rig.verdict())

A supervisor starts again what ends by itself or is killed, as Kubernetes does. The verdict is given when
nothing has come out for longer than the session and transaction time-outs.
"""

import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Producer
from topics import read_topic, unique

from encoder.store.objects import open_objects

__all__ = ["SESSION_SECONDS", "TRANSACTION_SECONDS", "Rig", "Verdict"]

SESSION_SECONDS, TRANSACTION_SECONDS = 3.0, 5.0
START_SECONDS = 90.0  # of workers, on a busy machine
PARTITIONS = 6
POISON = 100  # every so many records one is poison
_BAD = (b"{", b'{"seq":\xff}', b"[]", b'{"text":null}', None)
_MOST_BYTES = 20_000  # of a message in the output topic
_LARGE = b'{"seq":-1,"text":"%s"}' % (b"large " * 5000)
_CLASSIC = ("session.timeout.ms", "heartbeat.interval.ms")  # with the new protocol the broker says


@dataclass(frozen=True)
class Verdict:
    """What came out, compared with what went in."""

    records: int
    lost: int
    repeated: int
    dead_wrong: int
    dead_repeated: int
    restarts: int
    codes: tuple[int, ...]


class Rig:
    """Topics, workers and a supervisor.

    Args:
        broker: a KafkaBroker.
        model: the REF of the model.
        folder: for logs and Parquet files.
        output: `topic`, `parquet`, `both`, or the URI of Parquet files.
        delivery: as the worker's flag.
        named: whether workers have names that outlive restarts (`--instance`).
        protocol: `classic` or `consumer`.
        topics: how many are read, by a regular expression where there are several.
        session: seconds after which a silent worker has left.
        poll: seconds that a worker may work on a batch.
        address: of the brokers for the workers, if not the broker's.
        options: more of the worker's flags.
        environment: of the workers.
    """

    def __init__(
        self, broker, model, folder, *, output="topic", delivery="exactly-once", named=False,
        protocol="classic", topics=1, session=SESSION_SECONDS, poll=10.0, address=None, options=(),
        environment=None,
    ):  # fmt: skip
        self.broker = broker
        self.folder = folder
        self.exact = delivery == "exactly-once"
        stem = unique("in")
        self.inputs = [f"{stem}-{number}" for number in range(topics)]
        self.output, self.dead = unique("out"), unique("dead")
        for name in self.inputs:
            broker.create_topic(name, PARTITIONS // topics)
        broker.create_topic(self.output, 3, max_message_bytes=str(_MOST_BYTES))
        broker.create_topic(self.dead, 1)
        own = {"topic": None, "parquet": str(folder / "out"), "both": str(folder / "out")}
        self.parquet = own.get(output, output)
        self.to_topic = output in ("topic", "both")
        self._bad = (*_BAD, _LARGE) if output == "topic" else _BAD  # Parquet takes what is large
        self._named = named
        properties = {
            "group.protocol": protocol,
            "max.poll.interval.ms": int(1000 * poll),
            "transaction.timeout.ms": int(1000 * TRANSACTION_SECONDS),
        }
        if protocol == "classic":  # with the new protocol the broker says
            properties |= {"session.timeout.ms": int(1000 * session), "heartbeat.interval.ms": 300}
        targets = [f"topic:{self.output}"] if self.to_topic else []
        targets += [f"parquet:{self.parquet}"] if self.parquet else []
        self._command = [
            *(sys.executable, "-m", "pipelines", "worker", "--brokers", address or broker.address),
            *("--group", unique("group"), "--input", self.inputs[0] if topics == 1 else f"^{stem}-"),
            *("--model", str(model), *(part for target in targets for part in ("--output", target))),
            *("--dead-letters", f"topic:{self.dead}", "--delivery", delivery, "--text", "{seq} {text}"),
            *("--fields", "seq:int64,text:string", "--rows-per-file", "2000", "--seconds-per-file", "2"),
            *(part for key, value in properties.items() for part in ("--property", f"{key}={value}")),
            *("--stuck-seconds", "15", "--vectors", "binary", "--dtype", "float16"),
            *options,
        ]
        own_cache = {"MILLSTREAM_CACHE": str(folder / "cache")}
        self._environment = {**os.environ, **own_cache, **(environment or {})}
        self._workers = {}
        self._wanted = 0
        self._stopped = set()  # by SIGSTOP: the supervisor leaves them alone
        self._lock = threading.RLock()
        self._over = threading.Event()
        self.restarts = 0
        self.codes = []
        self.bad = {}
        self.n_written = 0
        self.versions = set()
        self._read = {}
        self._random = random.Random(topics)
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    def __enter__(self):
        self._supervisor.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._supervisor.join()
        for process in self._workers.values():
            process.kill()
            process.wait()

    def start(self, n):
        """Let `n` workers run from now on; those above that are told to end."""
        with self._lock:
            self._wanted = n
            for number in [k for k in self._workers if k >= n]:
                self._end(self._workers.pop(number))

    def wait_until_ready(self):
        """Wait until every worker has had its first partitions, or is in the group without any."""
        self.wait_for('"message":"assigned', self._wanted, files=True)

    def wait_for(self, text, times=1, files=False):
        """Wait until workers have logged something so often; in so many files, if `files`."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            logs = [path.read_text(errors="replace") for path in self.folder.glob("worker-*.log")]
            if sum(text in log if files else log.count(text) for log in logs) >= times:
                return
            time.sleep(0.1)
        raise AssertionError(f"no worker logged {text!r}:\n{self.log()[-3000:]}")

    def _supervise(self):
        while not self._over.wait(0.1):
            with self._lock:
                for number in range(self._wanted):
                    process = self._workers.get(number)
                    if process is None or process.poll() is not None:
                        if process is not None:
                            self.restarts += 1
                            self.codes.append(process.returncode)
                        self._workers[number] = self._launch(number)

    def _launch(self, number):
        name = ["--instance", f"worker-{number}"] if self._named else []
        with (self.folder / f"worker-{number}.log").open("ab") as log:
            return subprocess.Popen([*self._command, *name], stdout=log, stderr=log, env=self._environment)

    def _end(self, process):
        process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        self.codes.append(process.wait(30))
        assert time.monotonic() - begin < 10, "SIGTERM took too long"

    def _pick(self):
        running = [p for p in self._workers.values() if p.poll() is None and p.pid not in self._stopped]
        return self._random.choice(running) if running else None

    def kill(self):
        """kill -9 one worker."""
        with self._lock:
            if (process := self._pick()) is not None:
                process.kill()

    def terminate(self):
        """SIGTERM one worker."""
        with self._lock:
            if (process := self._pick()) is not None:
                process.send_signal(signal.SIGTERM)

    def freeze(self):
        """Stop one worker for longer than its session and its transaction last, then let it go on."""
        with self._lock:
            process = self._pick()
            if process is None:
                return
            self._stopped.add(process.pid)
            process.send_signal(signal.SIGSTOP)
        time.sleep(max(SESSION_SECONDS, TRANSACTION_SECONDS) + 2)
        process.send_signal(signal.SIGCONT)
        self._stopped.discard(process.pid)

    def churn(self):
        """Another number of workers, from 1 to 3."""
        self.start(self._random.choice([n for n in (1, 2, 3) if n != self._wanted]))

    def log(self):
        """What the workers logged."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("worker-*.log")))

    @contextlib.contextmanager
    def writing(self, n, rate=4000):
        """Write `n` numbered records beside what happens in the block, and wait for the end of both."""
        thread = threading.Thread(target=self._write, args=(n, rate))
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def _write(self, n, rate):
        producer = Producer(
            {"bootstrap.servers": self.broker.address, "enable.idempotence": True, "linger.ms": 5}
        )
        begin = time.monotonic()
        for i in range(n):
            seq = self.n_written + i
            key = str(seq)
            if seq % POISON == POISON - 1:
                value = self._random.choice(self._bad)
                self.bad[key] = value
            else:
                value = json.dumps({"seq": seq, "text": f"login failed {seq}"}).encode()
            producer.produce(self.inputs[seq % len(self.inputs)], value, key)
            if i % 100 == 0:
                producer.poll(0)
                time.sleep(max(0.0, begin + i / rate - time.monotonic()))
        assert producer.flush(120) == 0
        self.n_written += n

    def verdict(self, seconds=150):
        """Wait until everything came out, and longer than both time-outs; then end the workers and count."""
        quiet = SESSION_SECONDS + TRANSACTION_SECONDS + 1
        good = {seq for seq in range(self.n_written) if str(seq) not in self.bad}
        outputs = [self._messages(len(good), quiet, seconds)] if self.to_topic else []
        if self.parquet:
            self._wait_for_rows(len(good), quiet, seconds)
        self.start(0)
        if self.parquet:
            outputs.append(self._rows())
        dead = read_topic(self.broker.address, self.dead, quiet=quiet, least=len(self.bad), seconds=60)
        counts = [collections.Counter(found) for found in outputs]
        letters = collections.Counter(message.key().decode() for message in dead)
        wrong = sum(self.bad.get(message.key().decode(), b"") != message.value() for message in dead)
        return Verdict(
            records=sum(map(len, outputs)),
            lost=sum(len(good.symmetric_difference(found)) for found in counts),
            repeated=sum(n - 1 for found in counts for n in found.values()),
            dead_wrong=wrong + len(set(self.bad) - set(letters)),
            dead_repeated=sum(n - 1 for n in letters.values()),
            restarts=self.restarts,
            codes=tuple(sorted(set(self.codes))),
        )

    def _messages(self, least, quiet, seconds):
        messages = read_topic(self.broker.address, self.output, quiet=quiet, least=least, seconds=seconds)
        records = [json.loads(message.value()) for message in messages]
        self.versions = {record["model_version"] for record in records}
        return [record["seq"] for record in records]

    def _wait_for_rows(self, least, quiet, seconds):
        deadline = time.monotonic() + seconds
        while len(set(self._rows())) < least and time.monotonic() < deadline:
            time.sleep(1)
        time.sleep(quiet)

    def _rows(self):
        objects = open_objects(self.parquet)
        folders = [f"{name}/p{number}" for name in self.inputs for number in range(PARTITIONS)]
        for info in (info for folder in folders for info in objects.scan(folder)):
            if info.key not in self._read:  # a file never changes
                self._read[info.key] = pq.read_table(
                    pa.BufferReader(objects.read(info.key)), columns=["seq", "model_version"]
                )
        tables = self._read.values()
        self.versions = {label for table in tables for label in table["model_version"].unique().to_pylist()}
        return [seq for table in tables for seq in table["seq"].to_pylist()]
