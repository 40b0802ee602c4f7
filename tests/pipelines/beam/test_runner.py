from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from encoder.errors import (
    CorruptVersion,
    InputError,
    IntegrityError,
    MillstreamError,
    MissingExtra,
    OutputConflict,
)
from encoder.store.objects import open_objects
from pipelines.beam import runner
from pipelines.beam.backfill.job import SUMMARY_FILE, claim_output
from pipelines.beam.backfill.plan import plan_backfill
from pipelines.beam.runner import _cause, run_backfill
from pipelines.beam.runner_options import beam_options
from pipelines.enrich.enrichment import Enrichment
from pipelines.sinks.tables.partitioning import parse_partition_by

TRACEBACK = """Traceback (most recent call last):
  File "decode.py", line 46, in read_split
    raise InputError(what) from error
encoder.errors.{kind}: {message}

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
encoder.errors.{kind}: {message} [while running 'Read/ParDo(ReadSplit)']
"""


@pytest.fixture
def job(tmp_path, model):
    (tmp_path / "in.txt").write_text("login failed\npaid\n")
    pattern, output, enrichment = str(tmp_path / "in.txt"), str(tmp_path / "out"), Enrichment.parse("text")
    return plan_backfill(model=str(model), pattern=pattern, output=output, enrichment=enrichment)


def test_an_error_of_ours_is_found_behind_beams():
    outer = RuntimeError("[while running 'Read']")
    outer.__cause__ = InputError("a.gz is damaged [while running 'Read']")
    assert isinstance(_cause(outer), InputError)
    assert str(_cause(outer)) == "a.gz is damaged"
    extra = MissingExtra("torch", "distill")
    assert str(_cause(extra)) == str(extra)


@pytest.mark.parametrize("kind", [InputError, CorruptVersion])
@pytest.mark.parametrize("before", ["", "Pipeline job-1 failed in state FAILED: "])
def test_an_error_of_ours_is_found_in_the_text_of_a_worker(kind, before):
    message = "in.gz: is 'damaged' [half]: copy it"
    found = _cause(RuntimeError(before + TRACEBACK.format(kind=kind.__name__, message=message)))
    assert type(found) is kind
    assert str(found) == message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "Traceback …\n  File\nValueError: no [while running 'Embed']",
            "the Beam job failed: ValueError: no",
        ),
        ("encoder.errors.NoSuchKind: x", "the Beam job failed: encoder.errors.NoSuchKind: x"),
        ("", "the Beam job failed: RuntimeError"),
    ],
)
def test_any_other_error_is_one_line(text, line):
    found = _cause(RuntimeError(text))
    assert type(found) is MillstreamError
    assert str(found) == f"{line} (--debug shows where)"


def test_an_interruption_inside_beam_is_one():
    assert isinstance(_cause(RuntimeError("KeyboardInterrupt [while running 'Read']")), KeyboardInterrupt)


@pytest.mark.slow
def test_a_run_tells_what_earlier_ones_made_and_clears_up(job, tmp_path):
    claim_output(job)
    told = []
    counts = run_backfill(job, beam_options([], 1), told.append)
    assert (counts.records, counts.rows, counts.parts) == (2, 2, 1)
    assert told[0].records == 0
    (tmp_path / "out" / SUMMARY_FILE).unlink()
    (tmp_path / "out/_staging").mkdir()
    (tmp_path / "out/_staging/part-00000.parquet.12").write_bytes(b"PAR1")
    told.clear()
    assert run_backfill(job, beam_options([], 1), told.append) == counts
    assert told[0] == counts
    assert not (tmp_path / "out/_staging").exists()


def test_a_part_in_folders_is_written_again_until_it_is_complete(job, tmp_path):
    out, job = tmp_path / "out", replace(job, partitions=parse_partition_by("text"))
    claim_output(job)
    counts = run_backfill(job, beam_options([], 1), lambda _: None)
    assert (counts.records, counts.rows, counts.parts) == (2, 2, 1)
    name = "part-00000-000000000000-00000"
    files = [out / f"text={text}/{name}.parquet" for text in ("login failed", "paid")]
    assert sorted(out.rglob("*.parquet")) == files
    before = pq.ParquetFile(files[0]).read()
    assert before.column_names == ["embedding", "model_version"]
    assert claim_output(job) == counts
    (out / f"_parts/{name}.json").unlink()
    files[0].unlink()
    assert claim_output(job) is None
    assert run_backfill(job, beam_options([], 1), lambda _: None) == counts
    assert pq.ParquetFile(files[0]).read() == before
    with pytest.raises(OutputConflict, match="partition by"):
        claim_output(replace(job, partitions=()))


def test_a_job_that_ends_well_and_lost_its_work_is_an_error(job, monkeypatch):
    claim_output(job)
    monkeypatch.setattr(runner, "backfill", lambda *_: None)
    with pytest.raises(IntegrityError, match=r"ended as DONE .* not complete: .* run the same command again"):
        run_backfill(job, beam_options([], 1), lambda _: None)


@pytest.mark.slow
@pytest.mark.parametrize("seen", [False, True])
def test_a_part_that_got_lost_is_an_error(seen, job, monkeypatch, tmp_path):
    claim_output(job)
    leave = runner.ProgressMonitor.__exit__

    def lose_a_part(self, *details):
        if seen:
            self.poll()
        next((tmp_path / "out").glob("*.parquet")).unlink()
        return leave(self, *details)

    monkeypatch.setattr(runner.ProgressMonitor, "__exit__", lose_a_part)
    with pytest.raises(IntegrityError, match="not complete"):
        run_backfill(job, beam_options([], 1), lambda _: None)
    assert open_objects(job.output).stat(SUMMARY_FILE)
