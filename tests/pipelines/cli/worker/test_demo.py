"""The worker's demonstration, for real: the broker inside librdkafka, payments, a worker, and its view."""

import os
import re
import signal
import sys

import pytest
from patience import PATIENCE
from terminals import OnTerminal

from encoder import Encoder
from encoder.store.store import ModelStore
from pipelines.cli.worker import demo as worker_demo

COMMAND = (sys.executable, "-m", "pipelines", "worker", "--demo")
SUMMARY = (
    r"([\d,]+) payments were written, ([\d,]+) of them broken; "
    r"readers found ([\d,]+) records with vectors and ([\d,]+) dead letters"
)


@pytest.fixture
def on_terminal(tmp_path):
    """Start the demonstration on a terminal of 80 by 24 characters."""
    started = []

    def start(*arguments, size=(80, 24)):
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""}
        program = OnTerminal([*COMMAND, *map(str, arguments)], size, cwd=tmp_path, env=environment)
        started.append(program)
        return program

    yield start
    for program in started:
        program.close()


def numbers(match):
    return [int(group.replace(",", "")) for group in match.groups()]


@pytest.mark.slow
def test_without_a_terminal_lines_say_how_it_goes(processes, ended, model):
    outcome = ended(processes("worker", "--demo", "--demo-seconds", 5, "--demo-rate", 1000, "--model", model))
    assert outcome.code == 0, outcome.err
    assert re.search(
        r"^[\d,]+ records/s, [\d,]+ in all, .* dead letters, committed after", outcome.out, re.MULTILINE
    )
    written, spoilt, records, letters = numbers(re.search(SUMMARY, outcome.out))
    assert written > 1000
    assert spoilt == letters == written // 250
    assert records == written - spoilt
    assert "Delivery was at-least-once" in outcome.out


@pytest.mark.slow
def test_it_ends_though_nobody_reads_its_output(processes, model):
    process = processes("worker", "--demo", "--demo-seconds", 5, "--model", model)
    process.stdout.close()
    process.wait(PATIENCE)


@pytest.mark.slow
def test_the_view_shows_records_scores_and_neighbours_and_ctrl_c_ends_it(on_terminal, headed):
    program = on_terminal("--model", headed("fraud"))
    program.wait_for(r"│ [1-9][\d,]* a second")
    program.wait_for(r"an event in the output, and its nearest neighbours")
    program.wait_for(r"0\.\d\d [a-z ]+: ")
    program.wait_for(r" fraud: label \w+, score \d\.\d\d")
    program.wait_for(r"newest dead letter: not JSON|newest dead letter: the text is null")
    program.wait_for(r"lag by partition")
    assert program.end(signal.SIGINT) == 0
    written, _, records, _ = numbers(program.wait_for(SUMMARY))
    assert 0 < records <= written
    assert program.raw.rindex("\x1b[?1049l") > program.raw.rindex("a second")  # the first screen is back
    assert "Traceback" not in program.text


@pytest.mark.slow
def test_options_may_be_changed(processes, ended, model, tmp_path):
    ModelStore.open((tmp_path / "store/minilm").as_uri()).publish(model)
    more = ("--output", f"parquet:{tmp_path}/out", "--output", "topic:vectors", "--output-format", "msgpack")
    outcome = ended(
        processes("worker", "--demo", "--demo-seconds", 3, "--model", tmp_path / "store/minilm", *more)
    )
    assert outcome.code == 0, outcome.err
    assert list((tmp_path / "out").glob("*/p*/*.parquet"))


@pytest.mark.slow
def test_a_worker_that_ends_by_an_error_ends_all_of_it(processes, ended, model):
    outcome = ended(processes("worker", "--demo", "--model", model, "--text", "{no.such.field}"))
    assert outcome.code == 1
    assert "records are bad" in outcome.err.splitlines()[-1]


@pytest.mark.slow
def test_the_model_of_the_demonstration_is_made_once(model, tmp_path, monkeypatch, millstream):
    made = []

    def run_command(_folder, *arguments):
        assert millstream(*arguments).code == 0

    def distil(teacher, folder):
        made.append(teacher)
        ModelStore.open((folder / "models/minilm").absolute().as_uri()).publish(model)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker_demo, "teacher_folder", lambda: "teacher")
    monkeypatch.setattr(worker_demo, "distil", distil)
    monkeypatch.setattr(worker_demo, "run_command", run_command)
    assert (
        worker_demo._model() == worker_demo._model() == f"{tmp_path.as_uri()}/build/demo/models/minilm@latest"
    )
    assert made == ["teacher"]
    encoder = Encoder.load(worker_demo._model())
    assert encoder.encode("paid").shape == (16,)
    assert encoder.heads.names == ("group", "known")
    assert ModelStore.open(f"{tmp_path}/build/demo/models/minilm").versions() == [1, 2, 3]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--delivery", "exactly-once"), "has no transactions"),
        (("--brokers", "kafka:9092"), "--demo starts its own broker: leave out --brokers"),
    ],
)
def test_what_the_demonstration_cannot_do_is_said(flags, says, millstream, model):
    ended = millstream("worker", "--demo", "--model", model, *flags)
    assert ended.code == 2
    assert says in ended.error


def test_without_a_model_and_without_the_teacher_the_way_out_is_named(millstream, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipelines.cli.demo._TEACHER", "no_such_package")
    error = millstream("worker", "--demo").error
    assert "name one with --model REF" in error
    assert "pip install 'millstream[demo]'" in error


def test_the_view_needs_a_terminal(millstream, model):
    options = ("--brokers", "b:1", "--group", "g", "--input", "in", "--model", model)
    ended = millstream("worker", "--ui", *options, "--output", "topic:out", "--dead-letters", "topic:dead")
    assert ended.code == 2
    assert "standard output is not: leave --ui out" in ended.error
