"""Execution quality, measured from the ledger's facts, against a reference of our own in fractions."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.events import Arrival, Fill
from domain.order import OrderSide, OrderType, TradingMode
from domain.performance import GroupBy, OrderPerformance, PerformanceGroup, Selection
from domain.reports import SubmitOutcome, SubmitVerdict, VenueOrderStatus
from domain.valuation import Mark
from storage.accounting_store import SqlAccountingStore
from storage.measuring import ORDERS_A_ROUND, Measuring, measure_anew
from storage.order_store import SqlOrderStore
from storage.performance import SqlPerformanceReader
from tests.factories import NOW, make_fill, make_report, make_request, make_terms, make_validated
from tests.integration.storage.conftest import ACCOUNT, Life, Rows

MODE = TradingMode.SANDBOX
LATER = NOW + timedelta(hours=1)
SELECTION = Selection(accounts={ACCOUNT: MODE}, since=NOW - timedelta(days=1), until=NOW + timedelta(days=1))


@dataclass
class Case:
    """An order as it is lived, and as the reference knows it."""

    side: OrderSide
    quantity: Decimal
    arrival: Arrival | None
    trades: list[Fill]
    ended_at: datetime
    strategy: str | None
    price_of_fee: dict[str, Decimal] = field(default_factory=dict)


def some(rng: random.Random, low: int, high: int, digits: int) -> Decimal:
    """A number between two whole ones with so many digits after the point."""
    return Decimal(rng.randrange(low * 10**digits, high * 10**digits)).scaleb(-digits)


def make_case(rng: random.Random, number: int) -> Case:
    """Draw an order: sides, arrivals known and not, fees in base, quote and a third asset, filled in part or whole."""
    quantity = some(rng, 1, 5, 4)
    left, trades, fee_prices = quantity, [], {}
    for count in range(rng.choice([0, 1, 1, 2, 5])):
        whole = count == 4 or rng.random() < 0.4
        part = left if whole else (left * some(rng, 0, 1, 3)).quantize(Decimal("0.0001"))
        if not part:
            continue
        fee_asset = rng.choice(["BTC", "USDT", "BNB", "BNB"])
        told = rng.random() < 0.95
        trade = make_fill(
            str(count), venue_order_id=f"v{number}", last_qty=part, last_px=some(rng, 90, 110, 7),
            commission=some(rng, 0, 1, 6) - Decimal("0.1") if told else None,
            commission_asset=fee_asset if told else None, ts_event=NOW + timedelta(seconds=rng.randrange(0, 150)),
        )  # fmt: skip
        trades.append(trade)
        if told and fee_asset == "BNB" and rng.random() < 0.8:
            fee_prices[trade.trade_id] = some(rng, 400, 700, 5)
        left -= part
        if not left:
            break
    bid = some(rng, 95, 100, 5)
    arrival = Arrival(
        bid=bid, ask=bid + some(rng, 0, 2, 5) if rng.random() < 0.8 else None, last=some(rng, 95, 105, 4), told_at=NOW,
        source="quote",
    ) if rng.random() < 0.85 else None  # fmt: skip
    ended_at = max([NOW, *(trade.ts_event for trade in trades)]) + timedelta(seconds=rng.randrange(0, 100))
    side = rng.choice(list(OrderSide))
    return Case(side, quantity, arrival, trades, ended_at, rng.choice([None, "mean", "momentum"]), fee_prices)


async def live(life: Life, case: Case, number: int) -> str:
    """Live the order from admission to its final fact; return its id."""
    store = life.store
    ticket = {"side": case.side, "quantity": case.quantity, "price": Decimal("100"), "strategy": case.strategy}
    request = make_request(f"key {number}", **ticket)
    validated = make_validated(request, arrival=case.arrival)
    admitted = await store.admit(request, validated, terms=make_terms(ACCOUNT), now=NOW)
    assert admitted.reason is None, admitted.reason
    attempt = await store.open_attempt(ACCOUNT, request.order_id, worker="w", now=NOW)
    assert await store.pass_last_look(attempt, now=NOW)
    names = {"venue_order_id": f"v{number}", "client_order_id": attempt.client_order_id}
    outcome = SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=make_report(**names))
    await store.record_outcome(attempt, outcome, now=NOW)
    filled = sum((trade.last_qty for trade in case.trades), Decimal(0))
    status = VenueOrderStatus.CLOSED if filled == case.quantity else VenueOrderStatus.CANCELED
    report = make_report(**names, status=status, cum_qty=filled)
    await store.record_report(ACCOUNT, request.order_id, report, trades=case.trades, now=case.ended_at)
    await store.finalize(ACCOUNT, request.order_id, now=case.ended_at)
    return request.order_id


def rounded(value: Fraction | None) -> Decimal | None:
    """Round to 18 digits, halves away from zero, as the ledger does."""
    if value is None:
        return None
    with localcontext() as context:
        context.prec = 120
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        return exact.quantize(Decimal(1).scaleb(-18), rounding=ROUND_HALF_UP)


def middle(bid: Decimal | None, ask: Decimal | None) -> Fraction | None:
    return (Fraction(bid) + Fraction(ask)) / 2 if bid and ask else None


def nearest(marks: Sequence[tuple[datetime, Fraction | None]], at: datetime) -> Fraction | None:
    """Return the price told closest to a moment, at most a minute away."""
    near = [(abs(told - at), told, price) for told, price in marks if price and abs(told - at) <= timedelta(seconds=60)]
    return min(near)[2] if near else None


def reference(case: Case, marks: Sequence[Mark]) -> dict[str, Any]:
    """Reckon an order's figures from what it was made of, in fractions."""
    sign = 1 if case.side is OrderSide.BUY else -1
    told = case.arrival
    mid = middle(told.bid, told.ask) if told else None
    arrival = (mid or Fraction(told.last)) if told and told.last else None
    filled = sum((Fraction(trade.last_qty) for trade in case.trades), Fraction(0))
    paid = sum((Fraction(trade.last_qty) * Fraction(trade.last_px) for trade in case.trades), Fraction(0))
    fees: Fraction | None = Fraction(0)
    at_mid: Fraction | None = Fraction(0) if case.trades else None
    seen = [(mark.asked_at, middle(mark.bid, mark.ask)) for mark in marks]
    for trade in case.trades:
        price = {"USDT": Fraction(1), "BTC": Fraction(trade.last_px)}.get(trade.commission_asset or "")
        if trade.trade_id in case.price_of_fee:
            price = Fraction(case.price_of_fee[trade.trade_id])
        known = trade.commission is not None and (price is not None or not trade.commission)
        fees = fees + Fraction(trade.commission or 0) * (price or 0) if fees is not None and known else None
        met = nearest([*seen, *([(told.told_at, mid)] if told else [])], trade.ts_event)
        at_mid = at_mid + Fraction(trade.last_qty) * met if at_mid is not None and met is not None else None
    asked = Fraction(case.quantity)
    ended = nearest([(mark.asked_at, Fraction(mark.price or 0)) for mark in marks], case.ended_at)
    execution = sign * (paid - arrival * filled) if arrival else None
    missed: Fraction | None = Fraction(0)
    if filled < asked:
        missed = sign * (ended - arrival) * (asked - filled) if arrival and ended else None
    parts = (execution, missed, fees)
    shortfall = sum((part for part in parts if part is not None), Fraction(0)) if None not in parts else None
    bps = 10_000
    return {
        "cum_qty": filled,
        "fill_ratio": filled / asked,
        "arrival_price": arrival,
        "avg_px": paid / filled if filled else None,
        "mid_price": at_mid / filled if at_mid is not None else None,
        "notional": paid,
        "slippage_bps": execution / (arrival * filled) * bps if execution is not None and arrival and filled else None,
        "mid_slippage_bps": sign * (paid - at_mid) / at_mid * bps if at_mid else None,
        "fees_value": fees,
        "execution_cost": execution,
        "opportunity_cost": missed,
        "shortfall": shortfall,
        "shortfall_bps": shortfall / (arrival * asked) * bps if shortfall is not None and arrival else None,
    }


