"""Signed versions from the key to the worker, by the commands, in a folder and on a real S3 server."""

import json
import signal
import uuid

import pyarrow.parquet as pq
import pytest
from topics import read_topic, unique, write_topic

from encoder.store.manifest import key_of
from encoder.store.objects import open_objects
from encoder.store.store import ModelStore

S3 = pytest.param("s3", marks=pytest.mark.server)


@pytest.fixture
def store(request, tmp_path):
    """The URI of an empty store of a kind."""
    if request.param == "folder":
        return (tmp_path / "my store").as_uri()
    return f"s3://{request.getfixturevalue('s3_environment').bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def signed(store, model, millstream, monkeypatch, tmp_path):
    """A store with a signed version, an unsigned one and a squatted number; the environment has the keys."""
    for name in ("MILLSTREAM_TRUST", "MILLSTREAM_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert millstream("keys", "new", tmp_path / "release").code == 0
    publish = ("models", "publish", model, "--store", store, "--name", "tiny")
    assert millstream(*publish, "--sign", tmp_path / "release.key").out == f"{store}/tiny@1\n"
    assert millstream(*publish).out == f"{store}/tiny@2\n"
    open_objects(f"{store}/tiny").overwrite(key_of(99_999_999), b"{}")
    monkeypatch.setenv("MILLSTREAM_TRUST", str(tmp_path / "release.pub"))
    monkeypatch.setenv("MILLSTREAM_SIGNING_KEY", str(tmp_path / "release.key"))
    return f"{store}/tiny"


@pytest.fixture
def records(tmp_path):
    lines = [{"text": f"card {k}", "label": f"l{k % 2}"} for k in range(20)]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path / "records.jsonl"


@pytest.mark.parametrize("store", ["folder", S3], indirect=True)
def test_commands_publish_sign_and_read_signed_versions(store, signed, millstream, records, tmp_path, caplog):
    [row] = json.loads(millstream("models", "list", "--store", store, "--json").out)
    assert (row["version"], sorted(row["refused"])) == (1, ["2", "99999999"])
    assert "it is not signed" in row["refused"]["2"]
    assert "it is not signed" not in caplog.text  # the list says it
    assert "it is not signed" in millstream("models", "verify", f"{signed}@2").error
    done = millstream("models", "sign", f"{signed}@2")
    assert done.out.startswith(f"{signed}@3 (sha256:"), done.err
    assert millstream("models", "rollback", signed, "--to", 1, "--expires", "90d").out == f"{signed}@4\n"
    fit = ("head", "fit", "prototypes", "--model", signed, "--name", "kind", "--input", records)
    made = millstream(*fit, "--text", "{text}", "--label", "label", "--publish", "--json").done()
    assert (made["version"], made["based_on"]) == (5, 4)
    shown = json.loads(millstream("models", "show", signed, "--json").out)
    assert (shown["version"], len(shown["signatures"])) == (5, 1)
    assert millstream("models", "verify", signed).code == 0
    done = millstream("models", "pull", signed, tmp_path / "pulled")
    assert done.code == 0, done.err
    assert (tmp_path / "pulled/model.sig").is_file()
    assert (tmp_path / "pulled/heads/kind.safetensors").is_file()
    trusted = ModelStore.open(signed, trust=tmp_path / "release.pub")
    assert trusted.versions() == [1, 3, 4, 5]


@pytest.mark.parametrize("store", ["folder", S3], indirect=True)
def test_a_backfill_takes_the_newest_signed_version(signed, backfill, records, tmp_path):
    assert backfill(records, tmp_path / "out", ref=signed).done()["model"] == "tiny@1"
    [file] = (tmp_path / "out").glob("*.parquet")
    assert set(pq.read_table(file)["model_version"].to_pylist()) == {"tiny@1"}


@pytest.mark.server
@pytest.mark.parametrize("store", ["folder", "s3"], indirect=True)
def test_a_worker_starts_with_the_newest_signed_version_and_follows_the_next(
    store, signed, model, kafka, processes, ended, millstream
):
    names = [unique(name) for name in ("in", "out", "dead")]
    for name in names:
        kafka.create_topic(name, 1)
    options = ("--brokers", kafka.address, "--group", unique("group"), "--input", names[0])
    outputs = ("--output", f"topic:{names[1]}", "--dead-letters", f"topic:{names[2]}")
    process = processes("worker", *options, *outputs, "--model", signed, "--model-seconds", 0.5)
    write_topic(kafka.address, names[0], [b'{"text": "card"}'])
    assert [json.loads(each.value())["model_version"] for each in read_topic(kafka.address, names[1], 1)] == [
        "tiny@1"
    ]
    assert millstream("models", "publish", model, "--store", store, "--name", "tiny").code == 0
    for n in range(2, 1000):
        write_topic(kafka.address, names[0], [b'{"text": "card"}'])
        if json.loads(read_topic(kafka.address, names[1], n)[-1].value())["model_version"] == "tiny@3":
            break
    process.send_signal(signal.SIGTERM)
    outcome = ended(process)
    assert outcome.code == 0, outcome.err
    assert "tiny@3" in outcome.err
    assert outcome.err.count("it is not signed") == 1
