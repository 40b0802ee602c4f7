"""Spark: `embed(df, REF, text="message")`, batch and Structured Streaming.

    from pipelines.dataframes.spark import embed

    events = spark.read.parquet("s3a://bucket/events")
    embed(events, "s3://bucket/models/minilm@7", "message").write.parquet("s3a://bucket/vectors")

The Python of the executors needs Millstream, without an extra.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from encoder.arrays.dtypes import Dtype
from encoder.errors import ConfigurationError
from encoder.store.signing.trust import Trusted
from pipelines.dataframes.arrow import ArrowEmbedder
from pipelines.dataframes.extras import extra
from pipelines.dataframes.types import with_fields, without_fixed_sizes
from pipelines.enrich import Layout
from pipelines.enrich.model_version import ModelVersion

with extra("spark"):
    from pyspark.sql import DataFrame
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.types import DataType, StructType

__all__ = ["embed"]


def embed(
    frame: DataFrame,
    model: str | ModelVersion,
    text: str = "text",
    *,
    keep: Sequence[str] | None = None,
    vectors: Layout = "list",
    dtype: Dtype = "float32",
    heads: Sequence[str] | None = None,
    trust: Trusted = None,
) -> DataFrame:
    """A frame with the columns `embedding` and `model_version` and the scores of heads, by `mapInArrow`.

    Only the model's version travels to the executors, which need Millstream and access to the store. Each
    machine downloads and verifies the weights once into its cache, and its Python workers share them in
    memory. A row whose text is null has nulls in all added columns.

    Args:
        frame: the frame, batch or streaming. Spark sends its columns to Python and back, so leave out with
            `keep` what you do not need.
        model: a REF that the executors reach too, or a `ModelVersion`; the version is fixed now.
        text: a column or a template, as for `ArrowEmbedder`.
        keep: the columns to keep, or None for all.
        vectors: `list`, an array of numbers, or `binary`, the same numbers in little endian, which Spark
            moves and writes faster.
        dtype: the type of the vectors' elements; `float16` as `binary` only.
        heads: names of the heads whose scores are added, or None for all that the model has.
        trust: the public keys that may sign the version of a REF, as for `ArrowEmbedder`.

    Raises:
        TemplateError: the template cannot be parsed, or the frame lacks one of its columns.
        ConfigurationError: a column has the name of an added one, or Spark has no such type.
        MillstreamError: the model does not exist or cannot be loaded, or lacks a head.
        MissingExtra: PySpark is not installed.
    """
    if vectors == "list" and dtype == "float16":
        raise ConfigurationError("Spark has no float16: use dtype='float32', or vectors='binary'")
    embedder = ArrowEmbedder(model, text, keep=keep, vectors=vectors, dtype=dtype, heads=heads, trust=trust)
    schema = embedder.schema(pa.schema(list(_shape(frame.schema))))
    added = [without_fixed_sizes(one) for one in embedder.fields]
    kept = schema.names[: -len(added)]

    def embedded(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield with_fields(embedder(batch), added)

    used = [name for name in frame.columns if name in kept or embedder.reads(name)]
    fields = [*map(frame.schema.__getitem__, kept), *from_arrow_schema(pa.schema(added)).fields]
    rows = frame if used == frame.columns else frame.select(*(f"`{name}`" for name in used))
    return rows.mapInArrow(embedded, StructType(fields))


def _shape(kind: DataType) -> pa.DataType:
    """A type of Arrow with the same names inside; the types of values do not matter."""
    if isinstance(kind, StructType):
        return pa.struct([(one.name, _shape(one.dataType)) for one in kind.fields])
    return pa.null()
