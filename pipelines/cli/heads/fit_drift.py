"""`millstream head fit drift`: what records are like, so that other records can be compared with it."""

from dataclasses import asdict

from pipelines.cli.console import ErrorConsole, Stages
from pipelines.cli.heads.fit_options import DestinationOptions, Seed, Text, fitted_to, print_outcome
from pipelines.cli.heads.labelled_records import MAX_RECORDS, LabelledRecords, Sample
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import AsJson, InputOptions
from pipelines.cli.trust import verifying

__all__ = ["drift"]

_INDEPENDENT = 2.0  # a larger drift is no chance


@verifying
@expand_options
def drift(
    destination: DestinationOptions,
    files: InputOptions,
    text: Text = "text",
    sample: Sample = MAX_RECORDS,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Fit a drift baseline: what records are normally like. Needs no labels.

    It adds no column. Workers and `millstream evaluate --drift` compare other records with it.
    Give records in the order in which they came, of as many days as you have.
    """
    target = destination.find()
    records = LabelledRecords.find(files, text, None)
    from distill.heads import DriftRecords, fit_drift
    from encoder.encoder import Encoder

    with Stages(ErrorConsole()) as stages:
        texts, _ = records.read(stages, sample)
        encoder = Encoder(target.model)
        measured = DriftRecords.of(encoder, texts)
    head, report = fit_drift(
        target.name,
        measured,
        heads=target.model.heads,
        seed=seed,
        metadata=fitted_to(records),
    )
    outcome = {**target.deliver(head, {}), **asdict(report)}
    summary = (
        f"  {report.records:,} records in {report.groups} groups; held out, consecutive windows are up to "
        f"{report.held_out:.1f} times as far as independent records would be"
    )
    if report.held_out > _INDEPENDENT:
        summary += (
            "\n  records that come together are alike, so the level was raised: records of a longer time "
            "make it more exact"
        )
    print_outcome(outcome, summary, as_json=as_json)
