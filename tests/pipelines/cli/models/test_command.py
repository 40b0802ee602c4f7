import json
import re
import uuid

import numpy as np
import pytest
from model_signing_tool import model_signing
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from typer.testing import CliRunner

from encoder.errors import (
    ConfigurationError,
    CorruptVersion,
    InvalidReference,
    MillstreamError,
    NotInStore,
    OutputConflict,
)
from encoder.model import StaticModel, load_model, save_model
from encoder.reference import parse
from encoder.store.cache import cached_model
from encoder.store.objects import open_objects
from encoder.store.signing.bundle import check_signature, named_key
from encoder.store.signing.keys import LocalSigner, new_key
from encoder.store.signing.public_keys import key_id, read_public_key
from encoder.store.store import ModelStore
from pipelines.cli.models.command import app


@pytest.fixture
def folder(tmp_path):
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    return save_model(StaticModel(np.ones((1, 2), np.float32), tokenizer.to_str()), tmp_path / "model")


@pytest.fixture
def store():
    return f"memory://commands/{uuid.uuid4().hex}"


def run(*arguments, **options):
    """Run a command that must succeed; its standard output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], **options)
    assert result.exit_code == 0, result.output
    return result.stdout


def fail(*arguments) -> MillstreamError:
    """Run a command that must fail; its error."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, MillstreamError), result.output
    assert "\n" not in str(result.exception)
    return result.exception


def publish(folder, store, *options):
    return run("publish", folder, "--store", store, "--name", "minilm", *options).strip()


def test_a_model_is_published_listed_shown_and_pulled(folder, store, tmp_path):
    ref = publish(folder, store, "--parameter", "dim=2", "--parameter", "text={a}", "--teacher", "big")
    assert ref == f"{store}/minilm@1"
    [row] = json.loads(run("list", "--store", store, "--json"))
    assert (row["name"], row["version"], row["uri"]) == ("minilm", 1, f"{store}/minilm")
    assert "minilm" in run("list", "--store", store)
    manifest = json.loads(run("show", ref, "--json"))
    assert (manifest["parameters"], manifest["teacher"]) == ({"dim": 2, "text": "{a}"}, "big")
    shown = run("show", ref)
    assert manifest["digest"] in shown
    assert all(file["sha256"] in shown for file in manifest["files"])
    run("pull", f"{store}/minilm", tmp_path / "pulled")
    assert load_model(tmp_path / "pulled").dim == 2


def test_the_store_may_come_from_the_environment(folder, store):
    environment = {"MILLSTREAM_STORE": store}
    run("publish", folder, "--name", "minilm", env=environment)
    assert json.loads(run("list", "--json", env=environment))[0]["version"] == 1


def test_a_local_folder_with_a_space_is_a_store(folder, tmp_path):
    store = tmp_path / "my store"
    publish(folder, store)
    assert "1" in run("list", "--store", store)
    assert "verified" in run("verify", f"{store}/minilm")


def test_a_rollback_publishes_the_old_version(folder, store):
    publish(folder, store)
    publish(folder, store)
    assert run("rollback", f"{store}/minilm", "--to", 1).strip() == f"{store}/minilm@3"
    assert json.loads(run("show", f"{store}/minilm", "--json"))["rolls_back_to"] == 1
    assert isinstance(fail("rollback", f"{store}/minilm@2", "--to", 1), InvalidReference)
    assert isinstance(fail("rollback", f"{store}/minilm", "--to", 9), NotInStore)


def test_verify_checks_the_cache(folder, tmp_path, monkeypatch):
    store = tmp_path / "store"
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "cache"))
    run("publish", str(folder), "--store", str(store), "--name", "minilm")
    path, _ = cached_model(parse(f"{store}/minilm@1"))
    assert run("verify", "--cache").startswith(f"{tmp_path}/cache: 1 version, ")
    (path / "config.json").unlink()
    result = CliRunner().invoke(app, ["verify", "--cache"])
    assert isinstance(result.exception, CorruptVersion)
    assert f"{path}/config.json is missing" in result.stderr
    for wrong in ([], ["--cache", f"{store}/minilm"]):
        assert "name a REF" in str(CliRunner().invoke(app, ["verify", *wrong]).exception)


