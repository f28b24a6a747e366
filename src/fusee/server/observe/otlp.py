"""Traces to an OpenTelemetry collector, over OTLP/HTTP; nothing of OpenTelemetry is imported until one is made."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, Protocol

from fusee.base.errors import RequestError
from fusee.server.observe.spans import Context, Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext


class SpanSink(Protocol):
    """Where OpenTelemetry spans go: one of its span exporters."""

    def export(self, spans: Sequence[ReadableSpan]) -> object: ...

    def shutdown(self) -> None: ...


class Otlp:
    """Turns spans into OpenTelemetry's and sends them, with its own retries. Called on the tracer's thread."""

    def __init__(self, sink: SpanSink) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._sink = sink
        version = package_version("fusee")
        self._resource = Resource.create({"service.name": "fusee", "service.version": version})
        self._scope = InstrumentationScope("fusee.server", version)

    def write(self, spans: Sequence[Span], traces_per_file: int = 0) -> None:
        """Send spans. What cannot be delivered the exporter logs and drops."""
        self._sink.export([self._span(span) for span in spans])

    def close(self) -> None:
        self._sink.shutdown()

    def _span(self, span: Span) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import Link, SpanKind, Status, StatusCode

        return ReadableSpan(
            span.name,
            context=_context(span.context),
            parent=_context(span.parent, is_remote=span.is_request) if span.parent else None,
            resource=self._resource,
            attributes=span.attributes,
            links=[Link(_context(link)) for link in span.links],
            kind=SpanKind.SERVER if span.is_request else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )


def _context(context: Context, is_remote: bool = False) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    trace_id, span_id = int(context.trace_id, 16), int(context.span_id, 16)
    return SpanContext(trace_id, span_id, is_remote, TraceFlags(TraceFlags.SAMPLED))


def open_otlp(endpoint: str) -> Otlp:
    """A way to the collector whose OTLP/HTTP traces address that is. Raises RequestError without the otel extra."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as err:
        raise RequestError(
            f"sending traces to {endpoint} needs OpenTelemetry, which is not installed: pip install 'fusee[otel]'"
        ) from err
    if not endpoint.startswith(("http://", "https://")):
        raise RequestError(f"OpenTelemetry endpoint {endpoint!r}: expected an address as http://host:4318/v1/traces")
    return Otlp(OTLPSpanExporter(endpoint=endpoint))
