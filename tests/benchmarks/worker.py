"""The Kafka worker on one core, a real broker on the other: records a second, and latency.

    python tests/benchmarks/worker.py [--records 1000000] [--rounds 3] [--json FILE]
        [--peer PYTHON] [--before CHECKOUT]

The events are 181 bytes of JSON, or the same as Avro, Protobuf, and Arrow messages of 1,000, in four
partitions. Each run is a fresh process pinned to one core; the broker, the writer, the reader and the schema
registry have the other one.
Records/s count from the first batch to the last commit, start left out. Latency is from an event's making to
its arrival at a reader that sees committed records alone, at 50,000 events a second. With --peer, the python
of an environment that has quixstreams 3, the same encoder runs in quixstreams, message by message, JSON to
JSON, beside ours from JSON to JSON. With --before, the worker of another checkout runs by turns with ours.
CPU time is that of the whole process per record; on a shared machine it is steadier than records/s.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path = [*(entry for entry in sys.path if Path(entry) != Path(__file__).parent), str(ROOT / "tests")]

from benchmarks.speed.materials import int8_model

GOALS = {
    "msgpack float16": 150_000,
    "parquet float16": 200_000,
    "arrow to arrow float16": 500_000,
}  # records/s
PEER_GOAL = 3  # times quixstreams
TABLE_GOAL = 0.85  # of Parquet, with a commit every ten seconds
LATENCY_GOAL, LATENCY_RATE, LATENCY_SECONDS = 0.250, 50_000, 10
PARTITIONS = 4
TEMPLATE = "{merchant}: {reason}"
MSGPACK = {"format": "msgpack", "layout": "binary", "dtype": "float16"}
SYSTEMS = {
    "msgpack float16": MSGPACK,
    "parquet float16": {"format": "parquet", "layout": "binary", "dtype": "float16"},
    "parquet, 10 s": {"format": "parquet", "layout": "binary", "dtype": "float16", "commit": 10.0},
    "iceberg, 10 s": {"format": "iceberg", "layout": "binary", "dtype": "float16", "commit": 10.0},
    "delta, 10 s": {"format": "delta", "layout": "binary", "dtype": "float16", "commit": 10.0},
    "msgpack float32": {"format": "msgpack", "layout": "binary", "dtype": "float32"},
    "json float16": {"format": "json", "layout": "binary", "dtype": "float16"},
    "arrow float16": {"format": "arrow", "layout": "binary", "dtype": "float16"},
    "arrow to arrow float16": {"from": "arrow", "format": "arrow", "layout": "binary", "dtype": "float16"},
    "json to avro float16": {"format": "avro", "layout": "binary", "dtype": "float16"},
    "avro to avro float16": {"from": "avro", "format": "avro", "layout": "binary", "dtype": "float16"},
    "avro to avro arrays": {"from": "avro", "format": "avro", "layout": "list", "dtype": "float32"},
    "avro to msgpack float16": {"from": "avro", **MSGPACK},
    "protobuf to msgpack float16": {"from": "protobuf", **MSGPACK},
}
AVRO = {
    "type": "record",
    "name": "Payment",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "at", "type": "long"},
        {"name": "card", "type": "string"},
        {"name": "merchant", "type": "string"},
        {"name": "amount", "type": "double"},
        {"name": "reason", "type": "string"},
    ],
}
PROTOBUF = """syntax = "proto3";
message Payment {
  int64 id = 1; int64 at = 2; string card = 3; string merchant = 4; double amount = 5; string reason = 6;
}"""


def event(i, at=0):
    """A card payment of 181 bytes."""
    merchant = (b"Nordic Fuel", b"Green Basket", b"SkyWays", b"Kiosk 24")[i % 4]
    text = (
        b'{"id":%d,"at":%d,"card":"%04d","merchant":"%s","amount":%d.5,"reason":"payment refused by the '
        % (*(i, at, i % 9973, merchant, 1 + i % 1300),)
    )
    return (text + b'issuer, balance too low, attempt %d"' % (i % 97)).ljust(180) + b"}"


def as_avro(registry):
    """What makes an event Avro."""
    import io

    import fastavro

    from pipelines.formats.schema_registry import header

    head, schema = header(registry.add("payments-avro", AVRO)), fastavro.parse_schema(AVRO)

    def made(i):
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, schema, json.loads(event(i)))
        return head + stream.getvalue()

    return made


def as_protobuf(registry):
    """What makes an event Protobuf."""
    from google.protobuf.message_factory import GetMessageClass

    from pipelines.formats.protobuf.schema import message_type, schema_file
    from pipelines.formats.schema_registry import Schema, header

    head = header(registry.add("payments-protobuf", PROTOBUF, "PROTOBUF")) + b"\0"
    kind = GetMessageClass(message_type(*schema_file(Schema("PROTOBUF", PROTOBUF)), (0,)))
    return lambda i: head + kind(**json.loads(event(i))).SerializeToString()


ARROW_ROWS = 1000  # about what a worker writes into one message


def as_arrow(_registry):
    """What makes events an Arrow message."""
    import pyarrow as pa

    def made(message):
        first = message * ARROW_ROWS
        rows = [json.loads(event(i)) for i in range(first, first + ARROW_ROWS)]
        batch, sink = pa.RecordBatch.from_pylist(rows), pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return sink.getvalue().to_pybytes()

    return made


def fill(address, topic, records, make=event):
    from confluent_kafka import Producer

    producer = Producer(
        {"bootstrap.servers": address, "linger.ms": 20, "queue.buffering.max.messages": 2_000_000}
    )
    for first in range(0, records, 10_000):
        batch = [{"value": make(i)} for i in range(first, min(records, first + 10_000))]
        assert producer.produce_batch(topic, batch) == len(batch)
    assert producer.flush(120) == 0


def stored(form, folder):
    """The output of a worker that is no topic."""
    if form == "iceberg":
        from pyiceberg.catalog import load_catalog

        load_catalog("bench").create_namespace("bench")
        return "iceberg:bench/bench.events"
    return f"{form}:{folder}"


def ours(options):
    """Run a worker in this process until it has committed everything; records/s."""
    from pipelines.worker.build import collect_rarely, start
    from pipelines.worker.configuration.plan import Plan
    from pipelines.worker.configuration.settings import WorkerSettings

    to_topic = options["format"] not in ("parquet", "iceberg", "delta")
    output = f"topic:{options['output']}" if to_topic else stored(options["format"], options["folder"])
    settings = WorkerSettings(
        brokers=options["address"],
        group=options["group"],
        inputs=[options["input"]],
        text=TEMPLATE,
        model=options["model"],
        outputs=[output],
        dead_letters=f"topic:{options['dead']}",
        format=options["format"] if to_topic else "json",
        vectors=options["layout"],
        dtype=options["dtype"],
        seconds_per_file=options.get("commit", 2.0),
        input_format=options.get("from", "json"),
        schema_registry=options["registry"],
    )
    stopping = threading.Event()
    with start(Plan.parse(settings), stopping) as started:
        collect_rarely()
        count = started.metrics.registry.get_sample_value
        marks = []

        def watch():
            while not stopping.wait(0.02):
                done = count("millstream_records_total")
                if done:
                    marks.append((time.perf_counter(), time.process_time(), done))
                if done >= options["records"] and "seconds" not in options:
                    stopping.set()

        threading.Thread(target=watch, daemon=True).start()
        if "seconds" in options:
            print("ready", flush=True)
            threading.Timer(options["seconds"], stopping.set).start()
        started.worker.run()
        end, cpu_end = time.perf_counter(), time.process_time()
    (begin, cpu_begin, before), (_, _, after) = marks[0], marks[-1]
    records = after - before
    print(json.dumps({"rate": records / (end - begin), "cpu": (cpu_end - cpu_begin) / records}))


def theirs(options):
    """What a user of quixstreams writes: a function for each message; the same encoder and output."""
    import base64

    from quixstreams import Application

    from encoder import Encoder

    encoder = Encoder.load(options["model"], threads=1)
    encoder.encode(["warm"])
    app = Application(
        broker_address=options["address"],
        consumer_group=options["group"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        loglevel=None,
    )
    marks, cpu = [], []

    def embed(record):
        vector = encoder.encode(f"{record['merchant']}: {record['reason']}", dtype="float16")
        record["embedding"] = base64.b64encode(vector).decode()  # a list takes it longer
        record["model_version"] = "minilm@1"
        marks.append(time.perf_counter())
        cpu.append(time.process_time())
        if len(marks) == options["records"]:
            app.stop()
        return record

    frame = app.dataframe(app.topic(options["input"])).apply(embed)
    frame.to_topic(app.topic(options["output"]))
    app.run()
    spent, cpu_spent = time.perf_counter() - marks[0], time.process_time() - cpu[0]
    print(json.dumps({"rate": len(marks) / spent, "cpu": cpu_spent / len(marks)}))


def child(options):
    os.sched_setaffinity(0, {options["core"]})
    (theirs if options["system"] == "quixstreams" else ours)(options)


def latencies(address, topic, stop, found):
    """Read committed records; seconds from each event's making."""
    import msgspec
    from confluent_kafka import Consumer

    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": f"latency-{time.time_ns()}",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 5,
        }
    )
    consumer.subscribe([topic])
    at = msgspec.msgpack.Decoder(msgspec.defstruct("At", [("at", int)]))
    while not stop.is_set():
        messages = consumer.consume(1000, 0.05)
        now = time.time_ns()
        found += [(now - at.decode(message.value()).at) / 1e9 for message in messages[::10]]
    consumer.close()


