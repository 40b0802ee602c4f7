"""A store behaves the same in a folder, in memory and on a real S3 server."""

import os

import msgspec
import pytest
from faults.doubles import Clock, DictObjects, LossyObjects

from encoder.errors import (
    ConfigurationError,
    CorruptVersion,
    InvalidReference,
    ModelFormatError,
    NotInStore,
    OutputConflict,
    PublishedMeanwhile,
    StoreUnavailable,
    UnsafeStore,
)
from encoder.model import load_model
from encoder.store.manifest import encode, key_of
from encoder.store.objects import open_objects
from encoder.store.store import ModelStore, list_models


def test_a_published_model_comes_back_byte_by_byte(store, make_model, tmp_path):
    source = make_model(1.0)
    manifest = store.publish(source, teacher="t", parameters={"dim": 4}, quality={"sts": 0.5})
    assert (manifest.version, manifest.name, manifest.teacher) == (1, "minilm", "t")
    assert (manifest.parameters, manifest.quality, manifest.rolls_back_to) == ({"dim": 4}, {"sts": 0.5}, None)
    fetched = store.fetch(store.manifest(), tmp_path / "fetched")
    names = sorted(path.name for path in source.iterdir())
    assert sorted(path.name for path in fetched.iterdir()) == names
    assert all((fetched / name).read_bytes() == (source / name).read_bytes() for name in names)
    assert load_model(fetched).dim == 4
    assert store.verify(manifest) == []


def test_each_selector_finds_its_version(store, make_model):
    first, second = store.publish(make_model(1.0)), store.publish(make_model(2.0))
    assert store.versions() == [1, 2]
    assert store.versions(after=1) == [2]
    assert store.manifest() == store.manifest("latest") == store.manifest(2) == second
    assert store.manifest(1) == store.manifest(first.digest) == store.manifest(first.digest[:19]) == first


def test_versions_share_the_blobs_that_are_equal(store, uri, make_model):
    store.publish(make_model(1.0))
    store.publish(make_model(2.0))
    assert len(open_objects(uri).scan("blobs")) == 6  # two tables, and four files that are the same


def test_a_rollback_is_a_new_version_with_the_old_digest(store, make_model):
    first = store.publish(make_model(1.0))
    store.publish(make_model(2.0))
    back = store.rollback(1)
    assert (back.version, back.rolls_back_to, back.digest, back.files) == (3, 1, first.digest, first.files)
    assert back.write_id != first.write_id
    assert store.manifest(first.digest) == back


def test_an_error_about_a_missing_version_names_the_existing_ones(store, make_model):
    with pytest.raises(NotInStore, match="there is no model at"):
        store.manifest()
    store.publish(make_model())
    with pytest.raises(NotInStore, match="has no version 9: it has only 1"):
        store.manifest(9)
    with pytest.raises(NotInStore, match="has no version sha256:000000000000"):
        store.manifest("sha256:000000000000")
    with pytest.raises(NotInStore, match="has no version 9"):
        store.rollback(9)


def test_a_folder_that_is_no_model_is_not_published(store, tmp_path):
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "notes.txt").write_text("x")
    with pytest.raises(ModelFormatError):
        store.publish(tmp_path / "junk")
    assert store.versions() == []


def test_hidden_files_stay_at_home_and_subfolders_travel(store, make_model, tmp_path):
    folder = make_model()
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (folder / ".DS_Store").write_text("x")
    (folder / "1_Normalize").mkdir()
    (folder / "1_Normalize" / "config.json").write_text("{}")
    manifest = store.publish(folder)
    paths = [file.path for file in manifest.files]
    assert "1_Normalize/config.json" in paths
    assert not any(part.startswith(".") for path in paths for part in path.split("/"))
    assert (store.fetch(manifest, tmp_path / "out") / "1_Normalize" / "config.json").read_text() == "{}"


