"""`ToItems`: embedded batches as the items that the sinks of `apache_beam.ml.rag` write."""

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.types as pt
from apache_beam.ml.rag.types import Content, EmbeddableItem, Embedding
from numpy.typing import NDArray

from encoder.errors import ConfigurationError, InputError
from pipelines.records.bad_rows import fields_of
from pipelines.records.template import TextTemplate

__all__ = ["ToItems"]

_EMBEDDING = "embedding"


class ToItems(beam.PTransform[Any, Any]):
    """Turns record batches of `EmbedBatches` into `EmbeddableItem`s, one for each row.

    Beam's sinks for vector stores take them: `VectorDatabaseWriteTransform(PostgresVectorWriterConfig(…))`.
    Write them by their id (`ConflictResolution("id")`), so that a replay changes nothing.

    Args:
        id: a column or a template that tells every record from all others, such as
            `'{topic}/{partition}/{offset}'`.
        content: a column or a template: the item's text.
        metadata: the columns that become the item's metadata, beside `model_version`; None for all columns
            but the vector.

    Raises:
        TemplateError: a template cannot be parsed.
    """

    def __init__(self, id: str, content: str, *, metadata: Sequence[str] | None = None) -> None:  # noqa: A002 - as the item calls it
        super().__init__()
        self._id, self._content = TextTemplate.parse(id), TextTemplate.parse(content)
        self._metadata = None if metadata is None else tuple(dict.fromkeys([*metadata, "model_version"]))

    def expand(self, batches: Any) -> Any:
        """Apply the transform."""
        return batches | beam.FlatMap(self.items).with_output_types(EmbeddableItem)

    def items(self, batch: pa.RecordBatch) -> Iterator[EmbeddableItem]:
        """The items of a batch.

        Raises:
            ConfigurationError: its vectors are no lists of floats, or a column of the metadata is missing.
            InputError: a row has no id.
        """
        vectors = _vectors(batch)
        ids, texts = self._id.apply(batch), self._content.apply(batch)
        if ids.null_count:
            row = ids.is_null().index(True).as_py()
            raise InputError(f"row {row} of the batch has no id: {self._id.source} is null")
        names = [name for name in batch.schema.names if name != _EMBEDDING]
        if self._metadata is not None:
            if missing := next((name for name in self._metadata if name not in names), None):
                raise ConfigurationError(
                    f"`metadata` names {missing!r}, which is no column: there are {', '.join(names)}"
                )
            names = list(self._metadata)
        others = batch.select(names)
        rows = zip(ids.to_pylist(), texts.to_pylist(), vectors.tolist(), strict=True)
        for row, (key, text, vector) in enumerate(rows):
            metadata = fields_of(others, row)
            yield EmbeddableItem(Content(text or ""), key, 0, metadata, Embedding(vector))


def _vectors(batch: pa.RecordBatch) -> NDArray[Any]:
    """`(n_rows, dim)` of the vectors' dtype."""
    place = batch.schema.get_field_index(_EMBEDDING)
    kind = batch.schema.field(place).type if place >= 0 else None
    if kind is None or not pt.is_fixed_size_list(kind):
        raise ConfigurationError(
            f"the batch has {'no column' if kind is None else kind} {_EMBEDDING!r}: give batches of "
            "EmbedBatches with vectors='list'"
        )
    found: NDArray[Any] = batch.column(place).flatten().to_numpy()
    return found.reshape(len(batch), kind.list_size)
