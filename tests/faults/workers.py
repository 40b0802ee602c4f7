"""Workers under faults: numbered records go in, processes are killed, and what came out is counted.

    with Rig(broker, model, folder, output="topic", delivery="exactly-once") as rig:
        rig.start(2)
        with rig.writing():
            rig.wait_for_progress()
            rig.kill()
        print(rig.verdict())

A supervisor starts again what ends by itself or is killed, as Kubernetes does.
"""

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from faults.arrow_records import BAD_ROW, DAMAGED, letter_of, message_of, records_of
from faults.inputs import commit, committed, create_again, remove_records
from faults.verifier import verify
from lakes import CONFLICTS
from logs import tails
from patience import PATIENCE, wait_for
from topics import TopicReader, lower_limit, unique

from encoder.store.objects import open_objects

__all__ = ["SESSION_SECONDS", "STRANGE", "TRANSACTION_SECONDS", "Rig"]

SESSION_SECONDS, TRANSACTION_SECONDS = 3.0, 5.0
PARTITIONS, OUTPUT_PARTITIONS = 6, 3
POISON = 100  # every so many records one is poison
_BAD = (b"{", b'{"seq":\xff}', b"[]", b'{"text":null}', None)
_MOST_BYTES = 20_000  # of a message in the output topic
_MEDIUM_BYTES = 10_000
_MEDIUM = b'{"seq":-1,"text":"%s"}' % (b"medium " * 2000)  # too large once the limit is lowered
STRANGE = (
    b'{"seq":-1,"text":%s%s}' % (b"[" * 5000, b"]" * 5000),
    b'{"seq":-1,"text":"\\ud800"}',
    b'{"seq":-1,"text":"x","text":"y"}',
    b'{"seq":-1,"text":"\x00\xff"}',
    b"",
)
"""Values that no record can be made of, and that make decoders raise."""

_LARGE = b'{"seq":-1,"text":"%s"}' % (b"large " * 5000)
_BEGIN = round(1000 * time.time()) - 3_600_000
_CLASSIC = ("session.timeout.ms", "heartbeat.interval.ms")  # with the new protocol the broker says


