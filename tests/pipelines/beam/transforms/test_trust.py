"""Trust in pipelines: the keys travel with the transforms."""

import pickle
import re

import pytest

from encoder.errors import BadSignature, CorruptVersion
from encoder.store.manifest import key_of
from encoder.store.signing.keys import LocalSigner, new_key
from encoder.store.signing.public_keys import read_public_key
from encoder.store.store import ModelStore
from pipelines import BatchModelHandler, Embed, EmbedBatches, MillstreamEmbeddings, TextModelHandler

pytestmark = pytest.mark.slow  # each version is tried in a process of its own

TRANSFORMS = {
    "EmbedBatches": (EmbedBatches, lambda transform: transform._model),
    "Embed": (Embed, lambda transform: transform._model),
    "TextModelHandler": (TextModelHandler, lambda handler: handler._model),
    "BatchModelHandler": (BatchModelHandler, lambda handler: handler._model),
    "MillstreamEmbeddings": (
        lambda ref, **options: MillstreamEmbeddings(ref, columns=["text"], **options),
        lambda embeddings: embeddings.get_model_handler()._model,
    ),
}


@pytest.fixture
def key(tmp_path, monkeypatch):
    monkeypatch.delenv("MILLSTREAM_TRUST", raising=False)
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "cache"))
    return new_key(tmp_path / "release")


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    return TRANSFORMS[request.param]


def test_a_version_that_is_not_signed_is_refused_when_the_pipeline_is_built(transform, model, tmp_path, key):
    make, _ = transform
    store = ModelStore.open(str(tmp_path / "store/m"))
    store.publish(model)
    with pytest.raises((BadSignature, CorruptVersion), match="it is not signed"):
        make(f"{store.uri}@latest", trust=[key[1]])


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_the_keys_travel_with_the_version(transform, model, tmp_path, key, monkeypatch, way):
    make, version_of = transform
    store = ModelStore.open(str(tmp_path / "store/m"))
    store.publish(model, signer=LocalSigner.read(key[0]))
    if way == "environment":
        monkeypatch.setenv("MILLSTREAM_TRUST", str(key[1]))
    version = version_of(make(store.uri, **({"trust": [key[1]]} if way == "argument" else {})))
    pem = read_public_key(key[1])
    monkeypatch.delenv("MILLSTREAM_TRUST", raising=False)
    key[1].unlink()  # a worker has neither the file nor the variable
    arrived = pickle.loads(pickle.dumps(version))
    assert arrived.trust.keys == (pem,)
    arrived.load()


def test_a_worker_refuses_a_manifest_that_was_exchanged_since(model, tmp_path, key, monkeypatch):
    store = ModelStore.open(str(tmp_path / "store/m"))
    store.publish(model, signer=LocalSigner.read(key[0]))
    version = EmbedBatches(store.uri, trust=[key[1]])._model
    manifest = tmp_path / "store/m" / key_of(1)
    manifest.write_text(re.sub(r'"created_by": "[^"]*"', '"created_by": "somebody"', manifest.read_text()))
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "other"))
    with pytest.raises(BadSignature, match="created_by differ"):
        pickle.loads(pickle.dumps(version)).__class__.resolve(version.ref, trust=version.trust)


def test_a_version_from_a_side_input_of_run_inference_is_verified(model, tmp_path, key):
    store = ModelStore.open(str(tmp_path / "store/m"))
    store.publish(model, signer=LocalSigner.read(key[0]))
    store.publish(model)
    handler = pickle.loads(pickle.dumps(TextModelHandler(f"{store.uri}@1", trust=[key[1]])))
    with pytest.raises(BadSignature, match="it is not signed"):
        handler.update_model_path(f"{store.uri}@2")
