"""Where your data lives: the rate of each library on one core, beside the plain encoder.

    python tests/benchmarks/dataframes.py [--rows 200000] [--rounds 3] [--json FILE]

Each system is a process of its own, pinned to one core, and they take turns. A rate is records a second of
CPU time, of all processes that the system has (Spark's JVM), in a turn after two that do not
count. The texts are the log lines of ../shared/data/loghub, repeated, and are in the library's own memory
before the turn begins. Vectors are 256 float32, and stay there.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

import pyarrow as pa

ROOT = Path(__file__).parents[2]
sys.path = [*(entry for entry in sys.path if Path(entry) != Path(__file__).parent), str(ROOT / "tests")]

import downloads
from benchmarks.speed.materials import int8_model, log_lines

FOLDER = ROOT / "build/bench"
MARK = "MILLSTREAM_BENCHMARK"
TICKS = os.sysconf("SC_CLK_TCK")
BATCH = 8192


def encoder(model, table):
    from encoder import Encoder

    plain, batches = Encoder.load(model, threads=1), table.to_batches(BATCH)
    return lambda: [plain.encode(batch["message"]) for batch in batches]


def arrow(model, table):
    from pipelines import ArrowEmbedder

    embedder = ArrowEmbedder(model, "message")
    return lambda: embedder(table)


def polars(model, table, engine="in-memory"):
    import polars as pl

    from pipelines.dataframes.polars import embed

    frame, vectors = pl.from_arrow(table).lazy(), embed("message", model, threads=1)
    return lambda: frame.with_columns(vectors).collect(engine=engine)


def polars_streaming(model, table):
    return polars(model, table, "streaming")


def duckdb(model, table):
    import duckdb

    from pipelines.dataframes.duckdb import register

    connection = duckdb.connect(config={"threads": 1})
    register(connection, model)
    connection.register("given", table)
    connection.execute("CREATE TABLE events AS FROM given")
    return lambda: connection.execute("CREATE OR REPLACE TABLE v AS SELECT embed(message) FROM events")


def pandas(model, table):
    from pipelines.dataframes.pandas import embed

    frame = table.to_pandas()
    return lambda: embed(frame, model, "message", threads=1)


def spark(model, table):
    from pyspark.sql import SparkSession

    from pipelines.dataframes.spark import embed

    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", False)
    session = session.config("spark.driver.memory", "2g").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    frame = session.createDataFrame(table).coalesce(1).cache()
    frame.count()
    return lambda: embed(frame, model, "message").write.format("noop").mode("overwrite").save()


def daft(model, table):
    import daft

    from pipelines.dataframes.daft import embed

    frame = daft.from_arrow(table).collect()
    return lambda: frame.select("message", embed("message", model)).collect()


SYSTEMS = {
    "the encoder": (encoder, None),
    "ArrowEmbedder": (arrow, None),
    "Polars": (polars, None),
    "Polars streaming": (polars_streaming, None),
    "DuckDB": (duckdb, None),
    "pandas": (pandas, None),
    "Spark": (spark, downloads.spark),
    "Daft": (daft, downloads.daft),
}


def child(name, model, n_rows, core):
    """Run the system once for each line of the input, and answer with a line."""
    os.sched_setaffinity(0, {int(core)})
    table = pa.table({"message": pa.array(islice(cycle(log_lines()), int(n_rows)), pa.string())})
    run = SYSTEMS[name][0](model, table)
    print("ready", flush=True)
    for _ in sys.stdin:
        run()
        print("done", flush=True)


class System:
    """The process of a system."""

    def __init__(self, name, model, options):
        fetch = SYSTEMS[name][1]
        paths = [str(ROOT), *([str(fetch())] if fetch else [])]
        self._mark = f"{MARK}={os.getpid()}/{name}".encode()
        variables = {MARK: f"{os.getpid()}/{name}", "PYTHONPATH": os.pathsep.join(paths)}
        own = {
            "POLARS_MAX_THREADS": "1",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
        }
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--child", name, model, str(options.rows), str(options.core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not options.verbose else None,
            text=True,
            cwd=ROOT,
            env={**os.environ, **variables, **own},
        )
        self._answer("ready")

    def _answer(self, wanted):
        for line in self._process.stdout:
            if line.strip() == wanted:
                return
        sys.exit(f"{self.name} ended: --verbose says why")

    def cpu(self):
        """Seconds that its processes have computed."""
        total = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                if self._mark in (folder / "environ").read_bytes().split(b"\0"):
                    total += sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:15]))
        return total / TICKS

    def run(self):
        """CPU seconds of a turn."""
        begin = self.cpu()
        print(file=self._process.stdin, flush=True)
        self._answer("done")
        return self.cpu() - begin

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--verbose", action="store_true", help="what the systems say on standard error")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    model = str(int8_model(FOLDER / "minilm-int8"))
    names = [name for name in SYSTEMS if name in options.systems.split(",")]
    systems = [System(name, model, options) for name in names]
    rates = {name: [] for name in names}
    for turn in range(-1, options.rounds + 1):
        for system in systems:
            rate = options.rows / system.run()
            if turn > 0:
                rates[system.name].append(rate)
                print(f"round {turn}: {system.name:20}{rate:12,.0f} records/s of CPU time", flush=True)
    for system in systems:
        system.close()
    bare = statistics.median(rates[names[0]])
    print(f"\n{'':20}{'records/s':>12}{'of ' + names[0]:>18}")
    for name, several in rates.items():
        rate = statistics.median(several)
        print(f"{name:20}{rate:12,.0f}{rate / bare:18.2f}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"runs": rates}, indent=2))


if __name__ == "__main__":
    child(*sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main()
