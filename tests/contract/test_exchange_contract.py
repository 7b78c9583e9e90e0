"""The contract of the `Exchange` port: every adapter passes it. A new one adds a driver to the fixture `venue`."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import UnknownSymbol
from domain.reports import SubmitOutcome, SubmitVerdict, VenueOrderStatus
from embedded.postgres_server import PostgresServer
from tests.conftest import new_database
from tests.contract.contract_orders import (
    ENDED_SHORT,
    PRICE,
    SYMBOL,
    D,
    accepted,
    balance,
    best_ask,
    ended,
    market_order,
    order,
    ref_of,
    seen,
    trades_of,
    yes,
)
from tests.contract.drivers import VenueDriver
from tests.contract.paper_driver import paper_driver
from tests.contract.simulated_driver import kraken_driver, simulated_driver


@pytest.fixture(params=["binanceus", "kraken", "paper"])
async def venue(request: pytest.FixtureRequest, postgres: PostgresServer) -> AsyncIterator[VenueDriver]:
    opened: AbstractAsyncContextManager[VenueDriver]
    drivers = {"binanceus": simulated_driver, "kraken": kraken_driver}
    opened = drivers[request.param]() if request.param in drivers else paper_driver(await new_database(postgres))
    async with opened as driver:
        yield driver


@pytest.fixture(autouse=True)
async def market(venue: VenueDriver) -> None:
    await venue.set_price(PRICE)


# Markets.


async def test_instruments_tell_steps_and_limits(venue: VenueDriver) -> None:
    instrument = (await venue.exchange.instruments())[SYMBOL]
    assert (instrument.base_asset, instrument.quote_asset) == ("BTC", "USDT")
    assert instrument.tick_size == D("0.01")
    assert 0 < instrument.step_size <= D("0.001")
    assert instrument.active


async def test_order_book_comes_best_price_first_and_no_deeper_than_asked(venue: VenueDriver) -> None:
    book = await venue.exchange.fetch_order_book(SYMBOL, depth=2)
    asks, bids = [level.price for level in book.asks], [level.price for level in book.bids]
    assert len(asks) == len(bids) == 2
    assert D(99) <= bids[1] < bids[0] < asks[0] < asks[1] <= D(101)
    assert all(level.quantity > 0 for level in (*book.asks, *book.bids))


async def test_ticker_tells_the_best_prices(venue: VenueDriver) -> None:
    ticker = await venue.exchange.fetch_ticker(SYMBOL)
    assert ticker.bid is not None and ticker.ask is not None
    assert D(99) <= ticker.bid < ticker.ask <= D(101)


@pytest.mark.parametrize("symbol", ["NO/SUCH", "btc/usdt", ""])
async def test_symbol_that_is_not_listed_is_named_as_such(venue: VenueDriver, symbol: str) -> None:
    with pytest.raises(UnknownSymbol):
        await venue.exchange.fetch_ticker(symbol)
    with pytest.raises(UnknownSymbol):
        await venue.exchange.fetch_order_book(symbol, depth=5)


async def test_status_is_reachable_and_counts_the_markets(venue: VenueDriver) -> None:
    status = await venue.exchange.status()
    assert status.reachable
    assert status.markets_count >= 1


# Orders that trade at once.


async def test_market_order_is_filled_from_the_book(venue: VenueDriver) -> None:
    bought = market_order(quantity=D("1.5"))
    report = await accepted(venue, bought)
    final = await seen(venue, bought, ended)
    assert (final.status, final.cum_qty) == (VenueOrderStatus.CLOSED, D("1.5"))
    fills = await trades_of(venue, bought, report)
    assert sum(fill.last_qty for fill in fills) == D("1.5")
    assert all(PRICE <= fill.last_px <= D(101) for fill in fills)
    assert await venue.filled(bought.client_order_id) == D("1.5")


async def test_trades_in_the_answer_are_those_that_are_listed_later(venue: VenueDriver) -> None:
    bought = market_order(quantity=D("1.5"))
    report = await accepted(venue, bought)
    fills = await trades_of(venue, bought, report)
    assert set(report.trades) <= set(fills)


async def test_every_fill_tells_its_commission(venue: VenueDriver) -> None:
    sold = market_order(side="sell", quantity=D("0.5"))
    report = await accepted(venue, sold)
    await seen(venue, sold, ended)
    fills = await trades_of(venue, sold, report)
    assert fills
    for fill in fills:
        assert fill.commission is not None
        assert fill.commission_asset is not None


async def test_crossing_limit_order_fills_no_worse_than_its_price_and_the_rest_waits(venue: VenueDriver) -> None:
    bought = order(quantity=D("20"), price=await best_ask(venue))
    report = await accepted(venue, bought)
    found = report if report.cum_qty else await seen(venue, bought, lambda looked_up: bool(looked_up.cum_qty))
    assert found.status is VenueOrderStatus.OPEN
    assert found.cum_qty is not None and 0 < found.cum_qty < 20
    assert all(fill.last_px <= (bought.price or 0) for fill in await trades_of(venue, bought, report))


async def test_immediate_or_cancel_keeps_what_it_got_and_the_rest_is_gone(venue: VenueDriver) -> None:
    bought = order(quantity=D("20"), price=await best_ask(venue), time_in_force="IOC")
    await accepted(venue, bought)
    report = await seen(venue, bought, ended)
    assert report.status in ENDED_SHORT
    assert report.cum_qty is not None and 0 < report.cum_qty < 20
    assert await venue.filled(bought.client_order_id) == report.cum_qty


async def test_fill_or_kill_that_cannot_be_filled_trades_nothing(venue: VenueDriver) -> None:
    bought = order(quantity=D("20"), price=await best_ask(venue), time_in_force="FOK")
    outcome = await venue.exchange.submit(bought, last_look=yes)
    if outcome.verdict is not SubmitVerdict.REFUSED:
        report = await seen(venue, bought, ended)
        assert (report.status in ENDED_SHORT, report.cum_qty) == (True, D(0))
    assert await venue.filled(bought.client_order_id) == 0


async def test_fill_or_kill_that_can_be_filled_is(venue: VenueDriver) -> None:
    bought = order(quantity=D("2"), price=D("101"), time_in_force="FOK")
    if not venue.has_fok:
        outcome = await venue.exchange.submit(bought, last_look=yes)
        assert (outcome.verdict, await venue.order_count(bought.client_order_id)) == (SubmitVerdict.REFUSED, 0)
        return
    await accepted(venue, bought)
    report = await seen(venue, bought, ended)
    assert (report.status, report.cum_qty) == (VenueOrderStatus.CLOSED, D(2))


async def test_post_only_order_that_would_take_never_trades(venue: VenueDriver) -> None:
    outcome = await venue.exchange.submit(crossing := order(price=D("101"), post_only=True), last_look=yes)
    if outcome.verdict is SubmitVerdict.ACCEPTED:  # some venues take it, and cancel it before it can trade
        report = await seen(venue, crossing, ended)
        assert (report.status, report.cum_qty) == (VenueOrderStatus.CANCELED, D(0))
    else:
        assert (outcome.verdict, outcome.reason and outcome.reason.code) == (
            SubmitVerdict.REFUSED,
            "POST_ONLY_WOULD_TAKE",
        )
    assert await venue.filled(crossing.client_order_id) == 0


# Orders that rest.


async def test_resting_order_is_found_by_either_id_and_among_the_open_ones(venue: VenueDriver) -> None:
    resting = order()
    report = await accepted(venue, resting)
    by_client_id = await venue.exchange.fetch_order(ref_of(resting))
    by_venue_id = await venue.exchange.fetch_order(ref_of(resting, report))
    for found in (by_client_id, by_venue_id):
        assert found is not None
        assert (found.venue_order_id, found.client_order_id) == (report.venue_order_id, resting.client_order_id)
        assert (found.status, found.cum_qty, found.quantity) == (VenueOrderStatus.OPEN, D(0), D("0.5"))
    listed = [entry.venue_order_id for entry in await venue.exchange.fetch_open_orders()]
    assert listed.count(report.venue_order_id) == 1


async def test_resting_order_fills_when_the_market_comes(venue: VenueDriver) -> None:
    resting = order(quantity=D("1"), price=D("95"))
    report = await accepted(venue, resting)
    await venue.set_price(D("94"))
    final = await seen(venue, resting, ended)
    assert (final.status, final.cum_qty) == (VenueOrderStatus.CLOSED, D(1))
    fills = await trades_of(venue, resting, report)
    assert sum(fill.last_qty for fill in fills) == D(1)
    assert all(fill.last_px <= D("95") for fill in fills)
    assert await venue.exchange.fetch_open_orders() == []


@pytest.mark.parametrize("by_venue_id", [True, False])
async def test_canceled_order_ends_and_is_still_found(venue: VenueDriver, by_venue_id: bool) -> None:
    resting = order()
    report = await accepted(venue, resting)
    assert await venue.exchange.cancel(ref_of(resting, report if by_venue_id else None)) is None
    final = await seen(venue, resting, ended)
    assert (final.status, final.cum_qty) == (VenueOrderStatus.CANCELED, D(0))
    assert await venue.exchange.fetch_open_orders() == []


async def test_cancel_of_an_ended_order_is_a_hint_and_changes_nothing(venue: VenueDriver) -> None:
    bought = market_order()
    report = await accepted(venue, bought)
    await seen(venue, bought, ended)
    hint = await venue.exchange.cancel(ref_of(bought, report))
    assert hint is not None
    found = await venue.exchange.fetch_order(ref_of(bought, report))
    assert found is not None and found.status is VenueOrderStatus.CLOSED


async def test_stop_order_waits_for_its_trigger(venue: VenueDriver) -> None:
    stop = market_order(order_type="stop", side="sell", trigger_price=D("95"))
    if not venue.has_stops:
        outcome = await venue.exchange.submit(stop, last_look=yes)
        assert (outcome.verdict, await venue.order_count(stop.client_order_id)) == (SubmitVerdict.REFUSED, 0)
        return
    await accepted(venue, stop)
    waiting = await venue.exchange.fetch_order(ref_of(stop))
    assert waiting is not None and (waiting.status, waiting.cum_qty) == (VenueOrderStatus.OPEN, D(0))
    await venue.set_price(D("94"))
    final = await seen(venue, stop, ended)
    assert (final.status, final.cum_qty) == (VenueOrderStatus.CLOSED, D("0.5"))


async def test_stop_limit_order_rests_at_its_price_once_triggered(venue: VenueDriver) -> None:
    stop = order(order_type="stop-limit", side="sell", trigger_price=D("95"), price=D("96"))
    if not venue.has_stops:
        outcome = await venue.exchange.submit(stop, last_look=yes)
        assert (outcome.verdict, await venue.order_count(stop.client_order_id)) == (SubmitVerdict.REFUSED, 0)
        return
    await accepted(venue, stop)
    await venue.set_price(D("94"))
    await venue.set_price(D("97"))
    final = await seen(venue, stop, ended)
    assert (final.status, final.cum_qty) == (VenueOrderStatus.CLOSED, D("0.5"))


# Once, or not at all.


async def test_order_that_was_never_placed_is_not_there(venue: VenueDriver) -> None:
    assert await venue.exchange.fetch_order(ref_of(order())) is None


async def test_last_look_that_says_no_leaves_nothing_at_the_venue(venue: VenueDriver) -> None:
    async def no() -> bool:
        return False

    outcome = await venue.exchange.submit(unsent := order(), last_look=no)
    assert outcome.verdict is SubmitVerdict.NOT_SENT
    assert await venue.order_count(unsent.client_order_id) == 0
    assert await venue.exchange.fetch_order(ref_of(unsent)) is None


async def test_last_look_is_taken_once_for_each_order(venue: VenueDriver) -> None:
    looks = itertools.count()

    async def look() -> bool:
        next(looks)
        return True

    await venue.exchange.submit(order(), last_look=look)
    await venue.exchange.submit(order(), last_look=look)
    assert next(looks) == 2


async def test_same_id_sent_twice_is_one_order_and_never_a_proven_refusal(venue: VenueDriver) -> None:
    resting = order()
    await accepted(venue, resting)
    again = await venue.exchange.submit(resting, last_look=yes)
    assert again.verdict in (SubmitVerdict.ACCEPTED, SubmitVerdict.UNKNOWN)
    assert await venue.order_count(resting.client_order_id) == 1


async def test_order_beyond_the_balance_is_refused_and_leaves_nothing(venue: VenueDriver) -> None:
    beyond = order(side="sell", quantity=D("8000"), price=D("110"))
    outcome = await venue.exchange.submit(beyond, last_look=yes)
    assert (outcome.verdict, outcome.reason and outcome.reason.code) == (SubmitVerdict.REFUSED, "INSUFFICIENT_FUNDS")
    assert await venue.exchange.fetch_open_orders() == []


@pytest.mark.parametrize(
    "wrong",
    [{"quantity": D("0.5000000001")}, {"price": D("90.001")}, {"symbol": "NO/SUCH"}, {"quantity": D("0.00000001")}],
    ids=["step", "tick", "symbol", "dust"],
)
async def test_order_outside_the_rules_is_refused(venue: VenueDriver, wrong: dict[str, Any]) -> None:
    outcome = await venue.exchange.submit(refused := order(**wrong), last_look=yes)
    assert outcome.verdict is SubmitVerdict.REFUSED
    assert outcome.reason is not None and outcome.reason.code
    assert await venue.order_count(refused.client_order_id) == 0


async def test_many_orders_at_once_are_each_placed_once(venue: VenueDriver) -> None:
    many = [order(quantity=D("0.1"), price=D("90") - D(number) / 100) for number in range(20)]
    placed: list[Awaitable[SubmitOutcome]] = [venue.exchange.submit(each, last_look=yes) for each in many]
    outcomes = await asyncio.gather(*placed)
    assert {outcome.verdict for outcome in outcomes} == {SubmitVerdict.ACCEPTED}
    assert [await venue.order_count(each.client_order_id) for each in many] == [1] * 20
    assert len(await venue.exchange.fetch_open_orders()) == 20


# The account.


async def test_balance_is_held_while_an_order_rests_and_free_again_after(venue: VenueDriver) -> None:
    before = await balance(venue, "USDT")
    resting = order()
    report = await accepted(venue, resting)
    held = await balance(venue, "USDT")
    assert (before.free - held.free, held.used - before.used, held.total) == (D(45), D(45), before.total)
    await venue.exchange.cancel(ref_of(resting, report))
    await seen(venue, resting, ended)
    assert await balance(venue, "USDT") == before


async def test_balance_moves_by_exactly_what_the_fills_say(venue: VenueDriver) -> None:
    before = {asset: await balance(venue, asset) for asset in ("BTC", "USDT")}
    bought = market_order(quantity=D("1.5"))
    report = await accepted(venue, bought)
    await seen(venue, bought, ended)
    fills = await trades_of(venue, bought, report)
    paid = {asset: D(0) for asset in ("BTC", "USDT")}
    for fill in fills:
        if fill.commission is not None and fill.commission_asset in paid:
            paid[fill.commission_asset] += fill.commission
    cost = sum((fill.last_qty * fill.last_px for fill in fills), D(0))
    assert (await balance(venue, "BTC")).total - before["BTC"].total == D("1.5") - paid["BTC"]
    assert before["USDT"].total - (await balance(venue, "USDT")).total == cost + paid["USDT"]


async def test_trades_of_the_account_are_listed_oldest_first_from_a_moment_on(venue: VenueDriver) -> None:
    first, second = market_order(quantity=D("0.1")), market_order(quantity=D("0.2"))
    reports = [await accepted(venue, first), await accepted(venue, second)]
    await seen(venue, second, ended)
    fills = await venue.exchange.fetch_trades(SYMBOL, since=first.signed_at - timedelta(minutes=1))
    mine = [fill for fill in fills if fill.venue_order_id in {report.venue_order_id for report in reports}]
    assert [fill.last_qty for fill in mine] == [D("0.1"), D("0.2")]
    assert [fill.ts_event for fill in fills] == sorted(fill.ts_event for fill in fills)
    assert await venue.exchange.fetch_trades(SYMBOL, since=datetime.now(UTC) + timedelta(minutes=1)) == []
