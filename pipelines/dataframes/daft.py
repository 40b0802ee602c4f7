"""Daft: `df.select("*", embed("message", REF))`.

    import daft
    from pipelines.dataframes.daft import embed

    events = daft.read_parquet("s3://bucket/events/*.parquet")
    events.select("*", embed("message", "s3://bucket/models/minilm@7")).write_parquet("s3://bucket/vectors")

Daft makes a column of each field of the expression.
"""

from collections.abc import Sequence

import pyarrow as pa

from encoder.arrays.dtypes import Dtype
from encoder.store.signing.trust import Trusted
from pipelines.dataframes.arrow import ArrowEmbedder
from pipelines.dataframes.extras import extra
from pipelines.dataframes.types import plain, with_fields
from pipelines.enrich import Layout
from pipelines.enrich.model_version import ModelVersion

with extra("daft"):
    import daft

__all__ = ["embed"]


def embed(
    text: str,
    model: str | ModelVersion,
    *,
    vectors: Layout = "list",
    dtype: Dtype = "float32",
    heads: Sequence[str] | None = None,
    trust: Trusted = None,
) -> daft.Expression:
    """The columns `embedding` and `model_version` and the scores of heads, as one expression for `select`.

    Daft runs it on all cores; the version travels to its processes, not the weights. A row whose text is null
    has nulls in all of the columns.

    Args:
        text: a column or a template (`'{merchant} in {user.city}'`); what stands before a dot is a column.
        model: a REF or a `ModelVersion`; the version is fixed now.
        vectors: `list` or `binary`, as for `ArrowEmbedder`.
        dtype: the type of the vectors' elements.
        heads: names of the heads whose scores are added, or None for all that the model has.
        trust: the public keys that may sign the version of a REF, as for `ArrowEmbedder`.

    Raises:
        TemplateError: the template cannot be parsed.
        MillstreamError: the model does not exist or cannot be loaded, or lacks a head.
        MissingExtra: Daft is not installed.
    """
    embedder = ArrowEmbedder(model, text, keep=(), vectors=vectors, dtype=dtype, heads=heads, trust=trust)
    fields = [plain(one) for one in embedder.fields]
    columns = embedder.text_columns

    def embedded(*values: daft.Series) -> daft.Series:
        table = pa.Table.from_arrays([one.to_arrow() for one in values], columns)
        return daft.Series.from_arrow(with_fields(embedder(table), fields).to_struct_array())

    kind = daft.DataType.from_arrow_type(pa.struct(fields))
    function = daft.func.batch(return_dtype=kind, unnest=True)(embedded)
    return function(*map(daft.col, columns))
