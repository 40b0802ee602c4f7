"""`--trust`: no command reads a version that no trusted key signed."""

import json
import os
from pathlib import Path

import pytest
import typer
import typer.main
from typer.testing import CliRunner

from encoder.errors import ConfigurationError, MillstreamError
from encoder.store.signing.keys import LocalSigner, new_key
from encoder.store.store import ModelStore
from pipelines.cli.app import app
from pipelines.cli.command import Command
from pipelines.cli.config_file import from_file
from pipelines.cli.trust import verifying

RECORDS = "--input {}/records/in.jsonl --text {{text}}"
FIT = f"--model {{}}/store/m --name new {RECORDS}"
WORKER = "--brokers b:1 --group g --input t --model {}/store/m --output topic:o --dead-letters topic:d"
COMMANDS = {  # each command that reads a store, with a version that is not signed
    "backfill": f"{RECORDS} --model {{}}/store/m --output {{}}/out",
    "distill": "{}/model --store {}/store --name m",
    "encode": "--model {}/store/m {}/records/in.jsonl --output {}/out.npy",
    "evaluate": "{}/store/m --classification {}/records/in.jsonl",
    "head evaluate": f"{{}}/store/m --name kind {RECORDS} --label label",
    "head fit cases": f"{FIT} --label label --publish",
    "head fit classifier": f"{FIT} --label label --publish",
    "head fit drift": f"{FIT} --publish",
    "head fit groups": f"{FIT} --publish",
    "head fit novelty": f"{FIT} --output {{}}/new",
    "head fit prototypes": f"{FIT} --label label --publish",
    "head list": "{}/store/m",
    "models prune": "{}/store/m --dry-run",
    "models publish": "{}/model --store {}/store --name m",
    "models pull": "{}/store/m@1 {}/pulled",
    "models push": "{}/store/m org/name --dry-run",
    "models report": "{}/store/m --output {}/page.html",
    "models rollback": "{}/store/m --to 1",
    "models serve": "{}/store/m --port 0",
    "models show": "{}/store/m@1",
    "models verify": "{}/store/m@1",
    "stream": "--input files:{}/records --model {}/store/m --output parquet:{}/out --stop-at-end",
    "warm": "{}/store/m@1",
    "worker": WORKER,
}
OTHERS = {
    "demo": "makes its own model",
    "keys new": "reads no store",
    "models list": "says what it does not trust",
    "models prune": "removes what is old, whoever signed it",
    "models sign": "signs what is there",
}


def leaves(command, path=()):
    inner = getattr(command, "commands", {})
    return [leaf for name, one in inner.items() for leaf in leaves(one, (*path, name))] or [" ".join(path)]


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    root = tmp_path_factory.mktemp("trust")
    (root / "model").symlink_to(model)
    ModelStore.open(str(root / "store/m")).publish(model)
    lines = [{"text": f"card {k}", "label": f"l{k % 2}"} for k in range(20)]
    (root / "records").mkdir()
    (root / "records/in.jsonl").write_text("\n".join(map(json.dumps, lines)))
    new_key(root / "release")
    return root


@pytest.fixture(autouse=True)
def _no_trust(monkeypatch):
    for name in ("MILLSTREAM_TRUST", "MILLSTREAM_TRUST_POLICY", "MILLSTREAM_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)


def call(folder, command, *more):
    words = COMMANDS.get(command, command).replace("{{text}}", "{text}").replace("{}", str(folder)).split()
    return CliRunner().invoke(app, [*command.split(), *words, *map(str, more)])


def test_every_command_is_here():
    assert set(COMMANDS) | set(OTHERS) == set(leaves(typer.main.get_command(app)))


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in OTHERS])
def test_a_version_that_is_not_signed_is_refused(folder, command):
    done = call(folder, command, "--trust", folder / "release.pub")
    assert isinstance(done.exception, MillstreamError), (done.output, done.exception)
    assert "not signed" in str(done.exception)
    assert not any((folder / left).exists() for left in ("out", "new", "pulled", "out.npy", "page.html"))
    assert ModelStore.open(str(folder / "store/m"), trust=()).versions() == [1]
    assert "MILLSTREAM_TRUST" not in os.environ


