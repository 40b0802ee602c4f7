"""The model of a stream: fixed, or followed."""

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import apache_beam as beam
import pytest
from patience import wait_for

from encoder.errors import CorruptVersion
from encoder.store.store import ModelStore
from pipelines.beam.streaming import model as models
from pipelines.beam.streaming.model import LatestModel, PinnedModel
from pipelines.enrich.model_version import ModelVersion

pytestmark = pytest.mark.slow  # each version is tried in a process of its own


@pytest.fixture
def store(model, tmp_path):
    store = ModelStore.open(str(tmp_path / "store/tiny"))
    store.publish(model)
    return store


@pytest.fixture
def followed(store):
    """A followed model whose follower looks only when it is told."""
    model = LatestModel(f"{store.uri}@latest", 3600.0)
    models._cached_process.cache_clear()
    yield model
    models._process(model).follower.close()
    models._cached_process.cache_clear()


def publish_damaged(store, folder):
    """Publish a version whose table is there already, with other bytes."""
    table = (folder / "model.safetensors").read_bytes()
    blob = Path(urlsplit(store.uri).path) / "blobs" / hashlib.sha256(table).hexdigest()
    blob.write_bytes(bytes(len(table)))
    store.publish(folder)


def test_a_fixed_model_is_one_version(store, tiny_model, tmp_path):
    fixed = PinnedModel(ModelVersion.resolve(f"{store.uri}@latest"))
    store.publish(tiny_model(tmp_path / "newer", seed=8))
    assert fixed.current()[1] == "tiny@1"


def test_a_followed_model_is_the_latest_and_shared_by_the_process(store, followed, tiny_model, tmp_path):
    before, label = followed.current()
    assert label == "tiny@1"
    assert LatestModel(followed.ref, followed.every).current()[0] is before
    store.publish(tiny_model(tmp_path / "newer", seed=8))
    models._process(followed).follower.poll()
    assert followed.current()[1] == "tiny@2"


def test_a_damaged_version_is_refused_and_counted_once(store, followed, tiny_model, tmp_path):
    assert followed.current()[1] == "tiny@1"
    publish_damaged(store, tiny_model(tmp_path / "damaged", seed=8))

    def look(_):
        assert models._process(followed).follower.poll() is False
        return [followed.current()[1] for _ in range(3)]

    p = beam.Pipeline(runner="FnApiRunner", argv=["--direct_num_workers=1"])
    labels = p | beam.Create([0]) | beam.Map(look)
    _ = labels | beam.Map(lambda found: found == ["tiny@1"] * 3 or pytest.fail(str(found)))
    result = p.run()
    result.wait_until_finish()
    [refused] = [
        one.committed
        for one in result.metrics().query()["counters"]
        if one.key.metric.name == "models_refused"
    ]
    assert refused == 1


def test_a_worker_that_starts_while_the_latest_is_damaged_takes_the_one_below(
    store, followed, tiny_model, tmp_path
):
    store.publish(tiny_model(tmp_path / "good", seed=8))
    publish_damaged(store, tiny_model(tmp_path / "damaged", seed=9))
    assert followed.current()[1] == "tiny@2"
    assert models._process(followed).follower.poll() is False
    assert models._process(followed).follower.refused == 1
    store.publish(tiny_model(tmp_path / "better", seed=10))
    assert models._process(followed).follower.poll()
    assert followed.current()[1] == "tiny@4"


def test_a_store_of_damaged_versions_alone_is_an_error(tiny_model, tmp_path):
    store = ModelStore.open(str(tmp_path / "store/bad"))
    (tmp_path / "store/bad/blobs").mkdir(parents=True)
    publish_damaged(store, tiny_model(tmp_path / "damaged", seed=9))
    models._cached_process.cache_clear()
    with pytest.raises(CorruptVersion, match=r"version 1 of .* is damaged"):
        LatestModel(f"{store.uri}@latest", 3600.0).current()


def test_it_looks_by_itself(store, tiny_model, tmp_path):
    models._cached_process.cache_clear()
    model = LatestModel(f"{store.uri}@latest", 0.01)
    assert model.current()[1] == "tiny@1"
    store.publish(tiny_model(tmp_path / "newer", seed=8))
    wait_for(lambda: model.current()[1], "tiny@2", lambda label: label == "tiny@2")
    models._process(model).follower.close()
    models._cached_process.cache_clear()
