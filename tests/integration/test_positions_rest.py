"""Positions over REST while the venue does not answer: the ledger's last marks price them, and modes are not mixed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx2
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from api.app import create_app
from domain.order import TradingMode
from domain.valuation import Mark
from embedded.child import free_port
from settings import Settings
from storage.accounting_store import SqlAccountingStore

HELD = {"paper": ("BTC/USDT", "-2", "-180"), "live": ("ETH/USDT", "1", "5")}


@pytest_asyncio.fixture(loop_scope="session")
async def rest(engine: AsyncEngine, database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The REST interface over a ledger that holds something, with a venue behind a closed door."""
    async with engine.begin() as connection:
        for mode, (symbol, amount, cost) in HELD.items():
            await connection.execute(
                text(
                    "INSERT INTO exposures (scope, symbol, amount, cost, realized_pnl, traded, working_buy,"
                    " working_sell, buy_notional, sell_notional, open_orders, day, day_turnover, updated_at) VALUES"
                    " (:scope, :symbol, :amount, :cost, 7, :amount, 0, 0, 0, 0, 0, current_date, 0, now())"
                ),
                {
                    "scope": f"{mode}/account:binanceus",
                    "symbol": symbol,
                    "amount": Decimal(amount),
                    "cost": Decimal(cost),
                },
            )
    closed = f"http://127.0.0.1:{free_port()}"
    app = create_app(
        Settings(
            temporal_address=f"127.0.0.1:{free_port()}",
            database_url=database_url,
            accounts={
                "binanceus": {"exchange": "binanceus", "ccxt": {"urls": {"api": {"public": closed, "private": closed}}}}
            },
        )
    )
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1", timeout=30) as rest,
    ):
        yield rest


async def test_a_position_is_priced_by_the_last_mark_and_not_by_an_old_one(
    rest: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    store, mode = SqlAccountingStore(engine), TradingMode.PAPER
    now = datetime.now(UTC)
    old = Mark(symbol="BTC/USDT", bid=Decimal(1), ask=Decimal(1), last=None, asked_at=now - timedelta(hours=1))
    await store.record_valuation("binanceus", mode, [old], now=now)
    [unknown] = (await rest.get("/positions/binanceus")).json()
    assert (unknown["current_price"], unknown["unrealized_pnl"]) == (None, None)
    fresh = Mark(symbol="BTC/USDT", bid=Decimal(99), ask=Decimal(101), last=None, asked_at=now)
    await store.record_valuation("binanceus", mode, [fresh], now=now)
    [position] = (await rest.get("/positions/binanceus")).json()
    assert {name: position[name] for name in ("symbol", "side", "amount", "entry_price", "realized_pnl")} == {
        "symbol": "BTC/USDT", "side": "short", "amount": 2, "entry_price": 90, "realized_pnl": 7,
    }  # fmt: skip
    assert (position["current_price"], position["unrealized_pnl"]) == (100, -20)


async def test_positions_of_another_mode_are_shown_only_when_asked_for(rest: httpx2.AsyncClient) -> None:
    assert [each["symbol"] for each in (await rest.get("/positions/binanceus")).json()] == ["BTC/USDT"]
    assert [each["symbol"] for each in (await rest.get("/positions/binanceus?mode=live")).json()] == ["ETH/USDT"]
    assert (await rest.get("/positions/binanceus?mode=sandbox")).json() == []