async def mark_the_market(engine: AsyncEngine, rng: random.Random) -> list[Mark]:
    """Keep marks of some of the minutes, some of them without a side."""
    marks = []
    for minute in (-1, 0, 2, 3):
        bid = some(rng, 95, 105, 5)
        ask = bid + some(rng, 0, 1, 5) if minute != 2 else None
        at = NOW + timedelta(minutes=minute, seconds=rng.randrange(0, 60))
        marks.append(Mark(symbol="BTC/USDT", bid=bid, ask=ask, last=bid, asked_at=at))
    await SqlAccountingStore(engine).record_valuation(ACCOUNT, MODE, marks, now=NOW)
    return marks


async def price_fees(engine: AsyncEngine, cases: Sequence[Case]) -> None:
    statement = text(
        "INSERT INTO fee_prices (account, symbol, venue_order_id, trade_id, asset, price, marked_at)"
        " VALUES (:account, 'BTC/USDT', :venue_order_id, :trade_id, 'BNB', :price, :at)"
    )
    rows = [
        {"account": ACCOUNT, "venue_order_id": f"v{number}", "trade_id": trade_id, "price": price, "at": NOW}
        for number, case in enumerate(cases)
        for trade_id, price in case.price_of_fee.items()
    ]
    async with engine.begin() as connection:
        await connection.execute(statement, rows)


