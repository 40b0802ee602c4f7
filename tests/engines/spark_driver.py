"""A driver of Spark, as a user writes it: it embeds Parquet files as a batch and as a stream.

    python spark_driver.py MODEL INPUT OUTPUT

It prints one line of JSON: the schema of the frame, and what wrong calls say.
"""

import json
import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from encoder.errors import MillstreamError
from pipelines.dataframes.spark import embed

TEXT = "{place.city}: {message}"


def main(model, source, output):
    builder = SparkSession.builder.master(os.environ["SPARK_MASTER"]).config("spark.ui.enabled", False)
    for name, value in os.environ.items():
        if name.startswith("AWS_"):
            builder = builder.config(f"spark.executorEnv.{name}", value)
    spark = builder.config("spark.sql.shuffle.partitions", 2).getOrCreate()
    events = spark.read.parquet(source)
    spread = events.repartition(4)  # so that both executors embed
    embed(spread, model, TEXT).write.parquet(f"{output}/batch")
    small = embed(spread, model, TEXT, keep=["id"], vectors="binary", dtype="float16", heads=["fraud"])
    small.write.parquet(f"{output}/small")
    stream = spark.readStream.schema(events.schema).option("maxFilesPerTrigger", 1).parquet(source)
    writer = embed(stream, model, TEXT, heads=[]).writeStream.format("parquet").trigger(availableNow=True)
    writer.option("checkpointLocation", f"{output}/checkpoint").start(f"{output}/stream").awaitTermination()
    errors = {}
    for name, options in {
        "missing": {"text": "massage"},
        "added": {"text": "model_version"},
        "half": {"text": "message", "dtype": "float16"},
    }.items():
        frame = events.withColumnRenamed("message", "model_version") if name == "added" else events
        try:
            embed(frame, model, **options)
        except MillstreamError as error:
            errors[name] = f"{type(error).__name__}: {error}"
    schema = {name: kind for name, kind in small.dtypes if name != "id"}
    print(json.dumps({"schema": schema, "errors": errors, "cores": spark.sparkContext.defaultParallelism}))
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).as_uri(), Path(sys.argv[3]).as_uri())
