import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from encoder.errors import ConfigurationError
from pipelines.beam import runner_options as options
from pipelines.beam.runner_options import beam_options, check_detachable, stream_options, stream_readers


def local(options):
    direct = options.view_as(DirectOptions)
    return options.view_as(StandardOptions).runner, direct.direct_num_workers, direct.direct_running_mode


def test_the_local_runner_has_a_thread_for_each_worker(monkeypatch):
    assert local(beam_options([], 1)) == ("FnApiRunner", 1, "in_memory")
    assert local(beam_options([], 3)) == ("FnApiRunner", 3, "multi_threading")
    monkeypatch.setattr(options.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert local(beam_options([], None)) == ("FnApiRunner", 4, "multi_threading")
    more = ["--direct_running_mode=multi_processing", "--direct_num_workers", "2"]
    assert local(beam_options(more, 7)) == ("FnApiRunner", 2, "multi_processing")


@pytest.mark.parametrize("arguments", [["--runner=FlinkRunner"], ["--runner", "FlinkRunner"]])
def test_another_runner_is_what_counts(arguments):
    assert local(beam_options(arguments, 3)) == ("FlinkRunner", 1, "in_memory")


def test_options_that_beam_cannot_read_are_one_line(capsys):
    with pytest.raises(ConfigurationError, match=r"^Beam cannot parse .*--direct_num_workers: .*'x'$"):
        beam_options(["--direct_num_workers=x"], 1)
    assert capsys.readouterr() == ("", "")


def test_a_stream_gets_what_flink_needs_unless_it_is_given():
    given = ["--runner=PortableRunner", "--checkpointing_interval=7"]
    found = stream_options(given, ends=False)
    assert found.view_as(StandardOptions).streaming
    assert found._flags == [*given, "--streaming", "--finish_bundle_before_checkpointing"]
    assert "--checkpointing_interval=10000" in stream_options(given[:1], ends=False)._flags
    assert stream_options(given, ends=True)._flags == [*found._flags, "--shutdown_sources_after_idle_ms=1000"]


def test_the_local_runner_takes_only_streams_that_end():
    assert local(stream_options([], ends=True)) == ("FnApiRunner", 1, "in_memory")
    with pytest.raises(
        ConfigurationError, match=r"writes windows only when the source ends: add --stop-at-end"
    ):
        stream_options([], ends=False)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--runner=PrismRunner"], ["--runner=PortableRunner", "--environment_type=LOOPBACK"]],
)
def test_a_job_that_would_end_with_this_process_is_not_left_alone(arguments):
    with pytest.raises(ConfigurationError, match="ends with this process: leave --detach out"):
        check_detachable(beam_options(arguments, 1))


def test_a_job_elsewhere_may_be_left_alone():
    check_detachable(beam_options(["--runner=PortableRunner", "--environment_type=EXTERNAL"], 1))


@pytest.mark.parametrize("runner", ["PrismRunner", "PortableRunner", "DirectRunner"])
def test_windows_on_what_may_be_prism_have_one_reader(runner):
    options = beam_options([f"--runner={runner}"], 1)
    assert stream_readers(options, windows=True) == 1
    assert stream_readers(options, windows=False) is None


@pytest.mark.parametrize("runner", ["FnApiRunner", "FlinkRunner", "DataflowRunner"])
def test_other_runners_have_as_many_readers_as_the_input_allows(runner):
    assert stream_readers(PipelineOptions([f"--runner={runner}"]), windows=True) is None