def test_verify_names_what_is_damaged(folder, store):
    ref = publish(folder, store)
    assert "5 files" in run("verify", ref)
    objects = open_objects(f"{store}/minilm")
    broken = next(info.key for info in objects.scan("blobs"))
    objects.delete(broken)
    result = CliRunner().invoke(app, ["verify", ref])
    assert broken in result.stderr
    assert result.exit_code == 1
    assert isinstance(result.exception, CorruptVersion)


def test_a_damaged_model_does_not_hide_the_others_in_the_list(folder, store):
    publish(folder, store)
    open_objects(f"{store}/broken").create("v/00000001.json", b"{")
    broken, whole = json.loads(run("list", "--store", store, "--json"))
    assert "v/00000001.json" in broken["problem"]
    assert whole["version"] == 1
    assert "minilm" in run("list", "--store", store)


def test_the_list_names_what_is_no_version_and_why(folder, store, tmp_path, monkeypatch):
    private, public = new_key(tmp_path / "release")
    signed = ModelStore.open(f"{store}/minilm").publish(folder, signer=LocalSigner.read(private))
    publish(folder, store)
    open_objects(f"{store}/minilm").create("v/99999999.json", b"{")
    monkeypatch.setenv("MILLSTREAM_TRUST", str(public))
    [row] = json.loads(run("list", "--store", store, "--json"))
    assert (row["version"], list(row["refused"])) == (signed.version, ["2", "99999999"])
    told = CliRunner().invoke(app, ["list", "--store", str(store)]).stderr
    assert "minilm: 2 is not a version: " in told
    assert "is not trusted: it is not signed" in told
    assert "minilm: 99999999 is not a version: " in told


def test_prune_asks_before_it_deletes(folder, store):
    for _ in range(3):
        publish(folder, store)
    arguments = ["prune", f"{store}/minilm", "--keep", 1, "--grace", 0]
    assert "would delete versions 1 to 2" in run(*arguments, "--dry-run")
    refused = CliRunner().invoke(app, [*map(str, arguments)], input="n\n")
    assert refused.exit_code == 1
    assert "1 to 3" in run("show", f"{store}/minilm@1")
    assert "deleted versions 1 to 2" in run(*arguments, "--yes")
    assert isinstance(fail("show", f"{store}/minilm@1"), NotInStore)
    assert "no version" in run("prune", f"{store}/minilm")


def test_a_folder_that_exists_is_not_pulled_into(folder, store, tmp_path):
    ref = publish(folder, store)
    (tmp_path / "empty").mkdir()
    assert isinstance(fail("pull", ref, tmp_path / "empty"), OutputConflict)
    assert not any((tmp_path / "empty").iterdir())


@pytest.mark.parametrize("pair", ["dim", "=2", ""])
def test_a_parameter_without_key_or_value_is_refused(folder, store, pair):
    error = fail("publish", folder, "--store", store, "--name", "m", "--parameter", pair)
    assert isinstance(error, ConfigurationError)
    assert repr(pair) in str(error)


def test_a_folder_is_no_version(folder):
    assert isinstance(fail("show", folder), InvalidReference)


def test_who_names_a_whole_store_is_told_to_name_a_model(folder, tmp_path):
    publish(folder, tmp_path / "store")
    assert str(fail("show", tmp_path / "store")).endswith(
        f"one of its models, such as {tmp_path}/store/minilm"
    )


def test_a_bad_name_is_refused(folder, store):
    assert isinstance(fail("publish", folder, "--store", store, "--name", "a/b"), InvalidReference)


def test_an_empty_store_says_how_to_fill_it(store):
    assert json.loads(run("list", "--store", store, "--json")) == []
    result = CliRunner().invoke(app, ["list", "--store", store])
    assert "millstream models publish" in result.stderr
    assert result.exit_code == 0


def test_lines_are_not_cut_when_piped(folder, store):
    ref = publish(folder, store, "--teacher", "t" * 300)
    assert "t" * 300 in run("show", ref)


@pytest.fixture
def keys(tmp_path, monkeypatch):
    monkeypatch.delenv("MILLSTREAM_SIGNING_KEY", raising=False)
    return [new_key(tmp_path / name) for name in ("release", "next")]


