"""Backfills on one core and on two, in three ways: the rates that `deploy/cost` reckons with.

    python tests/benchmarks/scale.py [--rows 4000000] [--rounds 3] [--ways threads processes flink]
        [--json deploy/cost/rates.json]

`threads` is `millstream backfill --workers N`; `processes` are Beam's worker processes, as on Dataflow;
`flink` is a standalone cluster with N slots, its JobManager and its job server beside. All that a run starts
is bound to as many cores. The input is the log lines of ../shared/data/loghub, repeated; the output is binary
int8. A rate is that at which the middle of the files appears, so starts and ends are left out. Ways and cores
take turns; shown are medians. Exits with 1 when two worker processes are less than 1.8 times one.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
# Programs here are named like packages.
sys.path = [*(entry for entry in sys.path if Path(entry) != Path(__file__).parent), str(ROOT / "tests")]

from benchmarks.speed.materials import int8_model, log_lines

FILE_ROWS = 16_384
INPUTS = 8
GOAL = 1.8  # two worker processes over one


def make_inputs(folder, n_rows):
    """Files of log lines."""
    lines = log_lines()
    block = pa.table({"message": pa.array(islice(cycle(lines), n_rows // INPUTS), pa.string())})
    folder.mkdir(parents=True)
    for k in range(INPUTS):
        pq.write_table(block, folder / f"{k}.parquet", compression="none", use_dictionary=False)
    return folder


def backfill(model, inputs, output, *options):
    """Run the command; records a second of the middle of the job, and bytes of a record in and out."""
    command = [sys.executable, "-m", "pipelines", "backfill", "--model", model, "--input", inputs]
    command += ["--output", output, "--text", "message", "--keep", "", "--vectors", "binary"]
    command += ["--dtype", "int8", "--rows-per-file", FILE_ROWS, *options]
    more = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **more}
    text = [*map(str, command)]
    done = subprocess.run(text, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        sys.exit(f"{options} failed:\n{done.stderr}")
    parts = sorted(output.glob("*.parquet"), key=lambda path: path.stat().st_mtime)
    first, last = len(parts) // 5, len(parts) * 9 // 10
    seconds = parts[last].stat().st_mtime - parts[first].stat().st_mtime
    n_rows = sum(pq.read_metadata(path).num_rows for path in parts)
    sizes = [sum(path.stat().st_size for path in files) / n_rows for files in (inputs.iterdir(), parts)]
    shutil.rmtree(output)
    return (last - first) * FILE_ROWS / seconds, sizes


def on_flink(cores, *arguments):
    """The same on a cluster of its own with a slot for each core."""
    from engines.flink import flink

    os.environ["JAVA_TOOL_OPTIONS"] = "-XX:ActiveProcessorCount=2"  # or Flink and gRPC stand still on one
    with flink() as cluster:
        options = [f"--parallelism={cores}" if "--parallelism" in one else one for one in cluster.options]
        return backfill(*arguments, "--", *options)


def run(way, cores, *arguments):
    """One run on the first cores of this machine."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(mine)[-cores:])  # what it starts inherits it
    try:
        if way == "flink":
            return on_flink(cores, *arguments)
        if way == "threads":
            return backfill(*arguments, "--workers", cores)
        beam = ("--direct_running_mode=multi_processing", f"--direct_num_workers={cores}")
        return backfill(*arguments, "--", "--runner=FnApiRunner", *beam)
    finally:
        os.sched_setaffinity(0, mine)


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    family = f" (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else ""
    return f"{facts.get('model name', platform.machine())}{family}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", default=["threads", "processes", "flink"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("this benchmark needs two cores")
    (ROOT / "build/bench").mkdir(parents=True, exist_ok=True)
    model = int8_model(ROOT / "build/bench/minilm-int8")
    rates = {way: {1: [], 2: []} for way in options.ways}
    with tempfile.TemporaryDirectory(dir=ROOT / "build/bench") as scratch:
        inputs = make_inputs(Path(scratch, "in"), options.rows)
        for turn in range(options.rounds):
            for way in options.ways:
                for cores, found in rates[way].items():
                    rate, sizes = run(way, cores, model, inputs, Path(scratch, "out"))
                    found.append(rate)
                    print(f"round {turn + 1}: {way}, {cores} core(s): {rate:,.0f} records/s", flush=True)
    medians = {way: {n: statistics.median(found) for n, found in of.items()} for way, of in rates.items()}
    for way, of in medians.items():
        print(f"{way:10} {of[1]:10,.0f} {of[2]:10,.0f} records/s, {of[2] / of[1]:.2f} times")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        found = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "method": f"median of {options.rounds} rounds, {options.rows:,} log lines",
            "bytes_in": round(sizes[0], 1),
            "bytes_out": round(sizes[1], 1),
            "records_per_second": medians,
        }
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    ratio = medians["processes"][2] / medians["processes"][1] if "processes" in medians else GOAL
    print(f"{'reached' if ratio >= GOAL else 'MISSED'}: two worker processes are {ratio:.2f} times one")
    sys.exit(0 if ratio >= GOAL else 1)


if __name__ == "__main__":
    main()
