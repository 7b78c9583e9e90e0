"""ccxt's `binanceus` and `kraken` behind the contract suite: over HTTP to a simulated venue of the test's own."""

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
from simulator.running import API_KEY, KRAKEN_SECRET_KEY, SECRET_KEY, Configuration, running

TICK_INTERVAL_S = 0.02
TIMEOUT_MS = 1000
KRAKEN_KEYS = Credentials(api_key=SecretStr(API_KEY), secret_key=SecretStr(KRAKEN_SECRET_KEY))
KEYS = Credentials(api_key=SecretStr(API_KEY), secret_key=SecretStr(SECRET_KEY))
BALANCES = {"BTC": Decimal(10), "USDT": Decimal(100_000)}


class SimulatedDriver:
    """A simulated venue with one account, and its ledger of what truly happened."""

    has_stops = True

    def __init__(
        self, exchange: Exchange, *, depth_url: str, control_url: str, http: aiohttp.ClientSession, has_fok: bool = True
    ) -> None:
        self.exchange = exchange
        self.has_fok = has_fok
        self._depth_url = depth_url
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
        paths = ("/api/v3/order", "/0/private/AddOrder")
        made = await self.control("GET", "requests")
        return [entry for entry in made if entry["method"] == "POST" and entry["path"] in paths]

    async def control(self, method: str, path: str, body: object = None) -> Any:
        """Ask the control port."""
        async with self._http.request(method, f"{self._control_url}/{path}", json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def _depth(self) -> list[Any]:
        """Return the bids, whose quantities change with each move, also of a market that is held."""
        async with self._http.get(self._depth_url) as response:
            told = await response.json()
            bids: list[Any] = told.get("bids") or [row[:2] for row in told["result"]["XBTUSDT"]["bids"]]
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
            yield SimulatedDriver(
                exchange, depth_url=f"{base}/depth?symbol=BTCUSDT", control_url=venue.control_url, http=http
            )
        finally:
            await exchange.close()


@asynccontextmanager
async def kraken_driver(**ccxt_config: object) -> AsyncIterator[SimulatedDriver]:
    """Run a venue that speaks Kraken's protocol and open an account there. Its rate limits are those of nobody."""
    configuration = Configuration(protocol="kraken", balances=dict(BALANCES), tick_interval_s=TICK_INTERVAL_S)
    urls = {"enableRateLimit": False, "timeout": TIMEOUT_MS}
    async with running(configuration) as venue, aiohttp.ClientSession() as http:
        exchange = await open_exchange(
            account="main",
            exchange="kraken",
            mode=TradingMode.LIVE,
            ccxt_config={"urls": {"api": {"public": venue.url, "private": venue.url}}, **urls, **ccxt_config},
            credentials=KRAKEN_KEYS,
        )
        try:
            depth_url = f"{venue.url}/0/public/Depth?pair=XBTUSDT"
            yield SimulatedDriver(
                exchange, depth_url=depth_url, control_url=venue.control_url, http=http, has_fok=False
            )
        finally:
            await exchange.close()
