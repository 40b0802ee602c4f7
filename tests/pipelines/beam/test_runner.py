import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from encoder.errors import (
    ConfigurationError,
    CorruptVersion,
    InputError,
    IntegrityError,
    MillstreamError,
    MissingExtra,
)
from encoder.store.objects import open_objects
from pipelines.beam import runner
from pipelines.beam.job import SUMMARY_FILE, claim_output
from pipelines.beam.plan import plan_backfill
from pipelines.beam.runner import _cause, beam_options, run_backfill, stream_options

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
    pattern, output = str(tmp_path / "in.txt"), str(tmp_path / "out")
    return plan_backfill(model=str(model), pattern=pattern, output=output, text="text")


def local(options):
    direct = options.view_as(DirectOptions)
    return options.view_as(StandardOptions).runner, direct.direct_num_workers, direct.direct_running_mode


def test_the_local_runner_has_a_thread_for_each_worker(monkeypatch):
    assert local(beam_options([], 1)) == ("FnApiRunner", 1, "in_memory")
    assert local(beam_options([], 3)) == ("FnApiRunner", 3, "multi_threading")
    monkeypatch.setattr(runner.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert local(beam_options([], None)) == ("FnApiRunner", 4, "multi_threading")
    more = ["--direct_running_mode=multi_processing", "--direct_num_workers", "2"]
    assert local(beam_options(more, 7)) == ("FnApiRunner", 2, "multi_processing")


@pytest.mark.parametrize("arguments", [["--runner=FlinkRunner"], ["--runner", "FlinkRunner"]])
def test_another_runner_is_what_counts(arguments):
    assert local(beam_options(arguments, 3)) == ("FlinkRunner", 1, "in_memory")


def test_options_that_beam_cannot_read_are_one_line(capsys):
    with pytest.raises(ConfigurationError, match=r"^Beam cannot read .*--direct_num_workers: .*'x'$"):
        beam_options(["--direct_num_workers=x"], 1)
    assert capsys.readouterr() == ("", "")


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


def test_a_job_that_ends_well_and_lost_its_work_is_an_error(job, monkeypatch):
    claim_output(job)
    monkeypatch.setattr(runner, "backfill", lambda *_: None)
    with pytest.raises(IntegrityError, match=r"ended as DONE .* not complete: .* run the same command again"):
        run_backfill(job, beam_options([], 1), lambda _: None)


@pytest.mark.parametrize("seen", [False, True])
def test_a_part_that_got_lost_is_an_error(seen, job, monkeypatch, tmp_path):
    claim_output(job)
    leave = runner.Watch.__exit__

    def lose_a_part(self, *details):
        if seen:
            self.look()
        next((tmp_path / "out").glob("*.parquet")).unlink()
        return leave(self, *details)

    monkeypatch.setattr(runner.Watch, "__exit__", lose_a_part)
    with pytest.raises(IntegrityError, match="not complete"):
        run_backfill(job, beam_options([], 1), lambda _: None)
    assert open_objects(job.output).stat(SUMMARY_FILE)


def test_a_stream_gets_what_flink_needs_unless_it_is_given():
    given = ["--runner=PortableRunner", "--checkpointing_interval=7"]
    options = stream_options(given, ends=False)
    assert options.view_as(StandardOptions).streaming
    assert options._flags == [*given, "--streaming", "--finish_bundle_before_checkpointing"]
    assert "--checkpointing_interval=10000" in stream_options(given[:1], ends=False)._flags


def test_the_local_runner_takes_only_streams_that_end():
    assert local(stream_options([], ends=True)) == ("FnApiRunner", 1, "in_memory")
    with pytest.raises(
        ConfigurationError, match=r"writes windows only when the source ends: add --stop-at-end"
    ):
        stream_options([], ends=False)
