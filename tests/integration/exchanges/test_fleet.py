"""Two processes' worth of one account at the local venue, over HTTP, with the real ledger between them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import RateLimited
from domain.order import TradingMode
from domain.ports import Credentials, Exchange
from exchanges.opening import Fleet, open_exchange
from simulator.running import API_KEY, SECRET_KEY, Configuration, Running, running
from storage.rate_ledger import SqlRateLedger

KEYS = Credentials(api_key=SecretStr(API_KEY), secret_key=SecretStr(SECRET_KEY))


@asynccontextmanager
async def fleet(
    engine: AsyncEngine, *, per_minute: int | None = None
) -> AsyncIterator[tuple[Running, Sequence[Exchange]]]:
    async with running(Configuration(tick_interval_s=0)) as venue:
        base = f"{venue.url}/api/v3"
        exchanges = [
            await open_exchange(
                account="main",
                exchange="binanceus",
                mode=TradingMode.LIVE,
                ccxt_config={"urls": {"api": {"public": base, "private": base}}},
                credentials=KEYS,
                fleet=Fleet(holder, SqlRateLedger(engine), per_minute),
            )
            for holder in ("worker-1", "worker-2")
        ]
        try:
            yield venue, exchanges
        finally:
            for exchange in exchanges:
                await exchange.close()


async def test_429_to_one_stops_the_other_before_its_next_request(engine: AsyncEngine) -> None:
    async with fleet(engine) as (venue, (first, second)), aiohttp.ClientSession() as http:
        for exchange in (first, second):
            await exchange.fetch_balances()
        fault = {"kind": "rate_limit", "method": "GET", "path": "/account", "seconds": 30, "times": 1}
        async with http.post(f"{venue.control_url}/faults", json=fault) as response:
            assert response.status == 200
        with pytest.raises(RateLimited):
            await first.fetch_balances()
        await asyncio.sleep(0.2)
        asked = len(venue.venue.requests.all())
        with pytest.raises(RateLimited) as refusal:
            await second.fetch_balances()
        assert 25 <= int(refusal.value.numbers["retry_after_s"]) <= 31
        with pytest.raises(RateLimited):
            async with second.turn("any"):
                pytest.fail("no order has its turn during a pause")
        assert len(venue.venue.requests.all()) == asked
        assert (await second.status()).paused_s >= 25


async def test_own_cap_of_requests_holds_for_both_together_and_is_shown(engine: AsyncEngine) -> None:
    async with fleet(engine, per_minute=20) as (venue, (first, second)):

        async def reads(exchange: Exchange) -> None:
            while True:
                await exchange.fetch_balances()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.gather(reads(first), reads(second))
        assert 8 <= len(venue.venue.requests.all()) <= 20
        async with asyncio.timeout(5):
            status = await first.status()
        (cap,) = [budget for budget in status.rate_budgets if budget.name == "requests"]
        assert (cap.limit, cap.window_s) == (20, 60)
        assert len(venue.venue.requests.all()) <= cap.used + 1 <= 21
        assert {budget.name for budget in status.rate_budgets} == {"requests", "weight", "orders-10s", "orders-86400s"}