async def measured(engine: AsyncEngine) -> dict[str, OrderPerformance]:
    found = await SqlPerformanceReader(engine).orders(SELECTION, limit=1000, before=None)
    return {row.order_id: row for row in found}


@pytest.mark.parametrize("seed", [1, 2])
async def test_figures_are_those_of_an_independent_reckoning(
    life: Life, store: SqlOrderStore, engine: AsyncEngine, seed: int
) -> None:
    rng = random.Random(seed)
    await life.fund(USDT="1000000", BTC="1000")
    cases = [make_case(rng, number) for number in range(50)]
    ids = [await live(life, case, number) for number, case in enumerate(cases)]
    marks = await mark_the_market(engine, rng)
    await price_fees(engine, cases)
    assert await Measuring(engine, (ACCOUNT,)).round(now=LATER) == len(cases)
    found = await measured(engine)
    unknown = 0
    for order_id, case in zip(ids, cases, strict=True):
        for name, value in reference(case, marks).items():
            wanted = rounded(value)
            assert getattr(found[order_id], name) == wanted, f"{name} of {case}"
            unknown += wanted is None
    assert 50 < unknown < 350, "both what is known and what is not must occur"
    groups = await SqlPerformanceReader(engine).groups(SELECTION, GroupBy.STRATEGY)
    assert [group.key for group in groups] == ["", "mean", "momentum"]
    for group in groups:
        _assert_sums(group, [reference(case, marks) for case in cases if (case.strategy or "") == group.key])


