"""Traces: off they cost nothing; on, secrets in an error's words are masked, and only requests begin a trace."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from domain.errors import VenueUnavailable
from observability import metrics, traces
from observability.logs import MASK, hide
from tests.otlp_receiver import Receiver, attributes, receiving

NOTHING_IMPORTED = """
import sys
from observability import metrics, traces
from starter import connection
traces.set_up_traces(None, service="volex-worker")
with metrics.venue_request("a", "submit"): pass
with traces.request_span("GET", {}): pass
assert traces.interceptors() == () and traces.names() == {}
assert not [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))]
"""


@pytest.fixture
def received() -> Iterator[Receiver]:
    """A receiver that this process exports to."""
    with receiving() as receiver:
        traces.set_up_traces(receiver.address, service="volex-test", headers="x-one=1,x-two=a=b")
        try:
            yield receiver
        finally:
            traces.stop_traces()


def test_off_nothing_of_the_sdk_is_imported_and_nothing_is_traced() -> None:
    subprocess.run([sys.executable, "-c", NOTHING_IMPORTED], check=True, timeout=60)


def test_secret_in_an_errors_words_leaves_masked(received: Receiver) -> None:
    hide("venue-secret-77")
    with pytest.raises(VenueUnavailable), traces.request_span("POST", {}) as (tell, rename):
        rename("POST /orders")
        tell("volex.order_id", "a" * 16)
        with metrics.venue_request("traced", "submit"):
            raise VenueUnavailable("the venue said: signature=deadbeef venue-secret-77")
    traces.stop_traces()
    sent = b"".join(received.bodies)
    assert MASK.encode() in sent and b"VENUE_UNAVAILABLE" in sent
    assert b"venue-secret-77" not in sent and b"deadbeef" not in sent
    names = {span.name: span for _, span in received.trace_of("a" * 16)}
    assert names.keys() == {"POST /orders", "venue submit"}
    assert names["venue submit"].parent_span_id == names["POST /orders"].span_id
    assert attributes(names["venue submit"])["volex.outcome"] == "VENUE_UNAVAILABLE"
    assert (received.headers[0]["x-one"], received.headers[0]["x-two"]) == ("1", "a=b")


def test_callers_trace_goes_on_and_a_workers_own_doing_begins_none(received: Receiver) -> None:
    with traces.request_span("GET", {"traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"}):
        assert traces.names() == {"trace_id": "ab" * 16}
    with metrics.venue_request("traced", "fetch_open_orders"):
        assert traces.names() == {}
    traces.stop_traces()
    assert [span.trace_id.hex() for _, span in received.spans] == ["ab" * 16]
