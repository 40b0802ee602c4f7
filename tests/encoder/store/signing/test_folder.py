"""Folders that the tool `model_signing` signed keep their signature."""

import json
import shutil

import numpy as np
import pytest
import tiny_tokenizers
from model_signing_tool import model_signing

from encoder.errors import BadSignature, ConfigurationError
from encoder.model import StaticModel, load_model, save_model
from encoder.store.signing.bundle import check_signature, named_key, sign_manifest, signed_by
from encoder.store.signing.keys import LocalSigner, new_key
from encoder.store.signing.public_keys import key_id, read_public_key
from encoder.store.store import ModelStore
from encoder.tokenizer.tables import TABLES_FILE

pytestmark = pytest.mark.slow  # the tool takes seconds to start


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return new_key(tmp_path_factory.mktemp("keys") / "release")


@pytest.fixture(scope="module")
def signed_once(key, tmp_path_factory):
    tokenizer = tiny_tokenizers.named("uncased")
    table = np.ones((tokenizer.get_vocab_size(), 4), np.float32)
    folder = save_model(StaticModel(table, tokenizer.to_str()), tmp_path_factory.mktemp("signed") / "model")
    (folder / TABLES_FILE).unlink()  # as Model2Vec writes it
    done = model_signing("sign", "key", folder, "--private_key", key[0], "--signature", folder / "model.sig")
    assert done.returncode == 0, done
    return folder


@pytest.fixture
def folder(signed_once, tmp_path):
    return shutil.copytree(signed_once, tmp_path / "model")


@pytest.fixture
def store(tmp_path):
    return ModelStore.open(str(tmp_path / "store/m"), trust=())


def test_a_folder_keeps_its_signature_and_its_files(folder, store, key, tmp_path):
    manifest = store.publish(folder)
    assert manifest.format == 2
    assert manifest.signatures == (json.loads((folder / "model.sig").read_text()),)
    names = {path.name for path in folder.iterdir()}
    assert {file.path for file in manifest.files} == names - {"model.sig"}
    assert store.manifest() == manifest
    pulled = store.fetch(manifest, tmp_path / "pulled")
    (pulled / "model.sig").write_text(json.dumps(manifest.signatures[0]))
    check = ("verify", "key", pulled, "--signature", pulled / "model.sig", "--public_key", key[1])
    assert model_signing(*check).returncode == 0
    assert load_model(pulled).dim == 4


def test_the_signature_of_files_makes_no_trusted_version(folder, store, key):
    manifest = store.publish(folder)
    signed_by(manifest.signatures[0], read_public_key(key[1]))
    with pytest.raises(BadSignature, match="it signs the files alone"):
        ModelStore.open(store.uri, trust=[key[1]]).manifest(manifest.version)


def test_a_signature_of_the_version_stands_beside_it(folder, store, key):
    manifest = store.publish(folder, signer=LocalSigner.read(key[0]))
    kept, own = manifest.signatures
    assert named_key(kept) == named_key(own) == key_id(read_public_key(key[1]))
    check_signature(manifest, own, read_public_key(key[1]))
    assert ModelStore.open(store.uri, trust=[key[1]]).manifest() == manifest


def test_it_stays_while_the_files_do(folder, store):
    first = store.publish(folder)
    assert store.rollback(1).signatures == first.signatures
    assert store.extend(first, {}).signatures == first.signatures
    assert store.extend(first, {"README.md": b"# More"}).signatures == ()


@pytest.mark.parametrize("change", ["changed", "added", "removed"])
def test_a_signature_of_other_files_is_refused(folder, store, change):
    config = folder / "config.json"
    if change == "changed":
        config.write_text(json.dumps({**json.loads(config.read_text()), "more": 1}))
    elif change == "removed":
        (folder / "modules.json").unlink()
    else:
        (folder / "more.txt").touch()
    with pytest.raises(ConfigurationError, match=r"model\.sig does not sign what would be published \("):
        store.publish(folder)
    assert store.versions() == []


def test_what_is_no_signature_is_refused(folder, store):
    for text in ("", "[]", "{}", "not JSON"):
        (folder / "model.sig").write_text(text)
        with pytest.raises(ConfigurationError, match=r"model\.sig is not a signature, remove it"):
            store.publish(folder)


def test_the_signature_of_a_version_is_not_kept_for_another_one(folder, store, key):
    signer = LocalSigner.read(key[0])
    (folder / "model.sig").unlink()
    manifest = store.publish(folder, signer=signer)
    (folder / "model.sig").write_text(json.dumps(sign_manifest(manifest, signer)))
    again = store.publish(folder)
    assert (again.signatures, again.format, again.files) == ((), 1, manifest.files)
