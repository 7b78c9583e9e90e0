"""The REST interface in front of the whole stack: Temporal, Postgres, a worker, and the local venue over HTTP."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from api.app import create_app
from domain.identifiers import order_workflow_id
from domain.order import OrderSide, OrderTicket, OrderType
from embedded.child import free_port
from embedded.stack import EmbeddedStack, StackOptions
from settings import Settings
from starter.client import ExecutionClient
from workflows.messages import OrderView

READ_P99_MS = 200
"""The budget is 50 ms on a quiet machine; the suite shares two cores with others."""
_keys = count(1)

MARKET = {"symbol": "BTC/USDT", "side": "buy", "order_type": "market", "amount": 0.001}
RESTING = {"symbol": "BTC/USDT", "side": "buy", "order_type": "limit", "amount": 0.001, "price": 50000}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedStack]:
    """The whole stack, with a paper account at the local venue."""
    folder: Path = tmp_path_factory.mktemp("rest")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o001)
    async with EmbeddedStack(StackOptions(data_dir=folder / "data", environ={"PATH": os.environ["PATH"]})) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rest(stack: EmbeddedStack) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the REST interface."""
    limits = httpx2.Limits(max_connections=100)
    async with httpx2.AsyncClient(
        base_url=stack.ready["api"], timeout=70, limits=limits, headers={"Content-Type": "application/json"}
    ) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(stack: EmbeddedStack) -> ExecutionClient:
    """The client library without a ledger, as another machine would use it."""
    return await ExecutionClient.connect(stack.ready["temporal"])


def new_key() -> str:
    """Return a key that no other test uses."""
    return f"test-{next(_keys)}"


async def place(rest: httpx2.AsyncClient, body: Mapping[str, Any], **headers: str) -> dict[str, Any]:
    """Place an order that is taken, and return it."""
    response = await rest.post("/orders", json=body, headers=headers)
    assert response.status_code == 201, response.text
    order: dict[str, Any] = response.json()
    return order


async def test_market_order_is_answered_filled_and_stands_in_the_ledger(rest):
    response = await rest.post("/orders", json={**MARKET, "strategy": "first", "price": None})
    order = response.json()
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"/orders/binanceus/{order['id']}"
    assert (order["status"], order["lifecycle"], order["type"], order["dry_run"]) == (
        "closed",
        "FILLED",
        "market",
        True,
    )
    assert (order["amount"], order["filled"], order["remaining"]) == (0.001, 0.001, 0)
    assert order["average"] == pytest.approx(order["cost"] / 0.001)
    assert order["fees"][0]["currency"] == "BTC"
    assert order["client_order_id"] == order["id"]
    assert order["workflow_id"] == order_workflow_id("binanceus", order["id"])
    assert order["timestamp"].endswith("Z") and len(order["timestamp"]) == len("2026-11-24T12:00:00.000000Z")
    again = (await rest.get(f"/orders/binanceus/{order['id']}")).json()
    assert {**again, "updated_at": None} == {**order, "updated_at": None}


