"""What the market was when, what fees were worth by it, and what an account is worth: the ledger's side of it."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.limits import LimitSet
from domain.order import OrderSide, TradingMode
from domain.reports import VenueOrderStatus
from domain.valuation import Mark
from storage import valuation
from storage.accounting_store import SqlAccountingStore
from storage.comparison import STANDS_FOR, SqlReconciliationStore
from storage.order_store import SqlOrderStore
from tests.factories import NOW, make_fill, make_report
from tests.integration.storage.conftest import ACCOUNT, Life, Rows, balance

MODE = TradingMode.SANDBOX
"""The factories' orders are of the sandbox."""


@pytest.fixture
def accounting(engine: AsyncEngine) -> SqlAccountingStore:
    """The store on the test's own ledger."""
    return SqlAccountingStore(engine)


def mark(symbol: str, price: str, *, at: datetime = NOW) -> Mark:
    """A market with no spread."""
    return Mark(symbol=symbol, bid=Decimal(price), ask=Decimal(price), last=Decimal(price), asked_at=at)


async def trade(
    life: Life, store: SqlOrderStore, number: int, *, side: OrderSide = OrderSide.BUY, price: str = "100", **fill: Any
) -> None:
    """An order of 0.1 BTC that was filled in one trade."""
    order = await life.resting(f"key {number}", venue_order_id=f"v{number}", side=side, price=Decimal(price))
    made = make_fill("1", venue_order_id=f"v{number}", last_px=Decimal(price), **fill)
    report = make_report(venue_order_id=f"v{number}", cum_qty=Decimal("0.1"), status=VenueOrderStatus.CLOSED)
    await store.record_report(ACCOUNT, order.order_id, report, trades=[made], now=NOW)


async def test_the_latest_mark_counts_and_an_old_one_is_none(
    accounting: SqlAccountingStore, engine: AsyncEngine, rows: Rows
) -> None:
    for seconds, price in ((0, "100"), (20, "101"), (70, "99")):
        at = NOW + timedelta(seconds=seconds)
        await accounting.record_valuation(ACCOUNT, MODE, [mark("BTC/USDT", price, at=at)], now=at)
    late = mark("BTC/USDT", "50", at=NOW + timedelta(seconds=5))
    await accounting.record_valuation(ACCOUNT, MODE, [late], now=NOW)  # an earlier word changes nothing
    kept = await rows("SELECT last FROM marks ORDER BY minute")
    assert [row.last for row in kept] == [101, 99]
    asked = {"symbols": ["BTC/USDT", "ETH/USDT"], "mode": MODE}
    now = NOW + timedelta(seconds=70)
    found = await accounting.marks(**asked, now=now + valuation.MARK_USABLE)
    assert {symbol: found[symbol].price for symbol in found} == {"BTC/USDT": 99}
    assert await accounting.marks(**asked, now=now + valuation.MARK_USABLE + timedelta(seconds=1)) == {}
    assert await accounting.marks(["BTC/USDT"], TradingMode.PAPER, now=now) == {}, "modes are never mixed"


async def test_prices_and_rates_of_the_risk_currency_are_none_when_not_known(
    accounting: SqlAccountingStore, engine: AsyncEngine
) -> None:
    told = [mark("ETH/BTC", "0.05"), mark("BTC/USDC", "100"), mark("SOL/ETH", "2"), mark("DOGE/EUR", "0.1")]
    await accounting.record_valuation(ACCOUNT, MODE, told, now=NOW)
    async with engine.connect() as connection:
        symbols = ["ETH/BTC", "SOL/ETH", "BTC/USD", "DOGE/EUR"]
        found = await valuation.values_of(connection, symbols, LimitSet(), mode=MODE, now=NOW)
    assert found == {
        "ETH/BTC": (Decimal("0.05"), Decimal(100)),
        "SOL/ETH": (Decimal(2), Decimal(5)),
        "BTC/USD": (None, Decimal(1)),
        "DOGE/EUR": (Decimal("0.1"), None),
    }


async def test_what_must_be_asked_is_what_is_held_worked_or_taken_as_a_fee(
    life: Life, store: SqlOrderStore, accounting: SqlAccountingStore
) -> None:
    await life.fund(USDT="1000", ETH="2")
    await trade(life, store, 1, commission_asset="BNB")
    needed = await accounting.needed(ACCOUNT, MODE, now=NOW)
    assert needed.symbols == {"BTC/USDT"}
    assert needed.assets >= {"USDT", "ETH", "BTC", "BNB"}
    assert (needed.currency, needed.equal_assets) == (LimitSet().currency, LimitSet().equal_assets)
    other = await accounting.needed(ACCOUNT, TradingMode.LIVE, now=NOW)
    assert other.symbols == frozenset()


