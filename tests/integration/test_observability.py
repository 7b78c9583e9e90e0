"""One real order, seen from all sides: its log lines, the metrics of worker and REST interface, its trace, health."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from domain.identifiers import order_workflow_id
from embedded.child import free_port
from simulator.running import API_KEY, SECRET_KEY
from tests.faults.floor import Floor, open_floor
from tests.otlp_receiver import Receiver, attributes, receiving

EXPORT_SECRET = "Bearer-of-the-collector-4711"
STAGES = ("validate", "risk_check", "submit", "persist", "fill", "whole")


@dataclass
class Watched:
    """The stack, where its traces arrive, and where its worker serves metrics."""

    floor: Floor
    traces: Receiver
    metrics_url: str

    async def page(self, *, of_worker: bool = False) -> str:
        """Return a page of metrics."""
        if not of_worker:
            return (await self.floor.rest.get("/metrics")).text
        async with httpx2.AsyncClient(timeout=10) as client:
            return (await client.get(self.metrics_url)).text

    def lines(self, part: str) -> list[dict[str, Any]]:
        """Return the log lines of a part."""
        text = self.floor.stack.data.log_path(part).read_text("utf-8")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    """A stack with everything on, whose account trades live at the local venue."""
    port = free_port()
    with receiving() as traces:
        environ = {
            "LOG_LEVEL": "DEBUG",
            "WORKER__METRICS_ADDRESS": f"127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": traces.address,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={EXPORT_SECRET}",
        }
        async with open_floor(tmp_path_factory.mktemp("seen"), environ=environ) as floor:
            await until_status(floor, "healthy")
            yield Watched(floor, traces, f"http://127.0.0.1:{port}/metrics")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def order(watched: Watched) -> dict[str, Any]:
    """A market order that was filled."""
    placed = await watched.floor.place("seen-1")
    return await watched.floor.until_final(placed["id"])


async def until_status(floor: Floor, status: str, within_s: float = 30) -> dict[str, Any]:
    """Wait until health has a status, and return its report."""
    report: dict[str, Any] = {}
    try:
        async with asyncio.timeout(within_s):
            while (report := (await floor.rest.get("/health")).json()).get("status") != status:
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not {status}: {report.get('problems')}") from None
    return report


async def until(reached: Callable[[], bool], what: str, within_s: float = 15) -> None:
    """Wait until something is so."""
    try:
        async with asyncio.timeout(within_s):
            while not reached():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(what) from None


async def test_every_line_about_the_order_names_it_its_account_workflow_and_attempt(
    watched: Watched, order: dict[str, Any]
) -> None:
    workflow_id = order_workflow_id("binanceus", order["id"])
    await until(lambda: any(line["event"] == "order_ended" for line in watched.lines("worker")), "no line of the end")
    for part in ("worker", "api"):
        about = [line for line in watched.lines(part) if order["id"] in json.dumps(line)]
        assert about, f"{part} wrote nothing about the order"
        for line in about:
            if line.get("activity_type") == "follow_account":
                continue  # the account's feed tells many orders: it names each beside its own workflow
            names = (line.get("order_id"), line.get("account"), line.get("workflow_id"))
            assert names == (order["id"], "binanceus", workflow_id), line
            assert part == "api" or line.get("attempt") == 1 or line["logger"].startswith("temporalio."), line
    events = {line["event"] for part in ("worker", "api") for line in watched.lines(part) if order["id"] in str(line)}
    assert {"order_sent", "order_ended", "request_answered"} <= {event.split(" ")[0] for event in events}


async def test_worker_page_holds_our_metrics_and_temporals(watched: Watched, order: dict[str, Any]) -> None:
    page = await watched.page(of_worker=True)
    assert 'volex_orders_placed_total{account="binanceus",order_type="market",side="buy"} 1.0' in page
    assert 'volex_orders_final_total{account="binanceus",status="FILLED"} 1.0' in page
    for stage in STAGES:
        assert f'volex_order_stage_duration_seconds_count{{order_type="market",stage="{stage}"}} 1.0' in page, stage
    assert 'volex_venue_requests_total{account="binanceus",call="submit",outcome="accepted"} 1.0' in page
    assert 'volex_venue_requests_total{account="binanceus",call="fetch_balances",outcome="ok"}' in page
    assert re.search(r'volex_feed_rounds_total{account="binanceus",outcome="ok"} [1-9]', page)
    assert re.search(r'volex_reconciliations_total{account="binanceus",outcome="ok"} [1-9]', page)
    assert "volex_orders_failed_total{" not in page
    assert "volex_vault_up" not in page, "no Vault is configured"
    assert re.search(r"temporal_activity_execution_latency_seconds_count{[^}]*submit", page)
    assert "temporal_request_total" in page or "temporal_request{" in page
    assert "_created" not in page
    for text in (order["id"], "BTC/USDT", API_KEY, SECRET_KEY):
        assert text not in page


async def test_rest_page_holds_traffic_and_the_state_of_the_ledger(watched: Watched, order: dict[str, Any]) -> None:
    await watched.floor.rest.get("/nowhere/at/all")
    page = await watched.page()
    assert 'volex_http_requests_total{method="POST",route="/orders",status="201"} 1.0' in page
    assert 'volex_order_answer_duration_seconds_count{order_type="market"} 1.0' in page
    assert (
        'volex_http_request_duration_seconds_bucket{le="0.2",method="GET",route="/orders/{exchange}/{order_id}"}'
        in page
    )
    assert 'route="other"' in page and "nowhere" not in page
    assert 'volex_component_up{component="database"} 1.0' in page
    for name in ("volex_venue_up", "volex_account_ready"):
        assert f'{name}{{account="binanceus"}} 1.0' in page
    age = re.search(r'volex_feed_age_seconds{account="binanceus"} ([0-9.]+)', page)
    assert age is not None and float(age[1]) < 15
    assert order["id"] not in page


async def test_health_tells_figures_and_probes_cost_no_venue_call(watched: Watched, order: dict[str, Any]) -> None:
    rest, venue = watched.floor.rest, watched.floor.venue
    report = (await rest.get("/health")).json()
    assert (report["status"], report["ready"], report["problems"]) == ("healthy", True, [])
    figures = report["accounts"]["binanceus"]
    assert abs(figures["clock_skew_ms"]) < 1000 and figures["reconciliation_age_s"] < 300
    assert (await rest.get("/health/ready")).status_code == 200
    before = len((await venue.get("/requests")).json())
    for _ in range(30):
        await rest.get("/health")
        await rest.get("/metrics")
    after = (await venue.get("/requests")).json()[before:]
    # The feed and the reconciler go on at their own pace meanwhile; the probes add nothing of theirs.
    assert sum(1 for entry in after if entry["path"].endswith(("/time", "/exchangeInfo"))) <= 2
    assert len(after) < 30


async def test_spans_of_one_order_are_one_trace_from_the_request_to_the_venue(
    watched: Watched, order: dict[str, Any]
) -> None:
    def names() -> set[str]:
        return {span.name for _, span in watched.traces.trace_of(order["id"])}

    wanted = {"POST /orders", "RunWorkflow:order", "RunActivity:validate", "RunActivity:risk_check"}
    wanted |= {"RunActivity:submit", "venue submit", "RunActivity:persist", "CompleteWorkflow:order"}
    await until(lambda: wanted <= names(), f"missing: {wanted - names()}; there are {names()}")
    trace = watched.traces.trace_of(order["id"])
    told = {line.get("trace_id") for line in watched.lines("worker") if line.get("order_id") == order["id"]}
    assert trace[0][1].trace_id.hex() in told
    by_id = {span.span_id: span for _, span in trace}
    (venue_span,) = [span for _, span in trace if span.name == "venue submit"]
    assert attributes(venue_span)["volex.outcome"] == "accepted"
    path, span = [], venue_span
    while True:
        path.append(span.name)
        if not span.parent_span_id:
            break
        span = by_id[span.parent_span_id]
    assert path[:2] == ["venue submit", "RunActivity:submit"] and path[-1] == "POST /orders", path
    assert {service for service, _ in trace} == {"volex-api", "volex-worker"}
    assert not {span.name for _, span in watched.traces.spans if "follow_account" in span.name}, "feeds have no end"
    everything = b"".join(watched.traces.bodies)
    for secret in (API_KEY, SECRET_KEY, "test-key", EXPORT_SECRET):
        assert secret.encode() not in everything
    assert {headers.get("authorization") or headers.get("Authorization") for headers in watched.traces.headers} == {
        EXPORT_SECRET
    }


async def test_a_venue_that_fails_degrades_health_and_shows_in_the_metrics(watched: Watched) -> None:
    floor = watched.floor
    resting = await floor.place("seen-2", order_type="limit", price=50000)
    await floor.fault("maintenance")
    try:
        report = await until_status(floor, "degraded")
        assert [text for text in report["problems"] if "venue does not answer" in text or "feed is stale" in text]
        page = await watched.page(of_worker=True)
        assert re.search(r'volex_venue_requests_total{account="binanceus",call="[a-z_]+",outcome="VENUE_UNAVAIL', page)
        assert 'volex_orders_open{account="binanceus",status="ACCEPTED"} 1.0' in await watched.page()
    finally:
        await floor.calm()
    # It still rests, and its trace is there to see.
    wanted = {"POST /orders", "RunWorkflow:order", "RunActivity:submit", "venue submit"}
    shown = {span.name for _, span in watched.traces.trace_of(resting["id"])}
    assert wanted <= shown and "CompleteWorkflow:order" not in shown, shown
    await floor.rest.delete(f"/orders/binanceus/{resting['id']}")
