"""Drift of a stream: windows of event time against the model's baseline, in metrics, the log and files."""

import json
import logging
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from drifting import STRANGE, usual, with_baseline

from encoder.errors import ConfigurationError
from pipelines.beam.runner import start_stream
from pipelines.beam.streaming.drift import DriftOptions
from pipelines.beam.streaming.plan import plan_stream
from pipelines.beam.streaming.sink_options import SinkOptions
from pipelines.beam.streaming.source_options import SourceOptions, Timing
from pipelines.enrich.enrichment import Enrichment

FILES, RECORDS, STEP = 10, 60, 30  # records of a file, all of which are measured; seconds between two files
START = 1_705_305_600


@pytest.fixture(scope="module")
def watched(model, tmp_path_factory):
    return with_baseline(model, tmp_path_factory.mktemp("drift") / "watched")


@pytest.fixture
def lines(tmp_path):
    """Files of usual records; of the second half of the files, every fifth record is a strange one."""
    (tmp_path / "in").mkdir()
    for k in range(FILES):
        texts = usual(RECORDS, seed=k)
        if k >= FILES // 2:
            texts[::5] = [STRANGE] * len(texts[::5])
        records = [{"text": text, "at": START + k * STEP} for text in [*texts, None]]
        path = tmp_path / f"in/{k}.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return tmp_path / "in"


@pytest.fixture
def plan(lines, tmp_path):
    def make(model, **options):
        return plan_stream(
            model=str(model),
            source=SourceOptions(f"files:{lines}", readers=1),
            sink=SinkOptions(f"parquet:{tmp_path / 'out'}"),
            enrichment=Enrichment.parse("text"),
            timing=Timing(field="at", ends=True),
            drift=DriftOptions(**options),
        )

    return make


@pytest.mark.slow
def test_windows_of_a_stream_are_held_against_the_baseline(plan, watched, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="pipelines")
    job = plan(watched, seconds=STEP * (FILES // 2 - 1), least_records=200, output=f"{tmp_path / 'found'}")
    result = start_stream(job, PipelineOptions([]))
    result.wait_until_finish()
    calm, drifted = (json.loads(path.read_text()) for path in sorted((tmp_path / "found").glob("*.json")))
    assert calm["drift"] < 1 < drifted["drift"]
    assert (calm["records"], drifted["records"]) == (RECORDS * FILES // 2, RECORDS * FILES // 2)
    assert calm["from"] == "2024-01-15T08:00:00.000000+00:00"
    found = [one["id"].rpartition(":") for one in drifted["unusual"]]
    assert len(found) == 20
    named = {json.loads(Path(path).read_text().splitlines()[int(row) - 1])["text"] for path, _, row in found}
    assert named == {STRANGE}
    metrics = result.metrics().query(beam.metrics.MetricsFilter().with_namespace("millstream"))
    counts = {one.key.metric.name: one.committed for one in metrics["counters"]}
    shares = {one.key.metric.name: one.committed for one in metrics["distributions"]}
    assert (counts["drift_windows"], counts["drifted_windows"]) == (2, 1)
    assert shares["drift_ppm"].max == round(1e6 * drifted["drift"])
    assert shares["unusual_record_ppm"].max == round(1e6 * drifted["unusual_records"])
    levels = [one.levelname for one in caplog.records if one.message.startswith("drift ")]
    assert levels == ["INFO", "WARNING"]
    assert STRANGE not in caplog.text + json.dumps(drifted)


@pytest.mark.slow
def test_windows_that_are_too_small_are_not_compared(plan, watched, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="pipelines")
    job = plan(watched, seconds=1, least_records=5000, output=f"{tmp_path / 'found'}")
    start_stream(job, PipelineOptions([])).wait_until_finish()
    assert f"the last {FILES * RECORDS} records are too few" in caplog.text
    assert not list((tmp_path / "found").glob("*.json"))


def test_without_a_baseline_nothing_is_measured_and_an_output_for_it_is_refused(plan, model, tmp_path):
    assert plan(model).drift is None
    with pytest.raises(ConfigurationError, match=r"needs a model with a drift baseline, and .* has none"):
        plan(model, output=str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--drift-output", "topic:x"), "cannot read --drift-output 'topic:x': write files:URI"),
        (("--drift-output", "files:x", "--drift-window", "0s"), "--drift-window is 0s: leave one out"),
        (("--drift-window", "soon"), "--drift-window 'soon' is not a duration"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options, message, millstream, watched, lines, tmp_path):
    own = ("--model", watched, "--input", f"files:{lines}", "--output", f"parquet:{tmp_path / 'out'}")
    ended = millstream("stream", *own, "--stop-at-end", *options)
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