async def test_fees_in_a_third_asset_are_priced_by_the_market_of_their_time(
    life: Life, store: SqlOrderStore, accounting: SqlAccountingStore, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    for minutes, price in ((0, "600"), (30, "700")):
        at = NOW + timedelta(minutes=minutes)
        await accounting.record_valuation(ACCOUNT, MODE, [mark("BNB/USDT", price, at=at)], now=at)
    times = {1: 0, 2: 29, 3: 15, 4: 0, 5: 0}
    assets = {1: "BNB", 2: "BNB", 3: "BNB", 4: "USDT", 5: "XYZ"}
    for number, minutes in times.items():
        at = NOW + timedelta(minutes=minutes)
        await trade(life, store, number, ts_event=at, commission_asset=assets[number])
    [recorded] = await rows("SELECT max(recorded_at) AS at FROM fills")
    await accounting.record_valuation(ACCOUNT, MODE, (), now=recorded.at)
    await accounting.record_valuation(ACCOUNT, MODE, (), now=recorded.at)
    priced = await rows("SELECT venue_order_id, asset, price FROM fee_prices ORDER BY venue_order_id")
    assert [tuple(row) for row in priced] == [("v1", "BNB", 600), ("v2", "BNB", 700)]


async def test_equity_is_the_balances_at_the_market_and_none_with_an_asset_of_no_price(
    life: Life, store: SqlOrderStore, accounting: SqlAccountingStore
) -> None:
    assert await accounting.record_valuation(ACCOUNT, MODE, [mark("BTC/USDT", "120")], now=NOW) is None
    await life.fund(USDT="1000", USDC="5", BTC="1", asked_at=NOW - timedelta(hours=1))
    await trade(life, store, 1, commission=Decimal("0.3"), commission_asset="USDT")
    await trade(life, store, 2, side=OrderSide.SELL, price="110", commission=None, commission_asset=None)
    await trade(life, store, 3, price="100", commission=Decimal(0), commission_asset="BTC")
    equity = await accounting.record_valuation(ACCOUNT, MODE, [mark("BTC/USDT", "120")], now=NOW)
    assert equity is not None
    balances = {"USDT": Decimal(1000) - 10 - Decimal("0.3") + 11 - 10, "USDC": 5, "BTC": Decimal("1.1")}
    assert equity.equity == balances["USDT"] + balances["USDC"] + balances["BTC"] * 120
    assert (equity.realized, equity.unrealized) == (Decimal("0.7"), Decimal(2))
    later = NOW + timedelta(hours=1)
    await life.fund(USDT="1", DOGE="1", asked_at=later)
    unknown = await accounting.record_valuation(ACCOUNT, MODE, [mark("BTC/USDT", "100", at=later)], now=later)
    assert unknown is not None
    assert (unknown.equity, unknown.unpriced, unknown.unrealized) == (None, ("DOGE",), 0)
    curve = await accounting.equity(ACCOUNT, MODE, limit=10, before=None)
    assert [entry.equity for entry in curve] == [None, equity.equity]
    assert [entry.taken_at for entry in curve] == [later, NOW]
    assert await accounting.equity(ACCOUNT, MODE, limit=10, before=later) == curve[1:]
    assert await accounting.equity(ACCOUNT, TradingMode.LIVE, limit=10, before=None) == []


async def test_what_fills_realize_is_kept_for_every_scope(
    life: Life, store: SqlOrderStore, engine: AsyncEngine
) -> None:
    await life.fund(USDT="1000", BTC="1")
    await trade(life, store, 1, commission=None, commission_asset=None)
    await trade(life, store, 2, side=OrderSide.SELL, price="90", commission=Decimal("0.1"), commission_asset="USDT")
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    lost = {"BTC/USDT": Decimal("-1.1")}
    async with engine.connect() as connection:
        for scope in ("firm", f"account:{ACCOUNT}", "symbol:BTC/USDT", "key:test"):
            row = f"{MODE}/{scope}"
            for since in (None, NOW, midnight, midnight - timedelta(days=3)):
                assert await valuation.realized_since(connection, row, since) == lost, since
            for since in (NOW + timedelta(seconds=1), midnight + timedelta(days=1)):
                assert await valuation.realized_since(connection, row, since) == {}, since
        assert await valuation.realized_since(connection, f"{TradingMode.LIVE}/firm", None) == {}


async def test_days_are_the_sums_of_what_fills_realized(life: Life, store: SqlOrderStore, rows: Rows) -> None:
    await life.fund(USDT="1000", BTC="1")
    for number in range(6):
        side = OrderSide.SELL if number % 2 else OrderSide.BUY
        await trade(life, store, number, side=side, price=str(100 + number), commission_asset="USDT")
    apart = await rows(
        """
        SELECT scope, day, symbol, realized FROM realized_days EXCEPT
        SELECT scope, (at AT TIME ZONE 'UTC')::date, symbol, sum(realized) FROM realizations GROUP BY 1, 2, 3
        """
    )
    assert apart == []
    assert len(await rows("SELECT 1 FROM realized_days")) == len(await rows("SELECT DISTINCT scope FROM realizations"))


async def test_fees_in_a_third_asset_and_valuation_leave_balances_explained(
    life: Life, store: SqlOrderStore, accounting: SqlAccountingStore, engine: AsyncEngine, rows: Rows
) -> None:
    await life.fund(USDT="1000", BNB="1")
    await trade(life, store, 1, commission=Decimal("0.002"), commission_asset="BNB")
    await trade(life, store, 2, commission=Decimal("-0.001"), commission_asset="XRP")  # a rebate in what was not held
    before = await rows("SELECT * FROM balances ORDER BY asset")
    await accounting.record_valuation(ACCOUNT, MODE, [mark("BNB/USDT", "600"), mark("BTC/USDT", "1")], now=NOW)
    assert await rows("SELECT * FROM balances ORDER BY asset") == before
    comparison = SqlReconciliationStore(engine)
    told = [balance("USDT", "980"), balance("BTC", "0.2"), balance("BNB", "0.998"), balance("XRP", "0.001")]
    for moment in (NOW, NOW + STANDS_FOR):
        assert await comparison.compare_balances(ACCOUNT, told, asked_at=moment) == []
        assert await comparison.compare_positions(ACCOUNT, now=moment) == []
    without_fee = [*told[:2], balance("BNB", "1"), told[3]]
    assert await comparison.compare_balances(ACCOUNT, without_fee, asked_at=NOW + 2 * STANDS_FOR) == []
    assert await comparison.compare_balances(ACCOUNT, without_fee, asked_at=NOW + 3 * STANDS_FOR) == ["BNB"]
