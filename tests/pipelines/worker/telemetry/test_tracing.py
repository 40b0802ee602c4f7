"""Traces as a collector gets them: a small OTLP server that reads the protobuf requests."""

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest
from faults.messages import FakeMessage
from local_http import LocalServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from patience import PATIENCE, wait_for

from pipelines.worker.telemetry.tracing import OFF, open_spans

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode())
N = 300


@pytest.fixture
def collector(monkeypatch):
    """Requests of a collector that answers over HTTP; the environment names it."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = LocalServer(Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    yield requests
    server.shutdown()
    server.server_close()


def spans_of(requests):
    return [s for r in requests for by in r.resource_spans for scope in by.scope_spans for s in scope.spans]


def services(requests):
    found = [one for r in requests for by in r.resource_spans for one in by.resource.attributes]
    return {one.value.string_value for one in found if one.key == "service.name"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_it_is_off_unless_the_environment_names_a_collector(environment):
    assert open_spans("g", environment) is OFF


def test_without_the_extra_a_log_line_names_it(monkeypatch, caplog):
    for module in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"):
        monkeypatch.setitem(sys.modules, module, None)
    assert open_spans("g", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}) is OFF
    assert "pip install 'millstream[otel]'" in caplog.text


def test_off_makes_nothing():
    assert OFF.batch("t", [], 0) is OFF.step("encode") is OFF.commit(1)
    with OFF.batch("t", [], 0), OFF.step("encode"):
        OFF.passed("decode", 0)


def test_steps_are_children_and_links_lead_to_the_messages_traces(collector, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    spans = open_spans("g")
    other = [("traceparent", f"00-{'1' * 32}-{'2' * 16}-01".encode())]
    headers = [
        None,
        [PARENT],
        [("k", b"v")],
        [PARENT],
        other,
        [("traceparent", b"rubbish")],
        [("traceparent", None)],
    ]
    messages = [FakeMessage(b"{}", headers_=one) for one in headers]
    began = time.time_ns() - 1_000_000_000
    with spans.batch("payments", messages, began):
        spans.passed("decode", began + 500)
        with spans.step("encode"):
            pass
    with spans.commit(7):
        pass
    spans.close()
    by_name = {span.name: span for span in spans_of(collector)}
    assert set(by_name) == {"process payments", "receive", "decode", "encode", "commit"}
    batch = by_name["process payments"]
    assert batch.start_time_unix_nano == began
    assert [link.trace_id.hex() for link in batch.links] == [TRACE, "1" * 32]
    assert {by_name[name].parent_span_id for name in ("receive", "decode", "encode")} == {batch.span_id}
    about = {one.key: one.value for one in batch.attributes}
    assert about["messaging.batch.message_count"].int_value == len(messages)
    assert about["messaging.consumer.group.name"].string_value == "g"
    assert services(collector) == {"mine"}


@pytest.mark.server
def test_a_workers_batches_and_commits(collector, topics, worker):
    topics.write([("k", b'{"id": %d, "text": "paid"}' % i, [PARENT]) for i in range(N)])
    with worker():
        found = topics.read(least=N)
    assert all(message.headers() == [PARENT] for message in found)  # a reader finds the trace again
    spans = spans_of(collector)
    batches = [span for span in spans if span.name == f"process {topics.input}"]
    counts = [
        one.value.int_value for b in batches for one in b.attributes if one.key.endswith("message_count")
    ]
    assert sum(counts) == N
    assert {link.trace_id.hex() for b in batches for link in b.links} == {TRACE}
    for name in ("receive", "decode", "encode", "send"):
        assert {s.parent_span_id for s in spans if s.name == name} == {b.span_id for b in batches}
    assert any(span.name == "commit" for span in spans)
    assert services(collector) == {"millstream-worker"}


@pytest.mark.slow
def test_a_collector_that_is_away_holds_nothing_up(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    spans = open_spans("g")
    for _ in range(100):
        with spans.batch("t", [], time.time_ns()):
            pass
    shut_down, released, ended = spans._provider.shutdown, threading.Event(), threading.Event()

    def slowly():
        released.wait(PATIENCE)
        shut_down()
        ended.set()

    monkeypatch.setattr(spans._provider, "shutdown", slowly)
    spans.close()
    assert not ended.is_set()
    released.set()
    # The exporter's threads draw random numbers and log: other tests would notice.
    threads = lambda: {thread.name for thread in threading.enumerate()}
    wait_for(
        threads, "the exporter's end", lambda names: not names & {"spans", "OtelBatchSpanRecordProcessor"}
    )


@pytest.mark.parametrize("exceptions", [True, False])
def test_the_messages_of_errors_can_be_left_out(exceptions, collector):
    spans = open_spans("g", exceptions=exceptions)
    with pytest.raises(ValueError, match="secret"), spans.batch("t", [], 1), spans.step("encode"):
        raise ValueError("secret")
    spans.close()
    assert len(spans_of(collector)) == 3
    assert ("secret" in str(collector)) == exceptions
