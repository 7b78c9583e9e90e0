"""Faults of a venue that speaks Kraken's protocol: one order at most, the right verdict, and found after."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import VenueUnavailable
from domain.reports import OrderRef, SubmitVerdict, VenueOrderStatus
from tests.contract.contract_orders import (
    SYMBOL,
    D,
    accepted,
    ended,
    market_order,
    order,
    ref_of,
    seen,
    trades_of,
    yes,
)
from tests.contract.simulated_driver import TIMEOUT_MS, SimulatedDriver, kraken_driver

HANG_S = TIMEOUT_MS / 1000 * 1.5
ADD = {"method": "POST", "path": "/AddOrder", "times": 1}
READS = ("/QueryOrders", "/OpenOrders", "/ClosedOrders", "/TradesHistory", "/BalanceEx")


@pytest.fixture
async def venue() -> AsyncIterator[SimulatedDriver]:
    async with kraken_driver() as driver:
        await driver.set_price(D("100"))
        yield driver


LOST_ANSWERS: dict[str, tuple[dict[str, Any], int]] = {
    "drop before": ({"kind": "drop_before"}, 0),
    "drop after": ({"kind": "drop_after"}, 1),
    "hang": ({"kind": "hang", "seconds": HANG_S}, 1),
    "502 accepted": ({"kind": "http_status", "status": 502, "accepted": True}, 1),
    "503 not accepted": ({"kind": "http_status", "status": 503, "accepted": False}, 0),
    "truncated": ({"kind": "truncated"}, 1),
    "cut short": ({"kind": "cut_short"}, 1),
    "empty 200": ({"kind": "empty_200"}, 1),
    "timeout accepted": ({"kind": "error", "msg": "EService:Timeout", "accepted": True}, 1),
    "unavailable": ({"kind": "error", "msg": "EService:Unavailable", "accepted": False}, 0),
}


@pytest.mark.parametrize(("fault", "orders"), LOST_ANSWERS.values(), ids=LOST_ANSWERS)
async def test_lost_answer_is_in_doubt_and_the_lists_tell_the_truth(
    venue: SimulatedDriver, fault: dict[str, Any], orders: int
) -> None:
    await venue.control("POST", "faults", {**ADD, **fault})
    sent = order()
    outcome = await venue.exchange.submit(sent, last_look=yes)
    assert outcome.verdict is SubmitVerdict.UNKNOWN, outcome
    assert len(await venue.posts()) == 1
    assert await venue.order_count(sent.client_order_id) == orders
    found = await venue.exchange.fetch_order(ref_of(sent))
    assert (found is not None) == bool(orders)


async def test_lost_answer_of_an_order_that_filled_is_found_among_the_closed_ones(venue: SimulatedDriver) -> None:
    await venue.control("POST", "faults", {**ADD, "kind": "drop_after"})
    sent = market_order(quantity=D("0.5"))
    assert (await venue.exchange.submit(sent, last_look=yes)).verdict is SubmitVerdict.UNKNOWN
    found = await venue.exchange.fetch_order(ref_of(sent))
    assert found is not None and (found.status, found.cum_qty) == (VenueOrderStatus.CLOSED, D("0.5"))
    fills = await trades_of(venue, sent, found)
    assert sum(fill.last_qty for fill in fills) == D("0.5")
    assert {fill.commission_asset for fill in fills} == {"USDT"}


async def test_every_order_names_the_deadline_that_its_time_fence_rests_on(venue: SimulatedDriver) -> None:
    """An order that is held up on its way dies at the venue itself, before "not found" becomes proof."""
    await venue.control("POST", "clock", {"skew_ms": 45_000})
    await venue.control("POST", "faults", {**ADD, "kind": "delay", "seconds": 0.3})
    sent = order(signed_at=datetime.now(UTC) - timedelta(seconds=2))
    sending = asyncio.create_task(venue.exchange.submit(sent, last_look=yes))
    async with asyncio.timeout(5):
        while not await venue.posts():
            await asyncio.sleep(0.01)
    await venue.control("POST", "clock", {"skew_ms": 45_000 + 10_000})
    outcome = await sending
    assert (outcome.verdict, outcome.reason and outcome.reason.numbers["venue_code"]) == (
        SubmitVerdict.UNKNOWN,
        "EService:Deadline elapsed",
    )
    assert await venue.order_count(sent.client_order_id) == 0
    fence_s = venue.exchange.time_fence_s()
    assert fence_s is not None and fence_s >= 10 + 2


@pytest.mark.parametrize(("ahead_ms", "told"), [(0, range(-99, 100)), (20_000, range(-20_100, -18_900))])
async def test_rounding_of_the_venues_clock_is_no_skew(venue: SimulatedDriver, ahead_ms: int, told: range) -> None:
    """Kraken tells whole seconds. A kill switch may hang on the skew."""
    await venue.control("POST", "clock", {"skew_ms": ahead_ms})
    assert (await venue.exchange.status()).clock_skew_ms in told


async def test_requests_at_once_arrive_in_the_order_of_their_nonces(venue: SimulatedDriver) -> None:
    many = [order(quantity=D("0.1"), price=D("90") - D(number) / 100) for number in range(10)]
    reads = [venue.exchange.fetch_balances() for _ in range(10)]
    outcomes, _ = await asyncio.gather(
        asyncio.gather(*(venue.exchange.submit(each, last_look=yes) for each in many)), asyncio.gather(*reads)
    )
    assert {outcome.verdict for outcome in outcomes} == {SubmitVerdict.ACCEPTED}
    requests = await venue.control("GET", "requests")
    nonces = [int(entry["timestamp"]) for entry in requests if "timestamp" in entry]
    assert nonces == sorted(nonces) and len(set(nonces)) == len(nonces) == 20
    assert not [entry for entry in requests if "refused" in entry]


async def test_a_call_that_hangs_holds_up_the_next_one_for_a_second_at_most(venue: SimulatedDriver) -> None:
    resting = order()
    report = await accepted(venue, resting)
    await venue.control("POST", "faults", {"kind": "hang", "path": "/BalanceEx", "seconds": 3})
    reading = asyncio.create_task(venue.exchange.fetch_balances())
    await asyncio.sleep(0)
    async with asyncio.timeout(2):
        assert await venue.exchange.cancel(ref_of(resting, report)) is None
    with pytest.raises(VenueUnavailable):
        await reading


async def test_request_that_was_overtaken_is_turned_away_unread(venue: SimulatedDriver) -> None:
    await venue.exchange.fetch_balances()
    await venue.control("POST", "faults", {**ADD, "kind": "error", "msg": "EAPI:Invalid nonce", "accepted": False})
    sent = order()
    outcome = await venue.exchange.submit(sent, last_look=yes)
    assert outcome.verdict is SubmitVerdict.NOT_SENT
    await accepted(venue, sent)
    assert await venue.order_count(sent.client_order_id) == 1


async def test_order_that_does_not_show_yet_is_absent_and_then_found(venue: SimulatedDriver) -> None:
    await venue.control("POST", "faults", {"kind": "visibility_lag", "seconds": 0.4})
    sent = order()
    await accepted(venue, sent)
    assert await venue.exchange.fetch_order(ref_of(sent)) is None
    assert (await seen(venue, sent, lambda report: True)).status is VenueOrderStatus.OPEN


async def test_fills_that_show_late_are_told_by_the_venues_own_filled_quantity(venue: SimulatedDriver) -> None:
    await venue.control("POST", "faults", {"kind": "fill_lag", "seconds": 0.4})
    bought = market_order(quantity=D("0.5"))
    report = await accepted(venue, bought)
    found = await venue.exchange.fetch_order(ref_of(bought, report))
    assert found is not None and (found.cum_qty, found.trades) == (D("0.5"), ())
    async with asyncio.timeout(5):
        while sum(fill.last_qty for fill in await trades_of(venue, bought, report)) < D("0.5"):
            await asyncio.sleep(0.02)


async def test_trades_of_all_pages_are_read_from_the_latest_back(venue: SimulatedDriver) -> None:
    """Kraken gives 50 trades a page, of all pairs together; ccxt asks for one page."""
    resting = order(quantity=D("0.12"), price=D("95"))
    report = await accepted(venue, resting)
    for _ in range(120):
        fill = {"client_order_id": resting.client_order_id, "quantity": "0.001"}
        await venue.control("POST", "market/BTCUSDT", {"fill": fill})
    await venue.control("POST", "faults", {"kind": "repeat_trades"})
    fills = await trades_of(venue, resting, report)
    assert [fill.last_qty for fill in fills] == [D("0.001")] * 120
    assert list(await venue.exchange.fetch_trades(SYMBOL, since=resting.signed_at)) == list(fills)
    assert [fill.ts_event for fill in fills] == sorted(fill.ts_event for fill in fills)


async def test_cancel_that_lost_the_race_is_a_hint_and_the_order_filled(venue: SimulatedDriver) -> None:
    await venue.control("POST", "faults", {"kind": "cancel_race", "times": 1})
    resting = order()
    report = await accepted(venue, resting)
    hint = await venue.exchange.cancel(ref_of(resting, report))
    assert hint is not None and hint.code == "CANCEL_REFUSED"
    found = await venue.exchange.fetch_order(ref_of(resting, report))
    assert found is not None and (found.status, found.cum_qty) == (VenueOrderStatus.CLOSED, resting.quantity)


async def test_lost_cancel_raises_although_an_earlier_one_was_refused(venue: SimulatedDriver) -> None:
    """ccxt says "order not found" when the answer *before* said so; the order may be open all the same."""
    unknown = await venue.exchange.cancel(OrderRef(symbol=SYMBOL, client_order_id="a000000000000000"))
    assert unknown is not None
    resting = order()
    report = await accepted(venue, resting)
    await venue.control("POST", "faults", {"kind": "truncated", "path": "/CancelOrder", "times": 1})
    with pytest.raises(VenueUnavailable):
        await venue.exchange.cancel(ref_of(resting, report))
    assert (await seen(venue, resting, ended)).status is VenueOrderStatus.CANCELED


@pytest.mark.parametrize("kind", ["drop_after", "truncated", "empty_200", "http_status", "html_200"])
async def test_read_that_is_lost_says_nothing(venue: SimulatedDriver, kind: str) -> None:
    sent = order()
    report = await accepted(venue, sent)
    for path in READS:
        await venue.control("POST", "faults", {"kind": kind, "path": path})
    reads = (
        lambda: venue.exchange.fetch_order(ref_of(sent)),
        lambda: venue.exchange.fetch_order(ref_of(sent, report)),
        venue.exchange.fetch_open_orders,
        lambda: venue.exchange.fetch_trades(SYMBOL, since=sent.signed_at),
        venue.exchange.fetch_balances,
    )
    for read in reads:
        with pytest.raises(VenueUnavailable):
            await read()
