"""What `models verify --cache` finds."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from encoder.reference import parse
from encoder.store.cache import cached_model
from encoder.store.cache.check import check_cache
from encoder.store.store import ModelStore


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def folder(make_model, tmp_path, cache):
    """The folder of a version in the cache."""
    store = ModelStore.open(str(tmp_path / "store/minilm"))
    store.publish(make_model())
    return cached_model(parse(f"{store.uri}@1"), cache)[0]


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_cache_without_problems(folder, cache):
    report = check_cache(cache)
    assert report.problems == []
    assert report.versions == 1
    assert report.size == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_no_cache_is_no_problem(cache):
    assert check_cache(cache).versions == 0


def test_a_damaged_file_is_named(folder, cache):
    flip(folder / "model.safetensors")
    expected = f"{folder}/model.safetensors does not have its sha256: it is fetched again when it is used"
    assert check_cache(cache).problems == [expected]


def test_a_version_whose_manifest_is_gone_is_checked_by_its_digest(folder, cache):
    shutil.rmtree(cache / "stores")
    assert check_cache(cache).problems == []
    flip(folder / "model.safetensors")
    [problem] = check_cache(cache).problems
    assert problem.startswith(f"{folder} does not hold the files of its digest")
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    [problem] = check_cache(cache).problems
    assert problem.startswith(f"{folder}/config.json is not a regular file")


@pytest.mark.usefixtures("folder")
def test_a_damaged_manifest_is_named(cache):
    [path] = cache.rglob("v/*.json")
    path.write_text("{}")
    [problem] = check_cache(cache).problems
    assert "v/00000001.json is not a manifest" in problem
    assert f"remove {path.parents[1]}" in problem


def test_what_killed_processes_left_is_named(folder, cache):
    left = folder.with_name(f".{folder.name}-abc")
    left.mkdir()
    assert check_cache(cache).problems == [f"{left} was left by a process that was killed: remove it"]


def test_damaged_code_is_named(cache):
    (cache / "kernels").mkdir(parents=True)
    path = cache / "kernels/words-abc-def.nbc"
    path.write_bytes(bytes(100))
    assert check_cache(cache).problems == [f"{path} is damaged: it is compiled again"]


def test_nothing_is_read_that_others_can_change(folder, cache):
    with tempfile.TemporaryDirectory() as open_to_all:  # pytest's folders are closed
        Path(open_to_all).chmod(0o755)
        copy = shutil.copytree(cache, Path(open_to_all, "cache"))
        copy.chmod(0o777)
        table = copy / folder.relative_to(cache) / "model.safetensors"
        table.unlink()
        os.mkfifo(table)  # a reader would wait for ever
        [problem] = check_cache(copy).problems
    assert f"every user can write to {copy}" in problem
