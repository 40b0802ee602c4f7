"""Which objects of a store are versions."""

import logging
import os
from pathlib import Path

import pytest
from faults.doubles import Clock, DictObjects
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from encoder.errors import ConfigurationError, CorruptVersion
from encoder.store.manifest import FORMATS, LARGEST_MANIFEST, File, decode, digest_of, encode, key_of
from encoder.store.objects import open_objects
from encoder.store.signing.bundle import check_signature
from encoder.store.signing.public_keys import read_public_key
from encoder.store.store import ModelStore
from encoder.store.versions import Versions

DAMAGED = {
    "no JSON": b"{",
    "another number": None,
    "a newer format": b'{"format": 4}',
    "nested": b"[" * 100_000,
    "too large": b'{"format": 1}' + b" " * LARGEST_MANIFEST,
    "empty": b"",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_an_object_that_is_no_manifest_is_no_version(store, uri, make_model, kind, caplog):
    first = store.publish(make_model())
    objects = open_objects(uri)
    objects.create(key_of(2), DAMAGED[kind] if DAMAGED[kind] is not None else encode(first))
    with caplog.at_level(logging.WARNING):
        assert store.manifest() == store.manifest("latest") == store.manifest(first.digest) == first
    assert [record.message for record in caplog.records if "not a version" in record.message] == [
        f"skipped, since it is not a version: {store.refused()[2]}"
    ]
    with pytest.raises(CorruptVersion, match=r"v/00000002\.json "):
        store.manifest(2)
    assert store.publish(make_model(2.0)).version == 3
    assert store.manifest().version == 3
    assert list(store.refused()) == [2]


def test_an_object_that_became_a_manifest_is_a_version(store, uri, make_model):
    first = store.publish(make_model())
    objects = open_objects(uri)
    objects.create(key_of(2), b"{")
    assert store.manifest() == first
    second = replace(first, version=2)
    objects.overwrite(key_of(2), encode(second))
    assert store.manifest() == second
    assert store.refused() == {}


def test_without_one_version_the_error_has_every_reason(store, uri):
    objects = open_objects(uri)
    objects.create(key_of(1), b"{")
    objects.create(key_of(2), b'{"format": 4}')
    with pytest.raises(
        CorruptVersion, match=r"no version that can be used: .*1\.json .*2\.json has format 4"
    ):
        store.manifest()


def test_deeper_objects_are_no_versions(store, uri, make_model):
    first = store.publish(make_model())
    open_objects(uri).create(f"v/x/{key_of(1)}", b"{")
    open_objects(uri).create(f"v/x/{key_of(9)}", b"{")
    assert store.versions() == [1]
    assert store.manifest() == first


def test_a_full_numbering_is_an_error_that_names_the_object(store, uri, make_model):
    store.publish(make_model())
    open_objects(uri).create(key_of(99_999_999), b"{")
    with pytest.raises(ConfigurationError, match=r"no number above 99999999 left: remove v/99999999\.json"):
        store.publish(make_model())
    assert store.versions() == [1, 99_999_999]


def test_a_pipe_in_a_folder_is_no_version(make_model, tmp_path):
    store = ModelStore.open(str(tmp_path / "store" / "minilm"))
    first = store.publish(make_model())
    os.mkfifo(tmp_path / "store" / "minilm" / key_of(2))
    assert store.manifest() == first


@given(contents=st.lists(st.sampled_from("abc"), min_size=1, max_size=5))
def test_selectors_find_the_highest_version_that_fits(contents):
    objects, template = DictObjects(Clock()), stored_manifest(1)
    for number, content in enumerate(contents, 1):
        files = (File("f", content * 64, 1),)
        objects.create(
            key_of(number), encode(replace(template, version=number, files=files, digest=digest_of(files)))
        )
    versions = Versions(objects)
    assert versions.find("latest").version == len(contents)
    assert versions.find(len(contents) + 1) is None
    for content in "abc":
        digest = digest_of([File("f", content * 64, 1)])
        fitting = [number for number, each in enumerate(contents, 1) if each == content]
        for selector in (digest, digest[:19]):
            found = versions.find(selector)
            assert (found and found.version) == max(fitting, default=None)


def test_no_versions_means_none_is_selected():
    assert Versions(DictObjects(Clock())).find("latest") is None


def stored_manifest(kind):
    return decode(stored(kind), key_of(7))


def stored(kind):
    """A manifest as a release wrote it; these files never change."""
    return (Path(__file__).parent / "formats" / f"{kind}.json").read_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_that_a_release_wrote_is_read(kind):
    manifest = stored_manifest(kind)
    assert (manifest.format, manifest.name, manifest.version) == (kind, "minilm", 7)
    assert manifest.parameters == {"dim": 256, "text": "{a}"}
    assert encode(manifest) == stored(kind)


def test_the_signature_of_a_stored_version_is_by_its_key():
    [bundle] = stored_manifest(2).signatures
    check_signature(stored_manifest(2), bundle, read_public_key(Path(__file__).parent / "formats" / "2.pub"))
