"""Stops held by us on real processes: the worker is dead while the price crosses; and the owner's example bodies."""

import os
import signal
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from api.numbers import write_json
from tests.faults.floor import Floor, open_floor

pytestmark = pytest.mark.timeout(200)
D = Decimal
BODIES: dict[str, dict[str, Any]] = {
    "market": {"symbol": "BTC/USDT", "side": "buy", "order_type": "market", "amount": D("0.001")},
    "limit": {"symbol": "ETH/USDT", "side": "sell", "order_type": "limit", "amount": D("1.0"), "price": D("3000.0")},
    "stop": {
        "symbol": "BTC/USDT", "side": "sell", "order_type": "stop", "amount": D("0.001"), "stop_price": D("44000.0"),
    },
    "stop-limit": {
        "symbol": "BTC/USDT", "side": "sell", "order_type": "stop", "amount": D("0.001"), "price": D("43900.0"),
        "stop_price": D("44000.0"),
    },
}  # fmt: skip
"""The owner's document, word for word; what it leaves out is filled in."""


async def _move(floor: Floor, *prices: str) -> None:
    """Trade at each of the prices, one after the other."""
    for price in prices:
        await floor.market(price=price)
        (await floor.venue.post("/tick", json={"count": 1})).raise_for_status()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def holding(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Floor]:
    """A stack whose live account holds all stops itself, with a paper account beside it."""
    async with open_floor(tmp_path_factory.mktemp("holding"), stops="held", with_paper=True) as floor:
        await floor.until_reconciled()
        yield floor


async def test_price_that_crosses_and_comes_back_while_the_worker_is_dead_triggers_once(holding: Floor) -> None:
    floor = holding
    stop = await floor.place("stop", side="sell", order_type="stop", stop_price=D("61000"))
    both = await floor.place("both", order_type="stop", stop_price=D("62000"), price=D("63000"))
    far = await floor.place("far", side="sell", order_type="stop", stop_price=D("44000"))
    assert {(order["status"], order["lifecycle"], order["placement"]) for order in (stop, both, far)} == {
        ("open", "INITIALIZED", "held")
    }
    assert "held by us until the last price is 61000 or below" in stop["next_step"]
    await floor.until_requests(3, method="GET", prefix="BTCUSDT")
    assert [await floor.requests(prefix=order["id"]) for order in (stop, both, far)] == [0, 0, 0]

    worker = floor.stack.part("worker")
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    await _move(floor, "60500", "62100", "61250")
    worker.kill()

    ended = [await floor.until_final(order["id"]) for order in (stop, both)]
    assert [order["lifecycle"] for order in ended] == ["FILLED", "FILLED"]
    assert [order["triggered_price"] for order in ended] == [D("60500"), D("62100")]
    assert [await floor.requests(prefix=order["id"]) for order in (*ended, far)] == [1, 1, 0]
    await _assert_told(floor, stop["id"])
    canceled = await floor.rest.delete(f"/orders/binanceus/{far['id']}")
    assert canceled.json(parse_float=Decimal)["lifecycle"] == "CANCELED"
    await floor.assert_the_venue_agrees(ended)
    assert await floor.database.fetch("SELECT code, reason FROM cases WHERE closed_at IS NULL") == []
    assert await floor.database.fetchval("SELECT max(reserved) FROM balances WHERE account = 'binanceus'") == 0


async def _assert_told(floor: Floor, order_id: str) -> None:
    """What triggered it is a fact of its own, with the venue's trade, before the send."""
    events = (await floor.rest.get(f"/orders/binanceus/{order_id}/events")).json(parse_float=Decimal)
    assert [event["type"] for event in events][:3] == ["ADMITTED", "TRIGGERED", "SUBMITTED"]
    crossing = events[1]["crossing"]
    assert (crossing["by"], crossing["price"]) == ("last", D("60500"))
    assert crossing["time"] < crossing["seen_at"]
    query = "SELECT evidence->>'trade_id' FROM order_events WHERE order_id = $1 AND event_type = 'TRIGGERED'"
    assert await floor.database.fetchval(query, order_id) == crossing["trade_id"]
    sent = await floor.database.fetchval("SELECT submission->>'order_type' FROM attempts WHERE order_id = $1", order_id)
    assert sent == "market"


async def _placed(floor: Floor, account: str, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = await floor.rest.post("/orders", content=write_json({**body, "exchange": account}))
    order: dict[str, Any] = answer.json(parse_float=Decimal)
    assert answer.status_code == 201, order
    return order


async def test_the_owners_four_bodies_work_at_the_venue(floor: Floor) -> None:
    await floor.until_reconciled()
    orders = {name: await _placed(floor, "binanceus", body) for name, body in BODIES.items()}
    stops = [orders["stop"], orders["stop-limit"]]
    assert [(order["type"], order["lifecycle"], order["placement"]) for order in stops] == [
        ("stop", "ACCEPTED", "native"),
        ("stop-limit", "ACCEPTED", "native"),
    ]
    for order in stops:
        await floor.rest.delete(f"/orders/binanceus/{order['id']}")
    ended = [await floor.until_final(order["id"]) for order in orders.values()]
    assert [order["lifecycle"] for order in ended] == ["FILLED", "FILLED", "CANCELED", "CANCELED"]
    await floor.assert_the_venue_agrees(ended)


async def test_the_owners_four_bodies_work_on_paper_and_with_stops_held(holding: Floor) -> None:
    on_paper = [await _placed(holding, "paper", body) for body in BODIES.values()]
    assert [(order["type"], order["status"]) for order in on_paper] == [
        ("market", "closed"), ("limit", "closed"), ("stop", "open"), ("stop-limit", "open"),
    ]  # fmt: skip
    held = [await _placed(holding, "binanceus", BODIES[name]) for name in ("stop", "stop-limit")]
    assert [(order["type"], order["placement"]) for order in held] == [("stop", "held"), ("stop-limit", "held")]
    for order in (*on_paper[2:], *held):
        canceled = await holding.rest.delete(f"/orders/{order['exchange']}/{order['id']}")
        assert canceled.json()["status"] == "canceled"


async def test_market_order_by_quote_amount_spends_about_that_and_tells_both(holding: Floor) -> None:
    for account in ("binanceus", "paper"):
        body = {"symbol": "BTC/USDT", "side": "buy", "order_type": "market", "quote_amount": D(500)}
        placed = await _placed(holding, account, body)
        assert (placed["status"], placed["quote_amount"], placed["rounded_from"]) == ("closed", D(500), None)
        assert D(498) < placed["cost"] <= D(500) and placed["filled"] == placed["amount"]


async def test_stop_by_the_mid_price_is_held_everywhere_and_a_gtd_order_has_to_end(floor: Floor) -> None:
    until = {"time_in_force": "GTD", "expires_at": "2099-01-01T00:00:00Z"}
    held = await _placed(floor, "binanceus", {**BODIES["stop"], "trigger_by": "mid", **until})
    assert (held["placement"], held["trigger_by"], held["time_in_force"]) == ("held", "mid", "GTD")
    resting = await _placed(floor, "binanceus", {**BODIES["limit"], "price": D("4000"), **until})
    assert (resting["lifecycle"], resting["time_in_force"]) == ("ACCEPTED", "GTD")
    for order in (held, resting):
        assert (await floor.rest.delete(f"/orders/binanceus/{order['id']}")).json()["status"] == "canceled"
    endless = await floor.rest.post("/orders", content=write_json({**BODIES["limit"], "time_in_force": "GTD"}))
    assert endless.json()["errors"][0]["code"] == "EXPIRES_AT_MISSING"
