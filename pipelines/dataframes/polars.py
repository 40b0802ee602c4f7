"""Polars: `df.with_columns(embed("message", REF))`, eager, lazy and streaming.

>>> import polars as pl
>>> from pipelines.dataframes.polars import embed
>>> events = pl.DataFrame({"message": ["card declined at the gate", None]})
>>> events.with_columns(embed("message", "models/minilm")).columns
['message', 'embedding', 'model_version']
"""

from collections.abc import Sequence

import pyarrow as pa

from encoder.arrays.dtypes import Dtype
from encoder.store.signing.trust import Trusted
from pipelines.dataframes.arrow import ArrowEmbedder
from pipelines.dataframes.extras import extra
from pipelines.enrich import Layout
from pipelines.enrich.model_version import ModelVersion

with extra("polars"):
    import polars as pl

__all__ = ["embed"]


def embed(
    text: str,
    model: str | ModelVersion,
    *,
    vectors: Layout = "list",
    dtype: Dtype = "float32",
    heads: Sequence[str] | None = None,
    threads: int | None = None,
    trust: Trusted = None,
) -> pl.Expr:
    """The columns `embedding` and `model_version` and the scores of heads, as an expression.

    `embedding` is an `Array` of `dim` numbers, or `Binary`. A row whose text is null has nulls in all of
    them. Polars computes the expression once, whichever of its columns a query uses.

    Args:
        text: a column or a template (`'{merchant} in {user.city}'`); what stands before a dot is a column.
        model: a REF or a `ModelVersion`; the version is fixed now.
        vectors: `list` or `binary`, as for `ArrowEmbedder`.
        dtype: the type of the vectors' elements.
        heads: names of the heads whose scores are added, or None for all that the model has.
        threads: the most threads that embed a series; None for `MILLSTREAM_THREADS`, or all cores.
        trust: the public keys that may sign the version of a REF, as for `ArrowEmbedder`.

    Raises:
        TemplateError: the template cannot be parsed.
        MillstreamError: the model does not exist or cannot be loaded, or lacks a head.
        MissingExtra: Polars is not installed.
    """
    embedder = ArrowEmbedder(
        model, text, keep=(), vectors=vectors, dtype=dtype, heads=heads, threads=threads, trust=trust
    )

    def embedded(rows: pl.Series) -> pl.Series:
        table = pa.Table.from_struct_array(rows.to_arrow())
        return _series(embedder(table).to_struct_array())

    nothing = pa.chunked_array([], pa.struct(embedder.fields))
    columns = pl.struct(embedder.text_columns)
    made = columns.map_batches(embedded, return_dtype=_series(nothing).dtype, is_elementwise=True)
    return made.struct.unnest()


def _series(structs: pa.ChunkedArray) -> pl.Series:
    found = pl.from_arrow(structs, rechunk=False)
    assert isinstance(found, pl.Series)
    return found
