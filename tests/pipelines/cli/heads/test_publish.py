"""Where a head goes when others publish at the same time."""

import numpy as np
import pytest

from encoder import Encoder
from encoder.errors import ConfigurationError, PublishedMeanwhile, UnsafeStore
from encoder.heads.scoring import Prototypes
from encoder.masks import Masks
from encoder.store import publish, publisher
from encoder.store.signing.bundle import check_signature
from encoder.store.signing.keys import new_key
from encoder.store.signing.public_keys import read_public_key
from encoder.store.store import ModelStore
from pipelines.cli.heads.publish import HeadTarget
from pipelines.cli.signing import SigningOptions


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tiny(model, tmp_path):
    """A store with one version of a tiny model."""
    made = ModelStore.open((tmp_path / "store/tiny").as_uri())
    made.publish(model)
    return made


@pytest.fixture
def other(tiny_model, tmp_path):
    """A model with other vectors."""
    return tiny_model(tmp_path / "other", seed=8)


def find(ref, name, *, replace=False, signing=None, masks=None):
    return HeadTarget.find(
        ref, name, publish=True, output=None, replaces=replace, signing=signing, masks=masks
    )


def head(name, size=2):
    return Prototypes(name, tuple("abc"[:size]), np.eye(size, 16, dtype=np.float32), 0.5, {"size": size})


def names_of(ref):
    return [one.name for one in Encoder.load(ref).heads.heads]


def test_two_heads_that_are_fitted_at_the_same_time_are_both_there(tiny):
    one, two = find(tiny.uri, "one"), find(f"{tiny.uri}@latest", "two")
    assert one.deliver(head("one"), {"accuracy": 0.5})["version"] == 2
    made = two.deliver(head("two"), {"accuracy": 0.75})
    assert (made["version"], made["based_on"]) == (3, 2)
    assert names_of(tiny.uri) == ["one", "two"]
    latest = tiny.manifest()
    assert set(latest.parameters["heads"]) == {"one", "two"}
    assert latest.quality["heads"] == {"one": {"accuracy": 0.5}, "two": {"accuracy": 0.75}}


def test_a_version_with_a_head_is_signed_if_a_key_is_given(tiny, tmp_path):
    private, public = new_key(tmp_path / "release")
    target = find(tiny.uri, "one", signing=SigningOptions(sign=[str(private)], expires="90d").open())
    target.deliver(head("one"), {})
    manifest = tiny.manifest()
    check_signature(manifest, *manifest.signatures, read_public_key(public))
    assert manifest.expires_at is not None


def test_a_head_that_comes_between_the_look_and_the_commit_stays(tiny, monkeypatch):
    one, two = find(tiny.uri, "one"), find(tiny.uri, "two")
    commit = publisher.commit

    def late(*arguments, **options):
        monkeypatch.setattr(publisher, "commit", commit)
        one.deliver(head("one"), {})
        return commit(*arguments, **options)

    monkeypatch.setattr(publisher, "commit", late)
    assert two.deliver(head("two"), {})["version"] == 3
    assert names_of(tiny.uri) == ["one", "two"]


def test_a_newer_version_with_other_vectors_is_not_undone(tiny, other):
    target = find(tiny.uri, "one")
    tiny.publish(other)
    with pytest.raises(PublishedMeanwhile) as refused:
        target.deliver(head("one"), {})
    assert f"{tiny.uri}@2 was published in the meantime, and its vectors differ" in str(refused.value)
    assert f"fit it again to the new version, or with --model {tiny.uri}@1" in str(refused.value)
    assert tiny.versions() == [1, 2]


def test_a_number_or_a_digest_means_that_version_whatever_comes_after(tiny, other):
    first = tiny.manifest(1)
    by_number, by_digest = find(f"{tiny.uri}@1", "one"), find(f"{tiny.uri}@{first.digest}", "two")
    tiny.publish(other)
    for target, version in ((by_number, 3), (by_digest, 4)):
        made = target.deliver(head(target.name), {})
        assert (made["version"], made["based_on"]) == (version, 1)
        assert names_of(made["ref"]) == [target.name]
        assert set(first.files) < set(tiny.manifest().files)


def test_a_head_of_the_same_name_that_came_meanwhile_is_not_replaced_unasked(tiny):
    mine, forced = find(tiny.uri, "one"), find(tiny.uri, "one", replace=True)
    find(tiny.uri, "one").deliver(head("one"), {})
    with pytest.raises(ConfigurationError, match="@2 already has a head 'one': give another `name`"):
        mine.deliver(head("one", 3), {})
    assert tiny.versions() == [1, 2]
    forced.deliver(head("one", 3), {})
    (found,) = Encoder.load(tiny.uri).heads.heads
    assert found.names == ("a", "b", "c")


def test_the_figures_of_a_head_go_with_it(tiny):
    find(tiny.uri, "one").deliver(head("one"), {"accuracy": 0.5})
    find(tiny.uri, "two").deliver(head("two"), {"accuracy": 0.75})
    find(tiny.uri, "one", replace=True).deliver(head("one", 3), {})
    manifest = tiny.manifest()
    assert manifest.quality["heads"] == {"two": {"accuracy": 0.75}}
    assert manifest.parameters["heads"]["one"] == {"kind": "prototypes", "size": 3}


def test_a_store_that_cannot_keep_versions_is_refused_before_the_work(tiny, monkeypatch):
    def refuse(objects):
        raise UnsafeStore(f"{objects.uri} overwrites")

    monkeypatch.setattr(publish, "prove_create_only", refuse)
    with pytest.raises(UnsafeStore, match="tiny overwrites"):
        find(tiny.uri, "one")


def test_a_head_brings_its_masks_into_the_new_version(tiny, tmp_path):
    masks = Masks.parse("ip,card")
    target = find(tiny.uri, "one", masks=masks)
    assert target.model.masks == masks
    target.deliver(head("one"), {})
    assert tiny.manifest().masks == ("card", "ip")
    assert Encoder.load(tiny.uri).masks == masks
    assert names_of(tiny.uri) == ["one"]
    folder = tmp_path / "masked"
    HeadTarget.find(tiny.uri, "two", publish=False, output=folder, replaces=False, masks=None).deliver(
        head("two"), {}
    )
    assert Encoder.load(folder).masks == masks


def test_other_masks_are_refused_where_other_heads_are(tiny):
    find(tiny.uri, "one").deliver(head("one"), {})
    with pytest.raises(ConfigurationError, match=r"its heads \(one\) were fitted to such texts"):
        find(tiny.uri, "two", masks=Masks.parse("ip"))
    replacing = find(tiny.uri, "one", masks=Masks.parse("ip"), replace=True)
    replacing.deliver(head("one", 3), {})
    assert tiny.manifest().masks == ("ip",)
    assert find(tiny.uri, "two", masks=Masks.parse("ip")).model.masks == Masks.parse("ip")
