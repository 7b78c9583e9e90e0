"""How spans leave the process: in batches, by OTLP over HTTP, and masked like log lines. Needs the extra `otel`."""

from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.trace.status import Status
from opentelemetry.util.types import Attributes

from observability.logs import masked

EXPORT_TIMEOUT_S: Final = 5
"""Also how long the end of the process waits for a receiver that hangs."""
EXPORT_INTERVAL_MS: Final = 1000


class _Requests(Sampler):
    """Lets traces begin with a request alone: what a worker does for itself has no end."""

    def __init__(self, share: float) -> None:
        self._share = TraceIdRatioBased(share)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Take a share of what begins with a request."""
        if kind is not SpanKind.SERVER or name.startswith(("RunActivity:", "RunWorkflow:")):
            return SamplingResult(Decision.DROP)
        return self._share.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Return what the SDK shows of it."""
        return "requests"


class _Masked(SpanExporter):
    """Masks secrets in all texts of a span before it leaves: an error's words may hold one."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export copies."""
        return self._exporter.export([_masked(span) for span in spans])

    def shutdown(self) -> None:
        """Close the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Pass it on."""
        return self._exporter.force_flush(timeout_millis)


def _masked(span: ReadableSpan) -> ReadableSpan:
    status = span.status
    return ReadableSpan(
        name=masked(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=masked(span.attributes or {}),
        events=[Event(event.name, masked(event.attributes or {}), event.timestamp) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(status.status_code, masked(status.description)) if status.description else status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def open_provider(endpoint: str, *, service: str, headers: str | None, share: float, instance: str) -> TracerProvider:
    """Return what makes and exports spans; its threads begin with the first of them."""
    resource = Resource.create({"service.name": service, "service.instance.id": instance})
    provider = TracerProvider(resource=resource, sampler=ParentBased(_Requests(share)), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(
        endpoint=f"{endpoint.rstrip('/')}/v1/traces",
        headers=_read_headers(headers),
        timeout=EXPORT_TIMEOUT_S,
    )
    provider.add_span_processor(BatchSpanProcessor(_Masked(exporter), schedule_delay_millis=EXPORT_INTERVAL_MS))
    return provider


def _read_headers(headers: str | None) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in (headers or "").split(",") if "=" in pair)
    return {name.strip(): value.strip() for name, _, value in pairs}
