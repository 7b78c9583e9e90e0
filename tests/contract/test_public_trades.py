"""Everybody's trades at the simulated venue through ccxt: from a moment on, across pages, none left out."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from domain.errors import UnknownSymbol
from domain.order import OrderSide, OrderType
from domain.placement import Placement
from exchanges import public_trades
from tests.contract.simulated_driver import SimulatedDriver, kraken_driver, simulated_driver

SYMBOL = "BTC/USDT"


@pytest.mark.parametrize("open_driver", [simulated_driver, kraken_driver])
async def test_trades_since_a_moment_are_read_whole_over_pages_and_empty_hours(
    monkeypatch: pytest.MonkeyPatch, open_driver: Callable[[], AbstractAsyncContextManager[SimulatedDriver]]
) -> None:
    monkeypatch.setattr(public_trades, "ID_PAGE", 7)
    async with open_driver() as driver:
        await driver.control("POST", "market/BTCUSDT", {"frozen": True})
        prices = [Decimal(61000 + step) for step in range(40)]
        for price in prices:
            await driver.control("POST", "market/BTCUSDT", {"price": str(price)})
            await driver.control("POST", "tick")
        everything = await driver.exchange.fetch_public_trades(SYMBOL, since=datetime.now(UTC) - timedelta(hours=5))
        assert [trade.price for trade in everything][-len(prices) :] == prices
        numbers = [int(trade.trade_id) for trade in everything]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        middle = everything[len(everything) // 2]
        later = await driver.exchange.fetch_public_trades(SYMBOL, since=middle.ts_event)
        assert list(later) == [trade for trade in everything if trade.ts_event >= middle.ts_event]
        assert await driver.exchange.fetch_public_trades(SYMBOL, since=datetime.now(UTC) + timedelta(seconds=30)) == []
        with pytest.raises(UnknownSymbol):
            await driver.exchange.fetch_public_trades("NONE/USDT", since=middle.ts_event)
        assert driver.exchange.placement(OrderType.STOP, OrderSide.SELL) is Placement.NATIVE
