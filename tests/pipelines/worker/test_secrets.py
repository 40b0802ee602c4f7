"""Secrets stay where they are: all that a worker's process prints and serves is searched for them."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest
from patience import PATIENCE, wait_for
from secure_brokers import PASSWORD
from servers import free_ports
from topics import read_topic, unique, write_topic

KEYS = ("s3cr3t-sasl", "s3cr3t-store", "s3cr3t-key", "s3cr3t-registry", "s3cr3t-session", PASSWORD)
STORE = {
    "AWS_ACCESS_KEY_ID": "someone",
    "AWS_SECRET_ACCESS_KEY": "s3cr3t-store",
    "AWS_SESSION_TOKEN": "s3cr3t-session",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ALLOW_HTTP": "true",
    "AWS_REGION": "us-east-1",
}
SECRET = {
    "sasl.password": "s3cr3t-sasl",
    "ssl.key.password": "s3cr3t-key",
    "schema.registry.basic.auth.user.info": "someone:s3cr3t-registry",
    "sasl.oauthbearer.client.secret": "s3cr3t-key",
}
DEBUG = {"MILLSTREAM_DEBUG": "1"}


def without_secrets(*texts):
    """All of it as one text, if no secret is in it."""
    text = "\n".join(texts)
    for key in KEYS:
        assert key not in text, text[max(0, text.index(key) - 500) :][:700]
    return text


def flags(address, model, output="topic:out"):
    return (
        *("worker", "--brokers", address, "--group", "g", "--input", "in", "--model", model),
        *("--output", output, "--dead-letters", "topic:dead"),
    )


def in_a_file(folder, **more):
    """A configuration that holds secrets itself, which is allowed."""
    lines = [f'"{key}" = {json.dumps(value)}' for key, value in SECRET.items()]
    options = [f"{key} = {json.dumps(value)}" for key, value in more.items()]
    path = folder / "worker.toml"
    path.write_text("\n".join([*options, "[property]", *lines]))
    return path


@pytest.mark.parametrize(
    "wrong",
    [
        ("--property", "s3cr3t-sasl"),
        ("--property", "group.id=s3cr3t-sasl"),
        ("--property", "no.such.property=s3cr3t-sasl"),
        ("--property", "ssl.key.pem=s3cr3t-key"),
        ("--schema-registry", "http://someone:s3cr3t-registry@127.0.0.1:1", "--input-format", "avro"),
        ("--help",),
    ],
)
def test_errors_and_help_show_none(wrong, millstream, model, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.kafka.admin._ASK_SECONDS", 0.2)
    path = in_a_file(tmp_path)
    ended = millstream(*flags("127.0.0.1:1", model), "--config", path, *wrong)
    assert wrong == ("--help",) or ended.code in (1, 2)
    without_secrets(ended.out, ended.err)


def test_a_file_that_is_no_toml_is_not_shown(millstream, tmp_path):
    path = in_a_file(tmp_path)
    path.write_text(path.read_text() + '\n"sasl.password" = "s3cr3t-sasl\n')
    without_secrets(millstream("worker", "--config", path).error)


@pytest.mark.slow
@pytest.mark.parametrize("debug", [{}, DEBUG])
def test_a_store_that_does_not_answer(debug, processes, ended):
    process = processes(*flags("127.0.0.1:1", "s3://bucket/minilm@latest"), **STORE, **debug)
    outcome = ended(process)
    assert outcome.code == 1
    assert "bucket" in without_secrets(outcome.out, outcome.err)


@pytest.mark.server
def test_a_worker_that_runs_and_one_that_may_not(secure, model, tmp_path):
    names = {name: secure.broker.create_topic(unique(name)) for name in ("in", "out", "dead")}
    group = unique("group")
    for name in names.values():
        secure.allow("topic", name, "read", "write")
    secure.allow("group", group, "read")
    secure.allow("transactional_id", group, "write", prefix=True)
    write_topic(secure.broker.address, names["in"], [b'{"text": "paid"}'] * 50 + [b"{"])
    (tmp_path / "password").write_text(PASSWORD)
    [port] = free_ports(1)
    properties = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "alice",
        "ssl.ca.location": str(secure.folder / "ca.pem"),
        "debug": "security,broker,topic",
    }
    command = [
        *(
            sys.executable,
            "-m",
            "pipelines",
            "worker",
            "--brokers",
            secure.addresses["SASL"],
            "--group",
            group,
            "--input",
            names["in"],
        ),
        *("--model", model, "--output", f"topic:{names['out']}", "--dead-letters", f"topic:{names['dead']}"),
        *(part for pair in properties.items() for part in ("--property", "=".join(pair))),
        *("--listen", f"127.0.0.1:{port}"),
    ]
    with printed(tmp_path, *command, "--property", f"sasl.password=@{tmp_path}/password") as (process, said):
        assert len(read_topic(secure.broker.address, names["out"], least=50)) == 50
        metrics = wait_for(
            lambda: read_metrics(port), "all records", lambda text: "records_total 51.0" in text
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    text = without_secrets(said(), metrics)
    assert "'sasl.password': '(hidden)'" in text
    assert "SASL" in text  # librdkafka's own lines are among it
    for how in (["--check"], []):
        with printed(tmp_path, *command, *how, MILLSTREAM_KAFKA_SASL_PASSWORD="s3cr3t-sasl") as (
            process,
            said,
        ):
            assert process.wait(PATIENCE)
        assert "do not let user 'alice' in" in without_secrets(said())


def read_metrics(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        return answer.read().decode()


@contextmanager
def printed(folder, *command, **environment):
    """A process, and a function that gives all that it has printed."""
    path = folder / unique("log")
    with path.open("wb") as log:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=log,
            stderr=log,
            env={**os.environ, **STORE, **DEBUG, **environment},
        )
    try:
        yield process, path.read_text
    finally:
        process.kill()
        process.wait()
