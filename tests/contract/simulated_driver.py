"""ccxt's `binanceus` behind the contract suite: over HTTP to a simulated venue of the test's own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
from pydantic import SecretStr

from domain.order import TradingMode
from domain.ports import Credentials, Exchange
from exchanges.opening import open_exchange
from simulator.running import API_KEY, SECRET_KEY, Configuration, running

TICK_INTERVAL_S = 0.02
TIMEOUT_MS = 1000
KEYS = Credentials(api_key=SecretStr(API_KEY), secret_key=SecretStr(SECRET_KEY))
BALANCES = {"BTC": Decimal(10), "USDT": Decimal(100_000)}


class SimulatedDriver:
    """A simulated venue with one account, and its ledger of what truly happened."""

    has_stops = True

    def __init__(self, exchange: Exchange, *, venue_url: str, control_url: str, http: aiohttp.ClientSession) -> None:
        self.exchange = exchange
        self._venue_url = venue_url
        self._control_url = control_url
        self._http = http

    async def set_price(self, price: Decimal) -> None:
        """Hold the market at the price, and wait for one move of the venue's time."""
        await self.control("POST", "market/BTCUSDT", {"price": str(price), "frozen": True})
        before = await self._depth()
        async with asyncio.timeout(5):
            while await self._depth() == before:
                await asyncio.sleep(TICK_INTERVAL_S / 4)

    async def order_count(self, client_order_id: str) -> int:
        """Ask the ledger."""
        return int((await self.control("GET", "client-orders")).get(client_order_id, 0))

    async def filled(self, client_order_id: str) -> Decimal:
        """Ask the ledger."""
        fills = await self.control("GET", "fills")
        return sum((Decimal(fill["qty"]) for fill in fills if fill["clientOrderId"] == client_order_id), Decimal(0))

    async def posts(self) -> list[dict[str, Any]]:
        """Return all requests to place an order that arrived."""
        return [made for made in await self.control("GET", "requests") if made["method"] == "POST"]

    async def control(self, method: str, path: str, body: object = None) -> Any:
        """Ask the control port."""
        async with self._http.request(method, f"{self._control_url}/{path}", json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def _depth(self) -> list[list[str]]:
        """Return the bids, whose quantities change with each move, also of a market that is held."""
        async with self._http.get(f"{self._venue_url}/api/v3/depth?symbol=BTCUSDT") as response:
            bids: list[list[str]] = (await response.json())["bids"]
            return bids


@asynccontextmanager
async def simulated_driver(**ccxt_config: object) -> AsyncIterator[SimulatedDriver]:
    """Run a venue and open an account there."""
    configuration = Configuration(balances=dict(BALANCES), tick_interval_s=TICK_INTERVAL_S)
    async with running(configuration) as venue, aiohttp.ClientSession() as http:
        base = f"{venue.url}/api/v3"
        exchange = await open_exchange(
            account="main",
            exchange="binanceus",
            mode=TradingMode.LIVE,
            ccxt_config={"urls": {"api": {"public": base, "private": base}}, "timeout": TIMEOUT_MS, **ccxt_config},
            credentials=KEYS,
        )
        try:
            yield SimulatedDriver(exchange, venue_url=venue.url, control_url=venue.control_url, http=http)
        finally:
            await exchange.close()
