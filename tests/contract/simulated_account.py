"""Unmodified ccxt `binanceus` at a simulated venue whose time moves only when a test says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import aiohttp
import ccxt.async_support as ccxt

from simulator.running import API_KEY, SECRET_KEY, Configuration, running

D = Decimal
SYMBOL = "BTC/USDT"
PRICE = D(100)
TIMEOUT_MS = 400
STILL = Configuration(balances={"BTC": D(10), "USDT": D(100_000), "ETH": D(50)}, tick_interval_s=0)


class SimulatedAccount:
    """A ccxt client, and the venue's control face."""

    def __init__(self, api: Any, venue_url: str, control_url: str, http: aiohttp.ClientSession) -> None:
        self.api = api
        self.venue_url = venue_url
        self.http = http
        self._control_url = control_url

    async def control(self, method: str, path: str, body: object = None) -> Any:
        """Ask the control face."""
        async with self.http.request(method, f"{self._control_url}/{path}", json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def hold(self, price: object, symbol: str = "BTCUSDT") -> None:
        """Put the market at a price and keep it there."""
        await self.control("POST", f"market/{symbol}", {"price": str(price), "frozen": True})

    async def tick(self, count: int = 1) -> None:
        """Let time pass."""
        await self.control("POST", "tick", {"count": count})

    async def fault(self, kind: str, **described: object) -> None:
        """Set a fault."""
        await self.control("POST", "faults", {"kind": kind, **described})

    async def orders_made(self, client_order_id: str) -> int:
        """Return how many orders a client id has made, by the ledger."""
        return int((await self.control("GET", "client-orders")).get(client_order_id, 0))

    async def requests(self, method: str, path: str) -> list[dict[str, Any]]:
        """Return what arrived, by the ledger."""
        made = await self.control("GET", "requests")
        return [entry for entry in made if (entry["method"], entry["path"]) == (method, path)]


def client(venue_url: str, **changed: object) -> Any:
    """Make an unmodified `binanceus` for the venue."""
    v3, sapi = f"{venue_url}/api/v3", f"{venue_url}/sapi"
    api = {"public": v3, "private": v3, "v1": f"{venue_url}/api/v1", "web": venue_url}
    api |= {"sapi": f"{sapi}/v1", "sapiV2": f"{sapi}/v2", "sapiV3": f"{sapi}/v3"}
    return ccxt.binanceus(
        {
            "apiKey": API_KEY,
            "secret": SECRET_KEY,
            "enableRateLimit": False,
            "timeout": TIMEOUT_MS,
            "timeout_on_exit": 0,  # nothing but a pause after the last connection has closed
            "urls": {"api": api},
            **changed,
        }
    )


@asynccontextmanager
async def simulated_account(**changed: Any) -> AsyncIterator[SimulatedAccount]:
    """Run a venue with BTC/USDT held at 100, and open a client there."""
    async with running(replace(STILL, **changed)) as venue, aiohttp.ClientSession() as http:
        api = client(venue.url)
        try:
            account = SimulatedAccount(api, venue.url, venue.control_url, http)
            await account.hold(PRICE)
            await api.load_markets()
            yield account
        finally:
            await api.close()
