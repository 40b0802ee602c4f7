"""`millstream evaluate --drift`: how far one set of files is from another, or from a version's baseline."""

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import typer

from encoder.encoder import Encoder
from encoder.errors import ConfigurationError
from pipelines.cli.console import ErrorConsole, Stages, print_table
from pipelines.cli.evaluation.options import SetOptions
from pipelines.cli.heads.labelled_records import MAX_RECORDS, LabelledRecords
from pipelines.cli.options import InputOptions
from pipelines.enrich.drift import DriftWindow
from pipelines.enrich.drift_sums import Baseline, baseline_of

if TYPE_CHECKING:
    from encoder.heads.drift import Drift

__all__ = ["evaluate_drift"]

BASELINE = "baseline"
"""Instead of files: the baseline of the model's version."""

_SHOWN = 8
_TOKENISED = 10_000


def evaluate_drift(ref: str, before: str, after: str, options: SetOptions, *, as_json: bool) -> None:
    """Print the drift from one set of files to another.

    Raises:
        ConfigurationError: the version has no baseline, if it is asked for.
        MillstreamError: the model or the files cannot be read.
    """
    encoder = Encoder.load(ref)
    known = baseline_of(encoder.heads.heads) if before == BASELINE else None
    if before == BASELINE and known is None:
        raise ConfigurationError(f"{ref} has no drift baseline: give files, or `millstream head fit drift`")
    sets = [
        LabelledRecords.find(
            InputOptions(inputs=pattern, input_format=options.input_format, dialect=options.dialect),
            options.text,
            None,
        )
        for pattern in ((after,) if known else (before, after))
    ]
    with Stages(ErrorConsole()) as stages:
        texts = [records.read(stages, MAX_RECORDS)[0] for records in sets]
    baseline = known or _fitted(encoder, texts[0], options.seed)
    window = DriftWindow(encoder, baseline, sets[-1].template)
    _, similarity = window.add_texts(pa.array(texts[-1]), _TOKENISED)
    _print(window, baseline.head, np.argsort(similarity, kind="stable")[:_SHOWN], as_json=as_json)


def _fitted(encoder: Encoder, texts: list[str], seed: int) -> Baseline:
    from distill.heads import DriftRecords, fit_drift

    head, _ = fit_drift("before", DriftRecords.of(encoder, texts), heads=encoder.heads.heads, seed=seed)
    found = baseline_of((*(one for one in encoder.heads.heads if one.kind != "drift"), head))
    assert found is not None
    return found


def _print(window: DriftWindow, head: "Drift", unusual: np.ndarray, *, as_json: bool) -> None:
    found = window.drift()
    shift, names = found.shift, head.measures
    moved = np.argsort(-shift.drifts, kind="stable")[:_SHOWN]
    rows = [
        {
            "measure": names[k],
            "before": float(head.means[k]),
            "after": float(shift.means[k]),
            "drift": float(shift.drifts[k]),
        }
        for k in moved
    ]
    numbers = [int(row) + 1 for row in unusual]
    if as_json:
        about = {"drift": shift.drift, "measure": shift.measure, "records": found.records}
        about |= {"unknown_tokens": found.unknown, "unusual_records": found.unusual}
        print_json = {**about, "label_shift": found.labels, "measures": rows, "unusual": numbers}
        typer.echo(json.dumps(print_json))
        return
    verdict = "more" if shift.drift > 1 else "no more"
    typer.echo(
        f"drift {shift.drift:.2f}: the {found.records:,} records after are {verdict} different than one in a "
        f"thousand sets like those before"
    )
    table = [[row["measure"], *(f"{row[key]:.4g}" for key in ("before", "after", "drift"))] for row in rows]
    print_table(["measure", "before", "after", "drift"], table)
    typer.echo(f"most unusual records after, by number: {', '.join(map(str, numbers))}")
