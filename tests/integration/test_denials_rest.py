"""Every denial code, brought about through the REST interface, with the numbers that led to it."""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from domain.denials import DENIALS
from embedded.stack import EmbeddedStack, StackOptions

pytestmark = pytest.mark.xdist_group("denials")

LIMITS = """
[risk.strategies]
allow = { allowed_symbols = ["ETH/USDT"] }
deny = { denied_symbols = ["BTC/USDT"] }
hours = { trading_hours = "mon 00:00-00:01" }
quantity = { max_order_quantity = "0.0005" }
notional = { max_order_notional = "10" }
band = { max_price_deviation = "0.05" }
slip = { max_slippage = "0" }
book = { max_book_share = "0.000001" }
twin = { duplicate_window_s = 3600 }
self = { forbid_self_trade = true }
position = { max_position_quantity = { "BTC/USDT" = "0.0015" } }
worth = { max_position_notional = "10" }
gross = { max_gross_exposure = "10" }
net = { max_net_exposure = "10" }
share = { max_concentration = "0.5" }
open = { max_open_orders = 1 }
rate = { max_orders_per_minute = 1 }
turnover = { max_turnover_per_day = "10" }
loss = { max_daily_loss = "0" }
drawdown = { max_drawdown = "0" }
stops = { max_stop_outs = 1 }
cool = { cooldown_after_stop_s = 3600 }
profit = { min_profit = "1000" }
big = { approval_above_notional = "10" }
"""
BUY = {"symbol": "BTC/USDT", "side": "buy", "order_type": "limit", "amount": 0.001, "price": 50000}
MARKET = {"symbol": "BTC/USDT", "side": "buy", "order_type": "market", "amount": 0.001}

ONE_ORDER: dict[str, Mapping[str, Any]] = {
    "PRICE_MISSING": {**MARKET, "order_type": "limit"},
    "PRICE_SUPERFLUOUS": {**MARKET, "price": 50000},
    "TRIGGER_PRICE_MISSING": {**MARKET, "order_type": "stop"},
    "TRIGGER_PRICE_SUPERFLUOUS": {**BUY, "stop_price": 50000},
    "POST_ONLY_IMPOSSIBLE": {**MARKET, "post_only": True},
    "TIME_IN_FORCE_IMPOSSIBLE": {**MARKET, "time_in_force": "IOC"},
    "EXPIRES_IN_PAST": {**BUY, "expires_at": "2020-01-01T00:00:00Z"},
    "SYMBOL_UNKNOWN": {**BUY, "symbol": "NONE/USDT"},
    "QUANTITY_ZERO": {**BUY, "amount": 0},
    "QUANTITY_BELOW_STEP": {**BUY, "amount": "0.00000001"},
    "QUANTITY_ABOVE_MAXIMUM": {**BUY, "amount": 100000, "price": 1},
    "PRICE_ZERO": {**BUY, "price": 0},
    "PRICE_OFF_TICK": {**BUY, "price": "50000.001"},
    "PRICE_ABOVE_MAXIMUM": {**BUY, "price": 900000000},
    "NOTIONAL_BELOW_MINIMUM": {**BUY, "price": 1},
    "NOTIONAL_ABOVE_MAXIMUM": {**BUY, "amount": 8000, "price": 50000},
    "BALANCE_INSUFFICIENT": {**BUY, "amount": 1.9, "price": 52000},
    "SYMBOL_NOT_ALLOWED": {**BUY, "strategy": "allow"},
    "SYMBOL_DENIED": {**BUY, "strategy": "deny"},
    "OUTSIDE_TRADING_HOURS": {**BUY, "strategy": "hours"},
    "ORDER_QUANTITY_ABOVE_LIMIT": {**BUY, "strategy": "quantity"},
    "ORDER_NOTIONAL_ABOVE_LIMIT": {**BUY, "strategy": "notional"},
    "PRICE_OUTSIDE_BAND": {**BUY, "strategy": "band", "price": 20000},
    "SLIPPAGE_ABOVE_LIMIT": {**MARKET, "strategy": "slip", "amount": 1.5},
    "BOOK_SHARE_ABOVE_LIMIT": {**MARKET, "strategy": "book", "amount": 0.5},
    "POSITION_NOTIONAL_ABOVE_LIMIT": {**BUY, "strategy": "worth"},
    "GROSS_EXPOSURE_ABOVE_LIMIT": {**BUY, "strategy": "gross"},
    "NET_EXPOSURE_ABOVE_LIMIT": {**BUY, "strategy": "net"},
    "CONCENTRATION_ABOVE_LIMIT": {**BUY, "strategy": "share"},
    "TURNOVER_ABOVE_LIMIT": {**BUY, "strategy": "turnover"},
    "DAILY_LOSS_ABOVE_LIMIT": {**BUY, "strategy": "loss"},
    "DRAWDOWN_ABOVE_LIMIT": {**BUY, "strategy": "drawdown"},
}
"""What one order is enough for."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedStack]:
    folder: Path = tmp_path_factory.mktemp("denials")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o001)
    config = folder / "volex.toml"
    config.write_text(LIMITS)
    options = StackOptions(data_dir=folder / "data", config=config, environ={"PATH": os.environ["PATH"]})
    async with EmbeddedStack(options) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rest(stack: EmbeddedStack) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=stack.ready["api"], timeout=70) as client:
        yield client


@pytest.mark.parametrize("code", ONE_ORDER)
async def test_one_order_is_enough(rest: httpx2.AsyncClient, code: str) -> None:
    response = await rest.post("/orders", json=ONE_ORDER[code])
    assert response.status_code == 422, response.text
    assert response.json()["code"] == code, response.text
    assert set(DENIALS[code].example) <= set(response.json()["numbers"]), response.text
