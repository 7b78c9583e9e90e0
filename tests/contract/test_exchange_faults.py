"""Faults of venue and network, judged by the venue's own ledger: one POST, the right verdict, and found after."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import VenueUnavailable
from domain.reports import OrderRef, SubmitVerdict, VenueOrderStatus
from tests.contract.contract_orders import SYMBOL, D, accepted, market_order, order, ref_of, seen, trades_of, yes
from tests.contract.simulated_driver import TIMEOUT_MS, SimulatedDriver, simulated_driver

HANG_S = TIMEOUT_MS / 1000 * 3
ORDER_POST = {"method": "POST", "path": "/api/v3/order"}


@pytest.fixture
async def venue() -> AsyncIterator[SimulatedDriver]:
    async with simulated_driver() as driver:
        await driver.set_price(D("100"))
        yield driver


LOST_ANSWERS: dict[str, tuple[dict[str, Any], int]] = {
    "drop before": ({"kind": "drop_before"}, 0),
    "drop after": ({"kind": "drop_after"}, 1),
    "hang": ({"kind": "hang", "seconds": HANG_S}, 1),
    "502 accepted": ({"kind": "http_status", "status": 502, "accepted": True}, 1),
    "503 not accepted": ({"kind": "http_status", "status": 503, "accepted": False}, 0),
    "403 of a proxy": ({"kind": "http_status", "status": 403, "accepted": False}, 0),
    "truncated": ({"kind": "truncated"}, 1),
    "empty 200": ({"kind": "empty_200"}, 1),
    "html 200": ({"kind": "html_200"}, 1),
    "-1007 accepted": ({"kind": "error", "code": -1007, "accepted": True}, 1),
    "-1007 not accepted": ({"kind": "error", "code": -1007, "accepted": False}, 0),
    "-1006": ({"kind": "error", "code": -1006, "msg": "An unexpected response was received.", "accepted": True}, 1),
}


@pytest.mark.parametrize(("fault", "orders"), LOST_ANSWERS.values(), ids=LOST_ANSWERS)
async def test_lost_answer_is_in_doubt_and_a_look_tells_the_truth(
    venue: SimulatedDriver, fault: dict[str, Any], orders: int
) -> None:
    await venue.control("POST", "faults", {**ORDER_POST, "times": 1, **fault})
    sent = order()
    outcome = await venue.exchange.submit(sent, last_look=yes)
    assert outcome.verdict is SubmitVerdict.UNKNOWN, outcome
    assert len(await venue.posts()) == 1
    assert await venue.order_count(sent.client_order_id) == orders
    found = await venue.exchange.fetch_order(ref_of(sent))
    assert (found is not None) == bool(orders)


async def test_what_the_venue_answered_is_kept_as_evidence_with_its_name_for_the_request(
    venue: SimulatedDriver,
) -> None:
    outcome = await venue.exchange.submit(sent := order(), last_look=yes)
    refused = await venue.exchange.submit(order(quantity=D("100000")), last_look=yes)
    found = await venue.exchange.fetch_order(ref_of(sent))
    assert outcome.answer is not None and refused.answer is not None and found is not None and found.answer is not None
    assert (outcome.answer.http_status, refused.answer.http_status, found.answer.http_status) == (200, 400, 200)
    told = json.loads(outcome.answer.body)
    assert (told["clientOrderId"], str(told["orderId"])) == (sent.client_order_id, found.venue_order_id)
    assert json.loads(found.answer.body)["orderId"] == told["orderId"]
    assert json.loads(refused.answer.body)["code"] == -1013


async def test_order_that_is_delayed_beyond_its_window_is_refused_by_the_venue_itself(venue: SimulatedDriver) -> None:
    """The time fence rests on this: a request that was held up anywhere dies with its signed time."""
    await venue.control("POST", "faults", {**ORDER_POST, "times": 1, "kind": "delay", "seconds": 0.6})
    sent = order(signed_at=datetime.now(UTC) - timedelta(seconds=4.5))
    outcome = await venue.exchange.submit(sent, last_look=yes)
    assert (outcome.verdict, outcome.reason and outcome.reason.code) == (SubmitVerdict.NOT_SENT, "CLOCK_SKEW")
    assert await venue.order_count(sent.client_order_id) == 0


async def test_order_is_signed_with_the_journaled_time_whatever_the_venues_clock_says(venue: SimulatedDriver) -> None:
    await venue.control("POST", "clock", {"skew_ms": 45_000})
    sent = order(signed_at=datetime.now(UTC) - timedelta(seconds=3))
    await accepted(venue, sent)
    (post,) = await venue.posts()
    expected_ms = int(sent.signed_at.timestamp() * 1000) + 45_000
    assert abs(int(post["timestamp"]) - expected_ms) < 200


async def test_clock_that_moved_costs_one_order_a_retry_and_no_more(venue: SimulatedDriver) -> None:
    await venue.exchange.status()
    await venue.control("POST", "clock", {"skew_ms": -30_000})
    first = await venue.exchange.submit(order(), last_look=yes)
    assert (first.verdict, first.reason and first.reason.code) == (SubmitVerdict.NOT_SENT, "CLOCK_SKEW")
    await accepted(venue, order())


async def test_duplicate_id_is_never_a_refusal_and_leads_to_the_order(venue: SimulatedDriver) -> None:
    resting = order()
    report = await accepted(venue, resting)
    again = await venue.exchange.submit(resting, last_look=yes)
    assert (again.verdict, again.reason and again.reason.code) == (SubmitVerdict.UNKNOWN, "DUPLICATE_CLIENT_ORDER_ID")
    found = await venue.exchange.fetch_order(ref_of(resting))
    assert found is not None and found.venue_order_id == report.venue_order_id


async def test_order_that_does_not_show_yet_is_absent_and_then_found(venue: SimulatedDriver) -> None:
    await venue.control("POST", "faults", {"kind": "visibility_lag", "seconds": 0.4})
    sent = order()
    await accepted(venue, sent)
    assert await venue.exchange.fetch_order(ref_of(sent)) is None
    assert (await seen(venue, sent, lambda report: True)).status is VenueOrderStatus.OPEN
    fence_s = venue.exchange.time_fence_s()
    assert fence_s is not None and fence_s > 5 + 0.4


async def test_fills_that_show_late_are_told_by_the_venues_own_filled_quantity(venue: SimulatedDriver) -> None:
    await venue.control("POST", "faults", {"kind": "fill_lag", "seconds": 0.4})
    bought = market_order(quantity=D("0.5"))
    report = await accepted(venue, bought)
    found = await venue.exchange.fetch_order(ref_of(bought))
    assert found is not None and found.cum_qty == D("0.5")
    async with asyncio.timeout(5):
        while sum(fill.last_qty for fill in await trades_of(venue, bought, report)) < D("0.5"):
            await asyncio.sleep(0.02)


async def test_pages_that_repeat_and_shuffle_trades_count_each_once(venue: SimulatedDriver) -> None:
    await venue.control("POST", "faults", {"kind": "repeat_trades"})
    bought = market_order(quantity=D("2.5"))
    report = await accepted(venue, bought)
    fills = await trades_of(venue, bought, report)
    assert sum(fill.last_qty for fill in fills) == D("2.5")
    assert len({fill.key for fill in fills}) == len(fills)
    listed = await venue.exchange.fetch_trades(SYMBOL, since=bought.signed_at - timedelta(minutes=1))
    assert list(listed) == list(fills)


async def test_cancel_that_lost_the_race_is_a_hint_and_the_order_filled(venue: SimulatedDriver) -> None:
    await venue.control("POST", "faults", {"kind": "cancel_race", "times": 1})
    resting = order()
    report = await accepted(venue, resting)
    hint = await venue.exchange.cancel(ref_of(resting, report))
    assert hint is not None and hint.code == "CANCEL_REFUSED"
    found = await venue.exchange.fetch_order(ref_of(resting, report))
    assert found is not None and (found.status, found.cum_qty) == (VenueOrderStatus.CLOSED, resting.quantity)


async def test_lost_cancel_raises_and_has_been_carried_out_or_not(venue: SimulatedDriver) -> None:
    await venue.control("POST", "faults", {"kind": "truncated", "method": "DELETE", "times": 1})
    resting = order()
    report = await accepted(venue, resting)
    with pytest.raises(VenueUnavailable):
        await venue.exchange.cancel(ref_of(resting, report))
    found = await venue.exchange.fetch_order(ref_of(resting, report))
    assert found is not None and found.status is VenueOrderStatus.CANCELED


READS_LOST: dict[str, dict[str, Any]] = {
    name: LOST_ANSWERS[name][0]
    for name in ("drop before", "drop after", "502 accepted", "truncated", "empty 200", "html 200")
}


@pytest.mark.parametrize("fault", READS_LOST.values(), ids=READS_LOST)
async def test_read_that_is_lost_says_nothing(venue: SimulatedDriver, fault: dict[str, Any]) -> None:
    sent = order()
    await accepted(venue, sent)
    await venue.control("POST", "faults", {**fault, "method": "GET"})
    with pytest.raises(VenueUnavailable):
        await venue.exchange.fetch_order(OrderRef(symbol=SYMBOL, client_order_id=sent.client_order_id))
    with pytest.raises(VenueUnavailable):
        await venue.exchange.fetch_open_orders()
    with pytest.raises(VenueUnavailable):
        await venue.exchange.fetch_trades(SYMBOL, since=sent.signed_at)
    with pytest.raises(VenueUnavailable):
        await venue.exchange.fetch_balances()


async def test_trades_beyond_one_page_are_all_read(venue: SimulatedDriver) -> None:
    resting = order(quantity=D("1.2"), price=D("95"))
    report = await accepted(venue, resting)
    for _ in range(1100):
        fill = {"client_order_id": resting.client_order_id, "quantity": "0.001"}
        await venue.control("POST", "market/BTCUSDT", {"fill": fill})
    fills = await trades_of(venue, resting, report)
    assert [int(fill.trade_id) for fill in fills] == list(range(1, 1101))
    assert list(await venue.exchange.fetch_trades(SYMBOL, since=resting.signed_at - timedelta(minutes=1))) == list(
        fills
    )
