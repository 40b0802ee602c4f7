"""The next version's manifest."""

from datetime import UTC, datetime, timedelta

import pytest

from encoder.errors import ConfigurationError, PublishedMeanwhile
from encoder.store.objects import open_objects
from encoder.store.publisher import Publisher
from encoder.store.versions import Versions

NOW = datetime(2026, 5, 1, tzinfo=UTC)
FIELDS = {"name": "m", "files": (), "teacher": None, "parameters": {}, "quality": {}}


@pytest.fixture
def publisher(new_root):
    objects = open_objects(new_root("memory"))
    return Publisher(objects, Versions(objects), lambda: NOW, lambda: "an id")


def test_numbers_follow_each_other(publisher):
    made = [publisher.publish(None, **FIELDS) for _ in range(2)]
    assert [(one.version, one.created_at, one.write_id) for one in made] == [
        (1, NOW, "an id"),
        (2, NOW, "an id"),
    ]
    with pytest.raises(PublishedMeanwhile, match=r"version 2 of .* was published after 1: nothing was"):
        publisher.publish(None, only_after=1, **FIELDS)
    assert publisher.publish(None, only_after=2, **FIELDS).version == 3


def test_an_expiry_counts_from_now_and_needs_a_newer_format(publisher):
    made = publisher.publish(None, expires=timedelta(days=1), **FIELDS)
    assert (made.expires_at, made.format) == (NOW + timedelta(days=1), 2)
    with pytest.raises(ConfigurationError, match="`expires` must be positive"):
        publisher.publish(None, expires=timedelta(0), **FIELDS)


def test_what_is_no_json_is_refused_before_and_when_it_is_written(publisher):
    for refuse in (publisher.check, publisher.publish):
        with pytest.raises(ConfigurationError, match="`quality` of a version must be JSON"):
            refuse(None, **{**FIELDS, "quality": {"f1": float("nan")}})
