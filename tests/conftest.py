"""Settings and servers that all tests share."""

import pytest
from brokers import kafka as run_kafka
from hypothesis import settings
from servers import seaweedfs

# A kernel's first call compiles it, and machines are shared: time says nothing about an example.
settings.register_profile("millstream", deadline=None)
settings.load_profile("millstream")


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory):
    """Versions are kept for these tests alone: earlier ones may have had other stores at the same paths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLSTREAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def s3():
    with seaweedfs() as server:
        yield server


@pytest.fixture(scope="session")
def kafka():
    with run_kafka() as broker:
        yield broker


@pytest.fixture
def s3_environment(s3, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3
