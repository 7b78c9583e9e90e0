"""An account over a venue whose bytes the test writes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from domain.order import TradingMode
from domain.ports import Credentials, Exchange
from domain.reports import OrderRef, Submission, SubmitOutcome
from exchanges.opening import open_exchange
from tests.contract.raw_venue import RawVenue, answer, raw_venue

CLIENT_ORDER_ID = "abcdef0123456789"
SYMBOL = "BTC/USDT"
REF = OrderRef(symbol=SYMBOL, client_order_id=CLIENT_ORDER_ID)
KEYS = Credentials(api_key=SecretStr("key-of-the-test"), secret_key=SecretStr("secret-of-the-test"))
ORDER = {
    "symbol": "BTCUSDT",
    "orderId": 28,
    "clientOrderId": CLIENT_ORDER_ID,
    "transactTime": 1767323045678,
    "price": "50000.00000000",
    "origQty": "0.00200000",
    "executedQty": "0.00000000",
    "cummulativeQuoteQty": "0.00000000",
    "status": "NEW",
    "timeInForce": "GTC",
    "type": "LIMIT",
    "side": "BUY",
    "fills": [],
}


@pytest.fixture
async def raw() -> AsyncIterator[RawVenue]:
    async with raw_venue() as served:
        served.answers["POST order"] = answer(200, ORDER)
        yield served


@pytest.fixture
async def exchange(raw: RawVenue) -> AsyncIterator[Exchange]:
    opened = await open_exchange(
        account="main",
        exchange="binanceus",
        mode=TradingMode.LIVE,
        ccxt_config={"urls": {"api": {"public": raw.url, "private": raw.url}}, "timeout": 700},
        credentials=KEYS,
    )
    try:
        yield opened
    finally:
        await opened.close()


async def _yes() -> bool:
    return True


async def submit(exchange: Exchange, last_look: Any = _yes, **changes: Any) -> SubmitOutcome:
    order: dict[str, Any] = {
        "client_order_id": CLIENT_ORDER_ID,
        "symbol": SYMBOL,
        "side": "buy",
        "order_type": "limit",
        "quantity": Decimal("0.002"),
        "price": Decimal("50000"),
        "signed_at": datetime.now(UTC),
    }
    return await exchange.submit(Submission(**{**order, **changes}), last_look=last_look)
