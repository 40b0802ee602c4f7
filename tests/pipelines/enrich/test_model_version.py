import pickle
import threading

import numpy as np
import pytest

from encoder import Encoder
from encoder.errors import CorruptVersion, ModelFormatError, NotInStore
from encoder.model import load_model
from encoder.store.store import ModelStore
from encoder.trial import TrialLimits, try_model
from pipelines.enrich import model_version
from pipelines.enrich.model_version import ModelVersion


@pytest.fixture(autouse=True)
def _machine(monkeypatch, tmp_path):
    """A machine that has used no version yet, on which all pass their trial."""
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(model_version, "try_model", lambda _: None)


@pytest.fixture
def folder(tiny_model, tmp_path):
    return tiny_model(tmp_path / "mine")


def test_a_folder_is_known_by_its_digest(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    version = ModelVersion.resolve("mine")
    assert (version.ref, version.name, version.version, version.dim) == (str(folder), "mine", None, 16)
    assert version.label == f"mine@{version.digest[:19]}"
    assert version == ModelVersion.resolve(str(folder))
    assert pickle.loads(pickle.dumps(version)) == version


def test_any_change_of_a_folder_changes_its_digest(folder):
    before = ModelVersion.resolve(str(folder)).digest
    (folder / "note").write_text("x")
    changed = ModelVersion.resolve(str(folder)).digest
    (folder / "note").rename(folder / "other")
    assert len({before, changed, ModelVersion.resolve(str(folder)).digest}) == 3


def test_a_folder_that_changes_under_a_job_is_refused(folder):
    version = ModelVersion.resolve(str(folder))
    (folder / "config.json").write_text('{"normalize": false}')
    model_version._loaded.clear()  # as in a worker of its own
    with pytest.raises(CorruptVersion, match=r"mine changed while the job ran: publish it"):
        version.load()


def test_a_model_is_loaded_once_whatever_the_threads(folder, monkeypatch):
    loaded, load = [], Encoder.load
    monkeypatch.setattr(
        Encoder, "load", lambda *args, **options: loaded.append(args) or load(*args, **options)
    )
    version = ModelVersion.resolve(str(folder))
    model_version._loaded.clear()  # as in a worker of its own
    loaded.clear()
    encoders = []
    threads = [threading.Thread(target=lambda: encoders.append(version.load())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 1
    assert len(encoders) == 8
    assert len(set(map(id, encoders))) == 1


@pytest.mark.parametrize("kind", ["folder", "store"])
def test_a_model_that_is_resolved_is_loaded(folder, tmp_path, monkeypatch, kind):
    loaded = []
    monkeypatch.setattr(model_version, "load_model", lambda each: loaded.append(each) or load_model(each))
    ref = str(folder)
    if kind == "store":
        ref = str(tmp_path / "store/minilm")
        ModelStore.open(ref).publish(folder)
    version = ModelVersion.resolve(ref)
    assert version.load().dim == version.dim == 16
    assert len(loaded) == 1


@pytest.mark.slow
def test_a_job_takes_the_newest_version_that_passes_its_trial(folder, tiny_model, tmp_path, monkeypatch):
    store = ModelStore.open(str(tmp_path / "store/minilm"))
    store.publish(folder)
    bad = store.publish(tiny_model(tmp_path / "bad", seed=8))

    def trial(each):
        if bad.digest.endswith(each.name):
            try_model(each, TrialLimits(memory=-(8 << 20)))  # less than it has

    monkeypatch.setattr(model_version, "try_model", trial)
    assert ModelVersion.resolve(store.uri).label == "minilm@1"
    with pytest.raises(ModelFormatError, match=r"failed its trial|killed the process that tried it"):
        ModelVersion.resolve(f"{store.uri}@2")


def test_latest_is_pinned_when_it_is_resolved(tiny_model, folder, tmp_path):
    uri = (tmp_path / "store/minilm").as_uri()
    store = ModelStore.open(uri)
    first = store.publish(folder)
    version = ModelVersion.resolve(f"{uri}@latest")
    assert (version.ref, version.label, version.digest) == (f"{uri}@1", "minilm@1", first.digest)
    store.publish(tiny_model(tmp_path / "next", seed=8))
    assert ModelVersion.resolve(uri).label == "minilm@2"
    expected = Encoder.load(folder).encode(["card used"])
    assert np.array_equal(version.load().encode(["card used"]), expected)


def test_a_store_that_was_replaced_is_refused(tiny_model, folder, tmp_path, monkeypatch):
    stores = [tmp_path / "a/minilm", tmp_path / "b/minilm"]
    for store, model in zip(stores, (folder, tiny_model(tmp_path / "next", seed=8)), strict=True):
        ModelStore.open(store.as_uri()).publish(model)
    version = ModelVersion.resolve(f"{stores[0].as_uri()}@1")
    stores[0].rename(tmp_path / "a/old")
    stores[1].rename(stores[0])
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "cache of another machine"))
    model_version._loaded.clear()
    with pytest.raises(CorruptVersion, match="has changed since the job started"):
        version.load()


def test_what_is_no_model_shows_at_once(tmp_path):
    with pytest.raises(ModelFormatError, match="no model folder"):
        ModelVersion.resolve(str(tmp_path / "nope"))
    with pytest.raises(NotInStore, match="no model"):
        ModelVersion.resolve(f"{(tmp_path / 'store').as_uri()}@1")
