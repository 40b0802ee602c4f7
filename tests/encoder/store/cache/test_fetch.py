import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from faults.doubles import DeadObjects

from encoder.errors import (
    ConfigurationError,
    CorruptVersion,
    NotInStore,
    StoreUnavailable,
    VersionRegression,
)
from encoder.model import load_model
from encoder.reference import parse
from encoder.store.cache import cached_model
from encoder.store.objects import open_objects
from encoder.store.store import ModelStore


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def local(tmp_path):
    return ModelStore.open(str(tmp_path / "store" / "minilm"))


def models(cache):
    return sorted(path.name for path in (cache / "models").glob("*")) if (cache / "models").exists() else []


def unreachable(monkeypatch):
    """Make every store unavailable; the cache stays."""
    monkeypatch.setattr(
        "encoder.store.cache.fetch.ModelStore.open", lambda uri, **_: ModelStore(DeadObjects(uri))
    )


def test_a_version_is_fetched_once_and_loads(store, uri, make_model, cache):
    manifest = store.publish(make_model())
    folder, resolved = cached_model(parse(f"{uri}@latest"), cache)
    assert resolved == manifest
    assert load_model(folder).dim == 4
    for file in manifest.files:
        open_objects(uri).delete(f"blobs/{file.sha256}")
    assert cached_model(parse(f"{uri}@1"), cache) == (folder, manifest)
    assert models(cache) == [manifest.digest.removeprefix("sha256:")]


def test_versions_with_the_same_files_share_one_folder(local, make_model, cache):
    local.publish(make_model(1.0))
    local.publish(make_model(2.0))
    local.rollback(1)
    folders = {cached_model(parse(f"{local.uri}@{n}"), cache)[0] for n in (1, 2, 3)}
    assert len(folders) == len(models(cache)) == 2


def test_a_corrupt_blob_leaves_no_folder(local, make_model, cache):
    manifest = local.publish(make_model())
    path = Path(local._objects.root) / "blobs" / manifest.files[1].sha256
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(CorruptVersion, match="does not have its sha256"):
        cached_model(parse(f"{local.uri}@latest"), cache)
    assert models(cache) == []


@pytest.mark.parametrize(
    "damage", ["truncated", "removed", "folder emptied", "one bit", "a file more", "a link"]
)
def test_a_damaged_folder_is_fetched_again(local, make_model, cache, damage):
    manifest = local.publish(make_model())
    folder, _ = cached_model(parse(f"{local.uri}@latest"), cache)
    table = folder / "model.safetensors"
    if damage == "truncated":
        os.truncate(table, 3)
    elif damage == "removed":
        table.unlink()
    elif damage == "one bit":
        data = bytearray(table.read_bytes())
        data[-1] ^= 1
        table.write_bytes(data)
    elif damage == "a file more":
        (folder / "heads").mkdir(exist_ok=True)
        (folder / "heads/planted.head").touch()
    elif damage == "a link":
        table.rename(folder.parent.parent / "elsewhere")
        table.symlink_to(folder.parent.parent / "elsewhere")
    else:
        shutil.rmtree(folder)
        folder.mkdir()
    (folder.parent / f".{folder.name}-killed").mkdir()
    assert cached_model(parse(f"{local.uri}@latest"), cache) == (folder, manifest)
    assert load_model(folder).dim == 4
    assert models(cache) == [folder.name]


def test_a_lower_latest_is_refused_and_a_pin_is_not(local, make_model, cache):
    for value in (1.0, 2.0):
        local.publish(make_model(value))
    assert cached_model(parse(f"{local.uri}@latest"), cache)[1].version == 2
    local._objects.delete("v/00000002.json")
    with pytest.raises(
        VersionRegression, match=r"is 1, but 2 was used here: pin .*@1, or publish a rollback"
    ):
        cached_model(parse(f"{local.uri}@latest"), cache)
    assert cached_model(parse(f"{local.uri}@1"), cache)[1].version == 1


def test_a_published_rollback_is_followed(local, make_model, cache):
    for value in (1.0, 2.0):
        local.publish(make_model(value))
    cached_model(parse(f"{local.uri}@latest"), cache)
    local.rollback(1)
    assert cached_model(parse(f"{local.uri}@latest"), cache)[1].rolls_back_to == 1


def test_a_version_that_changed_under_its_number_is_refused(local, make_model, cache):
    local.publish(make_model(1.0))
    cached_model(parse(f"{local.uri}@1"), cache)
    shutil.rmtree(local._objects.root)
    ModelStore.open(local.uri).publish(make_model(2.0))
    with pytest.raises(CorruptVersion, match="is not the one that was used here before"):
        cached_model(parse(f"{local.uri}@1"), cache)


@pytest.mark.parametrize("selector", ["1", "digest"])
def test_a_pinned_version_outlives_its_store(local, make_model, cache, monkeypatch, selector):
    manifest = local.publish(make_model())
    ref = parse(f"{local.uri}@{manifest.digest[:19] if selector == 'digest' else selector}")
    folder, _ = cached_model(ref, cache)
    unreachable(monkeypatch)
    assert cached_model(ref, cache) == (folder, manifest)


