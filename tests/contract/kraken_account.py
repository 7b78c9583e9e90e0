"""Unmodified ccxt `kraken` at a simulated venue whose time moves only when a test says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import ccxt.async_support as ccxt

from simulator.running import API_KEY, KRAKEN_SECRET_KEY, running
from tests.contract.simulated_account import PRICE, STILL, TIMEOUT_MS, SimulatedAccount


def client(venue_url: str, **changed: object) -> Any:
    """Make an unmodified `kraken` for the venue."""
    return ccxt.kraken(
        {
            "apiKey": API_KEY,
            "secret": KRAKEN_SECRET_KEY,
            "enableRateLimit": False,
            "timeout": TIMEOUT_MS,
            "timeout_on_exit": 0,  # nothing but a pause after the last connection has closed
            "urls": {"api": {"public": venue_url, "private": venue_url}},
            **changed,
        }
    )


@asynccontextmanager
async def kraken_account(**changed: Any) -> AsyncIterator[SimulatedAccount]:
    """Run a Kraken with BTC/USDT held at 100, and open a client there."""
    async with running(replace(STILL, protocol="kraken", **changed)) as venue, aiohttp.ClientSession() as http:
        api = client(venue.url)
        try:
            account = SimulatedAccount(api, venue.url, venue.control_url, http)
            await account.hold(PRICE)
            await api.load_markets()
            yield account
        finally:
            await api.close()
