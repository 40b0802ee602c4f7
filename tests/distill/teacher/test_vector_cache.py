"""The cache of the teacher's vectors: what is computed once, and what an interruption leaves."""

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from distill.teacher import vector_cache as teacher_vectors
from distill.teacher.sentences import load_sentence_teacher
from distill.teacher.vector_cache import VectorCache, check_cache, embed_cached, text_keys
from encoder.errors import ConfigurationError

TEXTS = [f"card {i} refused at the {'terminal ' * (i % 7)}" for i in range(50)]


class Counting:
    """A sentence transformer that notes what it is asked."""

    def __init__(self, model):
        self.model, self.asked = model, []
        self.device = model.device

    def encode(self, texts, **options):
        self.asked += texts
        return self.model.encode(texts, **options)


@pytest.fixture
def counted(wordpiece_teacher):
    teacher = load_sentence_teacher(wordpiece_teacher, device="cpu", precision="float32")
    return replace(teacher, model=Counting(teacher.model))


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(teacher_vectors, "_SORT_WINDOW", 32)
    monkeypatch.setattr(teacher_vectors, "_WRITE_BATCH", 8)


def test_vectors_are_the_teachers_in_the_texts_order(counted, tmp_path):
    vectors = embed_cached(counted, TEXTS, tmp_path)
    assert (len(vectors), vectors.dim) == (50, 32)
    np.testing.assert_allclose(vectors[:], counted.embed(TEXTS), atol=1e-3)  # kept as float16
    assert np.array_equal(vectors[np.array([7, 3])], vectors[:][[7, 3]])
    assert np.array_equal(vectors.part(slice(10, None))[2:4], vectors[12:14])


def test_each_text_is_computed_once(counted, tmp_path):
    first = embed_cached(counted, TEXTS[:30], tmp_path)[:]
    again = embed_cached(counted, TEXTS[::-1], tmp_path)[:]
    assert sorted(counted.model.asked) == sorted(TEXTS)
    assert np.array_equal(again[::-1][:30], first)


def test_an_interruption_costs_one_batch_at_most(counted, tmp_path):
    def interrupt(done, _total):
        if done == 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_cached(counted, TEXTS, tmp_path, interrupt)
    done = len(counted.model.asked)
    assert done == 24
    seen = []
    vectors = embed_cached(counted, TEXTS, tmp_path, lambda *told: seen.append(told))
    assert sorted(counted.model.asked) == sorted(TEXTS)
    assert seen[0] == (24, 50)
    assert seen[-1] == (50, 50)
    np.testing.assert_allclose(vectors[:], counted.embed(TEXTS), atol=1e-3)


@pytest.mark.parametrize(("file", "n_bytes"), [("vectors.f16", 5), ("keys.u64", 3)])
@pytest.mark.parametrize("cut", [True, False])
def test_what_a_killed_run_left_half_written_goes(counted, tmp_path, file, n_bytes, cut):
    expected = embed_cached(counted, TEXTS[:20], tmp_path)[:]
    (path,) = tmp_path.glob(f"*/{file}")
    whole = path.read_bytes()
    path.write_bytes(whole[:-n_bytes] if cut else whole + bytes(n_bytes))
    assert np.array_equal(embed_cached(counted, TEXTS[:20], tmp_path)[:], expected)
    np.testing.assert_allclose(embed_cached(counted, TEXTS, tmp_path)[:], counted.embed(TEXTS), atol=1e-3)


def test_two_processes_do_not_write_at_once(counted, tmp_path):
    folder = tmp_path / counted.digest[:32]
    folder.mkdir()
    with FileLock(folder / "lock"), pytest.raises(ConfigurationError, match="is writing to"):
        embed_cached(counted, TEXTS, tmp_path)


def test_texts_that_are_all_there_need_no_lock(counted, tmp_path):
    embed_cached(counted, TEXTS, tmp_path)
    with FileLock(tmp_path / counted.digest[:32] / "lock"):
        assert len(embed_cached(counted, TEXTS[:5], tmp_path)) == 5


def test_keys_are_of_the_text_and_unknown_ones_have_no_row(tmp_path):
    keys = text_keys(["a", "b", "a", "ab"])
    assert keys[0] == keys[2]
    assert len(set(keys.tolist())) == 3
    cache = VectorCache(tmp_path, 4)
    assert cache.rows(keys).tolist() == [-1] * 4
    with cache.writing():
        cache.append(keys[1:2], np.ones((1, 4), np.float32))
    assert cache.rows(keys).tolist() == [-1, 0, -1, -1]


def test_a_text_that_the_teacher_gives_no_number_for_is_named_and_not_kept(counted, tmp_path, monkeypatch):
    encode = Counting.encode

    def broken(self, texts, **options):
        vectors = encode(self, texts, **options).clone()
        vectors[[text == TEXTS[9] for text in texts]] = float("nan")
        return vectors

    with monkeypatch.context() as patch:
        patch.setattr(Counting, "encode", broken)
        with pytest.raises(ConfigurationError, match=f"NaN for 1 texts, such as '{TEXTS[9]}'"):
            embed_cached(counted, TEXTS, tmp_path)
    found = embed_cached(counted, TEXTS, tmp_path)[:]
    assert sorted(counted.model.asked) == sorted([*TEXTS, TEXTS[9]])  # that one alone again
    np.testing.assert_allclose(found, counted.embed(TEXTS), atol=1e-3)


def test_a_full_disk_says_what_it_is_and_leaves_a_cache_to_go_on_from(counted, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # in the middle of the second batch
    try:
        with pytest.raises(ConfigurationError, match="File too large; free 72 bytes per text"):
            embed_cached(counted, TEXTS, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(counted.model.asked) == 16
    np.testing.assert_allclose(embed_cached(counted, TEXTS, tmp_path)[:], counted.embed(TEXTS), atol=1e-3)
    assert len(counted.model.asked) == 16 + 42 + 50  # the second batch again; and these


def test_a_cache_that_cannot_be_written_to_is_refused(tmp_path):
    check_cache(tmp_path / "made/for it")
    assert not list((tmp_path / "made/for it").iterdir())
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/below", Path("/proc/cache")):
        with pytest.raises(ConfigurationError, match=f"cannot write to the cache {folder}: .*; set another"):
            check_cache(folder)
