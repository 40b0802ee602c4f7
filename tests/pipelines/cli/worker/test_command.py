"""The worker's command line: the same options from flags, a file and the environment."""

import json
import signal

import pytest
from topics import read_topic, unique, write_topic


@pytest.fixture
def options(model):
    """What a worker must be told, by the names of its flags."""
    return {
        "brokers": "127.0.0.1:1",
        "group": "g",
        "input": "in",
        "model": str(model),
        "output": "topic:out",
        "dead-letters": "topic:dead",
    }


def flags(options):
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def toml(options, *more):
    return "\n".join([*(f"{name} = {json.dumps(value)}" for name, value in options.items()), *more])


def test_an_option_that_is_not_known_is_named(options, millstream, tmp_path):
    (tmp_path / "worker.toml").write_text(toml(options, "brokr = 1"))
    ended = millstream("worker", "--config", tmp_path / "worker.toml")
    assert ended.code == 2
    assert "unknown option 'brokr'" in ended.error


@pytest.mark.parametrize(("text", "says"), [("brokers = ", "cannot read"), (None, "cannot read")])
def test_a_file_that_cannot_be_read_is_named(text, says, millstream, tmp_path):
    if text is not None:
        (tmp_path / "worker.toml").write_text(text)
    ended = millstream("worker", "--config", tmp_path / "worker.toml")
    assert (ended.code, says in ended.error) == (2, True)
    assert "worker.toml" in ended.error


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("output", "out", "write topic:NAME, parquet:URI, iceberg:"),
        ("max-dead-letters", "some", "write a share"),
        ("property", "group.id=x", "--group"),
        ("fields", ":int64", "NAME:TYPE"),
        ("dead-letters", "topic:in", "both input and output"),
    ],
)
def test_wrong_options_are_one_line(flag, value, says, options, millstream):
    ended = millstream("worker", *flags({**options, flag: value}))
    assert ended.code == 2
    assert says in ended.error


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    options, millstream, tmp_path, monkeypatch
):
    (tmp_path / "worker.toml").write_text(toml({**options, "output": "file"}))
    run = ("worker", "--config", tmp_path / "worker.toml")
    assert "--output 'file'" in millstream(*run).error
    monkeypatch.setenv("MILLSTREAM_WORKER_OUTPUT", "environment")
    assert "--output 'environment'" in millstream(*run).error
    assert "--output 'line'" in millstream(*run, "--output", "line").error


def test_brokers_that_do_not_answer_are_one_line(options, millstream, monkeypatch):
    monkeypatch.setattr("pipelines.kafka.admin._ASK_SECONDS", 0.5)
    ended = millstream("worker", *flags(options), "--check")
    assert ended.code == 1
    assert "the brokers do not answer" in ended.error


@pytest.fixture
def real(kafka, options):
    """Options for topics that are there."""
    names = [unique(name) for name in ("in", "out", "dead", "group")]
    for name in names[:3]:
        kafka.create_topic(name, 2)
    return {
        **options,
        "brokers": kafka.address,
        "input": names[0],
        "output": f"topic:{names[1]}",
        "dead-letters": f"topic:{names[2]}",
        "group": names[3],
    }


@pytest.mark.server
def test_check_says_what_it_found_and_hides_secrets(real, millstream, tmp_path):
    (tmp_path / "password").write_text("hunter2")
    more = ["--property", f"sasl.password=@{tmp_path}/password", "--property", "client.id=x"]
    ended = millstream("worker", *flags(real), "--check", *more)
    assert ended.code == 0, ended.err
    assert f"{real['input']}, 2 partitions" in ended.out
    assert "tiny@sha256:" in ended.out
    assert "hunter2" not in ended.out + ended.err
    ended = millstream("worker", *flags({**real, "input": "nowhere"}), "--check")
    assert (ended.code, "there is no topic 'nowhere'" in ended.error) == (2, True)
    ended = millstream("worker", *flags({**real, "model": str(tmp_path)}), "--check")
    assert ended.code in (1, 2)
    assert str(tmp_path) in ended.error


@pytest.mark.server
def test_a_worker_from_a_file_stops_at_sigterm(real, processes, ended, tmp_path):
    address, topic = real["brokers"], real["output"].removeprefix("topic:")
    write_topic(address, real["input"], [b'{"id": %d, "text": "paid"}' % i for i in range(100)])
    extra = ['text = "{id} {text}"', "[property]", '"fetch.min.bytes" = 1', "client.id = 'w'"]
    (tmp_path / "worker.toml").write_text(toml(real, *extra))
    process = processes("worker", "--config", tmp_path / "worker.toml")
    assert len(read_topic(address, topic, least=100)) == 100
    process.send_signal(signal.SIGTERM)
    outcome = ended(process)
    assert outcome.code == 0, outcome.err
    lines = [json.loads(line) for line in outcome.err.splitlines()]
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert lines[-1]["message"].startswith(("stopped", "revoked"))