def write_steadily(address, topic, seconds):
    from confluent_kafka import Producer

    producer = Producer(
        {"bootstrap.servers": address, "linger.ms": 1, "queue.buffering.max.messages": 200_000}
    )
    begin, sent, step = time.perf_counter(), 0, LATENCY_RATE // 200
    while (spent := time.perf_counter() - begin) < seconds:
        if sent < LATENCY_RATE * spent:
            now = time.time_ns()
            producer.produce_batch(topic, [{"value": event(sent + i, now)} for i in range(step)])
            sent += step
        else:
            time.sleep(0.001)
    producer.flush(10)


class Bench:
    """A broker with the events, and runs of workers on it."""

    def __init__(self, broker, options, folder, registry):
        self.broker, self.options, self.folder, self.registry = broker, options, folder, registry
        self.n_runs = 0
        self.model = int8_model(ROOT / "build/bench/minilm-int8")
        makers = {"json": lambda _: event, "avro": as_avro, "protobuf": as_protobuf, "arrow": as_arrow}
        self.inputs = {}
        for kind in {SYSTEMS[name].get("from", "json") for name in options.systems} | {"json"}:
            self.inputs[kind] = broker.create_topic(f"events-{kind}", PARTITIONS)
            messages = options.records // (ARROW_ROWS if kind == "arrow" else 1)
            fill(broker.address, self.inputs[kind], messages, makers[kind](registry))

    def launch(self, system, python=sys.executable, checkout=ROOT, **more):
        self.n_runs += 1
        names = {name: f"{name}-{self.n_runs}" for name in ("output", "dead", "group")}
        for name in ("output", "dead"):
            self.broker.create_topic(names[name], PARTITIONS)
        arguments = {
            "address": self.broker.address,
            "input": self.inputs[SYSTEMS.get(system, {}).get("from", "json")],
            "registry": self.registry.url,
            "model": str(self.model),
            "folder": f"{self.folder}/{self.n_runs}",
            "records": self.options.records,
            "core": self.options.core,
            "system": system,
            **names,
            **SYSTEMS.get(system, {}),
            **more,
        }
        return arguments, subprocess.Popen(
            [python, __file__, "--child", json.dumps(arguments)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout), **self.catalog(arguments["folder"])},
        )

    def catalog(self, folder):
        """What tells PyIceberg of a catalog in a folder."""
        Path(folder).mkdir()
        own = {"TYPE": "sql", "URI": f"sqlite:///{folder}/catalog.db", "WAREHOUSE": f"file://{folder}/tables"}
        return {f"PYICEBERG_CATALOG__BENCH__{name}": value for name, value in own.items()}

    def rate(self, system, **more):
        arguments, process = self.launch(system, **more)
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0, system
        admin = self.broker.admin()
        gone = admin.delete_topics([arguments["output"], arguments["dead"]])  # disk
        [future.result(30) for future in gone.values()]
        return json.loads(out.splitlines()[-1])

    def latency(self):
        topic = self.broker.create_topic("steady", PARTITIONS)
        fill(self.broker.address, topic, 1000)
        arguments, process = self.launch(
            "msgpack float16", input=topic, seconds=LATENCY_SECONDS + 5, records=1 << 60
        )
        assert process.stdout.readline() == "ready\n"
        stop, found = threading.Event(), []
        reader = threading.Thread(
            target=latencies, args=(self.broker.address, arguments["output"], stop, found)
        )
        time.sleep(3)
        reader.start()
        write_steadily(self.broker.address, topic, LATENCY_SECONDS)
        process.communicate(timeout=60)
        stop.set()
        reader.join()
        steady = sorted(found[len(found) // 5 :])
        return {f"p{q}": steady[int(len(steady) * q / 100)] for q in (50, 90, 99)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS))
    parser.add_argument("--no-latency", action="store_true")
    parser.add_argument("--folder", default=ROOT / "build/bench", help="of the Parquet files")
    parser.add_argument("--peer", help="python with quixstreams 3")
    parser.add_argument("--before", type=Path, help="another checkout, whose worker runs too")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.sched_setaffinity(0, {0 if options.core else 1})  # the broker's too
    sys.path.insert(0, str(ROOT / "tests"))
    from brokers import kafka
    from registry import schema_registry

    (ROOT / "build/bench").mkdir(parents=True, exist_ok=True)
    runs = {}
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
        kafka(options=["-XX:TieredStopAtLevel=4"]) as cluster,
        schema_registry() as registry,
    ):
        bench = Bench(cluster.broker, options, folder, registry)
        for turn in range(options.rounds):
            for name, run in kinds(options, bench).items():
                runs.setdefault(name, []).append(found := run())
                print(f"round {turn + 1}: {name:36} {found['rate']:10,.0f} records/s", flush=True)
        latency = None if options.no_latency else bench.latency()
    report(options, runs, latency)