async def test_same_key_a_hundred_times_at_once_is_one_order_and_equal_answers(rest):
    key = new_key()
    answers = await asyncio.gather(
        *(rest.post("/orders", json=MARKET, headers={"Idempotency-Key": key}) for _ in range(100))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    later = await rest.post("/orders", json=MARKET, headers={"Idempotency-Key": key})
    assert later.text == answers[0].text
    events = (await rest.get(f"/orders/binanceus/{later.json()['id']}/events")).json()
    assert [event["type"] for event in events].count("SUBMITTED") == 1


async def test_another_body_under_the_key_is_a_conflict_also_after_the_end(rest):
    key = new_key()
    first = await place(rest, RESTING, **{"Idempotency-Key": key})
    for ends in (False, True):
        other = await rest.post("/orders", json={**RESTING, "amount": 0.002}, headers={"Idempotency-Key": key})
        assert other.status_code == 409
        assert other.json()["code"] == "IDEMPOTENCY_KEY_REUSED"
        assert other.json()["numbers"]["order_id"] == first["id"]
        if not ends:
            assert (await rest.delete(f"/orders/binanceus/{first['id']}")).status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"exchange": "binanecus"}, 422, "ACCOUNT_UNKNOWN"),
        ({"symbol": "BTC/USTD"}, 422, "SYMBOL_UNKNOWN"),
        ({"symbol": "btc/usdt"}, 422, "SYMBOL_UNKNOWN"),
        ({"side": "long"}, 422, "REQUEST_INVALID"),
        ({"order_type": "iceberg"}, 422, "REQUEST_INVALID"),
        ({"order_type": "market"}, 422, "REQUEST_INVALID"),
        ({"price": None}, 422, "REQUEST_INVALID"),
        ({"amount": 0}, 422, "REQUEST_INVALID"),
        ({"amount": -1}, 422, "REQUEST_INVALID"),
        ({"amount": "0.001"}, 422, "REQUEST_INVALID"),
        ({"amount": 10**40}, 422, "REQUEST_INVALID"),
        ({"amount": float("nan")}, 422, "REQUEST_INVALID"),
        ({"unknown": 1}, 422, "REQUEST_INVALID"),
        ({"amount": 5e-05}, 422, "NOTIONAL_BELOW_MINIMUM"),
        ({"price": 50000.001}, 422, "PRICE_OFF_TICK"),
        ({"amount": 3}, 422, "ORDER_NOTIONAL_ABOVE_LIMIT"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 422, "EXPIRES_IN_PAST"),
    ],
)
async def test_bad_order_is_a_problem_that_says_what_is_wrong(rest, change, status, code):
    response = await rest.post("/orders", content=json.dumps({**RESTING, **change}))
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["what_to_do"]
    recorded = code not in ("ACCOUNT_UNKNOWN", "SYMBOL_UNKNOWN", "REQUEST_INVALID")
    assert ("order" in problem) is recorded
    if recorded:
        assert problem["order"]["status"] == "rejected"
        assert problem["order"]["reason"]["code"] == code
        kept = await rest.get(f"/orders/binanceus/{problem['order']['id']}")
        assert kept.json()["lifecycle"] == "DENIED"


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"symbol":', 400), (b"\xff", 400), (b"[" * 60_000, 400), (b"[]", 422), (b"x" * 10_000_000, 413)],
)
async def test_unreadable_body_is_a_problem(rest, body, status):
    response = await rest.post("/orders", content=body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


async def test_1e400_is_read_as_text_and_refused(rest):
    response = await rest.post("/orders", content=json.dumps(RESTING).replace("0.001", "1e400"))
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "amount"


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
async def test_key_that_cannot_be_one_is_refused(rest, key):
    response = await rest.post("/orders", json=MARKET, headers={"Idempotency-Key": key})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_resting_order_is_amended_then_canceled_once(rest):
    order = await place(rest, RESTING)
    path = f"/orders/binanceus/{order['id']}"
    assert order["status"] == "open"
    assert order["id"] in {listed["id"] for listed in (await rest.get("/orders/binanceus?status=open")).json()}
    off_tick = await rest.patch(path, json={"price": 50000.001})
    assert (off_tick.status_code, off_tick.json()["order"]["price"]) == (422, 50000)
    assert (await rest.patch(path, json={})).status_code == 422
    amended = await rest.patch(path, json={"price": 50001, "amount": 0.002})
    assert amended.status_code == 200, amended.text
    assert (amended.json()["price"], amended.json()["amount"], amended.json()["status"]) == (50001, 0.002, "open")
    canceled = await rest.delete(path)
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    for late in (await rest.delete(path), await rest.patch(path, json={"price": 50002})):
        assert (late.status_code, late.json()["code"]) == (409, "ORDER_CLOSED")
        assert late.json()["order"]["status"] == "canceled"
    listed = (await rest.get("/orders/binanceus?status=closed")).json()
    assert order["id"] in {entry["id"] for entry in listed}


async def test_waiting_for_the_end_is_bounded(rest):
    began = time.monotonic()
    response = await rest.post("/orders?wait=final&timeout_s=1.5", json=RESTING)
    assert (response.status_code, response.json()["status"]) == (201, "open")
    assert 1.5 <= time.monotonic() - began < 10
    assert (await rest.delete(f"/orders/binanceus/{response.json()['id']}")).status_code == 200
    ended = await rest.post("/orders?wait=final", json=MARKET)
    assert (ended.status_code, ended.json()["status"]) == (201, "closed")


async def test_pages_lead_from_one_to_the_next_without_repetition(rest):
    placed = [(await place(rest, MARKET))["id"] for _ in range(3)]
    first = await rest.get("/orders/binanceus?limit=2&symbol=BTC/USDT")
    following = first.headers["link"].partition("<")[2].partition(">")[0]
    second = await rest.get(following)
    ids = [order["id"] for order in first.json() + second.json()]
    assert ids[:3] == placed[::-1]
    assert len(ids) == len(set(ids)) == 4
    assert (await rest.get("/orders/binanceus?before=" + "a" * 16)).status_code == 404
    assert (await rest.get("/orders/binanceus?limit=0")).status_code == 422


async def test_story_tells_the_facts_in_order(rest):
    order = await place(rest, MARKET)
    await rest.post("/orders?wait=final", json=MARKET)
    story = (await rest.get(f"/orders/binanceus/{order['id']}/explain")).json()
    kinds = [chapter["evidence"].get("type") for chapter in story["story"]]
    assert kinds[:5] == [None, "ADMITTED", "SUBMITTED", "ACCEPTED", "FILLED"]
    assert "is closed: 0.001 of 0.001 filled" in story["summary"]
    assert story["workflow_url"].endswith(order["workflow_id"])
    events = (await rest.get(f"/orders/binanceus/{order['id']}/events")).json()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


async def test_account_and_market_are_shown_in_the_fixed_shapes(rest):
    await place(rest, MARKET)
    assert (await rest.get("/exchanges")).json() == {"available_exchanges": ["binanceus"], "dry_run_mode": True}
    status = (await rest.get("/exchanges/binanceus/status")).json()
    assert (status["status"], status["mode"]) == ("ok", "paper")
    assert status["markets_count"] > 0
    ticker = (await rest.get("/ticker/binanceus/BTC/USDT")).json()
    assert 0 < ticker["bid"] < ticker["ask"]
    one = (await rest.get("/balance/binanceus?currency=USDT")).json()
    assert {"currency", "free", "used", "total"} <= one.keys()
    assert one["currency"] in {entry["currency"] for entry in (await rest.get("/balance/binanceus")).json()}
    (position,) = (await rest.get("/positions/binanceus")).json()
    assert (position["symbol"], position["side"]) == ("BTC/USDT", "long")
    gain = (Decimal(str(position["current_price"])) - Decimal(str(position["entry_price"]))) * Decimal(
        str(position["amount"])
    )
    assert position["unrealized_pnl"] == pytest.approx(float(gain), abs=1e-6)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/ticker/binanceus/BTCUSDT", "SYMBOL_UNKNOWN"),
        ("/ticker/binance/BTC/USDT", "ACCOUNT_UNKNOWN"),
        ("/orders/binance", "ACCOUNT_UNKNOWN"),
        ("/orders/binanceus/zzz", "ORDER_NOT_FOUND"),
        ("/orders/binanceus/aaaaaaaaaaaaaaaa/events", "ORDER_NOT_FOUND"),
        ("/nowhere", "NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_a_problem_with_the_names_near_it(rest, path, code):
    response = await rest.get(path)
    assert (response.status_code, response.json()["code"]) == (404, code)
    if code == "SYMBOL_UNKNOWN":
        assert "BTC/USDT" in response.json()["what_to_do"]


async def test_health_names_every_component(rest):
    health = (await rest.get("/health")).json()
    assert health["status"] == "healthy"
    assert health["components"] == {
        "vault": "not_configured", "database": "ok", "exchanges": {"binanceus": "ok"}, "dry_run_mode": True,
        "temporal": "ok",
    }  # fmt: skip
    assert (await rest.get("/health/ready")).status_code == 200
    assert (await rest.get("/health", headers={"Host": "evil.example"})).status_code == 421
    schema = (await rest.get("/openapi.json")).json()
    assert schema["paths"]["/orders"]["post"]["requestBody"]["content"]["application/json"]["schema"]["required"]
    assert b"volex_" in (await rest.get("/metrics")).content


async def test_reads_are_quick(rest):
    for path in ("/orders/binanceus?limit=50", "/positions/binanceus", "/balance/binanceus", "/health"):
        took_ms = []
        for _ in range(100):
            began = time.perf_counter()
            assert (await rest.get(path)).status_code == 200
            took_ms.append((time.perf_counter() - began) * 1000)
        assert sorted(took_ms)[98] < READ_P99_MS, path


async def test_client_without_a_ledger_places_watches_lists_and_cancels(client):
    ticket = OrderTicket(
        symbol="BTC/USDT",
        side=OrderSide.BUY,
        order_type=OrderType.LIMIT,
        quantity=Decimal("0.001"),
        price=Decimal(50000),
    )
    placed = await client.place_order(ticket, account="binanceus", idempotency_key=new_key())
    assert placed.order is not None and placed.order.status == "ACCEPTED"
    seen: list[OrderView] = []

    async def watch() -> None:
        async for view in client.watch_order(placed.order_id, account="binanceus", timeout_s=30):
            seen.append(view)

    watching = asyncio.create_task(watch())
    listed: list[str] = []
    deadline = time.monotonic() + 10
    while placed.order_id not in listed:  # visibility follows within a second or so
        assert time.monotonic() < deadline
        listed = [view.order_id for view in await client.list_orders(account="binanceus", is_open=True, limit=50)]
    canceled = await client.cancel_order(placed.order_id, account="binanceus")
    assert canceled.order is not None and canceled.order.status == "CANCELED"
    await watching
    assert [view.order.status for view in seen if view.order] == ["ACCEPTED", "CANCELED"]
    ended = await client.wait_order(placed.order_id, account="binanceus", timeout_s=5)
    assert ended.order is not None and ended.order.is_final


async def test_terminated_workflow_does_not_take_its_order_out_of_reach(rest, client):
    order = await place(rest, RESTING)
    await client.temporal.get_workflow_handle(order["workflow_id"]).terminate("by a test")
    canceled = await rest.delete(f"/orders/binanceus/{order['id']}")
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")


async def test_order_placed_while_the_worker_is_dead_is_pending_then_finished(rest, stack):
    worker = stack.part("worker")
    await worker.stop()
    try:
        key = {"Idempotency-Key": new_key()}
        pending = await rest.post("/orders?timeout_s=0.5", json=MARKET, headers=key)
        assert (pending.status_code, pending.json()["status"]) == (202, "pending")
        shown = await rest.get(f"/orders/binanceus/{pending.json()['id']}")
        assert (shown.status_code, shown.json()["amount"]) == (200, 0.001)
    finally:
        await worker.start()
    finished = await rest.post("/orders", json=MARKET, headers=key)
    assert (finished.status_code, finished.json()["status"]) == (201, "closed")
    assert finished.json()["id"] == pending.json()["id"]
    await stack.part("worker").until_ready()


async def test_starter_places_one_order_from_another_process(stack):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter", "BTC/USDT", "--side", "buy", "--amount", "0.001"),
        env={**os.environ, **stack.environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert json.loads(out)["order"]["status"] == "FILLED"


async def test_interface_answers_while_everything_behind_it_is_down():
    closed = f"http://127.0.0.1:{free_port()}"
    settings = Settings(
        temporal_address=f"127.0.0.1:{free_port()}",
        database_url=f"postgresql://volex:volex@127.0.0.1:{free_port()}/volex",
        accounts={
            "binanceus": {"exchange": "binanceus", "ccxt": {"urls": {"api": {"public": closed, "private": closed}}}}
        },
    )
    app = create_app(settings)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30) as rest,
    ):
        assert (await rest.get("/health/live")).status_code == 200
        health = (await rest.get("/health")).json()
        assert health["status"] == "unhealthy"
        assert {health["components"][name] for name in ("temporal", "database")} == {"unavailable"}
        assert (await rest.get("/health/ready")).status_code == 503
        listed = await rest.get("/orders/binanceus")
        assert (listed.status_code, listed.json()["code"]) == (503, "STORE_UNAVAILABLE")
        placed = await rest.post("/orders?timeout_s=1", json=MARKET)
        assert (placed.status_code, placed.json()["code"]) == (503, "TEMPORAL_UNAVAILABLE")
        assert placed.json()["numbers"]["order_id"]
