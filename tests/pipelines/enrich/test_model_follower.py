"""Models that are followed: swapped when a new version comes, kept when it is no good."""

import logging
import threading
from functools import partial

import numpy as np
import pytest
from faults.doubles import DeadObjects
from patience import PATIENCE, wait_for

from encoder.errors import ConfigurationError, NotInStore, StoreUnavailable, TransientError
from encoder.store.objects import open_objects
from encoder.store.store import ModelStore
from encoder.trial import TrialLimits, try_model
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_follower import ModelFollower
from pipelines.records.template import TextTemplate

TEXT = ["login failed"]


@pytest.fixture
def store(tmp_path, model):
    store = ModelStore.open((tmp_path / "store/minilm").as_uri())
    store.publish(model)
    return store


@pytest.fixture
def follow():
    """Start followers that are closed at the end; they look only when told."""
    started = []

    def start(ref, **options):
        follower = ModelFollower.start(ref, **{"every": 3600.0, **options})
        started.append(follower)
        return follower

    yield start
    for follower in started:
        follower.close()


@pytest.fixture
def dead_store(monkeypatch):
    """From now on no store answers."""
    monkeypatch.setattr(ModelStore, "open", classmethod(lambda cls, uri: cls(DeadObjects(uri))))


def damage(store, version):
    """Spoil the blobs that only this version has."""
    others = {f.sha256 for n in store.versions() if n != version for f in store.manifest(n).files}
    objects = open_objects(store.uri)
    for file in store.manifest(version).files:
        if file.sha256 not in others:
            objects.overwrite(f"blobs/{file.sha256}", b"\0" * file.size)


def test_a_newer_version_replaces_the_old_one(store, follow, tmp_path, tiny_model, encoder):
    follower = follow(store.uri)
    before = follower.current()
    assert (before.label, before.version) == ("minilm@1", 1)
    assert np.array_equal(before.encoder.encode(TEXT), encoder.encode(TEXT))
    assert not follower.poll()
    assert follower.current() is before
    store.publish(tiny_model(tmp_path / "next", seed=8))
    assert follower.poll()
    after = follower.current()
    assert (after.label, after.version) == ("minilm@2", 2)
    assert after.since >= before.since
    assert not np.array_equal(after.encoder.encode(TEXT), encoder.encode(TEXT))


def test_a_version_with_vectors_of_another_length_is_refused(store, follow, tmp_path, tiny_model, caplog):
    follower = follow(store.uri)
    store.publish(tiny_model(tmp_path / "next", dim=8))
    with caplog.at_level(logging.ERROR, "pipelines.enrich.model_follower"):
        assert not follower.poll()
    assert (follower.current().version, follower.refused) == (1, 1)
    assert "minilm@2 has 8 dimensions, and 16 are written here" in caplog.text


def test_the_thread_looks_by_itself(store, follow, tmp_path, tiny_model):
    follower = follow(store.uri, every=0.01)
    store.publish(tiny_model(tmp_path / "next", seed=8))
    wait_for(lambda: follower.current().version, "version 2", lambda n: n == 2)


def test_a_damaged_version_is_refused_once_and_the_next_one_taken(
    store, follow, tmp_path, tiny_model, caplog
):
    follower = follow(store.uri)
    store.publish(tiny_model(tmp_path / "bad", seed=8))
    damage(store, 2)
    with caplog.at_level(logging.ERROR, "pipelines.enrich.model_follower"):
        assert not follower.poll()
        assert not follower.poll()
    assert (follower.current().version, follower.refused) == (1, 1)
    [record] = caplog.records
    assert "version 2 is refused, keeping minilm@1" in record.getMessage()
    store.publish(tiny_model(tmp_path / "good", seed=9))
    assert follower.poll()
    assert follower.current().version == 3


@pytest.mark.parametrize("options", [{"selector": "@1"}, {"pin": True}, {"selector": "@latest", "pin": True}])
def test_what_is_pinned_is_not_followed(options, store, follow, tmp_path, tiny_model):
    selector = options.pop("selector", "")
    follower = follow(store.uri + selector, every=0.01, **options)
    store.publish(tiny_model(tmp_path / "next", seed=8))
    assert follower._thread is None
    assert follower.current().version == 1


