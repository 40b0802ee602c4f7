"""`Embed`: embed dicts, rows or strings, the convenient way into a pipeline."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from encoder.errors import InputError
from encoder.store.signing.trust import Trusted
from pipelines.beam.transforms.embed_batches import Model, resolve_model
from pipelines.beam.transforms.error_handling import ErrorHandling, failed_row
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.enrich.enrichment import Enriched, Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.isolation import fault_of, may_be_of_record
from pipelines.records.template import TextTemplate

__all__ = ["Embed"]


class Embed(ErrorHandling):
    """Adds `embedding` (a list of `dim` floats), `model_version` and the scores of heads to each element.

    Elements are dicts, `beam.Row`s, NamedTuples or strings; a string becomes a dict with `text`. They are
    embedded `batch_size` at a time, across windows and at the latest at the end of a bundle; each keeps its
    timestamp and window. Beam's work for each element costs ten times as much as the embedding: use
    `EmbedBatches` for speed. Both take the same models and treat bad rows in the same way.

    Args:
        model: a REF, a `ModelVersion`, or a side input of one.
        text: a field (`message`, `user.name`) or a template; ignored for strings.
        batch_size: how many elements are embedded together.
        heads: names of the heads whose scores are added, or None for all that the model has.
        trust: the public keys that may sign the version of a REF, as for `EmbedBatches`.

    Raises:
        TemplateError: the template cannot be parsed.
        MillstreamError: the model does not exist or cannot be loaded.
    """

    def __init__(
        self,
        model: Model,
        text: str = "text",
        *,
        batch_size: int = 1024,
        heads: Sequence[str] | None = None,
        trust: Trusted = None,
    ) -> None:
        super().__init__()
        self._template = TextTemplate.parse(text)
        self._batch_size = batch_size
        self._heads = None if heads is None else tuple(sorted(set(heads)))
        self._model = resolve_model(model, trust)

    def expand(self, elements: Any) -> Any:
        """Apply the transform."""
        step = beam.ParDo(_Embed(self._template, self._batch_size, self._heads, self._bad_tag), self._model)
        return self._outputs(elements, step, Any)


class _Embed(beam.DoFn):
    _model: ModelVersion  # of the waiting elements

    def __init__(
        self, template: TextTemplate, batch_size: int, heads: tuple[str, ...] | None, bad_tag: str | None
    ) -> None:
        text = TextTemplate(template.source, ("", ""), ("text",))
        self._enrichment = Enrichment(text, keep=(), heads=heads)
        self._template = template
        self._batch_size = batch_size
        self._bad_tag = bad_tag
        self._metrics = BatchMetrics()

    def start_bundle(self) -> None:
        self._waiting: list[WindowedValue] = []

    def process(
        self,
        _: Any,
        model: ModelVersion,
        value: Any = beam.DoFn.WindowedValueParam,
        _window: Any = beam.DoFn.WindowParam,  # so that Beam calls once for each window of an element
    ) -> Iterator[Any]:
        if self._waiting and model != self._model:
            yield from self._embed()
        self._model = model
        self._waiting.append(value)
        if len(self._waiting) >= self._batch_size:
            yield from self._embed()

    def finish_bundle(self) -> Iterator[Any]:
        if self._waiting:
            yield from self._embed()

    def _embed(self) -> Iterator[Any]:
        waiting, self._waiting = self._waiting, []
        encoder, label = self._model.load(), self._model.label
        begin = time.perf_counter()
        texts, bad = _texts([value.value for value in waiting], self._template)
        batch = pa.record_batch({"text": texts})
        enriched = self._enrichment(batch, encoder, label)
        bad = {row: bad.get(row) or InputError(reason) for row, reason in enriched.bad.items()}
        seconds = time.perf_counter() - begin
        if bad and self._bad_tag is None:
            raise next(iter(bad.values()))
        good = (value for row, value in enumerate(waiting) if row not in bad)
        for value, added in zip(good, _added(enriched), strict=True):
            yield value.with_value(_with(value.value, added))
        for row, error in bad.items():
            value = waiting[row]
            yield TaggedOutput(self._bad_tag, value.with_value(failed_row(value.value, error)))
        self._metrics.report(label, len(waiting), len(bad), batch.nbytes, seconds)


def _added(enriched: Enriched) -> list[dict[str, Any]]:
    """The new fields of each element; vectors are lists of floats."""
    embedding, *others = enriched.batch.columns
    vectors = embedding.flatten().to_numpy().reshape(len(embedding), embedding.type.list_size).tolist()
    rows = zip(vectors, *(column.to_pylist() for column in others), strict=True)
    return [dict(zip(enriched.batch.schema.names, row, strict=True)) for row in rows]


def _with(element: Any, added: dict[str, Any]) -> Any:
    """A copy of the element with the new fields."""
    if isinstance(element, str):
        return {"text": element, **added}
    if isinstance(element, dict):
        return {**element, **added}
    return beam.Row(**element._asdict(), **added)


def _texts(elements: Sequence[Any], template: TextTemplate) -> tuple[pa.Array, dict[int, InputError]]:
    """`(n,)` the text of each element, null where it has none; and the errors of unreadable elements."""
    try:
        return _texts_together(elements, template), {}
    except BaseException as error:
        if not may_be_of_record(error):
            raise
    texts: list[str | None] = []
    bad: dict[int, InputError] = {}
    for row, element in enumerate(elements):  # a field has several types, or an element is not a record
        try:
            texts += _texts_together([element], template).to_pylist()
        except BaseException as error:
            if not may_be_of_record(error):
                raise
            texts.append(None)
            what = f"not a record: {fault_of(error)}"
            bad[row] = error if isinstance(error, InputError) else InputError(what)
    return pa.array(texts, pa.string()), bad


def _texts_together(elements: Sequence[Any], template: TextTemplate) -> pa.Array:
    if isinstance(elements[0], str):
        if not all(isinstance(element, str) for element in elements):
            raise InputError("strings and records are mixed: give one or the other")
        return pa.array(elements, pa.string())
    records = [_fields(element) for element in elements]
    heads = {
        ".".join(parts[:n])
        for parts in (name.split(".") for name in template.fields)
        for n in range(1, len(parts) + 1)
    }
    columns = {
        head: [record.get(head) for record in records]
        for head in heads
        if any(head in record for record in records)
    }
    if not columns:
        return pa.nulls(len(records), pa.string())
    return template.apply(pa.record_batch({name: pa.array(values) for name, values in columns.items()}))


def _fields(element: Any) -> dict[str, Any]:
    if isinstance(element, dict):
        return element
    if hasattr(element, "_asdict"):
        fields: dict[str, Any] = element._asdict()
        return fields
    raise InputError(f"cannot embed an element of type {type(element).__name__}: give dicts, rows or strings")
