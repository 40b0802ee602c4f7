"""What a commit to a table costs beside Parquet files: processor time a record, old and new interleaved.

    python tests/benchmarks/tables.py [--records 400000] [--rounds 5] [--json FILE]

Payments of 181 bytes with vectors of 256 float16 as bytes, in four partitions, go through the worker's sinks
in batches of 500 and are committed once: Parquet files, an Iceberg table in a catalog of SQLite, a Delta
table, all in a folder. It is the time of all threads that counts, so that other programs disturb little. A
commit has a fifth of the records that ten seconds bring on one core. The goal is 15 % of what a worker takes
for a record that it writes to Parquet, 5 µs (`worker.py`).
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path = [*(entry for entry in sys.path if Path(entry) != Path(__file__).parent), str(ROOT / "tests")]

import numpy as np
import pyarrow as pa
from lakes import FORMATS, Lake

WORKER_MICROSECONDS, GOAL = 5.0, 0.15
PARTITIONS, BATCH = 4, 500
MERCHANTS = ("Nordic Fuel", "Green Basket", "SkyWays", "Kiosk 24")


def batch(first):
    """Enriched payments."""
    ids = np.arange(first, first + BATCH)
    vectors = np.random.default_rng(first).integers(0, 255, (BATCH, 512), np.uint8)
    return pa.record_batch(
        {
            "id": pa.array(ids),
            "at": pa.array(ids * 1000),
            "card": pa.array([f"{i % 9973:04d}" for i in ids]),
            "merchant": pa.array([MERCHANTS[i % 4] for i in ids]),
            "amount": pa.array(1.5 + ids % 1300),
            "reason": pa.array([f"refused by the issuer, balance too low, attempt {i % 97}" for i in ids]),
            "embedding": pa.Array.from_buffers(pa.binary(512), BATCH, [None, pa.py_buffer(vectors)]),
            "model_version": pa.array(["minilm@1"] * BATCH).dictionary_encode(),
        }
    )


def sink(kind, lake, folder, schema):
    """An empty output."""
    from encoder.store.objects import open_objects
    from pipelines.sinks.offset_files import OffsetFiles
    from pipelines.sinks.open_files import Rotation
    from pipelines.sinks.tables.offset_table import OffsetTable
    from pipelines.sinks.tables.outputs import open_table

    def place(partition):
        return "in", partition

    if kind == "parquet":
        return OffsetFiles(open_objects(str(folder / "parquet")), Rotation(seconds=10.0), {}, place)
    table = open_table(kind, lake.target(kind).partition(":")[2])
    table.create(table.stored(schema))
    return OffsetTable(table, seconds=10.0, name_of=place)


def microseconds(kind, batches):
    """Processor time a record."""
    with tempfile.TemporaryDirectory() as name, Lake.in_folder(Path(name) / "lake").known() as lake:
        output = sink(kind, lake, Path(name), batches[0].schema)
        for partition in range(PARTITIONS):
            output.begin(partition, 0)
        begin = time.process_time()
        for k, part in enumerate(batches):
            first = k // PARTITIONS * BATCH
            output.add(k % PARTITIONS, np.arange(first, first + BATCH), part)
        assert output.flush(range(PARTITIONS), 600)
        spent = time.process_time() - begin
        output.close()
        if kind != "parquet":
            assert len(lake.rows(kind)) == len(batches) * BATCH
    return 1e6 * spent / (len(batches) * BATCH)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    batches = [batch(k * BATCH) for k in range(max(PARTITIONS, options.records // BATCH))]
    found = {kind: [] for kind in ("parquet", *FORMATS)}
    for _ in range(options.rounds):
        for kind, several in found.items():
            several.append(microseconds(kind, batches))
    medians = {kind: statistics.median(several) for kind, several in found.items()}
    more = {form: (medians[form] - medians["parquet"]) / WORKER_MICROSECONDS for form in FORMATS}
    print(f"load {os.getloadavg()[0]:.0f}; processor time a record:")
    for kind, several in found.items():
        beside = f"{more[kind]:+7.1%} of a worker" if kind in more else ""
        print(f"{kind:10}{medians[kind]:8.2f} µs  ({min(several):.2f} to {max(several):.2f}) {beside}")
    reached = {f"{form} within {GOAL:.0%} of Parquet": share <= GOAL for form, share in more.items()}
    for goal, met in reached.items():
        print(f"{'reached' if met else 'MISSED':8} {goal}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"microseconds": found, "reached": reached}, indent=2))
    sys.exit(0 if all(reached.values()) else 1)


if __name__ == "__main__":
    main()