@pytest.fixture
def signed(folder, tmp_path):
    """A store with a version that `release` signed and then one that it did not."""
    store = ModelStore.open(str(tmp_path / "store/m"))
    store.publish(folder / "model", signer=LocalSigner.read(folder / "release.key"))
    store.publish(folder / "model")
    return store


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_newest_trusted_version_is_the_latest(signed, folder):
    trust = ("--trust", folder / "release.pub")
    assert json.loads(run("models", "show", signed.uri, "--json", *trust).stdout)["version"] == 1
    assert json.loads(run("models", "show", signed.uri, "--json").stdout)["version"] == 2
    [row] = json.loads(
        run("models", "list", "--store", signed.uri.rpartition("/")[0], "--json", *trust).stdout
    )
    assert row["version"] == 1


@pytest.mark.parametrize("way", ["line", "environment", "list", "file"])
def test_keys_are_named_by_flags_variables_and_files(folder, tmp_path, monkeypatch, way):
    new_key(tmp_path / "other")
    keys = [folder / "release.pub", tmp_path / "other.pub"]
    words = [part for key in keys for part in ("--trust", str(key))] if way == "line" else []
    if way in ("environment", "list"):
        monkeypatch.setenv(
            "MILLSTREAM_TRUST", os.pathsep.join(map(str, keys)) + (":" if way == "list" else "")
        )
    if way == "file":
        (tmp_path / "job.toml").write_text(
            f"trust = {json.dumps([*map(str, keys)])}\ntrust-policy = 'warn'\n"
        )
        words = ["--config", str(tmp_path / "job.toml")]
    told = []

    def command(config: Path | None = typer.Option(None, callback=from_file, is_eager=True)) -> None:  # noqa: ARG001, B008 - Typer names the flag by it
        told.append((os.environ.get("MILLSTREAM_TRUST"), os.environ.get("MILLSTREAM_TRUST_POLICY")))

    own = typer.Typer()
    own.command(cls=Command)(verifying(command))
    done = CliRunner().invoke(own, words)
    assert done.exit_code == 0, done.output
    assert told == [(os.pathsep.join(map(str, keys)), "warn" if way == "file" else "")]


def test_a_relative_path_stays_what_it_was(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert run("models", "verify", "store/m@1", "--trust", "release.pub").exception is not None
    assert run("models", "verify", "store/m@1").exit_code == 0


def test_a_key_that_cannot_be_read_is_said_first(folder):
    done = run("models", "verify", "store/m@1", "--trust", folder / "absent.pub")
    assert isinstance(done.exception, ConfigurationError)
    assert "absent.pub: No such file" in str(done.exception)
    done = run("models", "verify", "store/m@1", "--trust", folder / "release.key")
    assert "is a private key: trust the public one" in str(done.exception)
    done = run("models", "verify", "store/m@1", "--trust", folder / "a:b.pub")
    assert "holds ':': move the key elsewhere" in str(done.exception)


def test_the_policy_warn_lets_versions_through(folder):
    done = call(folder, "models verify", "--trust", folder / "release.pub", "--trust-policy", "warn")
    assert done.exit_code == 0, done.output


def test_an_unsigned_version_is_signed_and_then_trusted(folder, tmp_path):
    store = ModelStore.open(str(tmp_path / "store/m"))
    store.publish(folder / "model")
    trust = ("--trust", folder / "release.pub")
    done = run("models", "sign", f"{store.uri}@1", "--sign", folder / "release.key", *trust)
    assert done.exit_code == 0, done.exception
    assert "@2 (" in done.stdout
    assert run("models", "verify", store.uri, *trust).exit_code == 0
    new_key(tmp_path / "other")
    done = run("models", "sign", f"{store.uri}@1", "--sign", tmp_path / "other.key", *trust)
    assert "signed by another key" in str(done.exception)