def test_a_folder_is_what_it_is(model, follow, encoder):
    now = follow(str(model)).current()
    assert now.label.startswith("tiny@sha256:")
    assert now.version == 0
    assert np.array_equal(now.encoder.encode(TEXT), encoder.encode(TEXT))


def test_a_store_that_is_away_changes_nothing(store, follow, request):
    follower = follow(store.uri)
    request.getfixturevalue("dead_store")
    assert not follower.poll()
    assert (follower.current().version, follower.unanswered, follower.refused) == (1, 1, 0)


def test_a_start_without_the_store_uses_the_cache_and_says_so(store, follow, request, caplog):
    follow(store.uri)
    request.getfixturevalue("dead_store")
    with caplog.at_level(logging.WARNING, "pipelines.enrich.model_follower"):
        follower = follow(store.uri)
    assert follower.from_cache
    assert follower.current().label == "minilm@1"
    assert "starting with minilm@1 from the local cache" in caplog.text


def test_a_start_without_store_and_cache_fails(store, request):
    request.getfixturevalue("dead_store")
    with pytest.raises(StoreUnavailable):
        ModelFollower.start(store.uri)


def test_a_store_without_the_model_fails(tmp_path):
    with pytest.raises(NotInStore):
        ModelFollower.start((tmp_path / "nothing").as_uri())


def test_a_version_without_a_wanted_head_is_refused(store, follow, headed, model, caplog):
    accept = Enrichment(TextTemplate.parse("text"), ("text",), heads=("odd",)).accept
    with pytest.raises(ConfigurationError, match="no head 'odd': it has none"):
        follow(store.uri, accept=accept)
    store.publish(headed("odd"))
    follower = follow(store.uri, accept=accept)
    store.publish(model)
    assert not follower.poll()
    assert (follower.current().version, follower.refused) == (2, 1)
    assert "version 3 is refused, keeping minilm@2: the model has no head 'odd'" in caplog.text
    store.publish(headed("odd", "fraud"))
    assert follower.poll()
    assert follower.current().encoder.heads.names == ("fraud", "odd")


def test_a_version_that_fails_its_trial_is_refused_and_work_goes_on(
    store, follow, tmp_path, tiny_model, caplog
):
    limits = TrialLimits(cpu_seconds=1)  # less than Python needs to import what it needs
    follower = follow(store.uri, trial=partial(try_model, limits=limits))
    store.publish(tiny_model(tmp_path / "next", seed=8))
    with caplog.at_level(logging.ERROR, "pipelines.enrich.model_follower"):
        assert not follower.poll()
    assert (follower.current().version, follower.refused) == (1, 1)
    assert "version 2 is refused, keeping minilm@1" in caplog.text
    assert "killed the process that tried it" in caplog.text
    assert follower.current().encoder.encode(TEXT).any()


def test_a_trial_for_which_the_machine_is_too_busy_is_repeated(store, follow, tmp_path, tiny_model):
    answers = [TransientError("did not end"), None]

    def trial(_):
        if answer := answers.pop(0):
            raise answer

    follower = follow(store.uri, trial=trial)
    store.publish(tiny_model(tmp_path / "next", seed=8))
    assert not follower.poll()
    assert (follower.current().version, follower.refused) == (1, 1)
    assert follower.poll()
    assert follower.current().version == 2


def test_batches_are_encoded_while_a_version_is_tried(store, follow, tmp_path, tiny_model):
    """The trial waits until three batches were encoded; if it blocked them, this would never end."""
    encoded = threading.Semaphore(0)

    def trial(folder):
        assert all(encoded.acquire(timeout=PATIENCE) for _ in range(3))
        try_model(folder)

    follower = follow(store.uri, every=0.01, trial=trial)
    store.publish(tiny_model(tmp_path / "next", seed=8))

    def encode():
        now = follower.current()
        assert now.encoder.encode(TEXT).any()
        encoded.release()
        return now.version

    wait_for(encode, "version 2", lambda version: version == 2)
