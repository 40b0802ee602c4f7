"""Settings and servers that all tests share."""

import pytest
from brokers import kafka as run_kafka
from hypothesis import settings
from servers import seaweedfs

# A kernel's first call compiles it, and machines are shared: time says nothing about an example.
settings.register_profile("millstream", deadline=None)
settings.load_profile("millstream")


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
