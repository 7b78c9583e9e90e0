"""The feed's step that values an account: bounded, in turn, and without harm when the market does not answer."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from activities import valuing
from activities.valuing import TICKERS_A_ROUND, Valuing
from domain.errors import VenueUnavailable
from domain.instrument import Instrument
from domain.order import TradingMode
from domain.reports import Ticker, VenueOrderStatus
from storage.accounting_store import SqlAccountingStore
from tests.factories import NOW, make_fill, make_instrument, make_report
from tests.integration.storage.conftest import ACCOUNT, Life, Rows
from tests.scripted_market import ScriptedMarket

MODE = TradingMode.SANDBOX
INTERVAL_S = 30


def values(engine: AsyncEngine, market: ScriptedMarket) -> Valuing:
    """The step over the real ledger."""
    store = SqlAccountingStore(engine)
    return Valuing(store, exchanges={ACCOUNT: market}, modes={ACCOUNT: MODE}, interval_s=INTERVAL_S)


async def test_what_is_worked_and_held_is_marked_once_an_interval(life: Life, engine: AsyncEngine, rows: Rows) -> None:
    await life.fund(USDT="1000", ETH="2", DOGE="1")
    await life.resting()
    market = ScriptedMarket()
    step = values(engine, market)
    await step.look(ACCOUNT, NOW)
    marked = await rows("SELECT symbol, bid, ask, last, account, mode FROM marks ORDER BY symbol")
    assert [tuple(row) for row in marked] == [
        (symbol, 99, 100, 100, ACCOUNT, MODE) for symbol in ("BTC/USDT", "ETH/USDT")
    ]
    [snapshot] = await rows("SELECT equity, unpriced, realized FROM equity_snapshots")
    assert tuple(snapshot) == (None, "DOGE", 0)
    market.last = Decimal(500)
    await step.look(ACCOUNT, NOW + timedelta(seconds=INTERVAL_S - 1))
    assert {row.last for row in await rows("SELECT last FROM marks")} == {100}, "it is not time yet"
    await step.look(ACCOUNT, NOW + timedelta(seconds=INTERVAL_S))
    assert {row.last for row in await rows("SELECT last FROM marks")} == {500}


async def test_a_symbol_that_is_held_for_the_first_time_is_marked_soon(
    life: Life, engine: AsyncEngine, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    step = values(engine, ScriptedMarket())
    await step.look(ACCOUNT, NOW)
    order = await life.resting()
    report = make_report(cum_qty=Decimal("0.1"), trades=(make_fill(),), status=VenueOrderStatus.CLOSED)
    await life.store.record_report(ACCOUNT, order.order_id, report, trades=(), now=NOW)
    await step.look(ACCOUNT, NOW + valuing.SOON / 2)
    assert await rows("SELECT 1 FROM marks") == []
    await step.look(ACCOUNT, NOW + valuing.SOON)
    assert [row.symbol for row in await rows("SELECT symbol FROM marks")] == ["BTC/USDT"]
    await step.look(ACCOUNT, NOW + 2 * valuing.SOON)
    assert len(await rows("SELECT DISTINCT asked_at FROM marks")) == 1, "it has its mark now"


async def test_a_market_that_fails_leaves_the_old_mark_and_no_error(
    life: Life, engine: AsyncEngine, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    await life.resting()
    market = ScriptedMarket()
    step = values(engine, market)
    await step.look(ACCOUNT, NOW)
    market.error = VenueUnavailable("the market is closed")
    await step.look(ACCOUNT, NOW + timedelta(seconds=INTERVAL_S))
    [mark] = await rows("SELECT last, asked_at FROM marks")
    assert tuple(mark) == (100, NOW)
    assert len(await rows("SELECT 1 FROM equity_snapshots")) == 1


class SlowMarket(ScriptedMarket):
    """Many symbols, one of which never answers."""

    def __init__(self, symbols: list[str], *, stuck: str | None = None) -> None:
        super().__init__()
        self.symbols = symbols
        self.stuck = stuck
        self.asked: list[str] = []

    async def instruments(self) -> dict[str, Instrument]:
        return {symbol: make_instrument(symbol=symbol, base_asset=symbol.split("/")[0]) for symbol in self.symbols}

    async def fetch_ticker(self, symbol: str) -> Ticker:
        self.asked.append(symbol)
        if symbol == self.stuck:
            await asyncio.Event().wait()
        return Ticker(symbol=symbol, bid=None, ask=None, last=Decimal(1), ts_event=NOW)


async def test_more_symbols_than_fit_a_round_are_asked_in_turn(life: Life, engine: AsyncEngine) -> None:
    names = [f"A{number:02}" for number in range(2 * TICKERS_A_ROUND - 1)]
    await life.fund(**dict.fromkeys(names, "1"))
    market = SlowMarket([f"{name}/USDT" for name in names])
    step = values(engine, market)
    for number in range(2):
        await step.look(ACCOUNT, NOW + timedelta(seconds=number * INTERVAL_S))
        assert len(market.asked) == (number + 1) * TICKERS_A_ROUND
    assert set(market.asked) == set(market.symbols)


async def test_a_ticker_that_never_answers_costs_its_own_mark_alone(
    life: Life, engine: AsyncEngine, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valuing, "BUDGET_S", 0.2)
    await life.fund(A="1", B="1", C="1")
    market = SlowMarket(["A/USDT", "B/USDT", "C/USDT"], stuck="B/USDT")
    await asyncio.wait_for(values(engine, market).look(ACCOUNT, NOW), 5)
    assert [row.symbol for row in await rows("SELECT symbol FROM marks ORDER BY symbol")] == ["A/USDT", "C/USDT"]