@pytest.mark.parametrize("damage", ["changed", "longer", "shorter", "missing"])
def test_a_damaged_blob_is_found_and_never_fetched(store, uri, make_model, tmp_path, damage):
    manifest = store.publish(make_model())
    objects, key = open_objects(uri), f"blobs/{manifest.files[1].sha256}"
    data = objects.read(key)
    objects.delete(key)
    if damage != "missing":
        objects.create(
            key, {"changed": data[:-1] + b"!", "longer": data + b"x", "shorter": data[:-1]}[damage]
        )
    [problem] = store.verify(manifest)
    size = manifest.files[1].size
    words = {
        "changed": "does not have its sha256",
        "longer": f"has more than its {size} bytes",
        "shorter": f"has {size - 1} bytes, not {size}",
        "missing": "is missing",
    }
    assert problem.startswith(f"{manifest.files[1].path}: {uri}/{key} {words[damage]}")
    with pytest.raises(CorruptVersion, match=r"version 1 of .* is damaged"):
        store.fetch(manifest, tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_a_damaged_version_is_not_rolled_back_to(store, uri, make_model):
    manifest = store.publish(make_model(1.0))
    store.publish(make_model(2.0))
    open_objects(uri).delete(f"blobs/{manifest.files[1].sha256}")
    with pytest.raises(CorruptVersion, match="cannot publish these files again"):
        store.rollback(1)
    assert store.versions() == [1, 2]


def test_a_manifest_under_another_number_is_refused(store, uri, make_model):
    manifest = store.publish(make_model())
    open_objects(uri).create(key_of(2), encode(manifest))
    assert store.manifest() == manifest
    with pytest.raises(CorruptVersion, match=r"v/00000002\.json is not a valid manifest: it says version 1"):
        store.manifest(2)


def test_a_full_folder_is_not_fetched_into(store, make_model, tmp_path):
    manifest = store.publish(make_model())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(OutputConflict):
        store.fetch(manifest, tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_the_models_of_a_store_are_its_folders_with_versions(uri, make_model):
    parent = uri.rpartition("/")[0]
    for name in ("minilm", "other-1.5"):
        ModelStore.open(f"{parent}/{name}").publish(make_model())
    open_objects(f"{parent}/no-model").create("blobs/x", b"x")
    assert list(list_models(parent)) == ["minilm", "other-1.5"]
    assert list_models(parent)["minilm"].manifest().name == "minilm"
    assert list_models(f"{parent}/nothing-here") == {}


def test_reading_creates_no_store(tmp_path):
    with pytest.raises(NotInStore):
        ModelStore.open(str(tmp_path / "typo")).manifest()
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("value", [object(), float("nan"), [1, {"a": float("-inf")}]])
def test_what_is_no_json_is_refused_before_anything_is_uploaded(value, make_model):
    store = ModelStore.open(f"memory://no-json-{id(value)}/m")
    with pytest.raises(ConfigurationError, match="`parameters` of a version must be JSON"):
        store.publish(make_model(), parameters={"x": value})
    with pytest.raises(ConfigurationError, match="`quality` of a version must be JSON"):
        store.publish(make_model(), quality={"x": value})
    assert store.versions() == []
    first = store.publish(make_model())
    with pytest.raises(ConfigurationError, match="`quality` of a version must be JSON"):
        store.extend(first, {"heads/x": b"x"}, quality={"x": value})
    assert store.versions() == [1]


@pytest.mark.parametrize("kind", ["FIFO", "link"])
def test_what_is_no_file_of_the_folder_is_not_published(kind, make_model, tmp_path):
    store, folder = ModelStore.open(f"memory://no-file-{kind}/m"), make_model()
    (tmp_path / "secret").write_text("of another folder")
    os.mkfifo(folder / "more") if kind == "FIFO" else (folder / "more").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelFormatError, match=f"{folder / 'more'} is a {kind}"):
        store.publish(folder)
    assert store.versions() == []


def test_a_root_that_is_no_name_is_refused(make_model):
    with pytest.raises(InvalidReference, match="not a model name"):
        ModelStore.open("memory://names/my model").publish(make_model())


def test_a_store_whose_writes_overwrite_is_unsafe(make_model, monkeypatch):
    objects, keys = DictObjects(Clock(), "dict://careless/minilm"), []

    def create(key, data):
        keys.append(key)
        objects.overwrite(key, data)
        return True

    monkeypatch.setattr(objects, "create", create)
    with pytest.raises(UnsafeStore, match="dict://careless/minilm overwrites"):
        ModelStore(objects).publish(make_model())
    assert objects.content == {}
    assert {key[0] for key in keys} == {"_"}  # what reads all Parquet files of an output ignores such names


@pytest.mark.parametrize("fault", ["written, no reply", "written, then retry", "not written"])
def test_a_lost_reply_gives_exactly_one_version(make_model, fault):
    objects = LossyObjects(Clock(), [fault])
    store = ModelStore(objects)
    manifest = store.publish(make_model())
    assert store.versions() == [manifest.version] == [1]
    assert store.manifest() == manifest


def test_a_number_that_another_publisher_took_is_skipped(make_model):
    objects = LossyObjects(Clock(), ["taken", "written, no reply"])
    other = ModelStore(DictObjects(Clock())).publish(make_model(2.0))
    objects.theirs = encode(other)
    store = ModelStore(objects)
    manifest = store.publish(make_model(1.0))
    assert manifest.version == 2
    assert store.manifest(1) == other
    assert store.manifest(2) == manifest


def test_a_store_that_takes_nothing_publishes_nothing(make_model):
    objects = LossyObjects(Clock(), ["not written"] * 3)
    with pytest.raises(StoreUnavailable, match="nothing was published"):
        ModelStore(objects).publish(make_model())
    assert ModelStore(objects).versions() == []


def test_time_and_write_id_come_from_the_arguments(make_model):
    clock = Clock()
    store = ModelStore(DictObjects(clock), clock=clock, new_id=lambda: "fixed")
    manifest = store.publish(make_model())
    assert (manifest.created_at, manifest.write_id) == (clock.now, "fixed")


def test_numbers_above_a_gap_are_kept(make_model):
    objects = DictObjects(Clock())
    store = ModelStore(objects)
    first = store.publish(make_model())
    objects.create(key_of(5), encode(msgspec.structs.replace(first, version=5)))
    assert store.publish(make_model()).version == 6


def test_a_version_is_extended_with_the_same_blobs_and_one_more(store, make_model):
    first = store.publish(make_model(1.0), teacher="t", parameters={"dim": 4}, quality={"sts": 0.5})
    store.publish(make_model(2.0))
    made = store.extend(first, {"more/file": b"1"}, parameters={"x": 1}, quality={"y": 2})
    assert (made.version, made.name, made.teacher) == (3, first.name, "t")
    assert made.parameters == {"dim": 4, "based_on": 1, "x": 1}
    assert (made.quality, made.rolls_back_to) == ({"sts": 0.5, "y": 2}, None)
    assert {file.path for file in made.files} - {file.path for file in first.files} == {"more/file"}
    assert set(first.files) < set(made.files)
    again = store.extend(made, {"more/file": b"22"})
    assert (again.version, again.parameters["based_on"], len(again.files)) == (4, 3, len(made.files))
    assert store.verify(again) == []
    assert store.verify(made) == []


def test_a_version_that_must_be_the_latest_is_extended_only_then(store, make_model):
    first = store.publish(make_model(1.0))
    second = store.extend(first, {"more": b"1"}, next_only=True)
    assert second.version == 2
    with pytest.raises(PublishedMeanwhile, match=r"version 2 of .* was published after 1: nothing was"):
        store.extend(first, {"more": b"2"}, next_only=True)
    assert store.versions() == [1, 2]


def test_a_version_that_comes_between_the_look_and_the_commit_is_not_undone(make_model):
    objects = LossyObjects(Clock(), [])
    store = ModelStore(objects)
    first = store.publish(make_model(1.0))
    objects.faults, objects.theirs = ["taken"], encode(msgspec.structs.replace(first, version=2))
    with pytest.raises(PublishedMeanwhile, match=r"version 2 of .* was just published"):
        store.extend(first, {"more": b"1"}, next_only=True)
    assert store.versions() == [1, 2]
    assert store.manifest().files == first.files


@pytest.mark.parametrize("fault", ["written, no reply", "written, then retry"])
def test_a_lost_reply_is_no_other_version(make_model, fault):
    objects = LossyObjects(Clock(), ["", fault])
    store = ModelStore(objects)
    made = store.extend(store.publish(make_model()), {"more": b"1"}, next_only=True)
    assert store.manifest() == made


def test_a_damaged_version_is_not_extended(store, uri, make_model):
    manifest = store.publish(make_model(1.0))
    objects = open_objects(uri)
    objects.delete(f"blobs/{manifest.files[0].sha256}")
    with pytest.raises(CorruptVersion, match="cannot publish these files again"):
        store.extend(manifest, {"more": b"1"})
    assert store.versions() == [1]