def shown_id(public):
    return key_id(read_public_key(public))[:12]


def test_an_unsigned_version_is_shown_as_such(folder, store):
    assert re.search(r"signed by\s+unsigned", run("show", publish(folder, store)))


def test_what_is_published_and_rolled_back_is_signed(folder, store, keys):
    (release, public), (other, other_public) = keys
    signed = publish(folder, store, "--sign", release, "--expires", "90d")
    assert re.search(rf"signed by\s+{shown_id(public)}", run("show", signed))
    assert re.search(r"expires\s+20\d\d-", run("show", signed))
    again = run("rollback", f"{store}/minilm", "--to", 1, "--sign", other).strip()
    assert re.search(rf"signed by\s+{shown_id(other_public)}", run("show", again))
    assert "expires" not in run("show", again)


def test_an_expired_version_says_so(folder, store, keys):
    signed = publish(folder, store, "--sign", keys[0][0], "--expires", "1ms")
    assert "(expired)" in run("show", signed)


def test_a_version_is_signed_by_publishing_it_again(folder, store, keys):
    first = publish(folder, store)
    done = run("sign", first, *[part for private, _ in keys for part in ("--sign", private)])
    assert done.startswith(f"{store}/minilm@2 (sha256:")
    assert done.endswith("): version 1, signed\n")
    manifest = ModelStore.open(f"{store}/minilm").manifest()
    for bundle, (_, public) in zip(manifest.signatures, keys, strict=True):
        check_signature(manifest, bundle, read_public_key(public))
    before = json.loads(run("show", first, "--json"))
    assert manifest.digest == before["digest"]
    assert manifest.parameters == {**before["parameters"], "based_on": 1}


def test_signing_needs_a_key(folder, store, keys):
    first = publish(folder, store)
    assert "Give --sign NAME.key, or MILLSTREAM_SIGNING_KEY" in str(fail("sign", first))
    assert isinstance(fail("sign", first, "--sign", keys[0][1]), ConfigurationError)


def test_a_signed_version_is_pulled_with_its_signature(folder, store, keys, tmp_path):
    private, public = keys[0]
    run("pull", publish(folder, store, "--sign", private), tmp_path / "signed")
    bundle = json.loads((tmp_path / "signed/model.sig").read_text())
    check_signature(ModelStore.open(f"{store}/minilm").manifest(), bundle, read_public_key(public))
    assert load_model(tmp_path / "signed").dim == 2
    run("pull", publish(folder, store), tmp_path / "unsigned")
    assert not (tmp_path / "unsigned/model.sig").exists()


def test_of_two_signatures_that_of_the_trusted_key_is_pulled(folder, store, keys, tmp_path):
    signed = publish(folder, store, *[part for private, _ in keys for part in ("--sign", private)])
    for _, public in keys:
        pulled = tmp_path / public.stem
        run("pull", signed, pulled, "--trust", public)
        assert named_key(json.loads((pulled / "model.sig").read_text())) == key_id(read_public_key(public))


@pytest.mark.slow
def test_the_stock_tool_accepts_a_pulled_folder_and_refuses_a_changed_one(folder, store, keys, tmp_path):
    private, public = keys[0]
    pulled = tmp_path / "pulled"
    run("pull", publish(folder, store, "--sign", private), pulled)
    check = ("verify", "key", pulled, "--signature", pulled / "model.sig", "--public_key", public)
    assert "Verification succeeded" in model_signing(*check).stdout
    (pulled / "config.json").write_text("{}")
    changed = model_signing(*check)
    assert changed.returncode != 0
    assert "Hash mismatch" in changed.stderr


def test_a_version_is_published_with_masks_and_shows_them(folder, store):
    uri = publish(folder, store, "--mask", "ip,card", "--mask", "order=ORD-[0-9]{3,5}")
    assert "order=ORD-[0-9]{3,5}, card, ip" in run("show", uri)
    assert json.loads(run("show", uri, "--json"))["masks"] == ["order=ORD-[0-9]{3,5}", "card", "ip"]
    assert "masks" not in run("show", publish(folder, store))
    error = fail("publish", folder, "--store", store, "--name", "minilm", "--mask", "ips")
    assert "there is no mask 'ips'" in str(error)
