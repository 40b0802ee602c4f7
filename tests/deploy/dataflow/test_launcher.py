"""The launcher of the Flex Templates: a template's parameters as the arguments of a command."""

import importlib.util
from pathlib import Path

import pytest

from encoder.errors import ConfigurationError

PROGRAM = Path(__file__).parents[3] / "deploy/dataflow/launcher.py"


@pytest.fixture(scope="module")
def command_line():
    spec = importlib.util.spec_from_file_location("launcher", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.command_line


def test_parameters_become_the_command_s_flags_and_the_rest_is_beam_s(command_line):
    given = [
        "--model=gs://b/m@7",
        "--text={merchant}: {reason}=x",
        "--rows_per_file=100",
        "--keep=",
        "--input_format=",
        "--runner=DataflowRunner",
        "--template_location=gs://b/job_object",
        "--number_of_worker_harness_threads=4",
    ]
    assert command_line("backfill", given) == [
        "backfill",
        "--model=gs://b/m@7",
        "--text={merchant}: {reason}=x",
        "--rows-per-file=100",
        "--detach",
        "--",
        "--runner=DataflowRunner",
        "--template_location=gs://b/job_object",
        "--number_of_worker_harness_threads=4",
    ]


def test_the_runner_is_dataflow_s_unless_another_is_named(command_line):
    assert command_line("backfill", [])[-1] == "--runner=DataflowRunner"
    assert command_line("backfill", ["--runner=PortableRunner"])[-1] == "--runner=PortableRunner"


def test_lines_of_one_parameter_are_flags_that_are_given_several_times(command_line):
    found = command_line("stream", ["--property=a=1\n\n sasl.password=@/run/x \n"])
    assert found[1:3] == ["--property=a=1", "--property=sasl.password=@/run/x"]


@pytest.mark.parametrize(("value", "flags"), [("true", 1), ("True", 1), ("false", 0), ("", 0)])
def test_a_switch_is_true_or_false(command_line, value, flags):
    assert command_line("stream", [f"--stop_at_end={value}"]).count("--stop-at-end") == flags


def test_a_switch_that_is_neither_is_refused(command_line):
    with pytest.raises(ConfigurationError, match="--stop_at_end=1 is neither true nor false"):
        command_line("stream", ["--stop_at_end=1"])
