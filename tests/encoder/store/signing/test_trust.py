"""The attacks that The Update Framework names, on stores that are read with trust.

Each attacker can write to the store, and has no trusted key. Each test says what a reader does then.
"""

import logging
import pickle
import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from encoder import Encoder
from encoder.errors import BadSignature, ConfigurationError, CorruptVersion, VersionRegression
from encoder.reference import parse
from encoder.store.cache import cached_model
from encoder.store.manifest import LARGEST_MANIFEST, digest_of, encode, key_of
from encoder.store.objects import open_objects
from encoder.store.publish import signed, store_bytes
from encoder.store.signing.keys import new_key
from encoder.store.signing.trust import Trust
from encoder.store.store import ModelStore, list_models


@pytest.fixture
def attacked(durable_uri, make_model, make_key, tmp_path, monkeypatch):
    """A store with two signed versions, what its reader and its publisher do, and what an attacker needs."""
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "cache"))
    signer, public = make_key()
    store = ModelStore.open(durable_uri, trust=public)
    first, second = (store.publish(make_model(value), signer=signer) for value in (1.0, 2.0))

    def use(trust=public):
        """What a machine does that starts: the number of the version that it uses."""
        return Encoder.load(f"{durable_uri}@latest", trust=trust).manifest.version

    return SimpleNamespace(
        uri=durable_uri,
        store=store,
        objects=open_objects(durable_uri),
        signer=signer,
        public=public,
        first=first,
        second=second,
        use=use,
        publish=lambda value=9.0: store.publish(make_model(value), signer=signer).version,
        forget=lambda: shutil.rmtree(tmp_path / "cache"),
    )


def put(attacked, manifest, number=None):
    """Write a manifest where an attacker wants it."""
    attacked.objects.overwrite(key_of(number or manifest.version), encode(manifest))


def forged(attacked, base, **files):
    """A manifest with other files than what was signed; the files are in the store."""
    changed = {path.replace("__", "/"): data for path, data in files.items()}
    made = [store_bytes(attacked.objects, data, path) for path, data in changed.items()]
    entries = sorted([*(f for f in base.files if f.path not in changed), *made], key=lambda file: file.path)
    return replace(base, files=tuple(entries), digest=digest_of(entries))


def refused_number(attacked, number, reason):
    """The number is refused by name, before any of its files is read, and blocks nothing."""
    with pytest.raises(BadSignature, match=reason):
        attacked.store.manifest(number)
    with pytest.raises(BadSignature, match=reason):
        cached_model(parse(f"{attacked.uri}@{number}"), trust=attacked.public)
    assert reason in attacked.store.refused()[number]


def test_arbitrary_software_an_unsigned_version_is_no_version(attacked, make_model, caplog):
    with caplog.at_level(logging.WARNING):
        assert ModelStore.open(attacked.uri, trust=()).publish(make_model(6.0)).version == 3
        assert [attacked.use(), attacked.use()] == [2, 2]
    assert sum("it is not signed" in record.message for record in caplog.records) == 1
    refused_number(attacked, 3, "it is not signed")
    assert attacked.store.versions() == [1, 2]
    assert attacked.publish() == 4
    assert attacked.use() == 4


def test_arbitrary_software_another_key_is_no_trusted_key(attacked, make_model, make_key):
    ModelStore.open(attacked.uri, trust=()).publish(make_model(6.0), signer=make_key("mallory")[0])
    assert attacked.use() == 2
    refused_number(attacked, 3, "it is signed by the key")


def test_arbitrary_software_an_exchanged_file_is_refused(attacked):
    put(attacked, forged(attacked, attacked.second, **{"config.json": b'{"normalize": false}'}))
    refused_number(attacked, 2, "it signs another version: digest, files differ")
    assert attacked.use() == 1


def test_arbitrary_software_an_added_head_is_refused(attacked):
    put(attacked, forged(attacked, attacked.second, **{"heads__fraud.safetensors": b"head"}))
    refused_number(attacked, 2, "it signs another version: digest, files differ")
    assert attacked.use() == 1


def test_arbitrary_software_changed_bytes_of_a_file_are_refused(attacked):
    table = next(f for f in attacked.second.files if f.path == "model.safetensors")
    attacked.objects.overwrite(f"blobs/{table.sha256}", b"\0" * table.size)
    assert attacked.use() == 1
    with pytest.raises(CorruptVersion, match="does not have its sha256"):
        cached_model(parse(f"{attacked.uri}@2"), trust=attacked.public)


def test_rollback_an_old_version_under_a_higher_number_is_refused(attacked):
    put(attacked, replace(attacked.first, version=3))
    refused_number(attacked, 3, "it signs another version: version differ")
    assert attacked.use() == 2


def test_rollback_a_removed_version_does_not_bring_the_one_below_back(attacked):
    assert attacked.use() == 2
    attacked.objects.delete(key_of(2))
    with pytest.raises(VersionRegression, match="is 1, but 2 was used here"):
        attacked.use()
    attacked.objects.overwrite(key_of(2), b"{")
    with pytest.raises(CorruptVersion, match="version 2 was used here, so no lower one is"):
        attacked.use()


