"""Traces: an order's spans from the REST request to the venue's answer, by OpenTelemetry, where an endpoint is set.

Off, nothing of OpenTelemetry's SDK is imported, and a span is a check of one variable. On, a trace begins with a
request of the REST interface (or with what its caller sent along), goes through Temporal in headers, and holds
Temporal's spans of workflow and activities and ours of each call to the venue. A workflow's own spans are written at
once and have no length, so that an order which lives for weeks shows from its first second. Nothing is sent along to
the venue. What accounts do for themselves, feeds above all, is not traced: it would never end.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from domain.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer
    from temporalio.contrib.opentelemetry import TracingInterceptor

NAME: Final = "volex"
_tracer: "Tracer | None" = None
_shut_down: Callable[[], object] | None = None


def set_up_traces(
    endpoint: str | None, *, service: str, headers: str | None = None, share: float = 1.0, instance: str = ""
) -> None:
    """Export spans of this process from now on; without an endpoint do nothing.

    Parameters
    ----------
    endpoint
        Base address of an OTLP/HTTP receiver, such as `http://127.0.0.1:4318`; spans go to `/v1/traces` below it.
    service
        This process's part: `volex-api` or `volex-worker`.
    headers
        What goes with every export, as `name=value,name=value`; may be secret.
    share
        Of the requests, how many are traced: 0 to 1.

    Raises
    ------
    ConfigurationError
        When the packages of the extra `otel` are not installed.
    """
    global _tracer, _shut_down
    if endpoint is None:
        return
    try:
        from observability.trace_export import open_provider
    except ImportError as error:
        raise ConfigurationError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, and {error.name} is not installed",
            advice="Install the extra: pip install 'volex[otel]', or unset it.",
        ) from None
    provider = open_provider(endpoint, service=service, headers=headers, share=share, instance=instance)
    _tracer, _shut_down = provider.get_tracer(NAME), provider.shutdown


def stop_traces() -> None:
    """Export what is left, within seconds, and stop."""
    global _tracer, _shut_down
    if _shut_down is not None:
        _shut_down()
    _tracer = _shut_down = None


def interceptors() -> "Sequence[TracingInterceptor]":
    """Return what a client of Temporal needs to carry traces; nothing while they are off."""
    if _tracer is None:
        return ()
    from temporalio.contrib.opentelemetry import TracingInterceptor

    return (TracingInterceptor(_tracer),)


Tell = Callable[[str, str | int], None]
"""Adds an attribute to a span: a name and a value. Never a secret, never what a caller wrote."""


@contextmanager
def span(name: str, attributes: Mapping[str, str]) -> Iterator[Tell]:
    """Frame a call to the outside as a span; what goes wrong inside is its status."""
    if _tracer is None:
        yield _tell_nobody
        return
    from opentelemetry.trace import SpanKind

    with _tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=dict(attributes)) as current:
        yield current.set_attribute


@contextmanager
def request_span(name: str, headers: Mapping[str, str]) -> Iterator[tuple[Tell, Callable[[str], None]]]:
    """Frame a request of the REST interface: a trace begins, or goes on that its caller began.

    The block is given two functions: one adds an attribute, the other gives the span its name once it is known.
    """
    if _tracer is None:
        yield _tell_nobody, _name_nothing
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    began = TraceContextTextMapPropagator().extract(dict(headers))
    with _tracer.start_as_current_span(name, context=began, kind=SpanKind.SERVER) as current:
        yield current.set_attribute, current.update_name


def trace_id() -> str | None:
    """Return the id of the trace that runs, 32 hex digits; `None` where none does."""
    if _tracer is None:
        return None
    from opentelemetry.trace import format_trace_id, get_current_span

    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid and context.trace_flags.sampled else None


def names() -> Mapping[str, str]:
    """Return what log lines say of the trace that runs."""
    running = trace_id()
    return {"trace_id": running} if running is not None else {}


def _tell_nobody(_name: str, _value: Any) -> None:
    """Do nothing: traces are off."""


def _name_nothing(_name: str) -> None:
    """Do nothing: traces are off."""


__all__ = ["interceptors", "names", "request_span", "set_up_traces", "span", "stop_traces", "trace_id"]
