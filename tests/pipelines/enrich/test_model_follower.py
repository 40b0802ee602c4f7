"""Models that are followed: swapped when a new version comes, kept when it is no good."""

import logging
import re
import threading
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from faults.doubles import DeadObjects
from patience import PATIENCE, wait_for

from encoder.errors import (
    BadSignature,
    ConfigurationError,
    CorruptVersion,
    ModelFormatError,
    NotInStore,
    StoreUnavailable,
    TransientError,
)
from encoder.reference import parse
from encoder.store.cache import cached_model
from encoder.store.manifest import key_of
from encoder.store.objects import open_objects
from encoder.store.signing.keys import LocalSigner, new_key
from encoder.store.store import ModelStore
from encoder.trial import TrialLimits, try_model
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_follower import ModelFollower
from pipelines.records.template import TextTemplate
from pipelines.worker.telemetry.metrics import WorkerMetrics

TEXT = ["login failed"]
FAILED = "failed its trial|killed the process that tried it"


@pytest.fixture(autouse=True)
def _machine(monkeypatch, tmp_path):
    """A machine that has tried no version yet."""
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def store(tmp_path, model):
    store = ModelStore.open((tmp_path / "store/minilm").as_uri())
    store.publish(model)
    return store


@pytest.fixture
def follow():
    """Start followers that are closed at the end; they look only when told, and try versions here alone."""
    started = []

    def start(ref, **options):
        follower = ModelFollower.start(ref, **{"every": 3600.0, "trial": lambda _: None, **options})
        started.append(follower)
        return follower

    yield start
    for follower in started:
        follower.close()


@pytest.fixture
def dead_store(monkeypatch):
    """From now on no store answers."""
    monkeypatch.setattr(ModelStore, "open", classmethod(lambda cls, uri, **_: cls(DeadObjects(uri))))


def damage(store, version):
    """Spoil the blobs that only this version has."""
    others = {f.sha256 for n in store.versions() if n != version for f in store.manifest(n).files}
    objects = open_objects(store.uri)
    for file in store.manifest(version).files:
        if file.sha256 not in others:
            objects.overwrite(f"blobs/{file.sha256}", b"\0" * file.size)


@pytest.mark.slow
def test_a_newer_version_replaces_the_old_one(store, follow, tmp_path, tiny_model, encoder):
    follower = follow(store.uri, trial=try_model)
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


def test_a_store_that_is_away_changes_nothing(store, follow):
    follower = follow(store.uri)
    follower._newest._store = ModelStore(DeadObjects(store.uri))
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


class Trials:
    """Trials in which the versions that are named here get no memory, and fail."""

    def __init__(self, *failing):
        self.failing = [manifest.digest.removeprefix("sha256:") for manifest in failing]
        self.tried = []

    def __call__(self, folder):
        self.tried.append(folder.name)
        if folder.name in self.failing:
            try_model(folder, TrialLimits(memory=-(8 << 20)))


def test_a_version_that_fails_its_trial_is_refused_and_work_goes_on(
    store, follow, tmp_path, tiny_model, caplog
):
    trials = Trials()
    follower = follow(store.uri, trial=trials)
    bad = store.publish(tiny_model(tmp_path / "next", seed=8))
    trials.failing = Trials(bad).failing
    with caplog.at_level(logging.ERROR, "pipelines.enrich.model_follower"):
        assert not follower.poll()
    assert (follower.current().version, follower.refused) == (1, 1)
    assert "version 2 is refused, keeping minilm@1" in caplog.text
    assert re.search(FAILED, caplog.text)
    assert follower.current().encoder.encode(TEXT).any()


@pytest.mark.slow
def test_a_start_takes_the_newest_version_that_passes_its_trial(store, follow, tmp_path, tiny_model, caplog):
    good = store.publish(tiny_model(tmp_path / "good", seed=9))
    bad = store.publish(tiny_model(tmp_path / "bad", seed=8))
    assert cached_model(parse(store.uri))[1] == bad  # this machine has used it, and was killed then
    for trials, tried in ((Trials(bad), [bad, good]), (Trials(bad), [bad])):  # what passed is tried once
        with caplog.at_level(logging.ERROR, "pipelines.enrich.model_follower"):
            follower = follow(store.uri, trial=trials)
        assert (follower.current().version, follower.refused) == (2, 1)
        assert trials.tried == [manifest.digest.removeprefix("sha256:") for manifest in tried]
    assert "version 3 is refused: " in caplog.text
    assert re.search(FAILED, caplog.text)
    with pytest.raises(ModelFormatError, match=FAILED):
        follow(f"{store.uri}@3", trial=Trials(bad))


def test_a_start_with_a_version_whose_trial_does_not_end_takes_the_one_below_meanwhile(
    store, follow, tmp_path, tiny_model, caplog
):
    store.publish(tiny_model(tmp_path / "next", seed=8))
    answers = [TransientError("did not end"), None, None]

    def trial(_):
        if answer := answers.pop(0):
            raise answer

    with caplog.at_level(logging.WARNING):
        follower = follow(store.uri, trial=trial)
    assert (follower.current().version, follower.refused) == (1, 0)
    assert f"did not end; using version 1 of {store.uri} for now" in caplog.text
    assert follower.poll()
    assert follower.current().version == 2


def test_a_trial_for_which_the_machine_is_too_busy_is_repeated(store, follow, tmp_path, tiny_model):
    answers = [None, TransientError("did not end"), None]

    def trial(_):
        if answer := answers.pop(0):
            raise answer

    follower = follow(store.uri, trial=trial)
    store.publish(tiny_model(tmp_path / "next", seed=8))
    assert not follower.poll()
    assert (follower.current().version, follower.refused) == (1, 1)
    assert follower.poll()
    assert follower.current().version == 2


