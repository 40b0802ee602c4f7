from datetime import timedelta

import msgspec
import pytest
from faults.doubles import Clock, DictObjects

from encoder.errors import ConfigurationError, CorruptVersion
from encoder.store.blobs import blob_key, mark_key
from encoder.store.manifest import digest_of
from encoder.store.objects import open_objects
from encoder.store.publish import commit, upload
from encoder.store.store import ModelStore


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def objects(clock):
    return DictObjects(clock)


@pytest.fixture
def versions(objects, clock):
    return ModelStore(objects, clock=clock)


def table_key(manifest):
    return blob_key(next(file.sha256 for file in manifest.files if file.path == "model.safetensors"))


def test_old_versions_go_and_their_blobs_a_grace_later(versions, objects, clock, make_model):
    manifests = [versions.publish(make_model(value)) for value in (1.0, 2.0, 3.0)]
    clock.advance(days=8)
    first = versions.prune(keep=1)
    assert (first.versions, len(first.marked), first.deleted) == ([1, 2], 2, [])
    clock.advance(days=6)
    assert versions.prune(keep=1).deleted == []
    clock.advance(days=2)
    last = versions.prune(keep=1)
    assert sorted(map(blob_key, last.deleted)) == sorted(map(table_key, manifests[:2]))
    assert last.freed == sum(
        file.size for m in manifests[:2] for file in m.files if file.path == "model.safetensors"
    )
    assert versions.versions() == [3]
    assert versions.verify(manifests[2]) == []
    assert objects.scan("marks") == []


def test_without_keep_no_version_is_removed(versions, clock, make_model):
    for value in (1.0, 2.0):
        versions.publish(make_model(value))
    clock.advance(days=100)
    done = versions.prune()
    assert (done.versions, done.marked, done.deleted) == ([], [], [])
    assert versions.versions() == [1, 2]


def test_a_version_replaced_within_the_grace_stays(versions, clock, make_model):
    versions.publish(make_model(1.0))
    clock.advance(days=30)
    versions.publish(make_model(2.0))
    clock.advance(days=6)
    assert versions.prune(keep=1).versions == []
    clock.advance(days=2)
    assert versions.prune(keep=1).versions == [1]


def test_numbers_are_never_given_twice(versions, clock, make_model):
    for _ in range(3):
        versions.publish(make_model())
        clock.advance(days=10)
        versions.prune(keep=1)
    assert versions.publish(make_model()).version == 4
    with pytest.raises(ConfigurationError, match="keep at least 1"):
        versions.prune(keep=0)


def test_a_dry_run_changes_nothing(versions, objects, clock, make_model):
    for value in (1.0, 2.0):
        versions.publish(make_model(value))
    clock.advance(days=8)
    before = dict(objects.content)
    assert versions.prune(keep=1, dry_run=True).versions == [1]
    assert objects.content == before


def test_a_rolled_back_version_keeps_its_blobs(versions, clock, make_model):
    for value in (1.0, 2.0):
        versions.publish(make_model(value))
    back = versions.rollback(1)
    for _ in range(3):
        clock.advance(days=8)
        versions.prune(keep=1)
    assert versions.versions() == [3]
    assert versions.verify(back) == []


def test_a_publisher_at_work_keeps_its_blobs(versions, objects, clock, make_model):
    files = upload(objects, make_model(1.0))
    clock.advance(days=6)
    done = versions.prune()
    assert (done.marked, done.deleted) == ([], [])
    assert all(objects.stat(blob_key(file.sha256)) for file in files)


def test_a_marked_blob_that_is_published_again_stays(versions, objects, clock, make_model):
    upload(objects, make_model(1.0))  # a publisher that was killed before its commit
    clock.advance(days=8)
    assert len(versions.prune().marked) == 5
    clock.advance(days=8)
    manifest = versions.publish(make_model(1.0))
    assert versions.prune().deleted == []
    assert versions.verify(manifest) == []
    assert objects.scan("marks") == []


def test_a_blob_claimed_between_the_look_and_the_delete_stays(
    versions, objects, clock, make_model, monkeypatch
):
    upload(objects, make_model(1.0))
    clock.advance(days=8)
    versions.prune()
    clock.advance(days=8)
    scan, published = objects.scan, []

    def scan_then_publish(folder, after=""):
        found = scan(folder, after)
        if folder == "_staging":  # prune has seen everything by now
            monkeypatch.setattr(objects, "scan", scan)
            published.append(versions.publish(make_model(1.0)))
        return found

    monkeypatch.setattr(objects, "scan", scan_then_publish)
    assert versions.prune().deleted == []
    assert versions.verify(published[0]) == []


def test_a_blob_deleted_while_it_is_claimed_is_written_again(
    versions, objects, clock, make_model, monkeypatch
):
    files = upload(objects, make_model(1.0))
    clock.advance(days=8)
    versions.prune()
    clock.advance(days=8)
    delete = objects.delete

    def delete_mark_then_blob(key):  # a prune that has seen the mark deletes right after the publisher's look
        delete(key)
        if key.startswith("marks/"):
            delete(key.replace("marks/", "blobs/"))

    monkeypatch.setattr(objects, "delete", delete_mark_then_blob)
    manifest = versions.publish(make_model(1.0))
    assert list(manifest.files) == files
    assert versions.verify(manifest) == []


def test_the_mark_of_a_blob_that_is_used_again_is_removed(versions, objects, clock, make_model):
    upload(objects, make_model(1.0))  # a publisher that was killed
    clock.advance(days=8)
    upload(objects, make_model(1.0))  # one that has claimed its blobs and will commit
    versions.prune()
    assert len(objects.scan("marks")) == 5
    draft = versions.publish(make_model(2.0))
    by_path = {file.path: file for file in upload(DictObjects(clock), make_model(1.0))}
    files = tuple(by_path[file.path] for file in draft.files)
    late = msgspec.structs.replace(draft, files=files, digest=digest_of(files))
    assert commit(objects, late, 1).version == 2
    versions.prune()
    assert objects.scan("marks") == []


def test_a_manifest_that_cannot_be_read_stops_the_prune(versions, objects, clock, make_model):
    versions.publish(make_model())
    objects.overwrite("v/00000002.json", b"{")
    upload(objects, make_model(2.0))
    clock.advance(days=100)
    before = dict(objects.content)
    with pytest.raises(CorruptVersion, match=r"v/00000002\.json"):
        versions.prune(keep=1)
    assert objects.content == before


def test_leftovers_of_killed_processes_are_removed_after_the_grace(versions, objects, clock, make_model):
    versions.publish(make_model())
    objects.create("_probe/x", b"1")
    objects.create("_staging/y", b"1")
    objects.create(mark_key("00" * 32), clock.now.isoformat().encode())  # of a blob that is gone
    assert versions.prune().litter == []
    clock.advance(days=8)
    assert sorted(versions.prune().litter) == ["_probe/x", "_staging/y"]
    assert not objects.scan("marks")


def test_every_kind_of_store_is_pruned(store, uri, make_model):
    for value in (1.0, 2.0, 3.0):
        store.publish(make_model(value))
    now = store.manifest().created_at
    store.prune(keep=1, now=now + timedelta(days=8))
    done = store.prune(keep=1, now=now + timedelta(days=16))
    assert len(done.deleted) == 2
    assert store.versions() == [3]
    assert store.verify(store.manifest()) == []
    assert len(open_objects(uri).scan("blobs")) == 5
    assert open_objects(uri).scan("marks") == open_objects(uri).scan("_staging") == []