def test_latest_without_its_store_is_the_callers_decision(local, make_model, cache, monkeypatch):
    local.publish(make_model(1.0))
    local.publish(make_model(2.0))
    ref = parse(f"{local.uri}@latest")
    _, manifest = cached_model(ref, cache)
    unreachable(monkeypatch)
    with pytest.raises(StoreUnavailable):
        cached_model(ref, cache)
    assert cached_model(ref, cache, offline_ok=True)[1] == manifest
    with pytest.raises(StoreUnavailable):
        cached_model(parse(f"{local.uri}@1"), cache)  # never used here


def test_an_unreachable_store_is_no_excuse_for_a_damaged_folder(local, make_model, cache, monkeypatch):
    local.publish(make_model())
    ref = parse(f"{local.uri}@1")
    folder, _ = cached_model(ref, cache)
    os.truncate(folder / "model.safetensors", 3)
    unreachable(monkeypatch)
    with pytest.raises(StoreUnavailable):
        cached_model(ref, cache)


def test_a_dead_endpoint_is_named(cache, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setattr("encoder.store.cloud._RETRIES", {"max_retries": 1})
    with pytest.raises(StoreUnavailable, match="s3://models/minilm does not answer: Connection refused"):
        cached_model(parse("s3://models/minilm@1"), cache)


def test_a_model_folder_is_no_version(make_model, cache):
    with pytest.raises(ConfigurationError, match="is a model folder"):
        cached_model(parse(str(make_model())), cache)


def test_a_store_without_the_model_says_so(local, cache):
    with pytest.raises(NotInStore):
        cached_model(parse(f"{local.uri}@latest"), cache)
    assert not cache.exists()


def test_a_new_cache_is_its_users_alone(local, make_model, cache):
    local.publish(make_model())
    cached_model(parse(f"{local.uri}@1"), cache)
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("part", [".", "models", "stores"])
def test_a_cache_that_others_can_change_is_refused_before_anything_is_read(local, make_model, part):
    local.publish(make_model())
    with tempfile.TemporaryDirectory() as open_to_all:
        Path(open_to_all).chmod(0o755)
        cache = Path(open_to_all)
        cached_model(parse(f"{local.uri}@1"), cache)
        (cache / part).chmod(0o777)
        for file in [path for path in (cache / part).rglob("*") if path.is_file()]:
            file.unlink()
            os.mkfifo(file)  # a reader would wait for ever
        for offline in (False, True):
            with pytest.raises(
                ConfigurationError, match=r"every user can write to .*, and so decides what is"
            ):
                cached_model(parse(f"{local.uri}@latest"), cache, offline_ok=offline)


READ_ONLY = """
import os, sys
from pathlib import Path
from encoder.errors import ConfigurationError
from encoder.reference import parse
from encoder.store.cache import cached_model
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
ref, other, cache = sys.argv[1:]
print(cached_model(parse(ref), Path(cache))[1].version)
try:
    cached_model(parse(other), Path(cache))
except ConfigurationError as error:
    print(error)
"""


def test_a_read_only_cache_serves_what_it_holds(make_model):
    """As another user, since root may write everywhere; under /tmp, since pytest's folders are private."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        root.chmod(0o755)
        local = ModelStore.open(str(root / "store" / "minilm"))
        local.publish(make_model(1.0))
        local.publish(make_model(2.0))
        cached_model(parse(f"{local.uri}@1"), root / "cache")
        for parent, _, _ in os.walk(root):
            Path(parent).chmod(0o555)
        result = subprocess.run(
            [sys.executable, "-c", READ_ONLY, f"{local.uri}@1", f"{local.uri}@2", root / "cache"],
            capture_output=True,
            text=True,
            check=False,
        )
        for parent, _, _ in os.walk(root):
            Path(parent).chmod(0o755)
    version, error = result.stdout.splitlines()
    assert version == "1"
    assert "set MILLSTREAM_CACHE to another folder" in error


FETCH = """
import sys, time
from pathlib import Path
from encoder.model import load_model
from encoder.reference import parse
from encoder.store import cache
from encoder.store.store import ModelStore
fetch = ModelStore.fetch
def counting(self, manifest, folder):
    print("fetched")
    time.sleep(1)  # so that the others come while one fetches
    return fetch(self, manifest, folder)
ModelStore.fetch = counting
for _ in range(int(sys.argv[3])):
    folder, _ = cache.cached_model(parse(sys.argv[1]), Path(sys.argv[2]))
    load_model(folder)
"""


@pytest.mark.slow
def test_processes_that_want_one_version_fetch_it_once(durable_uri, make_model, cache):
    ModelStore.open(durable_uri).publish(make_model())
    command = [sys.executable, "-c", FETCH, f"{durable_uri}@latest", str(cache), "5"]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(6)
    ]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, outputs
    assert "".join(out for out, _ in outputs).split() == ["fetched"]
    assert len(models(cache)) == 1
