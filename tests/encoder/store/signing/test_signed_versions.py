"""Publishing with a key: what is signed is the version under its number."""

import hashlib
from datetime import timedelta

import pytest
from faults.doubles import Clock, DictObjects, LossyObjects
from msgspec.structs import replace

from encoder.errors import BadSignature, ConfigurationError
from encoder.store.manifest import encode, key_of
from encoder.store.objects import open_objects
from encoder.store.signing.bundle import check_signature
from encoder.store.store import ModelStore


def test_every_way_to_publish_signs_and_names_the_version_before(store, uri, make_model, make_key):
    signer, public = make_key()
    first = store.publish(make_model(1.0), signer=signer)
    second = store.extend(first, {"more": b"1"}, signer=signer)
    third = store.rollback(1, signer=signer)
    assert [each.previous for each in (first, second, third)] == [
        None,
        *(hashlib.sha256(open_objects(uri).read(key_of(number))).hexdigest() for number in (1, 2)),
    ]
    for version in (first, second, third):
        assert store.manifest(version.version) == version
        assert (version.format, version.expires_at, len(version.signatures)) == (2, None, 1)
        check_signature(version, version.signatures[0], public)


def test_a_version_is_signed_by_several_keys(store, make_model, make_key):
    (old, old_public), (new, new_public) = make_key("old"), make_key("new")
    version = store.publish(make_model(), signer=[old, new])
    for bundle, public in zip(version.signatures, (old_public, new_public), strict=True):
        check_signature(version, bundle, public)
    with pytest.raises(BadSignature):
        check_signature(version, version.signatures[0], new_public)


def test_an_expiry_counts_from_the_publication_and_is_not_inherited(make_model):
    clock = Clock()
    store = ModelStore(DictObjects(clock), clock=clock)
    first = store.publish(make_model(), expires=timedelta(days=90))
    assert (first.format, first.expires_at) == (2, clock.now + timedelta(days=90))
    clock.advance(days=9)
    assert store.rollback(1, expires=timedelta(days=30)).expires_at == clock.now + timedelta(days=30)
    assert store.extend(first, {"more": b"1"}).expires_at is None


def test_without_key_and_expiry_older_readers_read_the_version(store, make_model):
    version = store.publish(make_model())
    assert (version.format, version.previous, version.signatures) == (1, None, ())


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(days=-1), timedelta.max])
def test_an_expiry_that_is_no_time_to_come_is_refused(make_model, expires):
    store = ModelStore(DictObjects(Clock()))
    with pytest.raises(ConfigurationError, match="`expires` must be positive"):
        store.publish(make_model(), expires=expires)
    assert store.versions() == []


def test_another_number_is_signed_again(make_model, make_key):
    signer, public = make_key()
    objects = LossyObjects(Clock(), ["taken"])
    theirs = ModelStore(DictObjects(Clock())).publish(make_model(2.0))
    objects.theirs = encode(theirs)
    version = ModelStore(objects).publish(make_model(1.0), signer=signer)
    assert version.version == 2
    assert version.previous == hashlib.sha256(objects.theirs).hexdigest()
    check_signature(version, version.signatures[0], public)
    with pytest.raises(BadSignature, match="version"):
        check_signature(replace(version, version=3), version.signatures[0], public)
