"""DuckDB: `register(connection, REF)`, then `SELECT embed(message) FROM events`.

>>> import duckdb
>>> from pipelines.dataframes.duckdb import register
>>> connection = duckdb.connect()
>>> register(connection, "models/minilm")
>>> connection.sql("SELECT len(embed('card declined at the gate')) AS dim").fetchall()
[(256,)]
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from encoder.errors import ConfigurationError
from encoder.store.signing.trust import Trusted
from pipelines.dataframes.arrow import ArrowEmbedder
from pipelines.dataframes.extras import extra
from pipelines.dataframes.types import plain, with_fields
from pipelines.enrich.model_version import ModelVersion

with extra("duckdb"):
    import duckdb

__all__ = ["FUNCTIONS", "register"]

FUNCTIONS = ("embed", "enrich", "head_score", "head_label")
"""The names of the functions."""

_TEXT = "text"
_SCORES = ("score", "similarity", "distance")
_LABELS = ("label", "nearest", "group")


def register(
    connection: duckdb.DuckDBPyConnection,
    model: str | ModelVersion,
    *,
    heads: Sequence[str] | None = None,
    trust: Trusted = None,
) -> None:
    """Add functions to a connection; those that an earlier call added are replaced.

    - `embed(text)`: the vector, `FLOAT[dim]`, as `array_cosine_similarity` and the extension `vss` take it.
    - `enrich(text)`: a struct of `embedding`, `model_version` and the columns of heads;
      `SELECT unnest(enrich(message))` makes columns of them. Each text is embedded once.
    - `head_score(text, head)`: the score, the similarity or the distance of a head, `FLOAT`.
    - `head_label(text, head)`: its label, nearest name or group, `VARCHAR`.

    The columns are null where the text is null.

    Args:
        connection: where to add them.
        model: a REF or a `ModelVersion`; the version is fixed now.
        heads: names of the heads that can be used, or None for all that the model has.
        trust: the public keys that may sign the version of a REF, as for `ArrowEmbedder`.

    Raises:
        MillstreamError: the model does not exist or cannot be loaded, or lacks a head.
        MissingExtra: DuckDB is not installed.
    """
    embedder = ArrowEmbedder(model, _TEXT, keep=(), heads=heads, trust=trust)
    bare = ArrowEmbedder(embedder.version, _TEXT, keep=(), heads=())
    fields = [plain(one) for one in embedder.fields]

    def embed(texts: pa.ChunkedArray) -> pa.ChunkedArray:
        return bare(_table(texts))["embedding"]

    def enrich(texts: pa.ChunkedArray) -> pa.ChunkedArray:
        return with_fields(embedder(_table(texts)), fields).to_struct_array()

    @cache
    def of_head(head: str) -> ArrowEmbedder:
        if heads is not None and head not in heads:
            raise ConfigurationError(f"`heads` of register leaves {head!r} out: add it there")
        return ArrowEmbedder(embedder.version, _TEXT, keep=(), heads=(head,))

    def column_of(endings: Sequence[str], kind: pa.DataType) -> Callable[..., pa.ChunkedArray]:
        def column(texts: pa.ChunkedArray, heads: pa.ChunkedArray) -> pa.ChunkedArray:
            found = pa.chunked_array([pa.nulls(len(texts), kind)])
            for head in heads.unique().drop_null().to_pylist():
                added = of_head(head)(_table(texts))
                mine = added[_column(head, endings, added.column_names)].cast(kind)
                found = pc.if_else(pc.equal(heads, head), mine, found)
            return found

        return column

    vector, row = _types(connection, [plain(bare.fields[0]), pa.field("row", pa.struct(fields))])
    functions: list[tuple[Any, Any, Any]] = [
        (embed, ["VARCHAR"], vector),
        (enrich, ["VARCHAR"], row),
        (column_of(_SCORES, pa.float32()), ["VARCHAR", "VARCHAR"], "FLOAT"),
        (column_of(_LABELS, pa.string()), ["VARCHAR", "VARCHAR"], "VARCHAR"),
    ]
    options: dict[str, Any] = {"type": "arrow", "null_handling": "special"}
    for name, (function, takes, gives) in zip(FUNCTIONS, functions, strict=True):
        _replace(connection, name)
        connection.create_function(name, function, takes, gives, **options)


def _table(texts: pa.ChunkedArray) -> pa.Table:
    return pa.table({_TEXT: texts})


def _column(head: str, endings: Sequence[str], names: Sequence[str]) -> str:
    """The column of a head with one of these endings."""
    for ending in endings:
        if f"{head}_{ending}" in names:
            return f"{head}_{ending}"
    raise ConfigurationError(
        f"head {head!r} adds {', '.join(names[2:])}, and no {' or '.join(endings)}: enrich(text) has all"
    )


def _types(connection: duckdb.DuckDBPyConnection, fields: Sequence[pa.Field]) -> list[Any]:
    """DuckDB's types for columns of Arrow."""
    return connection.from_arrow(
        pa.table([pa.array([], one.type) for one in fields], pa.schema(fields))
    ).types


def _replace(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    try:
        connection.remove_function(name)
    except duckdb.InvalidInputException:
        """There was none."""