def kinds(options, bench):
    """What each round runs, by name."""
    found = {}
    for name in options.systems:
        if options.before:
            found[f"{name}, before"] = partial(bench.rate, name, checkout=options.before.resolve())
        found[name] = partial(bench.rate, name)
    if options.peer:
        few = options.records // 20
        found["quixstreams"] = partial(bench.rate, "quixstreams", python=options.peer, records=few)
    return found


def report(options, runs, latency):
    rates = {name: [run["rate"] for run in several] for name, several in runs.items()}
    cpu = {name: [run["cpu"] for run in several] for name, several in runs.items()}
    medians = {name: statistics.median(several) for name, several in rates.items()}
    print(f"\n{'':36}{'records/s':>12}{'best':>12}{'goal':>10}{'CPU µs':>9}")
    for name, rate in medians.items():
        goal, spent = GOALS.get(name, 0), 1e6 * statistics.median(cpu[name])
        print(f"{name:36}{rate:12,.0f}{max(rates[name]):12,.0f}{goal or '':>10}{spent:9.2f}")
    reached = {name: medians[name] >= goal for name, goal in GOALS.items() if name in medians}
    for name in ("iceberg, 10 s", "delta, 10 s"):
        if name in medians and "parquet, 10 s" in medians:
            reached[f"{name}: {TABLE_GOAL:.0%} of Parquet"] = (
                medians[name] >= TABLE_GOAL * medians["parquet, 10 s"]
            )
    if "quixstreams" in medians and "json float16" in medians:
        reached[f"{PEER_GOAL} times quixstreams"] = (
            medians["json float16"] >= PEER_GOAL * medians["quixstreams"]
        )
    if latency:
        print("latency: " + ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in latency.items()))
        reached["p99 under 250 ms at 50,000 records/s"] = latency["p99"] < LATENCY_GOAL
    for goal, met in reached.items():
        print(f"{'reached' if met else 'MISSED':8} {goal}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(
            json.dumps({"rates": rates, "cpu": cpu, "latency": latency, "reached": reached}, indent=2)
        )
    sys.exit(0 if all(reached.values()) else 1)


if __name__ == "__main__":
    child(json.loads(sys.argv[2])) if sys.argv[1:2] == ["--child"] else main()
