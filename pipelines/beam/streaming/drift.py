"""Drift of a stream: its records are compared with the baseline of the model's version, beside its sink.

Every worker measures a sample of what it reads, and sends what that adds up to, a few numbers, to the one
worker that adds them up for the whole stream. A window is complete when it has enough records and spans
enough event time, or when the stream ends. Its drift is in Beam's metrics and in the log; with an output,
a JSON file holds it too.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.coders import PickleCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from encoder import Encoder
from encoder.errors import MillstreamError
from encoder.store.objects import open_objects
from pipelines.beam.streaming.batch import SourceBatch
from pipelines.beam.streaming.model import StreamModel
from pipelines.enrich.drift import DriftWindow
from pipelines.enrich.drift_sums import Baseline, DriftSums, WindowDrift, measured_baseline
from pipelines.records.template import TextTemplate

__all__ = ["DriftOptions", "MeasureDrift"]

_log = logging.getLogger(__name__)
_NAMESPACE = "millstream"
_SENT = 256  # measured records that are sent together, if a bundle has as many
_MICROS = 1_000_000
_WINDOW = ReadModifyWriteStateSpec("window", PickleCoder())
_END = TimerSpec("end", TimeDomain.WATERMARK)
_KEPT, _TIMER = beam.DoFn.StateParam(_WINDOW), beam.DoFn.TimerParam(_END)


@dataclass(frozen=True)
class DriftOptions:
    """How drift is measured.

    Attributes:
        seconds: how much event time a window spans at least.
        least_records: how many measured records it has at least.
        output: URI of a folder for a JSON file per window, or None.
    """

    seconds: float = 600.0
    least_records: int = 1000
    output: str | None = None


@dataclass
class _Part:
    """What some batches add up to, and the event times of the first and the last, in microseconds."""

    earliest: int
    latest: int
    sums: DriftSums

    def __add__(self, other: "_Part") -> "_Part":
        earliest, latest = min(self.earliest, other.earliest), max(self.latest, other.latest)
        return _Part(earliest, latest, self.sums + other.sums)


class MeasureDrift(beam.PTransform[Any, Any]):
    """Takes `SourceBatch`es; returns an empty PCollection.

    Args:
        model: the model.
        template: the text of a record.
        options: of windows.
    """

    def __init__(self, model: StreamModel, template: TextTemplate, options: DriftOptions) -> None:
        super().__init__()
        self._model, self._template, self._options = model, template, options

    def expand(self, batches: Any) -> Any:
        """Apply the transform."""
        measure = beam.ParDo(_Measure(self._model, self._template)).with_output_types(tuple[str, Any])
        compare = beam.ParDo(_Compare(self._model, self._options)).with_output_types(str)
        return batches | "Measure" >> measure | "Compare" >> compare


class _Baselines:
    """The baselines of the versions that this worker has used."""

    def __init__(self, model: StreamModel) -> None:
        self._model = model
        self._known: dict[str, tuple[Encoder, Baseline | None]] = {}

    def current(self) -> tuple[str, Encoder, Baseline | None]:
        """The label of the current version, its encoder and its baseline."""
        encoder, label = self._model.current()
        if label not in self._known:
            baseline = measured_baseline(encoder.heads.heads, label, _log)
            self._known = {**dict(list(self._known.items())[-1:]), label: (encoder, baseline)}
        return label, *self._known[label]

    def of(self, label: str) -> Baseline | None:
        """The baseline of a version; None if this worker has not used it."""
        self.current()
        return self._known[label][1] if label in self._known else None


class _Measure(beam.DoFn):
    """Measures a sample; gives the label of the model and a `_Part`, some for each bundle."""

    def __init__(self, model: StreamModel, template: TextTemplate) -> None:
        self._model, self._template = model, template

    def setup(self) -> None:
        self._baselines = _Baselines(self._model)
        self._label: str | None = None
        self._window: DriftWindow | None = None

    def start_bundle(self) -> None:
        self._times: list[int] = []
        if self._window is not None:
            self._window.take()  # what is left of a bundle that failed, which comes again

    def process(self, batch: SourceBatch) -> Iterator[tuple[str, _Part]]:
        label, encoder, baseline = self._baselines.current()
        if label != self._label:
            yield from self._part()
            self._label = label
            self._window = None if baseline is None else DriftWindow(encoder, baseline, self._template)
        if self._window is None or not batch.records.num_rows:
            return
        source = batch.id_source or batch.source
        try:
            self._window.add(batch.records, lambda row: f"{source}:{batch.rows[row]}")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a text, the stream goes on
            name = type(error).__name__  # its message may hold the text
            _log.warning("%s: a record cannot be measured (%s): no drift until the next model", label, name)
            self._window = None
            return
        self._times.append(batch.timestamp)  # one wrong time in a batch makes no window long
        if self._window.sums.records >= _SENT:
            yield from self._part()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for part in self._part():
            yield WindowedValue(part, window.max_timestamp(), (window,))

    def _part(self) -> Iterator[tuple[str, _Part]]:
        """What was measured since the last call, if anything."""
        if self._window is not None and self._label is not None and self._window.sums.records:
            yield self._label, _Part(min(self._times), max(self._times), self._window.take())
            self._times = []


class _Compare(beam.DoFn):
    """Adds up the parts of a version's windows, and holds complete ones against its baseline."""

    def __init__(self, model: StreamModel, options: DriftOptions) -> None:
        self._model, self._options = model, options

    def setup(self) -> None:
        self._baselines = _Baselines(self._model)
        output = self._options.output
        self._objects = None if output is None else open_objects(output)

    def process(
        self,
        element: tuple[str, _Part],
        kept: Any = _KEPT,
        end: Any = _TIMER,
    ) -> Iterator[str]:
        label, part = element
        end.set(GlobalWindow().max_timestamp())
        if (before := kept.read()) is not None:
            part = before + part
        long = part.latest - part.earliest >= self._options.seconds * _MICROS
        if long and part.sums.records >= self._options.least_records:
            self._end(label, part)
            kept.clear()
        else:
            kept.write(part)
        return iter(())

    @on_timer(_END)
    def at_end(self, label: Any = beam.DoFn.KeyParam, kept: Any = _KEPT) -> Iterator[str]:
        """The stream ends: its last window spans as much time as there is."""
        part = kept.read()
        if part is not None and part.sums.records >= self._options.least_records:
            self._end(label, part)
        elif part is not None:
            _log.info("the last %d records are too few to compare with a baseline", part.sums.records)
        kept.clear()
        return iter(())

    def _end(self, label: str, part: _Part) -> None:
        baseline = self._baselines.of(label)
        if baseline is None:  # this worker began with a newer version
            _log.info("%s: a window is not compared: this version is not in use any more", label)
            return
        found = part.sums.drift(baseline)
        began, ended = part.earliest / _MICROS, part.latest / _MICROS
        _count(found)
        found.log(_log, ended - began, label)
        if self._objects is None:
            return
        report = found.report(began, ended, label, lambda place: {"id": place})
        version = label.replace("/", "-").replace(":", "-")
        name = f"drift-{part.earliest}-{part.latest}-{version}.json"
        try:
            self._objects.overwrite(name, msgspec.json.encode(report) + b"\n")
        except (MillstreamError, OSError) as error:  # it stops no stream
            _log.warning("cannot write the drift of a window to %s: %s", self._options.output, error)


def _count(found: WindowDrift) -> None:
    """Report a window in Beam's metrics, whose numbers are whole: millionths."""
    Metrics.counter(_NAMESPACE, "drift_windows").inc()
    if found.shift.drift > 1:
        Metrics.counter(_NAMESPACE, "drifted_windows").inc()
    shares = {"drift": found.shift.drift, "unusual_record": found.unusual, "unknown_token": found.unknown}
    shares |= {f"label_shift_{name}": shift for name, shift in found.labels.items()}
    for name, share in shares.items():
        Metrics.distribution(_NAMESPACE, f"{name}_ppm").update(round(share * _MICROS))