def _assert_sums(group: PerformanceGroup, figures: Sequence[dict[str, Any]]) -> None:
    arrived = [one for one in figures if one["slippage_bps"] is not None]
    assert (group.orders, group.with_arrival) == (len(figures), len(arrived))
    assert group.notional == rounded(sum((one["notional"] for one in figures), Fraction(0)))
    weight = sum(one["arrival_price"] * one["cum_qty"] for one in arrived)
    slippage = sum(one["execution_cost"] for one in arrived) / weight * 10_000
    assert group.slippage_bps is not None
    assert abs(Fraction(group.slippage_bps) - slippage) < Fraction(1, 10**12)
    told = sorted(rounded(one["slippage_bps"]) or Decimal(0) for one in arrived)
    assert group.slippage.p50 == told[(len(told) + 1) // 2 - 1]
    assert group.fill_ratio == rounded(sum((one["fill_ratio"] for one in figures), Fraction(0)) / len(figures))
    known = [one for one in figures if one["shortfall"] is not None]
    assert group.with_shortfall == len(known)
    assert abs(group.shortfall - (rounded(sum(one["shortfall"] for one in known)) or 0)) < Decimal("1e-15")


async def test_measuring_again_changes_nothing_and_a_late_trade_does(
    life: Life, store: SqlOrderStore, engine: AsyncEngine, rows: Rows
) -> None:
    await life.fund(USDT="1000000")
    arrival = Arrival(bid=Decimal(99), ask=Decimal(101), told_at=NOW, source="quote")
    half = make_fill("1", venue_order_id="v0", last_qty=Decimal("0.5"), last_px=Decimal(101))
    order_id = await live(life, Case(OrderSide.BUY, Decimal(1), arrival, [half], NOW, None), 0)
    measuring = Measuring(engine, (ACCOUNT,))
    soon = NOW + timedelta(seconds=1)
    assert [await measuring.round(now=soon) for _ in range(2)] == [1, 0]
    first = await rows("SELECT * FROM performance")
    assert await measure_anew(engine, (ACCOUNT,), since=NOW - timedelta(days=1), now=soon) == 1
    assert await rows("SELECT * FROM performance") == first
    assert first[0].slippage_bps == 100
    assert (first[0].mid_price, first[0].opportunity_cost, first[0].shortfall) == (100, None, None)
    settled = NOW + timedelta(seconds=91)
    assert [await measuring.round(now=settled) for _ in range(2)] == [1, 0], "once more when the marks are in"
    rest = make_fill("2", venue_order_id="v0", last_qty=Decimal("0.5"), last_px=Decimal(99))
    report = make_report(venue_order_id="v0", status=VenueOrderStatus.CANCELED, cum_qty=Decimal(1))
    await store.record_report(ACCOUNT, order_id, report, trades=[half, rest], now=settled)
    assert await Measuring(engine, (ACCOUNT,)).round(now=settled) == 1
    found = (await measured(engine))[order_id]
    assert (found.fills, found.fill_ratio, found.slippage_bps, found.opportunity_cost) == (2, 1, 0, 0)


async def test_what_the_marks_said_is_kept_when_they_are_thinned(life: Life, engine: AsyncEngine, rows: Rows) -> None:
    await life.fund(USDT="1000000")
    mark = Mark(symbol="BTC/USDT", bid=Decimal(101), ask=Decimal(103), last=None, asked_at=NOW)
    await SqlAccountingStore(engine).record_valuation(ACCOUNT, MODE, [mark], now=NOW)
    case = Case(OrderSide.BUY, Decimal(2), None, [], NOW + timedelta(seconds=30), None)
    order_id = await live(life, case, 0)
    await measure_anew(engine, (ACCOUNT,), since=NOW, now=LATER)
    before = (await measured(engine))[order_id]
    assert (before.arrival_price, before.arrival_source) == (102, "mark"), "the ledger's own mark, for nobody was asked"
    assert (before.opportunity_cost, before.shortfall) == (0, 0)
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM marks"))
    assert await measure_anew(engine, (ACCOUNT,), since=NOW, now=LATER) == 1
    assert (await measured(engine))[order_id] == before


async def test_the_example_of_the_documentation(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="1000000")
    arrival = Arrival(bid=Decimal("99.9"), ask=Decimal("100.1"), told_at=NOW, source="quote")
    trades = [
        make_fill("1", venue_order_id="v0", last_qty=Decimal(1), last_px=Decimal("100.2"), commission=Decimal("0.001")),
        make_fill(
            "2", venue_order_id="v0", last_qty=Decimal("0.5"), last_px=Decimal("100.4"), commission=Decimal("0.05"),
            commission_asset="USDT",
        ),
    ]  # fmt: skip
    order_id = await live(life, Case(OrderSide.BUY, Decimal(2), arrival, trades, NOW, None), 0)
    mark = Mark(symbol="BTC/USDT", bid=None, ask=None, last=Decimal(101), asked_at=NOW)
    await SqlAccountingStore(engine).record_valuation(ACCOUNT, MODE, [mark], now=NOW)
    await Measuring(engine, (ACCOUNT,)).round(now=LATER)
    found = (await measured(engine))[order_id]
    assert (found.arrival_price, found.notional, found.fill_ratio) == (100, Decimal("150.4"), Decimal("0.75"))
    assert (found.execution_cost, found.opportunity_cost) == (Decimal("0.4"), Decimal("0.5"))
    assert (found.fees_value, found.shortfall) == (Decimal("0.1502"), Decimal("1.0502"))
    assert found.slippage_bps is not None and round(found.slippage_bps, 2) == Decimal("26.67")
    assert found.shortfall_bps == Decimal("52.51")


async def test_a_stop_is_measured_from_its_trigger(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="1000000")
    ticket: dict[str, Any] = {"order_type": OrderType.STOP, "price": None, "trigger_price": Decimal(110)}
    order = await life.resting("key", venue_order_id="v0", quantity=Decimal(1), **ticket)
    fill = make_fill("1", venue_order_id="v0", last_qty=Decimal(1), last_px=Decimal("111.1"))
    report = make_report(venue_order_id="v0", status=VenueOrderStatus.CLOSED, cum_qty=Decimal(1))
    await life.store.record_report(ACCOUNT, order.order_id, report, trades=[fill], now=NOW)
    assert await Measuring(engine, (ACCOUNT,)).round(now=NOW) == 0, "its workflow has not written the final fact"
    assert await Measuring(engine, (ACCOUNT,)).round(now=LATER) == 1
    found = (await measured(engine))[order.order_id]
    assert (found.arrival_price, found.arrival_source, found.slippage_bps) == (110, "trigger", 100)


async def test_rounds_walk_through_a_backlog_and_denied_orders_are_left_out(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="1000000")
    denied = await life.admit(make_request("too much", quantity=Decimal(10**6)))
    assert denied.reason is not None
    for number in range(3):
        await live(life, Case(OrderSide.BUY, Decimal(1), None, [], NOW + timedelta(seconds=number), None), number)
    assert await Measuring(engine, (ACCOUNT, "nobody")).round(now=LATER) == 3 < ORDERS_A_ROUND
    pages: list[OrderPerformance] = []
    reader = SqlPerformanceReader(engine)
    for _ in range(3):
        before = (pages[-1].placed_at, pages[-1].order_id) if pages else None
        pages += await reader.orders(SELECTION, limit=1, before=before)
    assert len({row.order_id for row in pages}) == 3
    other = SELECTION.model_copy(update={"accounts": {ACCOUNT: TradingMode.LIVE}})
    assert await reader.groups(other, GroupBy.VENUE) == []
