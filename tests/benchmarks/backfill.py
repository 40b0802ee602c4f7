"""Backfill of real log lines, Parquet to Parquet, against a Beam pipeline that calls model2vec.

    python tests/benchmarks/backfill.py [--rows 2000000] [--peer-rows 100000] [--rounds 3] [--json FILE]

Every run is a fresh process pinned to one core; the systems take turns. The input is the log lines of
../shared/data/loghub, repeated. Records/s count from the start of the pipeline to its end, imports and the
planning left out for both sides; peak memory is the process's resident maximum.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
sys.path = [*(entry for entry in sys.path if Path(entry) != Path(__file__).parent), str(ROOT / "tests")]

from benchmarks.speed.materials import int8_model, log_lines

GOALS = {"list float32": 0.25e6, "binary float16": 0.5e6}  # records/s
RATIO_GOAL = 15  # times the peer
MEMORY_GOAL = 1.15  # 4 M rows over 1 M rows


def make_input(path, rows):
    """Log lines in row groups of 100,000."""
    lines = log_lines()
    column = pa.array(lines, pa.string())
    block = pa.concat_arrays([column] * (100_000 // len(lines) + 1))[:100_000]
    with pq.ParquetWriter(path, pa.schema([("message", pa.string())])) as writer:
        for first in range(0, rows, 100_000):
            writer.write_table(pa.table({"message": block[: min(100_000, rows - first)]}))
    return path


def ours(model, source, output, vectors, dtype):
    from pipelines.beam.backfill.job import claim_output
    from pipelines.beam.backfill.plan import plan_backfill
    from pipelines.beam.runner import run_backfill
    from pipelines.beam.runner_options import beam_options
    from pipelines.enrich.enrichment import Enrichment

    enrichment = Enrichment.parse("message", keep=[], vectors=vectors, dtype=dtype)
    job = plan_backfill(model=model, pattern=source, output=output, enrichment=enrichment)
    claim_output(job)
    begin = time.perf_counter()
    counts = run_backfill(job, beam_options([], 1), lambda _: None)
    return counts.rows, time.perf_counter() - begin


def peer(model, source, output, *_):
    """What a Beam user writes with model2vec: batches of strings, vectors as a list column."""
    import apache_beam as beam
    import numpy as np
    from apache_beam.io.parquetio import ReadFromParquetBatched, WriteToParquetBatched
    from model2vec import StaticModel

    static = StaticModel.from_pretrained(model)
    schema = pa.schema([("embedding", pa.list_(pa.float32(), static.dim))])

    def embed(table):
        vectors = static.encode(table["message"].to_pylist(), use_multiprocessing=False)  # one core
        embedded = np.ascontiguousarray(vectors, np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(embedded.reshape(-1)), static.dim)
        return pa.table([column], schema=schema)

    rows = pq.read_metadata(source).num_rows
    begin = time.perf_counter()
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        (
            pipeline
            | ReadFromParquetBatched(source)
            | beam.Map(embed)
            | WriteToParquetBatched(f"{output}/part", schema, file_name_suffix=".parquet")
        )
    return rows, time.perf_counter() - begin


def child(arguments):
    system, *rest = arguments
    rows, seconds = {"millstream": ours, "model2vec": peer}[system](*rest)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "rate": rows / seconds, "peak_mib": peak}))


def run(core, *arguments):
    with tempfile.TemporaryDirectory(dir=ROOT / "build/bench") as folder:
        model, source, *formats = arguments[1:]
        command = [sys.executable, __file__, "--child", arguments[0], model, source, f"{folder}/out"]
        done = subprocess.run(
            [*command, *formats],
            stdout=subprocess.PIPE,
            check=True,
            cwd=ROOT,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    return json.loads(done.stdout.splitlines()[-1])


def measure(options, folder):
    model = str(int8_model(folder / "minilm-int8"))
    source, small = (
        str(make_input(folder / f"{rows}.parquet", rows)) for rows in (options.rows, options.peer_rows)
    )
    systems = {name: ("millstream", model, source, *name.split()) for name in GOALS}
    systems["model2vec"] = ("model2vec", model, small, "list", "float32")
    runs = {name: [] for name in systems}
    for turn in range(options.rounds):
        for name, arguments in systems.items():
            runs[name].append(run(options.core, *arguments))
            print(f"round {turn + 1}: {name:15} {runs[name][-1]['rate']:10,.0f} records/s", flush=True)
    memory = {}
    for rows in (1_000_000, 4_000_000):
        source = str(make_input(folder / f"{rows}.parquet", rows))
        memory[rows] = run(options.core, "millstream", model, source, "list", "float32")["peak_mib"]
    return runs, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--peer-rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = ROOT / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    runs, memory = measure(options, folder)
    rates = {name: statistics.median(one["rate"] for one in several) for name, several in runs.items()}
    print(f"\n{'':16}{'records/s':>12}{'best':>12}{'x model2vec':>13}{'goal':>10}")
    for name, rate in rates.items():
        best = max(one["rate"] for one in runs[name])
        goal = f"{GOALS[name]:,.0f}" if name in GOALS else ""
        print(f"{name:16}{rate:12,.0f}{best:12,.0f}{rate / rates['model2vec']:13.1f}{goal:>10}")
    growth = memory[4_000_000] / memory[1_000_000]
    print("peak memory: " + ", ".join(f"{rows:,} rows {mib:,.0f} MiB" for rows, mib in memory.items()))
    reached = {
        **{name: rates[name] >= goal for name, goal in GOALS.items()},
        f"{RATIO_GOAL} times the peer": rates["list float32"] / rates["model2vec"] >= RATIO_GOAL,
        "memory does not grow": growth <= MEMORY_GOAL,
    }
    for goal, met in reached.items():
        print(f"{'reached' if met else 'MISSED':8} {goal}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"runs": runs, "peak_mib": memory, "reached": reached}, indent=2))
    sys.exit(0 if all(reached.values()) else 1)


if __name__ == "__main__":
    child(sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main()
