"""OpenTelemetry spans: one for each batch with its steps, and one for each commit.

    process payments        from the request for messages on; links to the traces in their headers
      receive, decode, encode, send
    commit

Tracing is on if `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) names a collector; the other variables
are OpenTelemetry's own. Messages keep their headers, so readers of the output find their traces there.
"""

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from encoder.errors import InputError
from pipelines.kafka.headers import read_headers

__all__ = ["OFF", "Spans", "open_spans"]

_log = logging.getLogger(__name__)
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SERVICE = "millstream-worker"
_MOST_LINKS = 32
_CLOSE_SECONDS = 2.0
_CONTEXT = ("traceparent", "tracestate")


class Spans(Protocol):
    """Opens spans."""

    def batch(self, topic: str, messages: list[Any], began: int) -> AbstractContextManager[Any]:
        """A span for a batch of messages that was requested at `began`, in nanoseconds since the epoch."""

    def step(self, name: str) -> AbstractContextManager[Any]:
        """A span for a step of a batch."""

    def passed(self, name: str, began: int) -> None:
        """Record a step that ends now and began at `began`, in nanoseconds since the epoch."""

    def commit(self, n_records: int) -> AbstractContextManager[Any]:
        """A span for a commit of `n_records` records."""

    def close(self) -> None:
        """Send the last spans."""


class _Off:
    """No spans, at no cost."""

    _nothing = nullcontext()

    def batch(self, _topic: str, _messages: list[Any], _began: int) -> AbstractContextManager[Any]:
        return self._nothing

    def step(self, _name: str) -> AbstractContextManager[Any]:
        return self._nothing

    def passed(self, _name: str, _began: int) -> None:
        """Do nothing."""

    def commit(self, _n_records: int) -> AbstractContextManager[Any]:
        return self._nothing

    def close(self) -> None:
        """Do nothing."""


OFF: Spans = _Off()
"""No spans."""


class _On:
    """Spans of OpenTelemetry.

    Args:
        provider: gives tracers.
        group: the consumer group.
        exceptions: whether spans hold the messages of errors.
    """

    def __init__(self, provider: Any, group: str, *, exceptions: bool) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._api = trace
        self._provider = provider
        self._tracer = provider.get_tracer("millstream")
        self._extract = TraceContextTextMapPropagator().extract
        self._errors = {"record_exception": exceptions, "set_status_on_exception": exceptions}
        self._about = {"messaging.system": "kafka", "messaging.consumer.group.name": group}

    @contextmanager
    def batch(self, topic: str, messages: list[Any], began: int) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            f"process {topic}",
            kind=self._api.SpanKind.CONSUMER,
            links=list(self._links(messages)),
            start_time=began,
            attributes={
                **self._about,
                "messaging.destination.name": topic,
                "messaging.operation.type": "process",
                "messaging.batch.message_count": len(messages),
            },
            **self._errors,
        ):
            self.passed("receive", began)
            yield

    def _links(self, messages: Iterable[Any]) -> Iterator[Any]:
        """Links to the traces of messages, the first few different ones."""
        seen: set[int] = set()
        for message in messages:
            try:
                headers = read_headers(message)
            except InputError:
                continue
            if not headers:
                continue
            carrier = {name: (value or b"").decode("latin-1") for name, value in headers if name in _CONTEXT}
            if not carrier:
                continue
            context = self._api.get_current_span(self._extract(carrier)).get_span_context()
            if context.is_valid and context.trace_id not in seen:
                seen.add(context.trace_id)
                yield self._api.Link(context)
                if len(seen) == _MOST_LINKS:
                    return

    def step(self, name: str) -> AbstractContextManager[Any]:
        step: AbstractContextManager[Any] = self._tracer.start_as_current_span(name, **self._errors)
        return step

    def passed(self, name: str, began: int) -> None:
        self._tracer.start_span(name, start_time=began).end()

    def commit(self, n_records: int) -> AbstractContextManager[Any]:
        span: AbstractContextManager[Any] = self._tracer.start_as_current_span(
            "commit",
            kind=self._api.SpanKind.CLIENT,
            attributes={
                **self._about,
                "messaging.operation.type": "settle",
                "messaging.batch.message_count": n_records,
            },
        )
        return span

    def close(self) -> None:
        """Send the last spans, within a time limit: a worker that is told to stop must end."""
        ending = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        ending.start()
        ending.join(_CLOSE_SECONDS)


def open_spans(group: str, environment: Mapping[str, str] = os.environ, *, exceptions: bool = True) -> Spans:
    """Spans if the environment names a collector; without the extra `otel`, a warning and no spans.

    Args:
        group: the consumer group.
        environment: OpenTelemetry's variables.
        exceptions: whether spans hold the messages of errors, which may quote records.
    """
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if off or environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return OFF
    if not any(environment.get(name) for name in _ENDPOINTS):
        return OFF
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        _log.warning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but %s is not installed, so no traces are sent: "
            "pip install 'millstream[otel]'",
            error.name,
        )
        return OFF
    named = environment.get("OTEL_SERVICE_NAME") or "service.name" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    resource = Resource.create({} if named else {"service.name": _SERVICE})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # `close` does it, within limits
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return _On(provider, group, exceptions=exceptions)
