"""Spark: `embed` by `mapInArrow` against a pandas UDF that calls Model2Vec, on a cluster of two workers.

    python tests/benchmarks/spark.py [--rows 2000000] [--peer-rows 100000] [--rounds 3] [--json FILE]

A master and two workers with a core each run as processes of this machine; the driver is this program. Both
systems read the same frame of log lines (../shared/data/loghub, repeated, cached by Spark) and write to
Spark's sink `noop`, which takes every row and keeps none. They take turns, after a first turn that starts the
Python workers and loads the models and does not count. Vectors are arrays of 256 float32; the third system
writes the same vectors as bytes of float16.
"""

import argparse
import json
import os
import statistics
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
sys.path = [*(entry for entry in sys.path if Path(entry) != Path(__file__).parent), str(ROOT / "tests")]

from benchmarks.speed.materials import int8_model, log_lines
from engines.spark import spark_cluster

GOAL = 10
FOLDER = ROOT / "build/bench"


def systems(model):
    """Name → a function from a frame with the column `message` to one with vectors."""
    import pandas as pd
    from pyspark.sql import functions
    from pyspark.sql.types import ArrayType, FloatType

    from pipelines.dataframes.spark import embed

    @functions.pandas_udf(ArrayType(FloatType()))
    def model2vec(texts: pd.Series) -> pd.Series:
        return pd.Series(list(loaded(model).encode(texts.tolist())))

    return {
        "Millstream, arrays of float32": lambda frame: embed(frame, model, "message", keep=[]),
        "Millstream, bytes of float16": lambda frame: embed(
            frame, model, "message", keep=[], vectors="binary", dtype="float16"
        ),
        "pandas UDF with Model2Vec": lambda frame: frame.select(model2vec("message").alias("embedding")),
    }


def loaded(model, models={}):  # noqa: B006 - one for each Python worker
    """The model of Model2Vec, loaded once by each Python worker."""
    if model not in models:
        from model2vec import StaticModel

        models[model] = StaticModel.from_pretrained(model)
    return models[model]


def frame_of(spark, n_rows):
    file = FOLDER / f"spark-{n_rows}.parquet"
    texts = pa.array(islice(cycle(log_lines()), n_rows), pa.string())
    pq.write_table(pa.table({"message": texts}), file, row_group_size=65_536)
    frame = spark.read.parquet(file.as_uri()).repartition(4).cache()
    assert frame.count() == n_rows
    return frame


def measure(options):
    from pyspark.sql import SparkSession

    model = str(int8_model(FOLDER / "minilm-int8"))
    builder = SparkSession.builder.master(os.environ["SPARK_MASTER"]).config("spark.ui.enabled", False)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    made = systems(model)
    rows = {name: options.peer_rows if "Model2Vec" in name else options.rows for name in made}
    frames = {n: frame_of(spark, n) for n in set(rows.values())}
    found = {name: [] for name in made}
    for turn in range(options.rounds + 1):
        for name, system in made.items():
            begin = time.perf_counter()
            system(frames[rows[name]]).write.format("noop").mode("overwrite").save()
            rate = rows[name] / (time.perf_counter() - begin)
            if turn:
                found[name].append(rate)
                print(f"round {turn}: {name:32} {rate:12,.0f} records/s", flush=True)
    spark.stop()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--peer-rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with spark_cluster() as cluster:
        os.environ |= cluster.environment()
        sys.path.append(cluster.packages)
        found = measure(options)
    rates = {name: statistics.median(several) for name, several in found.items()}
    print(f"\n{'two cores':32}{'records/s':>14}{'best':>14}")
    for name, rate in rates.items():
        print(f"{name:32}{rate:14,.0f}{max(found[name]):14,.0f}")
    ours, theirs = rates["Millstream, arrays of float32"], rates["pandas UDF with Model2Vec"]
    reached = ours >= GOAL * theirs
    print(f"{'reached' if reached else 'MISSED'}: {ours / theirs:.1f} times the pandas UDF, goal {GOAL}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"runs": found, "ratio": ours / theirs}, indent=2))
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