def test_rollback_a_damaged_version_does_not_bring_the_one_below_back(attacked):
    assert attacked.use() == 2
    table = next(f for f in attacked.second.files if f.path == "model.safetensors")
    attacked.objects.overwrite(f"blobs/{table.sha256}", b"\0" * table.size)
    assert attacked.use() == 2  # from this machine's disk
    shutil.rmtree(cached_model(parse(f"{attacked.uri}@2"), trust=attacked.public)[0])
    with pytest.raises(CorruptVersion, match="does not have its sha256"):
        attacked.use()


def test_rollback_that_is_signed_is_a_higher_number(attacked):
    assert attacked.use() == 2
    assert attacked.store.rollback(1, signer=attacked.signer).version == 3
    assert attacked.use() == 3


def test_fast_forward_a_squatted_number_blocks_nothing(attacked):
    put(attacked, replace(attacked.second, version=99_999_999))
    for number in (3, 4, 5):
        attacked.objects.create(key_of(number), b"{")
    assert attacked.use() == 2
    assert attacked.publish() == 6
    assert attacked.use() == 6
    for number in (3, 4, 5, 99_999_999):  # the store is cleaned
        attacked.objects.delete(key_of(number))
    assert attacked.use() == 6
    assert attacked.publish(8.0) == 7
    assert attacked.use() == 7


def test_fast_forward_a_machine_that_used_the_number_starts_with_trust_after_the_store_was_cleaned(attacked):
    put(attacked, replace(attacked.second, version=99_999_999, signatures=()))
    assert attacked.use(trust=()) == 99_999_999
    attacked.objects.delete(key_of(99_999_999))
    assert attacked.use() == 2


def test_fast_forward_what_a_stolen_key_signed_does_not_count_once_it_is_withdrawn(attacked, make_key):
    stolen, stolen_public = make_key("stolen")
    fast = signed(replace(attacked.second, version=99_999_998, signatures=()), [stolen])
    put(attacked, replace(fast, previous=attacked.second.previous))
    put(attacked, fast)
    assert attacked.use(trust=[attacked.public, stolen_public]) == 99_999_998
    assert attacked.use() == 2
    assert attacked.publish() == 3
    assert attacked.use() == 3


def test_mix_and_match_files_of_two_signed_versions_are_refused(attacked):
    other = {file.path: file for file in attacked.first.files}
    mixed = tuple(other[f.path] if f.path == "model.safetensors" else f for f in attacked.second.files)
    put(attacked, replace(attacked.second, files=mixed, digest=digest_of(mixed)))
    refused_number(attacked, 2, "it signs another version: digest, files differ")
    put(attacked, replace(attacked.second, signatures=attacked.first.signatures))
    refused_number(attacked, 2, "it signs another version")
    assert attacked.use() == 1


def test_wrong_target_a_version_of_another_model_is_refused(attacked, make_model):
    other_uri = f"{attacked.uri.rpartition('/')[0]}/other"
    other = ModelStore.open(other_uri, trust=attacked.public)
    for value in (5.0, 6.0, 7.0):
        third = other.publish(make_model(value), signer=attacked.signer)
    put(attacked, third)
    refused_number(attacked, 3, "it is a version of other")
    put(attacked, replace(third, name="minilm"))
    refused_number(attacked, 3, "it signs another version: name differ")
    assert attacked.use() == 2


def test_wrong_target_a_version_of_another_store_with_the_same_name_is_refused(attacked, make_model):
    staging = ModelStore.open(f"{attacked.uri.rpartition('/')[0]}/staging/minilm", trust=attacked.public)
    for value in (5.0, 6.0, 7.0):
        third = staging.publish(make_model(value), signer=attacked.signer)
    put(attacked, third)
    assert attacked.use() == 2
    assert attacked.store.manifest() == attacked.second
    assert "does not follow version 2, so history was rewritten" in attacked.store.skipped()[3]


def test_rewritten_history_a_version_that_was_used_is_not_exchanged(attacked):
    assert attacked.use() == 2
    attacked.objects.delete(key_of(2))  # the publisher does not see that it was there
    assert attacked.publish(3.0) == 2
    with pytest.raises(CorruptVersion, match="is not the one that was used here before"):
        attacked.use()
    assert attacked.publish(4.0) == 3
    with pytest.raises(CorruptVersion, match="does not follow version 2 as it was used here"):
        attacked.use()
    attacked.objects.delete(key_of(2))
    attacked.objects.delete(key_of(1))
    with pytest.raises(CorruptVersion, match="does not follow version 2 as it was used here"):
        attacked.use()
    attacked.forget()  # a machine that used nothing cannot know
    assert attacked.use() == 3


def test_rewritten_history_is_not_what_prune_does(attacked):
    assert attacked.use() == 2
    for value in (3.0, 4.0, 5.0):
        attacked.publish(value)
    for number in (1, 2, 3, 4):
        attacked.objects.delete(key_of(number))
    assert attacked.use() == 5


