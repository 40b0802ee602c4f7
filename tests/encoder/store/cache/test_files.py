"""Which versions leave a full cache, and which stay."""

import gc
import os
import subprocess
import sys
import time

import pytest

from encoder.encoder import Encoder
from encoder.errors import ConfigurationError
from encoder.model import load_model
from encoder.reference import parse
from encoder.store.cache import cached_model, files
from encoder.store.cache.files import damage, lock_of, make_room, model_folders, touch
from encoder.store.cache.tried import try_once
from encoder.store.store import ModelStore
from pipelines.enrich.model_follower import ModelFollower

LONG_AGO = 1_000_000_000
HOLD = """
import sys, time
from encoder import Encoder
encoder = Encoder.load(sys.argv[1])
print("mapped", flush=True)
time.sleep(600)
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def store(tmp_path, make_model):
    """A store with four versions."""
    store = ModelStore.open(str(tmp_path / "store/minilm"))
    for value in (1.0, 2.0, 3.0, 4.0):
        store.publish(make_model(value))
    return store


def fetch(store, cache, *numbers):
    """Fetch versions; their folders, used long ago in this order."""
    folders = [cached_model(parse(f"{store.uri}@{number}"), cache)[0] for number in numbers]
    for i, folder in enumerate(folders):
        os.utime(folder, (LONG_AGO + i, LONG_AGO + i))
    return folders


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_least_recently_used_versions_leave(store, cache):
    first, second, third = fetch(store, cache, 1, 2, 3)
    os.utime(first, (LONG_AGO + 9, LONG_AGO + 9))
    assert make_room(cache, size(first) * 5 // 2) == [second]
    assert model_folders(cache) == sorted([first, third])
    assert make_room(cache, size(first) * 5 // 2) == []


def test_a_version_that_leaves_is_tried_when_it_comes_back(store, cache):
    [first] = fetch(store, cache, 1)
    for _ in range(2):
        try_once(first, cache, lambda _: None)
    [mark] = (cache / "tried").iterdir()
    assert mark.name.startswith(first.name)
    assert make_room(cache, 0) == [first]
    assert not mark.exists()


def test_asking_for_a_version_is_using_it(store, cache):
    first, second, third = fetch(store, cache, 1, 2, 3)
    cached_model(parse(f"{store.uri}@1"), cache)
    assert make_room(cache, 0) == [second, third]
    assert model_folders(cache) == [first]  # it has been used a moment ago


def test_a_fetch_makes_room_before_it_writes(store, cache, monkeypatch):
    first, second, third = fetch(store, cache, 1, 2, 3)
    monkeypatch.setenv("MILLSTREAM_CACHE_SIZE", str(size(first) * 5 // 2))
    fourth, _ = cached_model(parse(f"{store.uri}@4"), cache)
    assert model_folders(cache) == sorted([third, fourth])
    assert load_model(fourth).dim == 4
    left = [path for path in (cache / "models").iterdir() if path.name.startswith(".")]
    assert (left, first.exists(), second.exists()) == ([], False, False)


@pytest.mark.slow
def test_a_follower_makes_room_for_the_versions_that_it_follows(store, cache, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_CACHE_SIZE", "1B")
    follower = ModelFollower.start(f"{store.uri}@latest", trial=lambda _folder: None)
    first = cached_model(parse(f"{store.uri}@4"), cache)[0]
    store.rollback(1)
    assert follower.poll()
    second = cached_model(parse(f"{store.uri}@5"), cache)[0]
    assert model_folders(cache) == sorted([first, second])  # the first was in use a moment ago
    os.utime(first, (LONG_AGO, LONG_AGO))
    gc.collect()  # contextlib of Python 3.13.0 leaves frames in a circle, and with them the first model
    store.rollback(2)
    assert follower.poll()
    third = cached_model(parse(f"{store.uri}@6"), cache)[0]
    assert model_folders(cache) == sorted([second, third])
    follower.close()


def test_an_unreadable_size_is_named_and_nothing_is_fetched(store, cache, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_CACHE_SIZE", "much")
    with pytest.raises(ConfigurationError, match="cannot read the size 'much' of the cache: write"):
        cached_model(parse(f"{store.uri}@4"), cache)
    assert model_folders(cache) == []


def test_a_version_that_this_process_uses_stays_until_it_is_forgotten(store, cache):
    first, second = fetch(store, cache, 1, 2)
    encoder = Encoder(load_model(first))
    assert make_room(cache, 0) == [second]
    assert encoder.encode("a").shape == (4,)
    del encoder
    assert make_room(cache, 0) == [first]


@pytest.mark.slow
def test_a_version_that_another_process_uses_stays_until_it_ends(store, cache):
    fetch(store, cache, 1, 2)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, f"{store.uri}@1"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "mapped\n"
        first, second = fetch(store, cache, 1, 2)
        assert make_room(cache, 0) == [second]
    finally:
        process.kill()
        process.communicate()
    assert make_room(cache, 0) == [first]


def test_a_version_that_is_being_fetched_stays(store, cache):
    [first] = fetch(store, cache, 1)
    with files.FileLock(lock_of(cache, first)):
        assert make_room(cache, 0) == []
    assert make_room(cache, 0) == [first]


def test_a_version_that_was_asked_for_a_moment_ago_stays(store, cache):
    [first] = fetch(store, cache, 1)
    touch(first)
    assert time.time() - first.stat().st_mtime < files.GRACE_SECONDS
    assert make_room(cache, 0) == []


def test_what_is_wrong_is_said(store, cache):
    [first] = fetch(store, cache, 1)
    manifest = store.manifest(1)
    assert damage(first, manifest) is None
    (first / "config.json").unlink()
    assert damage(first, manifest) == f"{first}/config.json is missing"
    os.mkfifo(first / "config.json")
    assert damage(first, manifest) == f"{first}/config.json is not a regular file"
    (first / "config.json").unlink()
    (first / "config.json").write_text("{}")
    assert damage(first, manifest).startswith(f"{first}/config.json has 2 bytes, not ")