@pytest.mark.slow
def test_batches_are_encoded_while_a_version_is_tried(store, follow, tmp_path, tiny_model):
    """The trial waits until three batches were encoded; if it blocked them, this would never end."""
    encoded = threading.Semaphore(0)

    def trial(folder):
        if not started:
            return
        assert all(encoded.acquire(timeout=PATIENCE) for _ in range(3))
        try_model(folder)

    started = []
    started.append(follower := follow(store.uri, every=0.01, trial=trial))
    store.publish(tiny_model(tmp_path / "next", seed=8))

    def encode():
        now = follower.current()
        assert now.encoder.encode(TEXT).any()
        encoded.release()
        return now.version

    wait_for(encode, "version 2", lambda version: version == 2)


def spoil(store, kind, folder):
    """Make the newest version one that cannot be used; folder is that of a model that is new."""
    if kind == "damaged":
        damage(store, store.publish(folder).version)
    elif kind == "no model":
        store.extend(store.manifest(), {"model.safetensors": b"no table"})
    elif kind == "of a newer format":
        open_objects(store.uri).create(key_of(max(store.versions()) + 1), b'{"format": 4}')
    elif kind == "unsigned":
        ModelStore.open(store.uri, trust=()).publish(folder)


@pytest.mark.parametrize("kind", ["damaged", "no model", "of a newer format"])
def test_a_start_takes_the_newest_good_version_as_a_running_program_does(
    store, follow, tmp_path, tiny_model, caplog, kind
):
    running = follow(store.uri)
    store.publish(tiny_model(tmp_path / "good", seed=8))
    spoil(store, kind, tiny_model(tmp_path / "bad", seed=9))
    with caplog.at_level(logging.WARNING):
        started = follow(store.uri)
    assert (started.current().version, started.refused) == (2, 1)
    assert len([record for record in caplog.records if "version" in record.message]) == 1
    assert running.poll()
    assert (running.current().version, running.refused) == (2, 1)
    assert not started.poll()
    store.publish(tiny_model(tmp_path / "better", seed=10))
    assert started.poll()
    assert (started.current().version, started.refused) == (4, 1)


def test_with_trust_a_start_and_a_running_program_skip_what_is_not_signed(
    tmp_path, model, tiny_model, follow
):
    private, public = new_key(tmp_path / "release")
    store, signer = (
        ModelStore.open((tmp_path / "store/minilm").as_uri(), trust=public),
        LocalSigner.read(private),
    )
    store.publish(model, signer=signer)
    running = follow(store.uri, trust=public)
    spoil(store, "unsigned", tiny_model(tmp_path / "bad", seed=9))
    started = follow(store.uri, trust=public)
    assert not running.poll()
    assert not started.poll()
    assert [(one.current().version, one.refused) for one in (running, started)] == [(1, 1), (1, 1)]
    with pytest.raises(BadSignature, match="it is not signed"):
        follow(f"{store.uri}@2", trust=public)
    store.publish(tiny_model(tmp_path / "better", seed=10), signer=signer)
    assert running.poll()
    assert running.current().version == 3


def test_a_start_without_a_good_version_ends_with_the_reason_of_each(store, follow, tmp_path, tiny_model):
    spoil(store, "no model", None)
    spoil(store, "damaged", tiny_model(tmp_path / "bad", seed=9))
    damage(store, 1)
    spoil(store, "of a newer format", None)
    with pytest.raises(CorruptVersion) as raised:
        follow(store.uri)
    for number, reason in enumerate(("its sha256", "not a safetensors file", "its sha256", "format 4"), 1):
        assert re.search(rf"version {number}: [^;]*{reason}", str(raised.value)), reason


def test_a_version_that_cannot_be_loaded_counts_as_not_used(store, follow):
    """So a machine that fetched it can start with the one below."""
    spoil(store, "no model", None)
    assert cached_model(parse(store.uri))[1].version == 2
    assert [follow(store.uri).current().version for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("selector", ["number", "digest"])
def test_what_is_pinned_is_replaced_by_no_other_version(store, follow, tmp_path, tiny_model, selector):
    second = store.publish(tiny_model(tmp_path / "bad", seed=9))
    damage(store, 2)
    with pytest.raises(CorruptVersion, match="does not have its sha256"):
        follow(f"{store.uri}@{2 if selector == 'number' else second.digest}")


@pytest.mark.parametrize("where", ["folder", pytest.param("s3", marks=pytest.mark.server)])
def test_freeze_an_expired_model_goes_on_and_says_when_it_expired(
    where, tmp_path, model, follow, caplog, request
):
    """Freeze: newer versions are withheld."""
    root = tmp_path.as_uri()
    if where == "s3":
        root = f"s3://{request.getfixturevalue('s3_environment').bucket}/{uuid.uuid4().hex}"
    then = datetime.now(UTC) - timedelta(days=3)
    store = ModelStore(open_objects(f"{root}/store/minilm"), clock=lambda: then)
    store.publish(model, expires=timedelta(days=2))
    with caplog.at_level(logging.WARNING):
        follower = follow(store.uri)
    assert follower.current().expires == (then + timedelta(days=2)).timestamp()
    assert f"version 1 of {store.uri} expired on " in caplog.text
    metrics = WorkerMetrics()
    metrics.follow(follower)
    value = metrics.registry.get_sample_value("millstream_model_expires_timestamp_seconds")
    assert value == pytest.approx((then + timedelta(days=2)).timestamp())
    assert not np.array_equal(follower.current().encoder.encode(TEXT), np.zeros((1, 16)))
    store.publish(model)
    assert follower.poll()
    assert follower.current().expires == 0.0
