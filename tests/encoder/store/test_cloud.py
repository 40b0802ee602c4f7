import os
import socket
import time

import pytest
from faults.s3 import http_server

from encoder.errors import ConfigurationError, NotInStore, StoreUnavailable, UnsafeStore
from encoder.store.objects import open_objects

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@pytest.fixture
def dead_endpoint(monkeypatch):
    """Credentials and an endpoint where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def test_memory_is_one_store_for_a_process():
    open_objects("memory://one/models/minilm").create("v/x", b"1")
    assert open_objects("memory://one/models/minilm").read("v/x") == b"1"
    assert open_objects("memory://one/models").folders() == ["minilm"]
    assert open_objects("memory://two/models").folders() == []


def test_azure_without_an_account_names_the_variable(monkeypatch):
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        open_objects("az://container/models")


@pytest.mark.usefixtures("dead_endpoint")
def test_plain_http_must_be_allowed(monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(ConfigurationError, match="AWS_ALLOW_HTTP=true"):
        open_objects("s3://bucket/models").scan("v")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("silence", "method"),
    [
        ("refused", "scan"),
        ("silent", "create"),
        pytest.param("refused", "create", marks=pytest.mark.soak),
        pytest.param("silent", "scan", marks=pytest.mark.soak),
    ],
)
@pytest.mark.usefixtures("dead_endpoint")
def test_a_dead_endpoint_fails_in_time_and_tells_no_secret(monkeypatch, silence, method):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        if silence == "silent":
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        objects = open_objects("s3://bucket/models")
        calls = {
            "scan": lambda: objects.scan("v"),
            "create": lambda: objects.create("v/x", b"1"),
        }
        with pytest.raises(StoreUnavailable, match="s3://bucket/models does not answer: ") as caught:
            calls[method]()
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.server
@pytest.mark.parametrize("method", ["scan", "create", "read", "stat"])
@pytest.mark.usefixtures("s3_environment")
def test_wrong_credentials_are_a_configuration_error(monkeypatch, method):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    objects = open_objects("s3://models/denied")
    arguments = {"scan": ("v",), "create": ("v/x", b"1"), "read": ("v/x",), "stat": ("v/x",)}[method]
    with pytest.raises(ConfigurationError, match="s3://models/denied refuses access") as caught:
        getattr(objects, method)(*arguments)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.server
@pytest.mark.usefixtures("s3_environment")
def test_a_missing_bucket_is_not_in_store():
    with pytest.raises(NotInStore, match="no bucket for s3://no-such-bucket/models"):
        open_objects("s3://no-such-bucket/models").scan("v")


def test_a_write_without_a_bucket_says_so(monkeypatch):
    with http_server(404) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        objects = open_objects("s3://bucket/models")
        for write in (objects.create, objects.overwrite):
            with pytest.raises(NotInStore, match="no bucket for s3://bucket/models"):
                write("v/x", b"1")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, ConfigurationError),
        (400, ConfigurationError),
        (401, ConfigurationError),
        (403, ConfigurationError),
        (429, StoreUnavailable),
        (500, StoreUnavailable),
        (501, UnsafeStore),
        (503, StoreUnavailable),
    ],
)
@pytest.mark.parametrize("method", ["scan", "create", "stat", "read", "delete"])
def test_every_answer_becomes_one_of_our_errors(monkeypatch, status, expected, method):
    monkeypatch.setattr("encoder.store.cloud._RETRIES", {"max_retries": 0})
    with http_server(status) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        objects = open_objects("s3://bucket/models")
        arguments = {"scan": ("v",), "create": ("v/x", b"1")}.get(method, ("v/x",))
        with pytest.raises(expected, match="s3://bucket/models") as caught:
            getattr(objects, method)(*arguments)
    assert "\n" not in str(caught.value)


def test_the_port_behaves_the_same_everywhere(uri):
    objects = open_objects(uri)
    assert objects.scan("v") == []
    assert objects.folders() == []
    assert objects.stat("v/a") is None
    objects.delete("v/a")
    with pytest.raises(NotInStore, match="has no v/a"):
        objects.read("v/a")
    with pytest.raises(NotInStore, match="has no v/a"):
        list(objects.stream("v/a"))
    assert objects.create("v/a", b"1")
    assert not objects.create("v/a", b"2")
    assert objects.create("v/b", b"")
    assert objects.read("v/a") == b"1"
    assert b"".join(objects.stream("v/b")) == b""
    objects.overwrite("v/a", b"333")
    assert [(info.key, info.size) for info in objects.scan("v")] == [("v/a", 3), ("v/b", 0)]
    assert [info.key for info in objects.scan("v", after="v/a")] == ["v/b"]
    assert abs(objects.stat("v/a").modified.timestamp() - time.time()) < 60
    assert "v" in objects.folders()
    assert objects.stat("v") is None
    objects.delete("v/a")
    assert [info.key for info in objects.scan("v")] == ["v/b"]


def test_large_objects_travel_in_pieces(uri):
    objects, data = open_objects(uri), os.urandom(9_000_000)
    objects.create("blobs/x", data)
    chunks = list(objects.stream("blobs/x"))
    assert len(chunks) > 1 or uri.startswith("memory:")
    assert b"".join(chunks) == data