class Rig:
    """Topics, workers and a supervisor.

    Args:
        broker: a KafkaBroker.
        model: the REF of the model.
        folder: for logs and Parquet files.
        output: `topic`, `parquet`, `both`, the URI of Parquet files, or the format of a table; `topic+delta`
            and `topic+iceberg` are a topic and a table at once.
        lake: where the table is.
        delivery: as the worker's flag.
        named: whether workers have names that outlive restarts (`--instance`).
        protocol: `classic` or `consumer`.
        topics: how many are read, by a regular expression where there are several.
        session: seconds after which a silent worker has left.
        poll: seconds that a worker may work on a batch.
        address: of the brokers for the workers, if not the broker's.
        options: more of the worker's flags.
        environment: of the workers.
        bad: the values that become dead letters, one in a hundred records.
        deletes: whether every tenth record is a delete: a key without a value.
        rows: how many records an Arrow message holds, in and out; 0 for messages of JSON.

    Attributes:
        restarts: how often the supervisor has started a worker again.
        codes: how the workers ended.
    """

    def __init__(
        self, broker, model, folder, *, output="topic", delivery="exactly-once", named=False,
        protocol="classic", topics=1, session=SESSION_SECONDS, poll=10.0, address=None, options=(),
        environment=None, bad=None, deletes=False, lake=None, rows=0,
    ):  # fmt: skip
        self.broker = broker
        self.folder = folder
        self.exact = delivery == "exactly-once"
        stem = unique("in")
        self.inputs = [f"{stem}-{number}" for number in range(topics)]
        self.output, self.dead = unique("out"), unique("dead")
        for name in self.inputs:
            broker.create_topic(name, PARTITIONS // topics)
        broker.create_topic(self.output, OUTPUT_PARTITIONS, max_message_bytes=str(_MOST_BYTES))
        broker.create_topic(self.dead, 1)
        own = {"topic": None, "parquet": str(folder / "out"), "both": str(folder / "out")}
        self._lake, self._form = lake, output.removeprefix("topic+")
        self.parquet = None if lake else own.get(output, output)
        self.to_topic = output in ("topic", "both") or output.startswith("topic+")
        # Parquet takes what is large.
        self._bad = bad or ((*_BAD, _LARGE) if output == "topic" else _BAD)
        self._deletes = deletes
        self._rows_each = rows
        if deletes:  # a null value is none that is bad
            self._bad = tuple(one for one in self._bad if one is not None)
        self._group = unique("group")
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
        targets += [lake.target(self._form)] if lake else []
        self._command = [
            *(sys.executable, "-m", "pipelines", "worker", "--brokers", address or broker.address),
            *("--group", self._group, "--input", self.inputs[0] if topics == 1 else f"^{stem}-"),
            *("--model", str(model), *(part for target in targets for part in ("--output", target))),
            *("--dead-letters", f"topic:{self.dead}", "--delivery", delivery, "--text", "{seq} {text}"),
            *("--tombstones", "pass" if deletes else "dead-letter"),
            *(["--delete-columns"] if deletes and (self.parquet or lake) else []),
            *("--fields", "seq:int64,text:string", "--rows-per-file", "2000", "--seconds-per-file", "2"),
            *(part for key, value in properties.items() for part in ("--property", f"{key}={value}")),
            *("--stuck-seconds", "15", "--vectors", "binary", "--dtype", "float16"),
            *(("--input-format", "arrow", "--output-format", "arrow") if rows else ()),
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
        self._unread = set()  # retention removed them
        self._hold, self._held = threading.Event(), threading.Event()
        self._in_a_row = 0  # so many records come next that are bad
        self.versions = set()
        self._objects = None
        self._read = {}
        self._decoded = []
        self._readers = {}
        self._offsets = Consumer({"bootstrap.servers": broker.address, "group.id": unique("offsets")})
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
        self._offsets.close()
        for reader in self._readers.values():
            reader.__exit__()

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

        def count():
            logs = [path.read_text(errors="replace") for path in self._logs()]
            return sum(text in log if files else log.count(text) for log in logs)

        wait_for(count, f"{times} lines with {text!r} in the workers' logs", lambda n: n >= times)

    def wait_for_progress(self):
        """Wait until workers write more than they have written so far."""
        before = self._progress()
        wait_for(self._progress, f"more output than {before}", lambda n: n > before)

    def _progress(self):
        """A number that grows with what was written: of offsets, of files, or of commits."""
        if self._lake:
            return self._lake.n_commits(self._form)
        if not self.to_topic:
            return sum(1 for _ in self._files())
        return wait_for(self._end_of_output, "the end of the output", lambda n: n is not None)

    def _end_of_output(self):
        """The sum of the offsets at which the partitions end; None while their leaders change."""
        ends = [TopicPartition(self.output, p) for p in range(OUTPUT_PARTITIONS)]
        try:
            return sum(self._offsets.get_watermark_offsets(end, timeout=PATIENCE)[1] for end in ends)
        except KafkaException:
            return None

    def _logs(self):
        return sorted(self.folder.glob("worker-*.log"))

    def last_words(self):
        """The ends of the workers' logs and of the broker's, for a test that has failed."""
        return f"{tails(self._logs())}\n{self.broker.last_words()}"

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
        self.codes.append(process.wait(PATIENCE))

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
        return "".join(path.read_text(errors="replace") for path in self._logs())

    @contextlib.contextmanager
    def writing(self, rate=4000):
        """Write numbered records, so many a second, until the block ends."""
        over = threading.Event()
        thread = threading.Thread(target=self._write, args=(over, rate))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _write(self, over, rate):
        producer = Producer(
            {"bootstrap.servers": self.broker.address, "enable.idempotence": True, "linger.ms": 5}
        )
        begin, first = time.monotonic(), self.n_written
        if self._rows_each:
            self._write_rows(producer, over, rate)
            return
        for seq in itertools.count(first):
            key = str(seq)
            if self._in_a_row or seq % POISON == POISON - 1:
                self._in_a_row = max(0, self._in_a_row - 1)
                value = self._random.choice(self._bad)
                self.bad[key] = value
            elif self._is_delete(seq):
                value = None
            else:
                value = json.dumps({"seq": seq, "text": text_of(seq)}).encode()
            producer.produce(self.inputs[seq % len(self.inputs)], value, key, timestamp=time_of(seq))
            self.n_written = seq + 1
            if seq % 100 == 0:
                producer.poll(0)
                if self._hold.is_set() and not over.is_set():
                    assert producer.flush(PATIENCE) == 0
                    self._held.set()
                    wait_for(lambda: over.is_set() or not self._hold.is_set(), "the pause to end", bool)
                    self._held.clear()
                    begin, first = time.monotonic(), seq
                if over.wait(max(0.0, begin + (seq - first) / rate - time.monotonic())):
                    break
        assert producer.flush(PATIENCE) == 0

    def _write_rows(self, producer, over, rate):
        """Write Arrow messages; a row in a hundred is bad, and a message among twenty is damaged."""
        n, begin, start = self._rows_each, time.monotonic(), self.n_written
        for first in itertools.count(start, n):
            rows = []
            for seq in range(first, first + n):
                is_bad = seq % POISON == POISON - 1
                rows.append((seq, BAD_ROW if is_bad else text_of(seq).encode()))
                if is_bad:
                    self.bad[str(seq)] = BAD_ROW
            topic = self.inputs[first // n % len(self.inputs)]
            producer.produce(topic, message_of(rows), str(first))
            if first // n % 20 == 0:
                self.bad[f"damaged {first}"] = DAMAGED
                producer.produce(topic, DAMAGED, f"damaged {first}")
            self.n_written = first + n
            producer.poll(0)
            if over.wait(max(0.0, begin + (first - start) / rate - time.monotonic())):
                break
        assert producer.flush(PATIENCE) == 0

    @contextlib.contextmanager
    def paused(self):
        """Write nothing until the block ends; all that was written before is in the topics."""
        self._hold.set()
        wait_for(self._held.is_set, "writing to pause", bool)
        try:
            yield
        finally:
            self._hold.clear()

    def topics_made_again(self):
        """Delete the input topics and create them again when all that they held came out."""
        with self.paused():
            self._wait_for_all()
            refusals = self.log().count("is not the one that")
            for name in self.inputs:
                create_again(self.broker, name, PARTITIONS // len(self.inputs))
            self.wait_for("is not the one that", refusals + 1)
            self._command.append("--accept-new-input")
            self.wait_for_start()
            self._command.remove("--accept-new-input")

    def wait_for_start(self):
        """Wait until a worker that starts from now on has had its first partitions."""
        self.wait_for('"message":"assigned', self.log().count('"message":"assigned') + 1)

    def logs_cut(self):
        """Cut the logs below what the group has read, when all that they held came out."""
        with self.paused():
            wanted = self._end_when_done()
            self._remove()
            moved = committed(self.broker, self._group)
            for part in moved:
                part.offset += 500
            commit(self.broker, self._group, moved)
            self.start(wanted)
            self.wait_for_start()

    def retention_overtakes(self):
        """Remove records that nobody has read."""
        with self.paused():
            wanted, first = self._end_when_done(), self.n_written
        wait_for(lambda: self.n_written, "unread records", lambda n: n >= first + 200)
        with self.paused():
            self._unread.update(range(first, self.n_written))
            self._remove()
            self.start(wanted)
            self.wait_for_start()

    def bad_in_a_row(self, least=6000, n_bad=100):
        """Kill all workers when they have counted some records; the next ones are bad.

        They are few among those that were counted, and many for a worker that has counted none.
        """
        first = self.n_written
        wait_for(lambda: self.n_written, "records to count", lambda n: n >= first + least)
        with self.paused():
            self._wait_for_all()
            with self._lock:
                for process in self._workers.values():
                    process.kill()
            self._in_a_row = n_bad
        wait_for(lambda: self._in_a_row, "bad records in a row", lambda left: not left)

    def limit_lowered(self):
        """Let the output topic take half of what it took when the workers began; larger records come then."""
        lower_limit(self.broker, self.output, _MEDIUM_BYTES)
        if _MEDIUM not in self._bad:
            self._bad = (*self._bad, _MEDIUM)

    def rewritten_beside(self):
        """Let somebody else rewrite the files of the table, again and again, until workers have met that."""
        said, times = "somebody else has committed", self.log().count("somebody else has committed")

        def meet():
            with contextlib.suppress(*CONFLICTS):  # the workers were faster
                self._lake.compact(self._form)
            return self.log().count(said)

        wait_for(meet, "a commit of a worker that met another", lambda n: n > times or self._form == "delta")

    def _table_rows(self):
        """The keys and values of the records in the table."""
        return list(map(_key_and_value, self._lake.rows(self._form).to_pylist()))

    def _end_when_done(self):
        """End the workers when all that was written came out; how many there were."""
        self._wait_for_all()
        wanted = self._wanted
        self.start(0)
        return wanted

    def _remove(self):
        for name in self.inputs:
            remove_records(self.broker, name, PARTITIONS // len(self.inputs))

    def _expected(self):
        """The good records' values and the bad ones' bytes, by key; what was never read is in neither."""
        read = [seq for seq in range(self.n_written) if seq not in self._unread]
        good = {
            str(seq): None if self._is_delete(seq) else (seq, text_of(seq))
            for seq in read
            if str(seq) not in self.bad
        }
        bad = {str(seq): self.bad[str(seq)] for seq in read if str(seq) in self.bad}
        return good, bad | {key: value for key, value in self.bad.items() if not key.isdecimal()}

    def _is_delete(self, seq):
        return self._deletes and seq % 10 == 5

    def _reader(self, topic):
        if topic not in self._readers:
            self._readers[topic] = TopicReader(self.broker.address, topic).__enter__()
        return self._readers[topic]

    def _verify(self):
        """Hold what came out so far against the rule."""
        outputs = [self._rows()] if self.parquet else []
        outputs += [self._table_rows()] if self._lake else []
        outputs += [self._records()] if self.to_topic else []
        dead = self._reader(self.dead).read()
        letters = [letter_of(one) if self._rows_each else timely(one, one.value()) for one in dead]
        return verify(*self._expected(), outputs, letters)

    def _wait_for_all(self):
        """Wait until all that was written came out."""
        wait_for(self._verify, "all records", lambda found: not (found.lost or found.dead_wrong), pause=0.2)

    def verdict(self):
        """Wait until all that was written came out, end the workers, and verify what there is then.

        Nothing comes after that: no worker runs, and the transactions of those that were killed are over.
        """
        with contextlib.suppress(AssertionError):  # what is lost is counted
            self._wait_for_all()
        self.start(0)
        for topic in (self.output, self.dead):
            wait_for(self._reader(topic).is_settled, "the end of all transactions")
        return self._verify()

    def _records(self):
        """The keys and values of the records in the output topic."""
        messages = self._reader(self.output).read()
        if self._rows_each:
            found = [records_of(message) for message in messages]
            self.versions.update(*(versions for _, versions in found))
            return [record for records, _ in found for record in records]
        for message in messages[len(self._decoded) :]:
            record = None if message.value() is None else json.loads(message.value())
            self.versions.update([record["model_version"]] if record else [])
            self._decoded.append(timely(message, record and (record["seq"], record["text"])))
        return self._decoded

    def _files(self):
        """The Parquet files that there are."""
        self._objects = self._objects or open_objects(self.parquet)
        folders = [f"{name}/p{number}" for name in self.inputs for number in range(PARTITIONS)]
        folders += [name for name in self._objects.folders() if "=" in name]  # of --partition-by
        return (info for folder in folders for info in self._objects.scan(folder))

    def _rows(self):
        """The keys and values of the records in the Parquet files."""
        for info in self._files():
            if info.key not in self._read:  # a file never changes
                content = pa.BufferReader(self._objects.read(info.key))
                table = pq.read_table(content)
                self._read[info.key] = list(map(_key_and_value, table.to_pylist()))
                self.versions.update({*table["model_version"].unique().to_pylist()} - {None})
        return [row for found in self._read.values() for row in found]


def text_of(seq):
    """The text of a good record."""
    return f"login failed {seq}"


def time_of(seq):
    """The timestamp of a message, in milliseconds."""
    return _BEGIN + seq


def timely(message, value):
    """The key of a message, and a value; another one if the message has not the time of its record."""
    key = message.key().decode()
    return key, value if message.timestamp()[1] == time_of(int(key)) else "another time"


def _key_and_value(row):
    if row.get("deleted"):
        return row["message_key"].decode(), None
    return str(row["seq"]), (row["seq"], row["text"])
