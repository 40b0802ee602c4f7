"""A machine tries each version once."""

import tempfile
from pathlib import Path

import pytest

from encoder.errors import ConfigurationError, ModelFormatError
from encoder.store.cache import tried
from encoder.store.cache.tried import forget_trials, try_once


@pytest.fixture
def cache(tmp_path):
    (tmp_path / "cache/models/aa").mkdir(mode=0o700, parents=True)
    return tmp_path / "cache"


@pytest.fixture
def trial(cache):
    """Try the version `aa`; the number of trials."""
    folders = []

    def tries(error=None):
        def one(folder):
            folders.append(folder)
            if error is not None:
                raise error

        try_once(cache / "models/aa", cache, one)
        return len(folders)

    return tries


def test_a_version_that_passed_is_not_tried_again(trial):
    assert [trial(), trial()] == [1, 1]


def test_a_version_that_failed_is_tried_again(trial):
    with pytest.raises(ModelFormatError):
        trial(ModelFormatError("bad"))
    assert trial() == 2


def test_another_release_tries_it_again(trial, monkeypatch):
    assert trial() == 1
    monkeypatch.setattr(tried, "installed_version", lambda _: "99.0")
    assert [trial(), trial()] == [2, 2]


def test_what_left_the_cache_is_tried_again(trial, cache):
    assert trial() == 1
    forget_trials(cache / "models/aa", cache)
    assert trial() == 2


def test_a_mark_that_others_can_write_counts_for_nothing():
    with tempfile.TemporaryDirectory() as open_to_all:
        cache = Path(open_to_all)
        cache.chmod(0o755)  # pytest's folders are private
        (cache / "tried").mkdir()
        (cache / "tried").chmod(0o777)
        with pytest.raises(ConfigurationError, match=r"every user can write to .*/tried"):
            try_once(cache / "models/aa", cache, lambda _: None)


def test_where_no_mark_can_be_written_it_is_tried_each_time(trial, cache):
    (cache / "tried").write_text("no folder")
    assert [trial(), trial()] == [1, 2]