def test_endless_data_is_not_read(attacked):
    attacked.objects.create(key_of(3), b" " * (LARGEST_MANIFEST + 1))
    put(attacked, replace(attacked.second, version=4, signatures=attacked.second.signatures * 17))
    assert attacked.use() == 2
    reasons = attacked.store.refused()
    assert list(reasons) == [3, 4]
    assert "is not a manifest: it has over 4 MiB" in reasons[3]
    assert "it has 17 signatures, more than 16" in reasons[4]
    table = next(f for f in attacked.second.files if f.path == "model.safetensors")
    attacked.objects.overwrite(f"blobs/{table.sha256}", b"\0" * (table.size + 1))
    attacked.forget()
    assert attacked.use() == 1
    with pytest.raises(CorruptVersion, match=f"has more than its {table.size} bytes"):
        cached_model(parse(f"{attacked.uri}@2"), trust=attacked.public)


def test_a_key_is_replaced_and_the_old_one_withdrawn(attacked, make_model, make_key):
    new, new_public = make_key("new")
    old_alone, both, new_alone = attacked.public, [attacked.public, new_public], [new_public]
    publisher = ModelStore.open(attacked.uri, trust=both)
    publisher.publish(make_model(3.0), signer=[attacked.signer, new])
    assert [attacked.use(trust) for trust in (old_alone, both, new_alone)] == [3, 3, 3]
    publisher.publish(make_model(4.0), signer=new)
    assert [attacked.use(trust) for trust in (both, new_alone)] == [4, 4]
    assert ModelStore.open(attacked.uri, trust=new_alone).versions() == [3, 4]
    ModelStore.open(attacked.uri, trust=new_alone).publish(make_model(5.0), signer=new)
    assert [attacked.use(trust) for trust in (both, new_alone)] == [5, 5]


def test_warn_lets_a_version_through_and_says_so_once(attacked, make_model, caplog):
    warn = Trust.of(attacked.public, "warn")
    ModelStore.open(attacked.uri, trust=warn).publish(make_model(6.0))
    with caplog.at_level(logging.WARNING):
        assert [attacked.use(warn), attacked.use(warn)] == [3, 3]
    [said] = [r.message for r in caplog.records if r.message.startswith(attacked.uri)]
    assert said.endswith("is not trusted: it is not signed; it is used, as the trust policy is warn")


def test_without_trust_signatures_do_not_matter(attacked, make_model):
    ModelStore.open(attacked.uri).publish(make_model(6.0))
    assert Encoder.load(f"{attacked.uri}@latest").manifest.version == 3
    assert ModelStore.open(attacked.uri).refused() == {}


def test_the_environment_says_whom_to_trust(attacked, make_model, monkeypatch, tmp_path):
    ModelStore.open(attacked.uri, trust=()).publish(make_model(6.0))
    monkeypatch.setenv("MILLSTREAM_TRUST", f"{tmp_path / 'release.pub'}:{new_key(tmp_path / 'b')[1]}")
    assert attacked.use(None) == 2
    assert list(list_models(attacked.uri.rpartition("/")[0])["minilm"].refused()) == [3]
    assert attacked.use(trust=()) == 3
    monkeypatch.setenv("MILLSTREAM_TRUST_POLICY", "warn")
    assert attacked.use(None) == 3
    monkeypatch.setenv("MILLSTREAM_TRUST_POLICY", "sometimes")
    with pytest.raises(ConfigurationError, match="the trust policy is 'sometimes': use require or warn"):
        attacked.use(None)
    monkeypatch.delenv("MILLSTREAM_TRUST_POLICY")
    monkeypatch.setenv("MILLSTREAM_TRUST", str(tmp_path / "nothing.pub"))
    with pytest.raises(ConfigurationError, match=r"nothing\.pub"):
        attacked.use(None)


def test_what_the_trust_would_not_accept_is_not_published(attacked, make_model, make_key):
    with pytest.raises(ConfigurationError, match="that is not signed: sign it with a key"):
        attacked.store.publish(make_model(6.0))
    with pytest.raises(ConfigurationError, match="signed by another key: sign it"):
        attacked.store.rollback(1, signer=make_key("other")[0])
    assert attacked.store.versions() == [1, 2]


def test_prune_keeps_versions_that_others_would_push_out(attacked, make_model):
    plain = ModelStore.open(attacked.uri, trust=())
    unsigned = plain.publish(make_model(6.0))
    attacked.objects.create(key_of(4), b"{")
    later = datetime.now(UTC) + timedelta(days=30)
    assert attacked.store.prune(keep=2, now=later).versions == []
    assert attacked.store.prune(keep=1, now=later).versions == [1]
    assert attacked.store.prune(now=later + timedelta(days=30)).deleted != []
    assert attacked.store.verify(attacked.second) == attacked.store.verify(unsigned) == []
    assert attacked.use() == 2


def test_a_trust_travels_to_workers(make_key):
    public = make_key()[1]
    trust = Trust.of([public, public])
    assert pickle.loads(pickle.dumps(trust)) == trust == Trust.of(trust)
    assert trust.keys == (public,)
    assert hash(trust) == hash(Trust.of([public]))
    assert Trust.of(()) is None
